"""The load of a server, as it is written and read."""

from __future__ import annotations

import json

import pytest

from jobqueue_server.core.session.load import ANY_SIZE, MAX_BYTES, Workers, read, written

pytestmark = pytest.mark.unit


def test_what_was_written_is_read():
    load = {
        (1, "mail", "send"): Workers(2, 20, 5, 1, 1, 0, 0, ANY_SIZE, most_slots=20, most_free=5),
        (2, "mail", "send"): Workers(1, 4, 2, 0, 0, 1, 1, 512, most_slots=4, most_free=2),
        (1, "mail", ""): Workers(draining=1),
        (1, "mail", "idle"): Workers(arrived=9, ended=4),
    }
    assert read(written(load)) == load


def test_the_largest_worker_is_told_of_where_jobs_take_several_slots_and_of_others_nothing_is():
    heavy = Workers(3, 12, 4, largest=ANY_SIZE, most_slots=6, most_free=2, weighed=True)
    full = Workers(1, 4, 0, most_slots=4, most_free=0, weighed=True)
    light = Workers(3, 12, 4, largest=ANY_SIZE, most_slots=6, most_free=2)
    found = read(written({(1, "a", "heavy"): heavy, (1, "a", "full"): full, (1, "a", "light"): light}))
    assert [
        (found[1, "a", kind].most_slots, found[1, "a", kind].most_free) for kind in ("heavy", "full")
    ] == [
        (6, 2),
        (4, 0),
    ]
    assert "most" not in written({(1, "a", "light"): light})


def test_a_load_is_never_longer_than_its_bound_and_keeps_what_has_the_most_slots():
    load = {(1, "q" * 128, f"{number:0128}"): Workers(1, number, 0) for number in range(1, 1001)}
    text = written(load)
    assert len(text) <= MAX_BYTES
    kept = {int(kind) for _, _, kind in read(text)}
    assert kept == set(range(1001 - len(kept), 1001))
    assert len(kept) > 150


def test_equal_loads_are_written_alike_and_what_a_newer_server_adds_is_passed_over():
    one = {
        (1, "a", "k"): Workers(1, 1, 1, largest=ANY_SIZE, most_slots=1, most_free=1),
        (1, "b", "k"): Workers(1, 1, 0, most_slots=1),
    }
    assert written(one) == written(dict(reversed(one.items())))
    entries = json.loads(written(one))
    entries[0][3]["tomorrow"] = 7
    assert read(json.dumps(entries)) == one
