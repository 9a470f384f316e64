"""One read for all that is asked for while the read before goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from jobqueue_server.core.insight.gathered import Gathered
from tests.lease.place import leaving_nothing_to_the_collector


class Reads:
    """Reads that a test lets end."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self._ends: asyncio.Queue[Exception | None] = asyncio.Queue()

    async def __call__(self, keys: list[int]) -> Mapping[int, int]:
        self.asked.append(sorted(keys))
        error = await self._ends.get()
        if error:
            raise error
        return {key: key * 10 for key in keys if key >= 0}

    def end(self, error: Exception | None = None) -> None:
        self._ends.put_nowait(error)


@pytest.fixture
def reads() -> Reads:
    return Reads()


async def _turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_is_alone_is_read_for_at_once_and_who_asks_meanwhile_shares_the_next_read(reads: Reads):
    gathered = Gathered(reads, most=10)
    first = asyncio.ensure_future(gathered.get([1]))
    await _turns()
    assert reads.asked == [[1]]
    others = [asyncio.ensure_future(gathered.get(keys)) for keys in ([3, 2], [1], [2, -1])]
    await _turns()
    # Also of the key that is being read: an answer is never older than its question.
    assert reads.asked == [[1]]
    reads.end()
    assert await first == [10]
    await _turns()
    assert reads.asked == [[1], [-1, 1, 2, 3]]
    reads.end()
    assert await asyncio.gather(*others) == [[30, 20], [10], [20]]
    later = asyncio.ensure_future(gathered.get([7]))
    reads.end()
    assert await later == [70]


async def test_an_error_is_that_of_all_who_share_the_read_and_the_next_is_made(reads: Reads):
    gathered = Gathered(reads, most=10)
    first, second = (asyncio.ensure_future(gathered.get([key])) for key in (1, 2))
    await _turns()
    third = asyncio.ensure_future(gathered.get([3]))
    reads.end(RuntimeError("away"))
    for failed in (first, second):
        with pytest.raises(RuntimeError, match="away"):
            await failed
    reads.end()
    assert await third == [30]
    assert reads.asked == [[1, 2], [3]]


async def test_an_error_leaves_nothing_to_the_collector():
    async def fails(keys: list[int]) -> Mapping[int, int]:
        await asyncio.sleep(0)
        raise RuntimeError("away")

    gathered = Gathered(fails, most=10)
    with leaving_nothing_to_the_collector():
        for keys in ([1, 2], [3]):
            asked = [asyncio.ensure_future(gathered.get([key])) for key in keys]
            for failed in asked:
                with pytest.raises(RuntimeError, match="away"):
                    await failed
            del asked, failed
        await _turns()


async def test_who_hangs_up_ends_the_read_for_nobody_else(reads: Reads):
    gathered = Gathered(reads, most=10)
    first, second = (asyncio.ensure_future(gathered.get([key])) for key in (1, 2))
    await _turns()
    first.cancel()
    await _turns()
    reads.end()
    assert await second == [20]


async def test_a_read_is_for_so_many_keys_but_of_a_caller_who_asks_for_more(reads: Reads):
    gathered = Gathered(reads, most=2)
    asked = [asyncio.ensure_future(gathered.get(keys)) for keys in ([1], [1, 2], [3], [4, 5, 6], [7])]
    for _ in asked:
        reads.end()
    assert await asyncio.gather(*asked) == [[10], [10, 20], [30], [40, 50, 60], [70]]
    assert reads.asked == [[1, 2], [3], [4, 5, 6], [7]]
