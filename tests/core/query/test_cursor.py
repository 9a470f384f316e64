"""The tokens of watches: what they say, and what they let in."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueue_server.core import tokens
from jobqueue_server.core.query.cursor import (
    LATE_COMMITS,
    LONGEST_COMMIT,
    Cursor,
    cursor_of,
    history_of,
)
from jobqueue_server.errors import FieldInvalid
from jobqueue_server.scope import Scope
from jobqueue_server.store.query.watch import FIRST_ID, NOTHING, Change, Snapshot
from tests.store.stored import SCOPE

pytestmark = pytest.mark.unit

NOW = datetime(2026, 5, 4, 12, 0, 0, 123456, tzinfo=UTC)
HISTORY = history_of("here")


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    xmin = draw(st.integers(3, 1 << 60))
    under_way = draw(st.lists(st.integers(xmin, xmin + 5000), max_size=50, unique=True).map(sorted))
    xmax = max([xmin, *(xid + 1 for xid in under_way)]) + draw(st.integers(0, 5000))
    return Snapshot(xmin, xmax, tuple(under_way), xmax + draw(st.integers(0, 100)))


moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
spans = st.timedeltas(timedelta(), timedelta(days=1))
changes = st.builds(Change, moments, st.uuids())


@st.composite
def cursors(draw: st.DrawFn) -> Cursor:
    at = draw(moments)
    cursor = Cursor(HISTORY, draw(snapshots()), at, at - draw(spans))
    if draw(st.booleans()):
        return cursor.aims_at(draw(snapshots()), draw(moments)).at_change(draw(changes))
    return cursor


@pytest.mark.slow
@given(cursors())
def test_a_token_says_all_that_the_cursor_knows(cursor: Cursor) -> None:
    assert cursor_of(cursor.token("jobs"), "jobs") == cursor
    with pytest.raises(FieldInvalid):
        cursor_of(cursor.token("jobs"), "others")


@given(cursors())
def test_nothing_stands_behind_a_token(cursor: Cursor) -> None:
    token = cursor.aims_at(cursor.told, cursor.at).at_change(Change(cursor.at, FIRST_ID)).token("jobs")
    raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    with pytest.raises(FieldInvalid):
        cursor_of(base64.urlsafe_b64encode(raw + b"\0").rstrip(b"=").decode(), "jobs")


@given(cursors(), st.data())
def test_a_token_that_was_cut_or_changed_is_refused_or_is_a_cursor_of_sane_numbers(
    cursor: Cursor, data: st.DataObject
) -> None:
    token = list(cursor.token("jobs"))
    at = data.draw(st.integers(0, len(token) - 1))
    token[at] = data.draw(st.sampled_from("ABCabc019-_"))
    try:
        read = cursor_of("".join(token[: data.draw(st.integers(0, len(token)))]), "jobs")
    except FieldInvalid:
        return
    for snapshot in (read.told, read.target or read.told):
        assert 0 <= snapshot.xmin <= snapshot.xmax < 1 << 62
        assert list(snapshot.under_way) == sorted(snapshot.under_way)


def test_a_token_of_another_cell_is_refused() -> None:
    raw = bytearray(base64.urlsafe_b64decode(Cursor(HISTORY, NOTHING, NOW, NOW).token("jobs") + "=="))
    assert raw[:3] == b"\x02\x00\x00"
    raw[2] |= 0x40
    with pytest.raises(FieldInvalid, match="is not a token that WatchJobs gave"):
        cursor_of(base64.urlsafe_b64encode(raw).decode(), "jobs")


def told(*, xmin: int, xmax: int, next_one: int, under_way: tuple[int, ...] = ()) -> Snapshot:
    return Snapshot(xmin, xmax, under_way, next_one)


def test_changes_are_looked_for_from_where_the_oldest_transaction_may_have_begun() -> None:
    before, after = NOW - timedelta(minutes=1), NOW
    cursor = Cursor(HISTORY, told(xmin=10, xmax=12, next_one=13), before, before - timedelta(seconds=30))
    for target, since in (
        (told(xmin=20, xmax=20, next_one=20), after),
        (told(xmin=13, xmax=20, next_one=21, under_way=(13,)), before),
        # Number 12 may have been under way at the look before, whose xmax does not say so.
        (told(xmin=12, xmax=20, next_one=21, under_way=(12,)), cursor.since),
    ):
        moved = cursor.aims_at(target, after).at_the_end()
        assert (moved.told, moved.at, moved.since) == (target, after, since)
        assert moved.starts_after() == Change(since - LATE_COMMITS, FIRST_ID)


def test_a_transaction_without_end_does_not_make_every_look_longer() -> None:
    cursor = Cursor(HISTORY, told(xmin=10, xmax=12, next_one=13), NOW, NOW - timedelta(hours=9))
    assert cursor.starts_after().at == NOW - LONGEST_COMMIT - LATE_COMMITS


def test_a_watch_that_has_told_nothing_begins_with_the_oldest_change() -> None:
    cursor = Cursor(HISTORY, NOTHING, NOW, NOW)
    assert cursor.starts_after() == cursor.last


def test_a_token_of_before_namespaces_is_one_of_the_first_and_of_no_other() -> None:
    assert tokens.within(SCOPE, "jobs") == "jobs"
    assert tokens.within(Scope(2, "other"), "jobs") not in ("jobs", tokens.within(Scope(3, "other"), "jobs"))
