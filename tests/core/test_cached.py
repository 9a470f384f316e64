"""A read that is shared by all who ask within its time."""

from __future__ import annotations

import asyncio

import pytest

from jobqueue_server.core.cached import MOST_KEPT, Cached
from jobqueue_server.errors import QueueNotFound
from tests.lease.place import leaving_nothing_to_the_collector


async def test_all_who_ask_at_once_share_one_read_and_one_that_hangs_up_does_not_end_it():
    reads: list[asyncio.Future[int]] = []

    async def read() -> int:
        reads.append(asyncio.get_running_loop().create_future())
        return await reads[-1]

    cached: Cached[int] = Cached(60)
    first, second = (asyncio.ensure_future(cached.get("a", read)) for _ in range(2))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    first.cancel()
    reads[0].set_result(7)
    assert await second == 7
    assert await cached.get("a", read) == 7
    assert len(reads) == 1


async def test_a_read_that_failed_is_made_again():
    async def fails() -> int:
        raise RuntimeError

    async def reads() -> int:
        return 1

    cached: Cached[int] = Cached(60)
    with pytest.raises(RuntimeError):
        await cached.get("a", fails)
    assert await cached.get("a", reads) == 1


async def test_what_is_old_is_read_again_and_kept_no_longer():
    count = 0

    async def read() -> int:
        nonlocal count
        count += 1
        return count

    cached: Cached[int] = Cached(0)
    assert [await cached.get("a", read), await cached.get("a", read), await cached.get("b", read)] == [
        1,
        2,
        3,
    ]
    assert len(cached._reads) == 1


async def test_a_read_that_is_only_for_those_who_wait_ends_with_the_last_of_them():
    begun: list[asyncio.Event] = []
    ended: list[bool] = []

    async def read() -> int:
        begun.append(asyncio.Event())
        try:
            await begun[-1].wait()
        finally:
            ended.append(True)
        return len(begun)

    cached: Cached[int] = Cached(60, while_wanted=True)
    async with asyncio.timeout(10):
        first, second = (asyncio.ensure_future(cached.get("a", read)) for _ in range(2))
        while not begun:
            await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait([first])
        assert not ended
        second.cancel()
        # Who asks in this moment gets a read of its own, and not the one that is about to end.
        third = asyncio.ensure_future(cached.get("a", read))
        while len(begun) < 2:
            await asyncio.sleep(0)
        assert ended == [True]
        begun[1].set()
        assert await third == 2
        assert await cached.get("a", read) == 2


async def test_all_that_is_old_goes_with_the_next_that_is_new_and_what_was_read_again_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr("jobqueue_server.core.cached.time.monotonic", lambda: now)

    async def read() -> float:
        return now

    cached: Cached[float] = Cached(1)
    for at, key in ((0.0, "a"), (0.5, "b"), (1.2, "a"), (1.6, "c")):
        now = at
        assert await cached.get(key, read) == at
    assert list(cached._reads) == ["a", "c"]
    assert await cached.get("a", read) == 1.2


@pytest.mark.parametrize("while_wanted", [False, True])
@pytest.mark.parametrize("hang_up", [False, True])
async def test_a_read_that_failed_is_not_kept_and_its_error_does_not_wait_for_the_collector(
    while_wanted: bool, hang_up: bool
) -> None:
    cached: Cached[int] = Cached(60, while_wanted=while_wanted)
    go_on = asyncio.Event()

    async def fails() -> int:
        await go_on.wait()
        raise QueueNotFound("it is not there")

    with leaving_nothing_to_the_collector():
        callers = [asyncio.ensure_future(cached.get("a", fails)) for _ in range(2)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        if hang_up:
            callers.pop().cancel()
        go_on.set()
        for caller in callers:
            with pytest.raises(QueueNotFound):
                await caller
        assert not cached._reads
        del callers, caller
        # What the loop still has of them.
        await asyncio.sleep(0)


async def test_a_read_that_fails_late_leaves_the_one_that_was_begun_after_it() -> None:
    go_on = asyncio.Event()

    async def fails() -> int:
        await go_on.wait()
        raise QueueNotFound("it is not there")

    async def reads() -> int:
        return 1

    cached: Cached[int] = Cached(60)
    first = asyncio.ensure_future(cached.get("a", fails))
    await asyncio.sleep(0)
    assert await cached.get("a", reads, max_age=0) == 1
    go_on.set()
    with pytest.raises(QueueNotFound):
        await first
    assert list(cached._reads) == ["a"]


async def test_who_asks_for_ever_new_keys_is_answered_from_memory_for_the_newest_of_them() -> None:
    go_on = asyncio.Event()

    async def waits() -> int:
        await go_on.wait()
        return -1

    async def read() -> int:
        return 0

    cached: Cached[int] = Cached(60)
    # A read that goes on is not forgotten: who asks now waits for the same.
    first = asyncio.ensure_future(cached.get("first", waits))
    await asyncio.sleep(0)
    for number in range(MOST_KEPT + 5):
        await cached.get(number, read)
    assert len(cached._reads) == MOST_KEPT
    assert list(cached._reads)[:2] == ["first", 6]
    go_on.set()
    assert [await first, await cached.get("first", read)] == [-1, -1]
