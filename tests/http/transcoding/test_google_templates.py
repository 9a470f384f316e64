"""What google-api-core's path_template expands, validates and transcodes is read here as it was meant."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from google.api_core import path_template, rest_helpers
from google.protobuf import json_format
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobqueue_server.http.transcoding.errors import TranscodingError
from jobqueue_server.http.transcoding.router import Router
from jobqueue_server.http.transcoding.template import parse
from jobqueue_server.http.transcoding.transcoder import Transcoder

from .conftest import route
from .test_vectors import JSON, Route

# A busy machine is no reason to fail.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

# path_template takes a template's literals as regular expressions, so these have no character that is special there.
LITERALS = st.sampled_from(["a", "b", "shelves", "x-y", "v1"])
# What can stand in one segment. Dots alone are refused by path_template, since URL libraries would resolve them.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
SEGMENTS = TEXTS.filter(lambda text: "/" not in text and text not in (".", ".."))


@st.composite
def expandable(draw: st.DrawFn) -> tuple[str, dict[str, str]]:
    """A template, and values that its variables can have."""
    parts: list[str] = []
    values: dict[str, str] = {}
    count = draw(st.integers(1, 4))
    for index in range(count):
        shapes = ["literal", "{%s}", "{%s=*}", "{%s=a/*}", "{%s=a/*/b/*}"]
        if index == count - 1:
            shapes += ["{%s=**}", "{%s=a/**}"]
        shape = draw(st.sampled_from(shapes))
        if shape == "literal":
            parts.append(draw(LITERALS))
            continue
        name = "abcd"[index]
        parts.append(shape % name)
        pattern = shape[4:-1] if "=" in shape else "*"
        many = "/".join(draw(st.lists(SEGMENTS, min_size=1, max_size=3)))
        value = pattern.replace("**", "\0").replace("*", "\1").replace("\0", many)
        while "\1" in value:
            value = value.replace("\1", draw(SEGMENTS.filter(lambda text: "\1" not in text)), 1)
        values[name] = value
    verb = draw(st.sampled_from(["", ":go", ":x-y"]))
    return "/" + "/".join(parts) + verb, values


def match(template: str, path: str, *, any_verb: bool = True) -> dict[str, str] | None:
    router: Router[Route] = Router(any_verb=any_verb)
    router.add(Route("GET", parse(template)))
    try:
        return dict(router.match("GET", path).values)
    except TranscodingError:
        return None


@patient
@given(expandable())
def test_what_was_expanded_gives_its_values_back(made: tuple[str, dict[str, str]]) -> None:
    template, values = made
    # As `transcode` does it: everything but letters, digits and -_.~ is written as escapes, and slashes stay.
    encoded = {name: quote(value, safe="/") for name, value in values.items()}
    path = path_template.expand(template, **encoded)
    assert path_template.validate(template, path)
    assert match(template, path) == values


PATHS = st.lists(st.sampled_from(["a", "b", "v1", "shelves", "7", "x:go", "x:x-y"]), min_size=1, max_size=5)


@patient
@given(expandable(), PATHS)
def test_both_find_the_same_paths(made: tuple[str, dict[str, str]], segments: list[str]) -> None:
    template, path = made[0], "/" + "/".join(segments)
    # path_template knows no verbs: what no template has behind a colon is a part of the segment.
    ours = match(template, path, any_verb=False)
    theirs = path_template.validate(template, path)
    # Where ours alone finds it, a ** has matched no segment.
    if theirs or "**" not in template:
        assert theirs == (ours is not None)
    elif ours is not None:
        assert path_template.validate(template.replace("/**", ""), path) or "" in ours.values()


@pytest.mark.parametrize(
    ("template", "path", "theirs", "values"),
    [
        # http.proto: ** matches zero or more segments; theirs one or more, but any of them may be empty.
        ("/v1/{a=**}", "/v1/", False, None),
        ("/v1/{a=x/**}", "/v1/x", False, {"a": "x"}),
        ("/v1/{a=**}", "/v1/x//y", True, None),
        # A verb that no template has is looked for among the verbs, and told to be unknown.
        ("/v1/{a}", "/v1/x:go", True, None),
        # Literals are themselves, and no regular expressions.
        ("/v1.1/{a}", "/v1-1/x", True, None),
        # An encoded literal is the same literal.
        ("/v1/{a}", "/v%31/x", False, {"a": "x"}),
        # What is no escape is refused; theirs looks at no escapes.
        ("/v1/{a}", "/v1/%zz", True, None),
        # In a variable of one segment all is decoded, in one of several the slash stays encoded.
        ("/v1/{a}", "/v1/x%2Fy%3A", True, {"a": "x/y:"}),
        ("/v1/{a=x/*}", "/v1/x/y%2Fz%3A", True, {"a": "x/y%2Fz:"}),
        # Dots are a segment as any other: nothing is resolved. Theirs refuses to expand them.
        ("/v1/{a}/b", "/v1/../b", True, {"a": ".."}),
    ],
)
def test_where_they_differ_it_is_by_the_specification(
    template: str, path: str, theirs: bool, values: Mapping[str, str] | None
) -> None:
    assert path_template.validate(template, path) is theirs
    assert match(template, path) == values


RULES: list[dict[str, str]] = [
    {"method": "put", "uri": "/v1/everything/{string}/{child.string}", "body": "child"},
    {"method": "post", "uri": "/v1/named/{name=shelves/*/books/**}:touch", "body": "*"},
    {"method": "get", "uri": "/v1/everything"},
]
INT32 = st.integers(-(2**31), 2**31 - 1)
INT64 = st.integers(-(2**63), 2**63 - 1)
DOUBLES = st.floats(allow_nan=False, allow_infinity=False)
SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "int32": INT32,
    "int64": INT64,
    "uint64": st.integers(0, 2**64 - 1),
    "double": DOUBLES,
    "bool": st.booleans(),
    "bytes": st.binary(max_size=8),
    "kind": st.integers(0, 2),
    "numbers": st.lists(INT32, max_size=3),
    "strings": st.lists(TEXTS, max_size=3),
    "kinds": st.lists(st.integers(0, 2), max_size=3),
    "this_one": TEXTS,
    "timestamp": st.builds(dict, seconds=st.integers(-62135596800, 253402300799)),
    "duration": st.builds(dict, seconds=st.integers(-(10**9), 10**9)),
    "mask": st.builds(dict, paths=st.lists(st.sampled_from(["by_number", "child.string"]), max_size=2)),
    "wrapped_int64": st.builds(dict, value=INT64),
    "wrapped_string": st.builds(dict, value=TEXTS),
    "wrapped_bool": st.builds(dict, value=st.booleans()),
}
# A message that is there and empty can be said in a body, and in no query.
CHILDREN = st.fixed_dictionaries({"maybe": INT32}, optional={**SCALARS, "string": TEXTS})
NAMED = st.builds("shelves/{}/books/{}".format, SEGMENTS, SEGMENTS)
MESSAGES = st.fixed_dictionaries(
    {}, optional={**SCALARS, "maybe": INT32, "string": SEGMENTS, "child": CHILDREN, "name": NAMED}
)


def parts_of(message: Message, *, strict: bool) -> tuple[str, str, str, bytes]:
    """Method, path, query and body, as a generated REST client of Google's makes them of a request.

    Older ones are not strict: they write booleans as Python does.
    """
    made = path_template.transcode(RULES, message)
    query = json.loads(json_format.MessageToJson(made["query_params"], use_integers_for_enums=True))
    query["$alt"] = "json;enum-encoding=int"
    pairs = rest_helpers.flatten_query_params(query, strict=strict)
    body = b""
    if "body" in made:
        body = json_format.MessageToJson(made["body"], use_integers_for_enums=True).encode()
    return made["method"].upper(), made["uri"], urlencode(pairs), body


@patient
@given(fields=MESSAGES, strict=st.booleans())
def test_what_their_client_makes_of_a_message_is_the_same_message(
    transcoder: Transcoder, fields: dict[str, Any], strict: bool
) -> None:
    kind = transcoder.bindings[0].method.input_type
    message = GetMessageClass(kind)(**fields)
    method, path, query, body = parts_of(message, strict=strict)
    routed = route(transcoder, method, path.encode(), query.encode(), JSON, body)
    assert routed.request == message


@pytest.mark.parametrize("value", [True, False])
def test_a_boolean_is_read_where_their_client_puts_it_into_a_path(
    transcoder: Transcoder, value: bool
) -> None:
    message = GetMessageClass(transcoder.bindings[0].method.input_type)(bool=value)
    made = path_template.transcode([{"method": "get", "uri": "/v1/typed/{bool}"}], message)
    assert made["uri"] == f"/v1/typed/{value}"
    routed = route(transcoder, "GET", made["uri"].encode(), b"", JSON, b"")
    assert routed.request == message
