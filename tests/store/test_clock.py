from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from jobqueue_server.core.upkeep import clock as core
from jobqueue_server.core.upkeep.clock import Clock
from jobqueue_server.errors import DatabaseAway
from jobqueue_server.ids import CELL, IdMint
from jobqueue_server.store.upkeep.clock import ClockReading, ClockStore, uuid_of

from .past import connected, opened


class Hands:
    """A clock that a test sets."""

    def __init__(self, ms: int) -> None:
        self.ms = ms

    def now_ms(self) -> int:
        return self.ms


class Readings:
    """A database whose clock is off by what the test says, and answers after what it says."""

    def __init__(self, *answers: list[tuple[int, int]]) -> None:
        self._answers = list(answers)

    async def read_clock(self, times: int) -> list[ClockReading]:
        loop_us = time.monotonic_ns() // 1000
        return [
            ClockReading(loop_us, loop_us + offset_us + round_trip_us // 2, loop_us + round_trip_us)
            for offset_us, round_trip_us in self._answers.pop(0)
        ]


async def test_now_is_the_time_of_the_database(dsn):
    async with opened(dsn) as database, connected(dsn) as connection:
        clock = Clock(ClockStore(database))
        await clock.measure()
        before = await connection.fetchval("select clock_timestamp()")
        now, now_ms = clock.now(), clock.now_ms()
        after = await connection.fetchval("select clock_timestamp()")
        error = timedelta(milliseconds=50)
        for told in (now, datetime.fromtimestamp(now_ms / 1000, UTC)):
            assert before - error <= told <= after + error
        assert now.tzinfo is UTC


async def test_the_reading_with_the_shortest_round_trip_counts():
    clock = Clock(Readings([(9_000_000, 80_000), (5_000_000, 200), (1_000_000, 40_000)]))  # type: ignore[arg-type]
    await clock.measure()
    before = time.monotonic_ns() / 1000
    now = clock.now().timestamp() * 1e6 - 5_000_000
    assert before - 20_000 < now < time.monotonic_ns() / 1000 + 20_000


async def test_it_stands_still_while_the_database_was_set_back_and_never_goes_backwards():
    clock = Clock(Readings([(3_600_000_000, 100)], [(0, 100)], [(7_200_000_000, 100)]))  # type: ignore[arg-type]
    await clock.measure()
    first = clock.now()
    await clock.measure()
    second = clock.now()
    assert first <= second < first + timedelta(seconds=5)
    await clock.measure()
    assert clock.now() > first + timedelta(minutes=59)


async def test_a_clock_that_was_never_read_says_so():
    with pytest.raises(DatabaseAway, match="was not read yet"):
        Clock(Readings()).now()  # type: ignore[arg-type]


async def test_it_measures_again_and_again_also_after_the_database_was_away(dsn, monkeypatch):
    monkeypatch.setattr(core, "READ_EVERY", timedelta(milliseconds=5))
    measured = asyncio.Event()
    async with opened(dsn) as database:
        store = ClockStore(database)
        calls = 0

        async def read_clock(times: int) -> list[ClockReading]:
            nonlocal calls
            calls += 1
            if calls == 2:
                raise DatabaseAway("the database does not answer; try again")
            if calls == 4:
                measured.set()
            return await ClockStore.read_clock(store, times)

        monkeypatch.setattr(store, "read_clock", read_clock)
        running = asyncio.create_task(Clock(store).run())
        await asyncio.wait_for(measured.wait(), 10)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running


@pytest.mark.parametrize("build", [uuid_of, lambda octets: UUID(bytes=octets)])
def test_ids_are_uuid_v7_of_the_time_and_strictly_increase_even_while_the_clock_stands(build):
    hands = Hands(1_800_000_000_000)
    mint = IdMint(hands, build)
    ids = [*mint.mint_many(5000), mint.mint()]
    assert {id.int >> 80 for id in ids} == {hands.ms}
    hands.ms -= 5
    ids += mint.mint_many(10)
    hands.ms += 6
    ids.append(mint.mint())
    assert ids[-1].int >> 80 == hands.ms
    assert all(id.version == 7 and id.variant == "specified in RFC 4122" for id in ids)
    assert all(isinstance(id, UUID) for id in ids)
    assert ids == sorted(set(ids))


def test_a_full_millisecond_borrows_the_next_one():
    hands = Hands(1_800_000_000_000)
    mint = IdMint(hands)
    first = mint.mint()
    mint._counter = (1 << 64) - 1
    second = mint.mint()
    assert second > first
    assert second.int >> 80 == hands.ms + 1
    assert mint.mint() > second


def test_the_ten_bits_below_the_version_are_the_cell_and_all_below_is_counted():
    hands = Hands(1_800_000_000_000)
    mint = IdMint(hands)
    values = []
    for _ in range(2000):
        hands.ms += 1
        values += [id.int for id in mint.mint_many(3)]
    assert {value >> 66 & 0x3FF for value in values} == {CELL} == {0}
    assert {value >> 64 & 0b11 for value in values} == {0, 1}, "a millisecond starts in the lower half"
    mint._counter = 0b11 << 62
    assert (mint.mint().int >> 64 & 0xFFF, mint.mint().version) == (0b11, 7)


def test_two_servers_mint_different_ids_in_one_millisecond():
    one, two = IdMint(Hands(1)), IdMint(Hands(1))
    assert not set(one.mint_many(1000)) & set(two.mint_many(1000))


async def test_the_database_reads_the_time_of_an_id_and_the_first_id_of_a_time(dsn):
    async with connected(dsn) as connection:
        id = IdMint(Hands(1_800_000_000_123), uuid_of).mint()
        moment = await connection.fetchval("select uuid_time($1)", id)
        assert moment == datetime.fromtimestamp(1_800_000_000.123, UTC)
        low, high = await connection.fetchrow(
            "select uuid_at($1), uuid_at($1::timestamptz + interval '1 ms')", moment
        )
        assert low < id < high
