"""A waiting line in which principals take turns, and the connections of each."""

from __future__ import annotations

import pytest

from jobqueue_server.fair.line import FairLine
from jobqueue_server.fair.owner import CALLER, Owner

pytestmark = pytest.mark.unit


def drained(line: FairLine[str]) -> list[str]:
    found = []
    while (unit := line.peek()) is not None:
        found.append(unit)
        assert line.pop() == unit
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


def test_jobs_that_come_one_by_one_are_as_many_as_those_that_come_at_once():
    line: FairLine[int] = FairLine()
    for _ in range(3):
        line.append(1000, (1, "key:flood"), "a")
    for _ in range(5):
        line.append(1, (1, "key:modest"), "b")
    order = []
    while (jobs := line.peek()) is not None:
        order.append(jobs)
        line.pop(jobs)
    assert order == [1000, 1, 1, 1, 1, 1, 1000, 1000]


def test_one_that_was_away_has_no_more_turns_than_the_others_for_that():
    line: FairLine[str] = FairLine()
    for number in range(100):
        line.append(f"flood {number}", (1, "key:flood"), "a")
    for _ in range(50):
        line.pop()
    for number in range(3):
        line.append(f"late {number}", (2, "key:late"), "b")
    assert drained(line)[:6] == ["late 0", "flood 50", "late 1", "flood 51", "late 2", "flood 52"]
