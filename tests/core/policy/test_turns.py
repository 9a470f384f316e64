"""How many jobs of one key may stand in line where keys take turns."""

from __future__ import annotations

import pytest

from jobqueue_server.core.policy.turns import Turns
from jobqueue_server.core.tuning import Tuning

from ..brain import Brain, lane, session

pytestmark = pytest.mark.unit

ONE, OTHER = lane(1), lane(2, queue=2)


def turns(*slots: int, most: int = 1000) -> Turns:
    """Of workers with so many slots."""
    brain = Brain(ONE, OTHER)
    brain.attach(*(session(number, count, ONE) for number, count in enumerate(slots, 1)))
    return Turns(brain.takers, Tuning(most_claimed=most))


def keys(count: int, first: int = 0) -> list[str]:
    return [f"k{number}" for number in range(first, first + count)]


def test_one_key_has_a_place_for_each_slot():
    assert turns(10, 30).places(1, ["a"] * 7) == 40


def test_keys_share_the_slots():
    made = turns(40)
    assert made.places(1, ["a", "b"] * 7) == 20
    assert made.places(1, keys(14)) == 3


def test_where_keys_are_more_than_slots_each_has_one_place():
    made = turns(10)
    assert made.places(1, keys(10)) == 1
    for first in range(10, 1000, 10):
        assert made.places(1, keys(10, first)) == 1


def test_keys_that_start_nothing_any_more_are_forgotten_after_two_rounds():
    made = turns(10)
    made.places(1, keys(30))
    for _ in range(4):
        places = made.places(1, ["a"] * 10)
    assert places == 10


def test_keys_that_start_seldom_are_not_forgotten_within_a_round():
    made = turns(10)
    made.places(1, keys(10))
    assert [made.places(1, [key]) for key in keys(9)] == [1] * 9


def test_keys_of_the_round_before_share_the_slots_of_this_one():
    made = turns(10)
    made.places(1, keys(20))
    assert made.places(1, keys(1)) == 1


def test_a_server_without_workers_gives_one_place():
    assert turns().places(1, ["a"]) == 1
    assert turns(10).places(2, ["a"]) == 1, "its workers take another queue's jobs"


def test_no_line_is_longer_than_what_one_claim_takes():
    assert turns(*[100] * 50, most=300).places(1, ["a"]) == 300


def test_queues_have_rounds_of_their_own():
    made = turns(10)
    made.places(2, keys(10))
    assert made.places(1, ["a"]) == 10
