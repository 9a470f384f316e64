"""Who is fired apart from rounds: by turns of principals, and with growing pauses for who fails."""

from __future__ import annotations

import pytest

from jobqueue_server.core.schedule.apart import FIRST_PAUSE, LONGEST_PAUSE, MOST_APART, Apart

pytestmark = pytest.mark.unit

GREEDY, MODEST = (1, "key:greedy"), (1, "key:modest")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_principals_take_turns_however_many_groups_one_has() -> None:
    apart = Apart()
    for number in range(5):
        apart.add(GREEDY, [number])
    apart.add(MODEST, [100])
    assert [apart.take() for _ in range(3)] == [(GREEDY, [0]), (MODEST, [100]), (GREEDY, [1])]


def test_no_round_finds_who_waits_here_or_is_fired_apart_just_now() -> None:
    apart = Apart()
    apart.add(GREEDY, [1, 2])
    assert sorted(apart.left_out()) == [1, 2]
    assert apart.take() == (GREEDY, [1, 2])
    assert sorted(apart.left_out()) == [1, 2]
    apart.done([1, 2])
    assert apart.left_out() == []
    assert apart.take() is None


def test_there_is_an_end_to_how_many_wait_here() -> None:
    apart = Apart()
    assert apart.add(GREEDY, range(MOST_APART))
    assert not apart.add(MODEST, [MOST_APART])
    assert len(apart.left_out()) == MOST_APART


def test_who_fails_is_left_alone_for_a_growing_time_and_anew_once_it_has_fired() -> None:
    clock = Clock()
    apart = Apart(clock)
    pauses = []
    for _ in range(12):
        pauses.append(apart.failed(7))
        assert apart.left_out() == [7]
        clock.now += pauses[-1]
        assert apart.left_out() == []
        assert apart.was_refused(7), "it is in no round before it has fired"
    assert pauses[:3] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
    assert pauses[-1] == LONGEST_PAUSE
    apart.fired(7)
    assert not apart.was_refused(7)
    assert apart.failed(7) == FIRST_PAUSE


def test_who_is_refused_is_tried_at_its_next_tick_and_alone() -> None:
    apart = Apart()
    apart.failed(7)
    apart.refused(7)
    assert apart.was_refused(7)
    assert apart.left_out() == []
