"""A long time is read in pieces that take half a second each, and nothing of it twice or never."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from jobqueue_server.core.stats.pieces import FIRST, PIECE_SECONDS, SHORTEST, read_in_pieces
from jobqueue_server.store.stats.slices import KEPT

pytestmark = pytest.mark.unit

NOON = datetime(2026, 11, 28, 12, 0, 7, tzinfo=UTC)
Piece = tuple[datetime, datetime]


async def pieces(since: datetime, took: Callable[[timedelta], float]) -> list[Piece]:
    """The pieces from a time until noon, each of which takes so many seconds for its length."""
    found: list[Piece] = []
    now = 0.0

    async def read(begin: datetime, end: datetime) -> None:
        nonlocal now
        found.append((begin, end))
        now += took(end - begin)

    await read_in_pieces(since, NOON, NOON, read, clock=lambda: now)
    return found


def hold_together(found: list[Piece], since: datetime) -> None:
    assert (found[0][0], found[-1][1]) == (since, NOON)
    assert [end for _, end in found[:-1]] == [begin for begin, _ in found[1:]]
    assert all(begin < end for begin, end in found)


async def test_what_is_fast_is_read_in_few_pieces_and_each_moment_once():
    since = NOON - timedelta(days=90)
    found = await pieces(since, lambda length: 0.0)
    hold_together(found, since)
    assert len(found) < 40


async def test_what_is_slow_is_read_in_pieces_of_half_a_second():
    since = NOON - timedelta(days=2)
    # Ten hours would take five seconds, as long as a statement may.
    found = await pieces(since, lambda length: length / timedelta(hours=2))
    hold_together(found, since)
    assert max(end - begin for begin, end in found) <= timedelta(hours=2 * PIECE_SECONDS * 2)


async def test_a_piece_is_never_shorter_than_a_slice():
    since = NOON - timedelta(minutes=30)
    found = await pieces(since, lambda length: 10.0)
    hold_together(found, since)
    assert min(end - begin for begin, end in found[:-1]) == SHORTEST


async def test_where_more_slices_are_kept_of_a_time_it_begins_anew_with_a_short_piece():
    found = await pieces(NOON - timedelta(days=90), lambda length: 0.0)
    for kept in KEPT[:-1]:
        (first,) = [end - begin for begin, end in found if begin == NOON - kept]
        assert first == FIRST


async def test_nothing_is_read_of_no_time():
    assert await pieces(NOON, lambda length: 0.0) == []
