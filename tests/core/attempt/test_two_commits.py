"""Two commits of limited queues let jobs in at once, of different jobs; all other outcomes go one batch at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from jobqueue_server.core.attempt.outcome import Outcome
from jobqueue_server.core.attempt.settler import LEAST_BESIDE, Settler
from jobqueue_server.core.lease.lease import Lease, LeaseTemplate
from jobqueue_server.core.lease.session import Session
from jobqueue_server.lifecycle import Event
from jobqueue_server.model import KeyPolicy

from ..brain import NOON, Brain, lane, session

pytestmark = pytest.mark.unit

NOT_USED: Any = None
PLAIN = lane(1)
LIMITED = replace(lane(2), keys=KeyPolicy(max_running=1))


class Commits:
    """Commits that end when a test says so; notes the jobs of those under way."""

    def __init__(self) -> None:
        self.some_wait = True
        self.under_way: list[list[UUID]] = []
        self._ends: list[asyncio.Event] = []

    def limited(self, batches: Sequence[Any]) -> list[Any]:
        return [batch for batch in batches if any(each.lane.limits for each in batch.leases)]

    async def commit(self, batches: Sequence[Any], items: Sequence[Any]) -> None:
        jobs = [id for batch in batches for id in batch.ids] + [item.job_id for item in items]
        ended = asyncio.Event()
        self.under_way.append(jobs)
        self._ends.append(ended)
        try:
            await ended.wait()
        finally:
            self._ends.remove(ended)
            self.under_way.remove(jobs)

    def end(self, number: int = 0) -> None:
        """Lets one of those that are under way end."""
        self._ends[number].set()


class Room:
    """A settler that runs, and a session whose leases succeed."""

    def __init__(self) -> None:
        self.commits = Commits()
        brain = Brain(PLAIN, LIMITED)
        some: Any = self.commits
        self.settler = Settler(some, NOT_USED, brain.activity, brain.admission)
        self.activity = brain.activity
        self.session: Session = session(1, 10_000, PLAIN, LIMITED)

    def succeed(self, jobs: int = LEAST_BESIDE, of: Any = LIMITED) -> list[Lease]:
        """So many leases succeed in one frame."""
        template = LeaseTemplate(of, 1, 0, NOON)
        leases = [Lease(self.session.next_lease_id(), uuid4(), template) for _ in range(jobs)]
        self.session.add_all(leases)
        self.settler.settle(self.session, [lease.lease_id for lease in leases], [], NOT_USED)
        return leases

    async def sizes(self) -> list[int]:
        """How many jobs each commit has that is under way, once none begins any more."""
        for _ in range(10):
            await asyncio.sleep(0)
        return [len(jobs) for jobs in self.commits.under_way]


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    made = Room()
    running = [asyncio.create_task(one()) for one in (made.settler.run, made.settler.run_beside)]
    yield made
    for one in running:
        one.cancel()
    await asyncio.gather(*running, return_exceptions=True)


async def test_two_commits_of_limited_queues_are_under_way_at_once_and_no_third(room: Room):
    room.succeed(300)
    assert await room.sizes() == [300]
    room.succeed(200)
    assert await room.sizes() == [300, 200]
    room.succeed(100)
    room.succeed(150)
    assert await room.sizes() == [300, 200]
    assert room.activity.settling == 2
    room.commits.end(1)
    assert await room.sizes() == [300, 250], "what has gathered is one batch"
    room.commits.end(0)
    assert await room.sizes() == [250]
    assert room.activity.settling == 1


async def test_a_few_wait_for_the_commit_that_is_under_way(room: Room):
    room.succeed(300)
    await room.sizes()
    room.succeed(LEAST_BESIDE - 1)
    assert await room.sizes() == [300]
    room.succeed(1)
    assert await room.sizes() == [300, LEAST_BESIDE]


@pytest.mark.parametrize(("first", "second"), [(PLAIN, PLAIN), (PLAIN, LIMITED), (LIMITED, PLAIN)])
async def test_other_outcomes_go_one_batch_at_a_time(room: Room, first: Any, second: Any):
    room.succeed(300, first)
    await room.sizes()
    room.succeed(200, second)
    assert await room.sizes() == [300]
    room.commits.end()
    assert await room.sizes() == [200]


async def test_where_no_job_waits_for_its_key_there_is_one_batch_at_a_time(room: Room):
    room.commits.some_wait = False
    room.succeed(300)
    await room.sizes()
    room.succeed(200)
    assert await room.sizes() == [300]
    room.commits.end()
    assert await room.sizes() == [200]


async def test_a_failure_waits_and_so_does_what_comes_after_it(room: Room):
    room.succeed(300)
    await room.sizes()
    lease = Lease(room.session.next_lease_id(), uuid4(), LeaseTemplate(LIMITED, 1, 0, NOON))
    room.session.add(lease)
    room.settler.settle(room.session, [], [Outcome(Event.FAIL, lease.lease_id)], NOT_USED)
    room.succeed(200)
    assert await room.sizes() == [300]
    room.commits.end()
    assert await room.sizes() == [201]


async def test_the_same_settlement_again_waits_for_the_commit_that_has_its_job(room: Room):
    room.succeed(300)
    await room.sizes()
    [lease, *_] = room.succeed(200)
    assert await room.sizes() == [300, 200]
    room.settler.settle(room.session, [lease.lease_id], [], NOT_USED)
    room.commits.end(0)
    assert await room.sizes() == [200]
    room.commits.end(0)
    assert await room.sizes() == [1]
    assert room.commits.under_way == [[lease.job_id]]


async def test_it_is_drained_once_both_have_ended(room: Room):
    room.succeed(300)
    await room.sizes()
    room.succeed(200)
    await room.sizes()
    idle = asyncio.ensure_future(room.settler._idle.wait())
    for left in (1, 0):
        assert not idle.done()
        room.commits.end(0)
        assert len(await room.sizes()) == left
    await idle
