"""Jobs are read together for the callers that come at once."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Any, cast
from uuid import UUID

import pytest

from jobqueue_server.core.query.shared_reads import MOST_TOGETHER, SharedReads
from jobqueue_server.errors import DatabaseAway
from jobqueue_server.scope import Scope
from tests.lease.place import leaving_nothing_to_the_collector

pytestmark = pytest.mark.unit

HERE, THERE = Scope(1, "a"), Scope(2, "b")


def job(number: int) -> UUID:
    return UUID(int=number)


class Reads:
    """Answers each job by its id, but for those that are gone."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, list[int]]] = []
        self.away = False

    async def get_some(self, namespace: int, ids: Collection[UUID], *, full: bool) -> Mapping[UUID, Any]:
        self.asked.append((namespace, sorted(each.int for each in ids)))
        await asyncio.sleep(0)
        if self.away:
            raise DatabaseAway("away")
        return {each: f"{namespace}:{each.int}" for each in ids if each.int}


def made() -> tuple[Reads, Any]:
    reads = Reads()
    return reads, SharedReads(cast(Any, reads))


async def test_callers_that_come_at_once_are_answered_by_one_statement() -> None:
    reads, shared = made()
    found = await asyncio.gather(*(shared.get(HERE, job(number % 3)) for number in range(9)))
    assert found == [None, "1:1", "1:2"] * 3
    assert reads.asked == [(1, [0, 1, 2])]
    # One that comes later sees the job as it is then.
    await shared.get(HERE, job(1))
    assert reads.asked[1:] == [(1, [1])]


async def test_each_namespace_is_read_apart() -> None:
    reads, shared = made()
    found = await asyncio.gather(*(shared.get(scope, job(1)) for scope in (HERE, THERE)))
    assert found == ["1:1", "2:1"]
    assert sorted(reads.asked) == [(1, [1]), (2, [1])]


async def test_one_statement_reads_so_many_and_no_more() -> None:
    reads, shared = made()
    await asyncio.gather(*(shared.get(HERE, job(number)) for number in range(MOST_TOGETHER + 1)))
    assert [len(ids) for _, ids in reads.asked] == [MOST_TOGETHER, 1]


async def test_a_caller_that_goes_away_takes_nothing_from_the_others() -> None:
    _, shared = made()
    going, staying = (asyncio.create_task(shared.get(HERE, job(1))) for _ in range(2))
    await asyncio.sleep(0)
    going.cancel()
    assert await staying == "1:1"
    assert going.cancelled()


async def test_all_are_told_that_the_database_is_away_and_the_next_one_asks_again() -> None:
    reads, shared = made()
    reads.away = True
    found = await asyncio.gather(*(shared.get(HERE, job(1)) for _ in range(2)), return_exceptions=True)
    assert [type(each) for each in found] == [DatabaseAway] * 2
    reads.away = False
    assert await shared.get(HERE, job(1)) == "1:1"


async def test_an_error_leaves_nothing_to_the_collector() -> None:
    reads, shared = made()
    reads.away = True
    with leaving_nothing_to_the_collector():
        asked = [asyncio.create_task(shared.get(HERE, job(number))) for number in (1, 1, 2)]
        for failed in asked:
            with pytest.raises(DatabaseAway):
                await failed
        del asked, failed
        for _ in range(5):
            await asyncio.sleep(0)
