"""How many functions of the server an enqueue calls: the lock is what a change is compared with."""

from __future__ import annotations

import pytest

from bench.calls import WALKS, Counts, count_all, differing, locked, name_of, total
from bench.postgres import Cluster


@pytest.mark.slow
async def test_an_enqueue_calls_as_many_functions_of_the_server_as_the_lock_says():
    async with Cluster() as cluster:
        found = await count_all(cluster, lambda walk: None)
    assert differing(found) == [], "where they are meant to differ: python -m bench calls --lock"


@pytest.mark.unit
def test_the_lock_has_each_walk():
    assert list(locked()) == [name_of(walk) for walk in WALKS]


@pytest.mark.unit
def test_a_walk_that_calls_more_is_named_with_both_numbers():
    known = locked()
    found: dict[str, Counts] = {name: {"one": float(number)} for name, number in known.items()}
    assert differing(found) == []
    found["rest, plain"]["another"] = known["rest, plain"] * 0.05
    (line,) = differing(found)
    assert line == (
        f"rest, plain: {total(found['rest, plain'])} calls, and {known['rest, plain']} in calls.lock"
    )
