"""A waiting line in which principals take turns, and the connections of each."""

from __future__ import annotations

import pytest

from jobqueue_server.fair.line import FairLine
from jobqueue_server.fair.owner import CALLER, Owner

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
        line.append(f"flood {number}", caller="flooding")
    line.append("one", caller="quiet")
    assert drained(line) == ["flood 0", "one", "flood 1", "flood 2", "flood 3"]


def test_callers_take_turns_and_each_keeps_its_order():
    line: FairLine[str] = FairLine()
    for caller in ("a", "b", "c"):
        for number in range(2):
            line.append(f"{caller}{number}", caller=caller)
    assert drained(line) == ["a0", "b0", "c0", "a1", "b1", "c1"]


def test_one_that_comes_again_waits_behind_all_others():
    line: FairLine[str] = FairLine()
    line.append("a0", caller="a")
    line.append("b0", caller="b")
    assert line.pop() == "a0"
    line.append("a1", caller="a")
    assert drained(line) == ["b0", "a1"]


def test_the_caller_is_that_of_the_current_call():
    line: FairLine[str] = FairLine()
    token = CALLER.set("first")
    line.append("1")
    line.append("2")
    CALLER.reset(token)
    line.append("inside")
    assert drained(line) == ["1", "inside", "2"]


def test_a_principal_with_many_connections_has_one_turn_among_principals():
    line: FairLine[str] = FairLine()
    flooding: Owner = (1, "key:flood")
    for connection in range(3):
        line.append(f"flood {connection}", flooding, f"connection {connection}")
    line.append("one", (1, "key:modest"), "another")
    line.append("two", (1, "key:modest"), "another")
    assert drained(line) == ["flood 0", "one", "flood 1", "two", "flood 2"]
