"""What a typed kind makes of values and of JSON: the table, the errors, and the schema that agrees with both."""

from __future__ import annotations

import dataclasses
import enum
import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Generic, Literal, NamedTuple, NewType, NotRequired, TypedDict, TypeVar
from uuid import UUID

import jsonschema_rs
import pytest

from jobqueue.typed.codec import Codec
from jobqueue.typed.shapes import Mismatch, Unsupported

pytestmark = pytest.mark.unit

T = TypeVar("T")
UserId = NewType("UserId", int)


class Colour(enum.Enum):
    RED = "red"
    NUMBERED = 7


@dataclasses.dataclass
class Item:
    """What is sold."""

    sku: str
    count: int = 1


@dataclasses.dataclass(frozen=True)
class Order:
    items: list[Item]
    note: str | None = None
    total: Decimal = Decimal(0)


@dataclasses.dataclass
class Tree:
    name: str
    children: list[Tree] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Box(Generic[T]):
    inside: T
    more: list[T] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Even:
    number: int

    def __post_init__(self) -> None:
        if self.number % 2:
            raise ValueError("an odd one")


class Movie(TypedDict):
    title: str
    year: NotRequired[int]


class Point(NamedTuple):
    x: float
    y: float = 0.0


MOMENT = datetime(2026, 11, 28, 17, 2, 31, 250000, UTC)
ID = UUID("9d5c2b7e-4a53-4d1e-8a53-1f0c7a2b9e10")

#: A type, a value of it, and its JSON.
TABLE: list[tuple[Any, Any, Any]] = [
    (Any, {"a": [1]}, {"a": [1]}),
    (None, None, None),
    (bool, True, True),
    (int, 12345678901234567890, 12345678901234567890),
    (float, 1.5, 1.5),
    (str, "é", "é"),
    (list[int], [1, 2], [1, 2]),
    (list, [1, "a"], [1, "a"]),
    (Sequence[str], ["a"], ["a"]),
    (tuple[int, ...], (1, 2), [1, 2]),
    (tuple[int, str], (1, "a"), [1, "a"]),
    (tuple[()], (), []),
    (set[int], {1}, [1]),
    (frozenset[str], frozenset({"a"}), ["a"]),
    (dict[str, int], {"a": 1}, {"a": 1}),
    (Mapping[str, list[int]], {"a": [1]}, {"a": [1]}),
    (Literal["a", 1, None], 1, 1),
    (Colour, Colour.NUMBERED, 7),
    (int | None, None, None),
    (int | str, "a", "a"),
    (datetime, MOMENT, "2026-11-28T17:02:31.250000Z"),
    (datetime, MOMENT.astimezone(timezone(timedelta(hours=2))), "2026-11-28T19:02:31.250000+02:00"),
    (date, date(2026, 11, 28), "2026-11-28"),
    (UUID, ID, str(ID)),
    (Decimal, Decimal("1.50"), "1.50"),
    (timedelta, timedelta(days=1, hours=2, milliseconds=500), "P1DT7200.5S"),
    (timedelta, timedelta(0), "PT0S"),
    (timedelta, -timedelta(seconds=90), "-PT90S"),
    (UserId, 7, 7),
    (Item, Item("a", 2), {"sku": "a", "count": 2}),
    (Order, Order([Item("a")], "now", Decimal("9.99")), {
        "items": [{"sku": "a", "count": 1}], "note": "now", "total": "9.99"
    }),
    (Tree, Tree("a", [Tree("b")]), {"name": "a", "children": [{"name": "b", "children": []}]}),
    (Box[int], Box(1, [2]), {"inside": 1, "more": [2]}),
    (Movie, {"title": "M"}, {"title": "M"}),
    (Movie, {"title": "M", "year": 1931}, {"title": "M", "year": 1931}),
    (Point, Point(1.0, 2.0), {"x": 1.0, "y": 2.0}),
    (list[Item] | None, [Item("a", 1)], [{"sku": "a", "count": 1}]),
]  # fmt: skip


def text(value: Any) -> bytes:
    return json.dumps(value).encode()


@pytest.mark.parametrize(("of", "value", "said"), TABLE, ids=[str(row[0])[:40] for row in TABLE])
def test_a_value_goes_through_json_and_comes_back(of: Any, value: Any, said: Any):
    codec = Codec(of, "it")
    encoded = codec.encode(value).raw
    assert json.loads(encoded) == said
    decoded = codec.decode(encoded)
    assert decoded == value
    assert type(decoded) is type(value)
    assert jsonschema_rs.is_valid(codec.schema(), said)


def test_a_field_that_is_missing_has_its_default_and_one_that_is_unknown_is_passed_over():
    assert Codec(Item, "it").decode(b'{"sku": "a", "colour": "red"}') == Item("a", 1)
    with pytest.raises(Mismatch, match=r"^\.colour: must be left out"):
        Codec(Item, "it", strict=True).decode(b'{"sku": "a", "colour": "red"}')


@pytest.mark.parametrize(
    ("of", "said", "words"),
    [
        (int, "7", "the value: must be a whole number"),
        (int, True, "the value: must be a whole number"),
        (int, 1.5, "the value: must be a whole number"),
        (float, "1", "the value: must be a number"),
        (str, 7, "the value: must be a string"),
        (bool, 1, "the value: must be true or false"),
        (Literal["a", "b"], "c", "the value: must be one of 'a', 'b'"),
        (Literal[1], True, "the value: must be one of 1"),
        (Colour, "blue", "the value: must be one of 'red', 7"),
        (int | None, "a", "the value: must be a whole number or null"),
        (tuple[int, str], [1], "the value: must be an array of 2"),
        (datetime, "2026-11-28T17:02:31", "the value: must be a time with an offset, such as 2026-11-28T17:02:31Z"),
        (datetime, "2026-02-30T00:00:00Z", "the value: must be a time with an offset, such as 2026-11-28T17:02:31Z"),
        (timedelta, "P", "the value: must be a span such as PT90S or P1DT2H"),
        (UUID, "x", "the value: must be a UUID, such as 9d5c2b7e-4a53-4d1e-8a53-1f0c7a2b9e10"),
        (Item, [], "the value: must be an object"),
        (Item, {}, ".sku: must be there"),
        (Order, {"items": [{"sku": "a"}, {"sku": 7}]}, ".items[1].sku: must be a string"),
        (list[Item] | None, [{"sku": "a"}, {"sku": 7}], "[1].sku: must be a string"),
        (list[int], [1, True], "[1]: must be a whole number"),
        (tuple[int, list[str]], [1, ["a", 7]], "[1][1]: must be a string"),
        (dict[str, list[Item]], {"a": [{"sku": "b"}, {}]}, ".a[1].sku: must be there"),
        (dict[str, int], {"a b": "secret"}, "['a b']: must be a whole number"),
        (Even, {"number": 3}, "the value: must be a Even: an odd one"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_by_its_place_and_never_shows_the_value(of: Any, said: Any, words: str):
    with pytest.raises(Mismatch) as raised:
        Codec(of, "it").decode(text(said))
    assert str(raised.value) == words
    assert "secret" not in words


@pytest.mark.parametrize(
    ("of", "value", "words"),
    [
        (Item, {"sku": "a"}, "the value: must be a Item"),
        (Item, Item(7), ".sku: must be a string"),  # type: ignore[arg-type]
        (list[Item], [Item("a"), Item("b", True)], "[1].count: must be a whole number"),
        (tuple[str, dict[str, str]], ("a", {"b": 7}), "[1].b: must be a string"),
        (float, math.nan, "the value: must be a finite number"),
        (datetime, datetime(2026, 1, 1), "the value: must be a time with an offset, such as 2026-11-28T17:02:31Z"),
        (Decimal, Decimal("NaN"), 'the value: must be a decimal number, such as "1.50"'),
        (dict[str, int], {1: 1}, "the value: must be a dict whose keys are str"),
        (Movie, {"title": "M", "yaer": 1931}, ".yaer: must be left out: it is not known"),
        (list[int], "12", "the value: must be a list"),
        (str, "\ud800", "the value: must be what JSON has a form for: the value holds half of a surrogate pair"),
    ],
)  # fmt: skip
def test_a_value_that_is_not_of_its_type_is_refused_before_it_is_sent(of: Any, value: Any, words: str):
    with pytest.raises(Mismatch) as raised:
        Codec(of, "it").encode(value)
    assert str(raised.value).startswith(words)


@pytest.mark.parametrize("of", [bytes, complex, dict[int, str], type, 7])
def test_a_type_without_a_form_in_json_is_refused_when_it_is_declared(of: Any):
    @dataclasses.dataclass
    class Holder:
        field: of

    Holder.__annotations__["field"] = of
    with pytest.raises(Unsupported, match=r"^it\.field is "):
        Codec(Holder, "it")


def test_what_nests_too_deeply_is_told_and_not_crashed_on():
    deep: Any = {"name": "a"}
    for _ in range(20_000):
        deep = {"name": "a", "children": [deep]}
    tree = Tree("a")
    tree.children.append(tree)
    with pytest.raises(Mismatch, match="nested less deeply"):
        Codec(Tree, "it").value(deep)
    with pytest.raises(Mismatch, match="must not hold itself"):
        Codec(Tree, "it").encode(tree)


def test_the_schema_names_what_holds_itself_once_and_says_nothing_of_unknown_fields():
    assert Codec(Order, "it").schema() == {
        "$ref": "#/$defs/Order",
        "$defs": {
            "Order": {
                "type": "object",
                "title": "Order",
                "properties": {
                    "items": {"type": "array", "items": {"$ref": "#/$defs/Item"}},
                    "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                    "total": Codec(Decimal, "it").schema(),
                },
                "required": ["items"],
            },
            "Item": {
                "type": "object",
                "title": "Item",
                "description": "What is sold.",
                "properties": {"sku": {"type": "string"}, "count": {"type": "integer"}},
                "required": ["sku"],
            },
        },
    }
    strict = Codec(Tree, "it", strict=True).schema()
    assert strict["$defs"]["Tree"]["additionalProperties"] is False
