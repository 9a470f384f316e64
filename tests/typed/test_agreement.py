"""A type decodes what its schema allows, and nothing else: drawn types, and JSON that is nearly of them."""

from __future__ import annotations

import dataclasses
import enum
import json
from datetime import timedelta
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import jsonschema_rs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobqueue.typed.codec import Codec
from jobqueue.typed.shapes import Mismatch

pytestmark = [pytest.mark.slow, pytest.mark.any_engine]


class Colour(enum.Enum):
    RED = "red"
    NUMBERED = 7


_ID = "9d5c2b7e-4a53-4d1e-8a53-1f0c7a2b9e10"
#: Types of one level: what their values are, and JSON that may be near to one.
LEAVES: list[Any] = [
    bool,
    int,
    float,
    str,
    None,
    UUID,
    Decimal,
    timedelta,
    Literal["a", 1],
    Literal[True],
    Colour,
]


def _or_none(of: Any) -> Any:
    return of if of is None else of | None


def types_of(inner: Any) -> Any:
    @st.composite
    def made(draw: st.DrawFn) -> Any:
        names = draw(st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True))
        # A field with a default comes after those without one.
        fields: list[Any] = [(name, draw(inner)) for name in names[:1]]
        fields += [(name, _or_none(draw(inner)), dataclasses.field(default=None)) for name in names[1:]]
        return dataclasses.make_dataclass("Made", fields)

    return st.one_of(
        inner.map(lambda of: list[of]),  # type: ignore[valid-type]
        inner.map(lambda of: dict[str, of]),  # type: ignore[valid-type]
        inner.map(_or_none),
        st.tuples(inner, inner).map(lambda pair: tuple.__class_getitem__(pair)),
        st.tuples(inner, inner).map(lambda pair: list.__class_getitem__(pair[0]) | pair[1]),
        made(),
    )


TYPES = st.recursive(st.sampled_from(LEAVES), types_of, max_leaves=6)
TEXTS = st.sampled_from(
    ["", "a", "red", "1.5", "-3e2", ".", "PT1S", "P1DT", "P1D", "PT", _ID, _ID.upper(), "٣"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=4),
    max_leaves=8,
)


def near(of: Any) -> st.SearchStrategy[Any]:
    """JSON that is a value of the type or nearly one."""
    if dataclasses.is_dataclass(of):
        fields = {field.name: near(field.type) for field in dataclasses.fields(of)}
        return st.fixed_dictionaries({}, optional=fields) | JSON
    arguments: Any = getattr(of, "__args__", ())
    origin = getattr(of, "__origin__", None)
    if origin is list:
        return st.lists(near(arguments[0]), max_size=3) | JSON
    if origin is dict:
        return st.dictionaries(st.sampled_from("ab"), near(arguments[1]), max_size=2) | JSON
    if origin is tuple:
        return st.tuples(*map(near, arguments)).map(list) | JSON
    if arguments and origin is not Literal:
        return st.one_of(*map(near, arguments)) | JSON
    return JSON


@given(st.data())
@settings(max_examples=700, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_type_decodes_just_what_its_schema_allows(data: st.DataObject):
    of = data.draw(TYPES)
    codec = Codec(of, "it")
    schema = jsonschema_rs.validator_for(codec.schema())
    said = data.draw(near(of))
    if not schema.is_valid(said):
        with pytest.raises(Mismatch):
            codec.value(json.loads(json.dumps(said)))
        return
    value = codec.value(json.loads(json.dumps(said)))
    again = codec.decode(codec.encode(value).raw)
    assert again == value
