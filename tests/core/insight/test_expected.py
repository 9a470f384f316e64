"""What is asked for at intervals is expected, a moment before it is asked for again."""

from __future__ import annotations

from jobqueue_server.core.insight.expected import MOST_ASKED, RAREST, Expected


class Clock:
    """The time of a test."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def _read() -> None:
    raise AssertionError("it is for the caller to read")


def _expected(clock: Clock, most: int = 10) -> Expected[str, None]:
    return Expected(1.0, most=most, clock=clock)


def _asked(expected: Expected[str, None], clock: Clock, **ats: float) -> None:
    for key, at in sorted(ats.items(), key=lambda each: each[1]):
        clock.now = 1000.0 + at
        expected.asked(key, _read)


def _soon(expected: Expected[str, None], clock: Clock, at: float) -> list[str]:
    clock.now = 1000.0 + at
    return [key for key, _ in expected.soon()]


def test_what_was_asked_for_twice_is_expected_after_as_long_a_time_and_only_once() -> None:
    clock = Clock()
    expected = _expected(clock)
    _asked(expected, clock, a=0, b=0.3, late=0.9)
    _asked(expected, clock, a=10, b=10.4, late=10.9)
    assert _soon(expected, clock, 19) == []
    # An answer of now is too old for the last of them.
    assert _soon(expected, clock, 20) == ["a", "b"]
    # What was looked for a moment ago is not looked for again.
    assert _soon(expected, clock, 20.5) == []
    assert _soon(expected, clock, 20.81) == ["late"]
    assert _soon(expected, clock, 21.7) == []


def test_what_is_asked_for_once_or_all_the_time_or_rarely_is_not_expected() -> None:
    clock = Clock()
    expected = _expected(clock)
    _asked(expected, clock, once=0, rarely=0, often=RAREST)
    _asked(expected, clock, rarely=RAREST + 0.1, often=RAREST + 0.9)
    for at in (RAREST + 1.5, 2 * RAREST, 2 * RAREST + 0.1):
        assert _soon(expected, clock, at) == []


def test_more_than_one_look_may_take_is_left_for_the_next() -> None:
    clock = Clock()
    expected = _expected(clock, most=2)
    for at in (0, 10):
        _asked(expected, clock, a=at, b=at + 0.1, c=at + 0.2, d=at + 0.3)
    assert _soon(expected, clock, 20) == ["a", "b"]
    assert _soon(expected, clock, 20.05) == []
    assert _soon(expected, clock, 20.15) == ["c", "d"]


def test_who_asks_no_more_is_forgotten() -> None:
    clock = Clock()
    expected = _expected(clock)
    _asked(expected, clock, a=0, b=100)
    _soon(expected, clock, 101)
    assert list(expected._asked) == ["b"]


def test_who_asks_for_ever_new_names_is_remembered_by_the_newest_of_them() -> None:
    clock = Clock()
    expected = _expected(clock)
    for number in range(MOST_ASKED + 5):
        expected.asked(f"{number}", _read)
    assert len(expected._asked) == MOST_ASKED
    assert next(iter(expected._asked)) == "5"
