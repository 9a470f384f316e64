"""The list of what callers share is that of the code."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import jobqueue_server
from jobqueue_server.errors import registry
from jobqueue_server.fair.places import BY_DATABASE, LINE, PLACES, SHARE, TURNS

pytestmark = pytest.mark.unit

SERVER = Path(jobqueue_server.__file__).parent
#: The classes that make places; what the database gives turns has a constant.
MADE_BY = {SHARE: "Share", TURNS: "Turns", LINE: "FairLine"}


def made() -> Iterator[tuple[str, str, str]]:
    """Each place that the code makes: its file, the attribute that has it, and its class."""
    for path in sorted(SERVER.rglob("*.py")):
        name, text = str(path.relative_to(SERVER)), path.read_text()
        if ".fair." not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
                target = node.targets[0] if isinstance(node, ast.Assign) else node.target
                attribute = target.attr if isinstance(target, ast.Attribute) else ""
                for call in ast.walk(node.value):
                    if isinstance(call, ast.Call) and (found := called(call)) in MADE_BY.values():
                        yield name, attribute, found


def called(call: ast.Call) -> str:
    """The name of what is called: of `FairLine[T]()` too."""
    function = call.func
    return function.id if isinstance(function, ast.Name) else ""


def test_each_place_that_callers_share_is_listed_and_each_that_is_listed_is_there():
    listed = [(*place.made, MADE_BY[place.how]) for place in PLACES if place.how in MADE_BY]
    assert set(made()) == set(listed)
    assert len(listed) == len(set(listed))


def test_what_the_database_gives_turns_is_bounded_where_the_list_says() -> None:
    for place in PLACES:
        if place.how == BY_DATABASE:
            file, constant = place.made
            assert f"\n{constant} = " in (SERVER / file).read_text()


def test_what_is_answered_where_nothing_is_left_is_a_reason():
    reasons = {place.full for place in PLACES if place.full.isupper()}
    assert reasons
    assert reasons <= set(registry())


def test_no_other_place_bounds_callers_first_come_first_served():
    found = [
        str(path.relative_to(SERVER))
        for path in sorted(SERVER.rglob("*.py"))
        if "Semaphore(" in path.read_text()
    ]
    assert found == []
