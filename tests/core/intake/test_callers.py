"""A waiting line in which callers take turns."""

from __future__ import annotations

import pytest

from jobqueue_server.core.intake.callers import CALLER, FairLine

pytestmark = pytest.mark.unit


def drained(line: FairLine[str]) -> list[str]:
    found = []
    while line:
        found.append(line.peek())
        assert line.pop() == found[-1]
    return found


def test_a_flood_waits_behind_itself_only():
    line: FairLine[str] = FairLine()
    for number in range(4):
        line.append(f"flood {number}", "flooding")
    line.append("one", "quiet")
    assert drained(line) == ["flood 0", "one", "flood 1", "flood 2", "flood 3"]


def test_callers_take_turns_and_each_keeps_its_order():
    line: FairLine[str] = FairLine()
    for caller in ("a", "b", "c"):
        for number in range(2):
            line.append(f"{caller}{number}", caller)
    assert drained(line) == ["a0", "b0", "c0", "a1", "b1", "c1"]


def test_one_that_comes_again_waits_behind_all_others():
    line: FairLine[str] = FairLine()
    line.append("a0", "a")
    line.append("b0", "b")
    assert line.pop() == "a0"
    line.append("a1", "a")
    assert drained(line) == ["b0", "a1"]


def test_the_caller_is_that_of_the_current_call():
    line: FairLine[str] = FairLine()
    token = CALLER.set("first")
    line.append("1")
    line.append("2")
    CALLER.reset(token)
    line.append("inside")
    assert drained(line) == ["1", "inside", "2"]
