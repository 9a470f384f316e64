"""What a new schema refuses that a stored one takes, by the cases that are named; and what is no break."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

import pytest

from jobqueue import Kind, Upcast, define_kind
from jobqueue.typed.changes import breaks, difference

pytestmark = pytest.mark.unit

OLD: dict[str, Any] = {
    "type": "object",
    "required": ["to"],
    "properties": {
        "to": {"type": "string"},
        "size": {"type": "number"},
        "mode": {"enum": ["a", "b", "c"]},
        "who": {"$ref": "#/$defs/Who"},
        "tags": {"type": "array", "items": {"type": ["string", "null"]}},
    },
    "$defs": {"Who": {"type": "object", "properties": {"name": {"type": "string"}}}},
}


def changed(**properties: Any) -> dict[str, Any]:
    return {**OLD, "properties": {**OLD["properties"], **properties}}


BREAKING = {
    "a field becomes required": (
        {**OLD, "required": ["to", "size"]},
        "payload.size is required",
    ),
    "a field of a definition becomes required": (
        {**OLD, "$defs": {"Who": {"type": "object", "required": ["name"], "properties": {}}}},
        "payload.who.name is required",
    ),
    "a type narrows": (changed(size={"type": "integer"}), "payload.size: of type number is refused"),
    "another type": (changed(to={"type": "integer"}), "payload.to: of type string is refused"),
    "of a list": (
        changed(tags={"type": "array", "items": {"type": "string"}}),
        "payload.tags[]: of type null is refused",
    ),
    "an enum shrinks": (changed(mode={"enum": ["a", "c", "d"]}), 'payload.mode: "b" is refused'),
    "one value is left": (changed(to={"const": "x"}), 'payload.to must be one of "x"'),
    "a type appears": (changed(mode={"type": "string"}), "payload.mode must be of type string"),
    "unknown fields": (
        {**OLD, "additionalProperties": False},
        "payload: fields that are not known are refused",
    ),
    "nothing is taken": (False, "payload is refused"),
}


@pytest.mark.parametrize("name", BREAKING)
def test_each_named_case_is_a_break(name: str):
    after, words = BREAKING[name]
    assert breaks(OLD, after) == (words,)


@pytest.mark.parametrize(
    "after",
    [
        OLD,
        None,
        True,
        {},
        {**OLD, "required": []},
        changed(new={"type": "string"}),
        changed(size={"type": ["number", "string"]}),
        changed(to={"anyOf": [{"type": "string"}, {"type": "null"}]}),
        changed(mode={"enum": ["d", "c", "b", "a"]}),
        {**changed(who={"$ref": "#/$defs/Person"}), "$defs": {"Person": OLD["$defs"]["Who"]}},
    ],
    ids=["same", "none", "true", "any", "optional", "field", "wider", "choice", "enum", "renamed"],
)
def test_what_takes_more_is_no_break(after: Any):
    assert breaks(OLD, after) == ()


def test_a_whole_number_may_become_any_number_and_a_schema_that_holds_itself_ends():
    assert breaks({"type": "integer"}, {"type": "number"}) == ()
    tree = {"properties": {"next": {"$ref": "#"}, "leaf": {"type": "string"}}, "$ref": "#"}
    assert breaks(tree, tree) == ()


@dataclass
class First:
    name: str


class Mode(Enum):
    FAST = "fast"
    SLOW = "slow"


@dataclass
class Second:
    first: str
    last: str
    mode: Mode = Mode.FAST


def kept(kind: Any) -> Kind:
    return kind.declaration()[0]


def test_a_version_with_an_upcaster_breaks_nothing_and_without_one_it_does():
    before = define_kind("mail", First)
    after = define_kind("mail", Second, version=2, upcasters={1: Upcast(lambda older: older, First)})
    found = difference(after, kept(before))
    assert (found.breaking, found.newer, found.new, found.notes) == ((), False, False, ())
    assert any(line.startswith("+") and '"version": 2' in line for line in found.lines)
    found = difference(define_kind("mail", Second, version=2), kept(before))
    assert found.breaking == ("payload.first is required", "payload.last is required")


def test_a_version_that_goes_is_a_break():
    both = define_kind("mail", Second, version=2, upcasters={1: Upcast(lambda older: older, First)})
    assert difference(
        define_kind("mail", Second, version=3, upcasters={2: Upcast(lambda v: v, Second)}), kept(both)
    ).breaking == ("version 1 is not taken any more",)


def test_a_narrower_value_of_the_same_version_is_a_break():
    @dataclass
    class Narrow:
        first: str
        last: str
        mode: Literal["fast"] = "fast"

    found = difference(define_kind("mail", Narrow), kept(define_kind("mail", Second)))
    assert found.breaking == ('payload.mode: "slow" is refused',)


def test_what_is_so_already_has_no_difference_and_what_is_not_there_is_new():
    kind = define_kind("mail", Second, max_attempts=3)
    assert difference(kind, kept(kind)).lines == ()
    # What the declaration does not name is not compared.
    assert difference(define_kind("mail", Second), kept(kind)).lines == ()
    found = difference(kind, None)
    assert (found.new, bool(found.lines), found.breaking) == (True, True, ())


def test_an_older_program_has_no_difference_and_says_so():
    newer = kept(define_kind("mail", Second, version=3))
    found = difference(define_kind("mail", First, version=2, upcasters={1: lambda older: older}), newer)
    assert (found.lines, found.newer) == ((), True)
    assert "the server has version 3, this program 2" in found.notes[0]
    assert found.notes[1] == "version 1 has an upcaster without a type: any object is taken of it"
