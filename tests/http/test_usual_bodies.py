"""What the quick reader of bodies reads, it reads as the whole reader does; what is wrong it never reads."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from jobqueue.v1 import job_pb2, jobqueue_pb2
from jobqueue_server.core.intake.digest import check_json
from jobqueue_server.errors import FieldInvalid
from jobqueue_server.http.contract import OPTIONS
from jobqueue_server.http.transcoding.binding import Binding
from jobqueue_server.http.transcoding.body import BodyReader
from jobqueue_server.http.transcoding.errors import Problem, TranscodingError
from jobqueue_server.http.transcoding.transcoder import Transcoder

from .test_hints import MODULES

pytestmark = pytest.mark.unit

TRANSCODER = Transcoder([jobqueue_pb2.DESCRIPTOR.services_by_name["JobQueue"]], OPTIONS)
READER = BodyReader(OPTIONS)
FIELDS_OF = TRANSCODER.usual(TRANSCODER.match("POST", b"/v1/jobs").route)


def usual(body: bytes) -> Any:
    try:
        given = FIELDS_OF(body)
        return None if given is None else job_pb2.NewJob(**given)
    except (ValueError, TypeError):
        return None


def whole(body: bytes) -> Message | None:
    """The same by the reader that knows every rule; None: the body is wrong."""
    request = jobqueue_pb2.EnqueueJobRequest()
    try:
        READER.read_field(request, request.DESCRIPTOR.fields_by_name["job"], body)
    except (Problem, TranscodingError):
        return None
    return request.job


TEXTS = ["", "a", "ü", 'q"', "back\\slash", '","kind":"b', "}", "{", "\n", "\u2028", "😀", '"labels":{']
VALUES: list[Any] = [
    None,
    1,
    -0.5,
    True,
    [],
    {},
    {"kind": "x", "payload": {"labels": {"a": "b"}}},
    [{"queue": "y"}],
    '},"kind":"z"',
    *TEXTS,
]
TIMES = ["2026-05-04T12:00:00Z", "2026-05-04T12:00:00.123456789+02:00", "2026-13-04T12:00:00Z", "now"]
SPANS = ["1s", "1.5s", "0.000000001s", "-1s", "5", "1e3s"]


def texts(draw: random.Random) -> dict[str, str]:
    return {draw.choice(TEXTS): draw.choice(TEXTS) for _ in range(draw.choice([0, 1, 1, 3]))}


def policy(draw: random.Random) -> dict[str, Any]:
    names = draw.sample(["min_backoff", "maxBackoff", "max_backoff", "nope"], draw.choice([0, 1, 1, 2]))
    return {name: draw.choice(SPANS) for name in names}


def unique(draw: random.Random) -> dict[str, Any]:
    parts: dict[str, Callable[[], Any]] = {
        "key": lambda: draw.choice(TEXTS),
        "payload_fields": lambda: draw.sample(TEXTS, draw.choice([0, 2])),
        "scope": lambda: draw.choice(["KIND", "QUEUE", "queue", "NOPE", 2]),
        "until": lambda: draw.choice(["ENDS", "PERIOD", ""]),
        "onConflict": lambda: draw.choice(["REJECT", "REPLACE"]),
        "replace": lambda: draw.choice([[], ["PAYLOAD", "LABELS"], ["payload"], [1], "PAYLOAD"]),
        "period": lambda: draw.choice(SPANS),
    }
    return {name: parts[name]() for name in draw.sample(list(parts), draw.choice([0, 1, 2, 4]))}


FIELDS: dict[str, Callable[[random.Random], Any]] = {
    "kind": lambda draw: draw.choice(["work", *TEXTS]),
    "queue": lambda draw: draw.choice(["mail", *TEXTS]),
    "payload": lambda draw: draw.choice(VALUES),
    "payload_json": lambda draw: draw.choice(["e30=", "nope", None]),
    "key": lambda draw: draw.choice(TEXTS),
    "idempotency_key": lambda draw: draw.choice(TEXTS),
    "priority": lambda draw: draw.choice(
        [0, 1, -10, 11, 1 << 31, -(1 << 31), 1 << 40, "3", 1.0, 1.5, None, True]
    ),
    "max_attempts": lambda draw: draw.choice([0, 3, "7"]),
    "delay": lambda draw: draw.choice([*SPANS, 5, None]),
    "timeout": lambda draw: draw.choice(SPANS),
    "run_at": lambda draw: draw.choice([*TIMES, 7, None]),
    "labels": lambda draw: draw.choice([texts(draw), texts(draw), {"a": 1}, None, []]),
    "headers": texts,
    "retry_policy": policy,
    "unique": unique,
    "hold": lambda draw: draw.choice([True, False, 1, "true", None]),
    "nope": lambda draw: 1,
}
CAMEL = {"run_at": "runAt", "max_attempts": "maxAttempts", "idempotency_key": "idempotencyKey"}


def member(draw: random.Random, name: str) -> str:
    value = FIELDS[name](draw)
    text = json.dumps(value, ensure_ascii=draw.random() < 0.3)
    shown = CAMEL.get(name, name) if draw.random() < 0.5 else name
    blank = draw.choice(["", "", " ", "\n\t"])
    return f'{blank}"{shown}"{blank}:{blank}{text}{blank}'


def body(draw: random.Random) -> bytes:
    usual = ["kind", "payload", "queue", "labels", "delay", "key"]
    names = draw.sample(usual, draw.choice([1, 2, 3, 4]))
    if draw.random() < 0.5:
        names += draw.choices(list(FIELDS), k=draw.choice([1, 2]))
    text = f"{{{','.join(member(draw, name) for name in names)}}}".encode()
    if draw.random() < 0.3:
        at = draw.randrange(len(text) + 1)
        more = draw.choice([b"", b",", b"}", b"{", b'"', b" ", b"\\", b"\xff", b"NaN", b"0", b"\xef\xbb\xbf"])
        text = text[:at] + more + text[at + draw.choice([0, 1]) :]
    return text


@pytest.mark.parametrize("seed", range(20))
def test_a_body_is_read_as_the_whole_reader_reads_it_or_is_left_to_it(seed: int) -> None:
    draw = random.Random(seed)
    read = 0
    for _ in range(500):
        text = body(draw)
        found = usual(text)
        if found is not None:
            read += 1
            # Whether a payload is JSON is for the checks of the call to see, which both ways have.
            assert found == (whole(text) or without_json(text)), text
    assert read > 100


@pytest.mark.parametrize("seed", range(20))
def test_bodies_of_one_layout_are_read_as_the_whole_reader_reads_them(seed: int) -> None:
    """The layout of the last body is tried first, and the next one may only seem to have it."""
    draw = random.Random(seed)
    names = draw.sample(["kind", "queue", "key", "idempotency_key"], draw.choice([1, 2, 3]))
    first = ",".join(f'"{name}":"a"' for name in names)
    behind = ["", " ", ',"queue":"b"', ',"labels":{"a":"b"}', "}", ',"nope":1', ", ", ',"kind":"c"', "\\"]
    for _ in range(100):
        assert usual(f'{{{first},"payload":1}}'.encode()) is not None
        members = ",".join(member(draw, name) for name in names)
        payload = json.dumps(draw.choice(VALUES), ensure_ascii=draw.random() < 0.3)
        text = f'{{{members},"payload":{payload}{draw.choice(behind)}}}{draw.choice(["", "", " ", "x", "}"])}'.encode()
        found = usual(text)
        assert found is None or found == (whole(text) or without_json(text)), text


def without_json(text: bytes) -> Message | None:
    """The body whose payload is no JSON, with one that is."""
    quick: Any = usual(text)
    payload = quick.payload_json
    before = text.rstrip().removesuffix(b"}").rstrip()
    if not quick.HasField("payload_json") or not before.endswith(payload):
        return None
    job: Any = whole(before.removesuffix(payload) + b"1}")
    if job is not None:
        with pytest.raises(FieldInvalid):
            check_json(payload, "payload")
        job.payload_json = payload
    return job


@pytest.mark.parametrize(
    "text",
    [
        b'{"kind":"a","kind":"b"}',
        b'{"kind":"a","payload":1,"payload":2}',
        b'{"delay":"1s","run_at":"2026-05-04T12:00:00Z"}',
        b'{"run_at":"2026-05-04T12:00:00Z","runAt":"2026-05-04T12:00:00Z"}',
        b'{"labels":{"a":"1","a":"2"}}',
        b'{"retry_policy":{"min_backoff":"1s","minBackoff":"1s"}}',
        b'{"unique":{"key":"a","key":"b"}}',
    ],
    ids=repr,
)
def test_what_is_given_twice_is_left_to_the_whole_reader(text: bytes) -> None:
    assert usual(text) is None
    assert whole(text) is None


SERVICES = [service for module in MODULES for service in module.DESCRIPTOR.services_by_name.values()]
WHOLE = Transcoder(SERVICES, OPTIONS)


def draw_message(draw: random.Random, message: Any, depth: int = 0) -> Any:
    """Fills some of the fields of a message of any type, as a caller may."""
    for field in message.DESCRIPTOR.fields:
        if draw.random() < 0.5 or depth > 3:
            continue
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            if field.message_type.fields_by_name["value"].message_type is None:
                with suppress(TypeError, ValueError):
                    getattr(message, field.name)[draw.choice("abc")] = draw.choice(TEXTS)
        elif field.message_type is not None:
            inner = getattr(message, field.name)
            for each in (
                [inner.add() for _ in range(draw.choice([0, 1, 3]))] if field.is_repeated else [inner]
            ):
                if not field.is_repeated:
                    each.SetInParent()
                if not draw_special(draw, each):
                    draw_message(draw, each, depth + 1)
        else:
            values = [draw_scalar(draw, field) for _ in range(draw.choice([0, 1, 3]))]
            if field.is_repeated:
                getattr(message, field.name).extend(values)
            else:
                setattr(message, field.name, draw_scalar(draw, field))
    return message


def draw_special(draw: random.Random, message: Any) -> bool:
    full_name = message.DESCRIPTOR.full_name
    if full_name == "google.protobuf.Timestamp":
        message.FromNanoseconds(draw.randrange(1 << 60))
    elif full_name == "google.protobuf.Duration":
        message.FromNanoseconds(draw.randrange(-(1 << 50), 1 << 50))
    elif full_name == "google.protobuf.Value":
        message.string_value = draw.choice(TEXTS)
    elif full_name == "google.protobuf.FieldMask":
        message.paths.extend(draw.sample(["kind", "queue"], draw.choice([0, 1, 2])))
    return full_name.startswith("google.protobuf.")


def draw_scalar(draw: random.Random, field: Any) -> Any:
    if field.enum_type is not None:
        return draw.choice(field.enum_type.values).number
    if field.type == field.TYPE_STRING:
        return draw.choice(TEXTS)
    if field.type == field.TYPE_BYTES:
        return draw.choice([b'{"a":[1,"}"]}', b"null", b"7", b'"x"'])
    if field.type == field.TYPE_BOOL:
        return draw.random() < 0.5
    if field.type in (field.TYPE_DOUBLE, field.TYPE_FLOAT):
        return draw.choice([0.0, 0.5, 3.0])
    return draw.choice([0, 1, 7, (1 << 31) - 1])


@pytest.mark.parametrize(
    "binding", [each for each in WHOLE.bindings if each.body], ids=lambda each: each.method.name
)
def test_every_method_reads_a_body_as_the_whole_reader_does(binding: Binding) -> None:
    draw = random.Random(binding.method.full_name)
    read = 0
    for number in range(60):
        message: Any = draw_message(draw, GetMessageClass(binding.method.input_type)())
        said: Any = message if binding.body == "*" else getattr(message, binding.body)
        body = WHOLE.render_message(said)
        if number % 2:
            body = camel(body)
        found = WHOLE._read_usual(said.DESCRIPTOR, body)
        if found is None:
            continue
        read += 1
        same: Any = GetMessageClass(said.DESCRIPTOR)()
        READER.read_message(same, body)
        assert found == same, body
    assert read, "each body of it takes the long way"


def camel(body: bytes) -> bytes:
    """With the names that JSON gives to fields."""
    return re.sub(rb'"([a-z]+_[a-z_]+)":', lambda name: b'"' + to_camel(name[1]) + b'":', body)


def to_camel(name: bytes) -> bytes:
    return re.sub(rb"_([a-z])", lambda letter: letter[1].upper(), name)


def test_every_field_of_a_job_is_read_quickly() -> None:
    """A new field that it does not know would take a job off the fast path."""
    text = (
        b'{"kind":"a","payload":{},"queue":"q","priority":1,"delay":"1s","max_attempts":2,"timeout":"3s",'
        b'"retry_policy":{"min_backoff":"1s","max_backoff":"2s"},"idempotency_key":"k","labels":{"a":"b"},'
        b'"headers":{"c":"d"},"key":"e","unique":{"key":"f","scope":"QUEUE","until":"PERIOD","period":"9s",'
        b'"on_conflict":"REPLACE","replace":["LABELS"],"max_delay":"7s","cancel_running":false,'
        b'"payload_fields":["/a"]},"hold":true}'
    )
    found: Any = usual(text)
    assert found == whole(text)
    descriptor = found.DESCRIPTOR
    names = {field.name for field, _ in found.ListFields()}
    assert names == {field.name for field in descriptor.fields} - {"payload", "run_at"}
    assert usual(b'{"run_at":"2026-05-04T12:00:00Z"}') == whole(b'{"run_at":"2026-05-04T12:00:00Z"}')
