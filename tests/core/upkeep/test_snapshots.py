"""For how long something has kept dead rows, told from numbers of transactions alone."""

from __future__ import annotations

import pytest

from jobqueue_server.core.upkeep.snapshots import MOST, SnapshotAges

pytestmark = pytest.mark.unit


def ages(*seen: tuple[float, int]) -> SnapshotAges:
    made = SnapshotAges()
    for at, next_xid in seen:
        made.note(at, next_xid)
    return made


BUSY = [(minute * 60.0, 100 + minute * 10) for minute in range(11)]  # 100 at 0 s, 200 at 600 s


def test_nobody_keeps_anything():
    assert ages(*BUSY).age(600, None, None) == 0


def test_a_number_is_as_old_as_the_first_look_that_found_it_used_up():
    # 150 was the next number at 300 s, and was used up at 360 s.
    assert ages(*BUSY).age(600, 150, None) == 240


def test_while_nothing_is_written_nothing_is_kept():
    assert ages((0, 100), (3600, 100)).age(3600, 100, 3600) == 0


def test_a_number_from_before_the_first_look_is_as_old_as_its_transaction_says_or_at_least_as_the_first_look():
    assert ages(*BUSY).age(600, 42, 5000) == 5000
    assert ages(*BUSY).age(600, 42, None) == 600


def test_no_snapshot_is_older_than_its_transaction():
    assert ages(*BUSY).age(600, 150, 200) == 200


def test_another_database_begins_anew():
    seen = ages(*BUSY)
    seen.note(700, 50)
    assert seen.age(700, 150, None) == 0
    seen.note(760, 60)
    assert seen.age(800, 55, None) == 40


def test_what_is_remembered_is_bounded():
    seen = ages(*((at * 60.0, at) for at in range(1, MOST * 2)))
    assert len(seen._seen) == MOST
    assert seen.age(MOST * 120.0, 0, None) >= (MOST - 1) * 60
