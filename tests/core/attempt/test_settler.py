"""Outcomes stand in the line of their key, and each line commits by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from jobqueue_server.core.attempt.outcome import Answer, Outcome, PendingOutcome, SettleReply, SuccessBatch
from jobqueue_server.core.attempt.settlement_line import MAX_BATCH, SettlementLine
from jobqueue_server.core.attempt.settler import Settler
from jobqueue_server.core.catalog.catalog import Lane
from jobqueue_server.core.lease.lease import Lease, LeaseTemplate
from jobqueue_server.core.lease.session import Session
from jobqueue_server.lifecycle import Event

from ..brain import NOON, Brain, lane, session

pytestmark = pytest.mark.unit

PLAIN, LIMITED = lane(1), replace(lane(2), limits=True)


class Commits:
    """Each commit ends when a test says so. The one before found that jobs wait for their keys."""

    def __init__(self) -> None:
        self.some_wait = True
        self.under_way: list[list[Lease]] = []
        self._ends: list[asyncio.Future[None]] = []

    async def commit(self, batches: Sequence[SuccessBatch], items: Sequence[PendingOutcome]) -> None:
        leases = [lease for batch in batches for lease in batch.leases]
        leases += [item.lease for item in items if item.lease is not None]
        self.under_way.append(leases)
        self._ends.append(ended := asyncio.get_running_loop().create_future())
        await ended
        self.under_way.remove(leases)
        for batch in batches:
            batch.reply.applied(len(batch.leases))
        for item in items:
            item.reply.done()

    def end(self, leases: list[Lease]) -> None:
        """Ends the commit of these."""
        self._ends.pop(self.under_way.index(leases)).set_result(None)


class Made:
    """A settler with lines, each of which has commits of its own, and a worker that holds leases."""

    def __init__(self) -> None:
        self.brain = Brain(PLAIN, LIMITED)
        self.commits = [Commits() for _ in range(3)]
        of_lines: Any = self.commits
        plain, *keyed = (
            SettlementLine(
                commits, self.brain.activity, self.brain.insert_pacing, commits if number else None
            )
            for number, commits in enumerate(of_lines)
        )
        self.lines = [plain, *keyed]
        catalog: Any = SimpleNamespace(limits=True)
        follow_ups: Any = SimpleNamespace(drained=self._nothing)
        of_all: Any = self.commits[0]
        self.settler = Settler(catalog, of_all, plain, keyed, follow_ups)
        self.worker: Session = session(1, 100, PLAIN, LIMITED)
        self.answered: list[list[Answer]] = []

    async def _nothing(self) -> None:
        """No follow-up is in line."""

    def holds(self, of: Lane, *keys: str) -> list[Lease]:
        """The worker gets a job of each of these keys."""
        template = LeaseTemplate(of, 1, 0, NOON)
        first = max(self.worker.leases, default=0) + 1
        leases = [Lease(first + number, uuid4(), template) for number in range(len(keys))]
        for lease, key in zip(leases, keys, strict=True):
            lease.has_key(key)
        self.worker.add_all(leases)
        return leases

    def ends(self, *leases: Lease, outcomes: Sequence[Outcome] = ()) -> None:
        """The worker tells that these succeeded, and how others ended, in one frame."""
        reply = SettleReply(len(leases) + len(outcomes), self.answered.append)
        self.settler.settle(self.worker, [lease.lease_id for lease in leases], outcomes, reply)


@asynccontextmanager
async def made() -> AsyncIterator[Made]:
    """One whose lines commit."""
    it = Made()
    tasks = [asyncio.create_task(line.run()) for line in it.lines]
    await turn()
    try:
        yield it
    finally:
        for task in tasks:
            task.cancel()


async def turn() -> None:
    """Lets all go on that can."""
    for _ in range(5):
        await asyncio.sleep(0)


def keys_of_two_lines() -> tuple[str, str]:
    """The first key stands in the first line of keys, the second one in the second."""
    return tuple(next(key for key in map(str, range(1000)) if hash(key) % 2 == line) for line in (0, 1))  # type: ignore[return-value]


def sizes(commits: Commits) -> list[int]:
    """How many outcomes each commit has that is under way."""
    return [len(leases) for leases in commits.under_way]


async def test_keys_of_two_lines_commit_beside_each_other_and_no_key_beside_itself():
    key, other = keys_of_two_lines()
    async with made() as it:
        first, second, third = it.holds(LIMITED, key, other, key)
        it.ends(first, second)
        await turn()
        assert it.commits[1].under_way == [[first]]
        assert it.commits[2].under_way == [[second]]
        it.ends(outcomes=[Outcome(Event.FAIL, third.lease_id)])
        await turn()
        assert it.commits[1].under_way == [[first]]
        it.commits[1].end([first])
        await turn()
        assert it.commits[1].under_way == [[third]]


async def test_what_holds_no_token_waits_for_no_key():
    key, _ = keys_of_two_lines()
    async with made() as it:
        (limited,), (plain, failed) = it.holds(LIMITED, key), it.holds(PLAIN, key, key)
        it.ends(limited, plain, outcomes=[Outcome(Event.FAIL, failed.lease_id)])
        await turn()
        assert it.commits[0].under_way == [[plain, failed]]
        assert it.commits[1].under_way == [[limited]]


async def test_while_none_waits_for_its_key_all_share_a_commit():
    async with made() as it:
        for commits in it.commits:
            commits.some_wait = False
        leases = it.holds(LIMITED, *map(str, range(500)))
        it.ends(*leases)
        await turn()
        assert it.commits[1].under_way == [leases]
        assert it.commits[2].under_way == []


async def test_where_all_of_a_key_end_at_once_one_half_runs_while_the_other_commits():
    key, _ = keys_of_two_lines()
    async with made() as it:
        leases = it.holds(LIMITED, *[key] * 500)
        it.ends(*leases)
        await turn()
        half, rest = leases[:250], leases[250:]
        assert it.commits[1].under_way == [half]
        it.commits[1].end(half)
        await turn()
        assert it.commits[1].under_way == [rest]
        assert it.answered == []
        # Those that the first half let in.
        after = it.holds(LIMITED, *[key] * 250)
        it.ends(*after)
        it.commits[1].end(rest)
        await turn()
        assert it.answered == [[]]
        assert it.commits[1].under_way == [after]


async def test_all_that_came_back_from_one_commit_are_halved_again():
    key, _ = keys_of_two_lines()
    async with made() as it:
        it.commits[1].some_wait = False
        leases = it.holds(LIMITED, *[key] * 500)
        it.ends(*leases)
        await turn()
        assert sizes(it.commits[1]) == [500]
        it.commits[1].some_wait = True
        it.commits[1].end(leases)
        await turn()
        it.ends(*it.holds(LIMITED, *[key] * 500))
        await turn()
        assert sizes(it.commits[1]) == [250]


async def test_a_few_are_not_halved():
    key, _ = keys_of_two_lines()
    async with made() as it:
        it.ends(*it.holds(LIMITED, *[key] * 64))
        await turn()
        assert sizes(it.commits[1]) == [64]


async def test_a_commit_has_a_bound_and_what_came_later_does_not_overtake():
    async with made() as it:
        it.ends(*it.holds(PLAIN, *["a"] * 1_500))
        await turn()
        (first,) = it.commits[0].under_way
        later = [it.holds(PLAIN, *["a"] * 1_500) for _ in range(2)]
        for leases in later:
            it.ends(*leases)
        it.commits[0].end(first)
        await turn()
        (second,) = it.commits[0].under_way
        assert second == [*later[0], *later[1][: MAX_BATCH - 1_500]]
        it.commits[0].end(second)
        await turn()
        assert it.commits[0].under_way == [later[1][MAX_BATCH - 1_500 :]]


@pytest.mark.parametrize("of", [PLAIN, LIMITED], ids=["plain", "limited"])
async def test_the_same_outcome_again_commits_after_the_first(of: Lane):
    key, _ = keys_of_two_lines()
    async with made() as it:
        (lease,) = it.holds(of, key)
        it.ends(lease)
        it.ends(lease)
        await turn()
        line = it.commits[int(of is LIMITED)]
        assert line.under_way == [[lease]]
        line.end([lease])
        await turn()
        assert line.under_way == [[lease]]


async def test_all_is_drained_once_each_line_is_also_one_that_got_more_meanwhile():
    key, other = keys_of_two_lines()
    async with made() as it:
        leases = [*it.holds(PLAIN, key), *it.holds(LIMITED, key, other)]
        (more,) = it.holds(PLAIN, key)
        it.ends(*leases)
        drained = asyncio.create_task(it.settler.drained())
        for commits, lease in zip(it.commits, leases, strict=True):
            await turn()
            assert not drained.done()
            assert it.brain.activity.settling > 0
            commits.end([lease])
            if lease is leases[1]:
                it.ends(more)
        await turn()
        assert not drained.done()
        it.commits[0].end([more])
        await drained
        assert it.brain.activity.settling == 0


async def test_settlements_wait_as_long_as_one_line_has_some_for_a_later_commit():
    key, other = keys_of_two_lines()
    async with made() as it:
        waited = [it.brain.activity.settlements_wait]
        first, second, third, fourth = it.holds(LIMITED, key, key, other, other)
        it.ends(first, third)
        await turn()
        waited.append(it.brain.activity.settlements_wait)
        it.ends(second, fourth)
        waited.append(it.brain.activity.settlements_wait)
        for commits, lease in ((it.commits[2], third), (it.commits[1], first)):
            commits.end([lease])
            await turn()
            waited.append(it.brain.activity.settlements_wait)
        assert waited == [False, False, True, True, False]
