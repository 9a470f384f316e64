"""Which queues run as many jobs as they may: remembered until one of these ends, and no end is lost."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest

from jobqueue_server.core.claim import full
from jobqueue_server.core.claim.full import FullLimits
from jobqueue_server.core.events.ends import Ended
from jobqueue_server.model import Rate
from jobqueue_server.store.claim.claims import Allowed
from tests.core.brain import Brain, lane, session

JOB = UUID(int=1)


def counted(number: int, queue: int = 1, *, most: int = 1):
    """A lane of a queue that lets so many jobs run."""
    return lane(number, queue, closed=True, most=most)


class Looking:
    """A session with room for two queues that limit how many run; in both a job may be waiting."""

    def __init__(self) -> None:
        self.one, self.other = counted(1), counted(2, 2)
        self.brain = Brain(self.one, self.other)
        self.brain.attach(session(1, 10, self.one, self.other))
        for each in (self.one, self.other):
            self.brain.lines.ready(each.id, 0)
        self.full: FullLimits = self.brain.full

    @property
    def asked(self) -> list[int]:
        """The queues that a claim would be made for."""
        (group,) = self.brain.takers.groups
        return [lanes[0].queue_id for lanes in group.counted(self.brain.lines, self.full)]

    def fill(self, lane, wait: float = 0.0) -> None:
        self.asks(lane)
        self.full.add(lane, Allowed(1, wait))

    def asks(self, lane) -> None:
        self.full.asks(lane, frozenset([lane.kind]))

    def end(self, kind: str | None) -> None:
        self.brain.ends.tell([Ended([JOB], kind)])


async def test_a_queue_that_is_full_is_not_asked_and_others_are():
    looking = Looking()
    assert looking.asked == [1, 2]
    looking.fill(looking.one)
    assert looking.asked == [2]
    (group,) = looking.brain.takers.groups
    assert group.targets(looking.brain.lines, 9)[0] == [], "no claim asks that does not count"


@pytest.mark.parametrize("kind", ["k1", None], ids=["of its kind", "of a kind that is not known"])
async def test_an_end_here_makes_it_ask_at_once(kind):
    looking = Looking()
    looking.fill(looking.one)
    looking.end(kind)
    assert looking.asked == [1, 2]


async def test_an_end_of_another_kind_does_not():
    looking = Looking()
    looking.fill(looking.one)
    looking.end("k2")
    assert looking.asked == [2]


async def test_an_end_while_it_is_asked_is_not_lost():
    looking = Looking()
    looking.asks(looking.one)
    looking.end("k1")
    looking.full.add(looking.one, Allowed(1))
    assert looking.asked == [1, 2]


async def test_it_is_asked_again_after_a_while(monkeypatch):
    monkeypatch.setattr(full, "ASK_AGAIN_AFTER", 0.01)
    looking = Looking()
    looking.fill(looking.one)
    await looking.brain.activity.work()
    async with asyncio.timeout(5):
        while looking.asked != [1, 2]:
            await looking.brain.activity.work()


async def test_a_queue_whose_rate_lets_none_start_is_asked_when_it_does_and_not_for_an_end():
    looking = Looking()
    looking.fill(looking.one, 0.05)
    looking.end("k1")
    assert looking.asked == [2]
    await looking.brain.activity.work()
    async with asyncio.timeout(5):
        while looking.asked != [1, 2]:
            await looking.brain.activity.work()


async def test_an_end_while_it_is_asked_lets_no_rate_be_asked_before_its_time():
    looking = Looking()
    looking.asks(looking.one)
    looking.end("k1")
    looking.full.add(looking.one, Allowed(1, 60.0))
    assert looking.asked == [2]


@pytest.mark.parametrize(
    ("rate", "wait", "after"),
    [
        (Rate(1000, timedelta(seconds=1)), 0.0004, 0.01),
        (Rate(100, timedelta(seconds=1)), 0.004, 0.01),
        (Rate(1000, timedelta(seconds=1), 8), 0.0004, 0.002),
        (Rate(1000, timedelta(seconds=1), 3), 0.0004, 0.0004),
        (Rate(1, timedelta(hours=1)), 1800.0, 1.0),
    ],
    ids=["of 10 ms", "of one", "of a quarter of the burst", "none", "none for long"],
)
async def test_what_a_rate_lets_start_is_gathered_for_a_moment(monkeypatch, rate, wait, after):
    looking, asked = Looking(), []
    looking.one.rate = rate
    monkeypatch.setattr(asyncio.get_running_loop(), "call_later", lambda after, *_: asked.append(after))
    looking.fill(looking.one, wait)
    assert asked == [pytest.approx(after)]


@pytest.mark.parametrize(("wait", "limit"), [(0.0, "max_running"), (60.0, "rate")])
async def test_how_long_a_queue_was_at_its_limit_is_counted(monkeypatch, wait, limit):
    looking = Looking()
    loop = asyncio.get_running_loop()
    began = loop.time()
    monkeypatch.setattr(loop, "time", lambda: began)
    monkeypatch.setattr(full, "ASK_RATE_AFTER", 0.05)
    monkeypatch.setattr(full, "ASK_AGAIN_AFTER", 0.05)
    looking.fill(looking.one, wait)
    monkeypatch.setattr(loop, "time", lambda: began + 0.05)
    while looking.asked != [1, 2]:
        await asyncio.sleep(0)
    labels = {"queue": "q1", "limit": limit}
    counted = looking.brain.metrics.registry.get_sample_value("jobqueue_queue_at_limit_seconds_total", labels)
    assert counted == pytest.approx(0.05)


async def test_a_queue_that_is_paused_is_not_asked():
    looking = Looking()
    looking.one.paused = True
    assert looking.asked == [2]


class OfAKind:
    """A session with room for a kind with a limit in two queues, one of which has a limit and another kind too."""

    def __init__(self) -> None:
        self.one, self.other = lane(1, 1, "k"), lane(2, 2, "k", closed=True)
        self.plain = counted(3, 1, most=9)
        for each in (self.one, self.other):
            each.closed, each.kind_id, each.kind_max_running = True, 7, 2
        self.one.max_running = 9
        self.brain = Brain(self.one, self.other, self.plain)
        self.brain.attach(session(1, 10, self.one, self.other, self.plain))
        for each in (self.one, self.other, self.plain):
            self.brain.lines.ready(each.id, 0)
        (self.group,) = self.brain.takers.groups

    @property
    def asked(self) -> list[list[int]]:
        """The lanes of each claim that would be made."""
        return [
            [each.id for each in lanes] for lanes in self.group.counted(self.brain.lines, self.brain.full)
        ]

    def fill(self, lane, *, by_kind: bool) -> None:
        self.brain.full.asks(lane, self.group.kinds_beside(lane))
        self.brain.full.add(lane, Allowed(1, 0.0, by_kind))


async def test_a_claim_asks_for_one_kind_with_limits_at_most():
    looking = OfAKind()
    assert sorted(looking.asked) == [[1], [2], [3]]
    assert looking.group.kinds_beside(looking.one) == {"k", "k3"}


async def test_a_kind_that_is_full_is_asked_in_none_of_its_queues_and_other_kinds_are():
    looking = OfAKind()
    looking.fill(looking.one, by_kind=True)
    assert looking.asked == [[3]]
    looking.brain.ends.tell([Ended([JOB], "k3")])
    assert looking.asked == [[3]]
    looking.brain.ends.tell([Ended([JOB], "k")])
    assert sorted(looking.asked) == [[1], [2], [3]]


async def test_a_queue_that_is_full_is_asked_for_none_of_its_kinds_until_any_of_them_ends():
    looking = OfAKind()
    looking.fill(looking.one, by_kind=False)
    assert looking.asked == [[2]]
    looking.brain.ends.tell([Ended([JOB], "k3")])
    assert sorted(looking.asked) == [[1], [2], [3]]


async def test_queues_take_turns_and_in_a_queue_the_highest_priority_goes_first():
    looking, orders = OfAKind(), set()
    for _ in range(4):
        orders.add(tuple(each for (each,) in looking.asked))
        looking.group.asked()
    assert orders == {(2, 1, 3), (2, 3, 1), (1, 3, 2), (3, 1, 2)}
    looking.brain.lines.ready(looking.plain.id, 5)
    for _ in range(4):
        assert [each for each in looking.asked if each != [2]] == [[3], [1]]
        looking.group.asked()


async def test_groups_take_turns():
    looking = OfAKind()
    looking.brain.attach(session(2, 10, looking.other))
    first = {id(looking.brain.takers.asking()[0]) for _ in range(2)}
    assert len(first) == 2


async def test_lanes_without_limits_are_in_no_claim_that_asks():
    made = lane(1)
    brain = Brain(made)
    brain.attach(session(1, 10, made))
    assert [group.asks for group in brain.takers.groups] == [False]
    assert brain.takers.asking() == []


async def test_how_long_a_kind_was_at_its_limit_is_counted(monkeypatch):
    looking = OfAKind()
    loop = asyncio.get_running_loop()
    began = loop.time()
    monkeypatch.setattr(loop, "time", lambda: began)
    looking.fill(looking.one, by_kind=True)
    monkeypatch.setattr(loop, "time", lambda: began + 0.05)
    looking.brain.ends.tell([Ended([JOB], "k")])
    labels = {"kind": "k", "limit": "max_running"}
    counted = looking.brain.metrics.registry.get_sample_value("jobqueue_kind_at_limit_seconds_total", labels)
    assert counted == pytest.approx(0.05)


async def test_inserts_wait_for_claims_of_such_a_queue_but_not_while_it_is_full():
    looking = Looking()
    looking.fill(looking.other)
    waits = asyncio.ensure_future(looking.brain.insert_pacing.room())
    await asyncio.sleep(0)
    assert not waits.done()
    looking.fill(looking.one)
    looking.brain.activity.round_ended()
    async with asyncio.timeout(5):
        await waits
