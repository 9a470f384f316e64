"""A kind, declared once: the jobs that it makes, and what it makes of jobs of this version, older and newer ones."""

from __future__ import annotations

import json
import pickle
import threading
from dataclasses import dataclass, make_dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Generic, Literal, TypeVar

import jsonschema_rs
import msgspec
import pydantic
import pytest

from jobqueue import NewJob, PayloadInvalid, RetryPolicy, Status, Unique
from jobqueue.jobs import VERSION_HEADER, Job, LeasedJob
from jobqueue.outcomes import Discard, Snooze
from jobqueue.typed.kind import (
    MOST_SNOOZES,
    JobNotSucceeded,
    PayloadTooNew,
    PayloadUnreadable,
    Upcast,
    define_kind,
)
from jobqueue.v1 import lease_pb2
from jobqueue.worker.ending import of_exception

pytestmark = pytest.mark.unit

T = TypeVar("T")


@dataclass
class MailV1:
    name: str


@dataclass
class Mail:
    first: str
    last: str = ""


@dataclass
class Sent:
    id: int


def split(payload: Any) -> Any:
    first, _, last = payload["name"].partition(" ")
    return {"first": first, "last": last}


mail = define_kind("mail", Mail, output=Sent, version=2, upcasters={1: split})


def leased(payload: bytes, version: str = "2", *, attempt: int = 1, failures: int = 0) -> LeasedJob:
    return LeasedJob(
        lease_pb2.LeasedJob(
            id="j", kind="mail", payload_json=payload, attempt=attempt, failures=failures,
            headers={VERSION_HEADER: version} if version else {},
        )
    )  # fmt: skip


def job(**fields: Any) -> Job:
    said = dict.fromkeys(Job.__dataclass_fields__)
    return Job(**{**said, "id": "j", "kind": "mail", "headers": {}, "reason": "", "last_error": "", **fields})


def test_what_a_kind_says_holds_for_its_jobs_unless_they_say_otherwise():
    policy = RetryPolicy(min_backoff=timedelta(seconds=5))
    kind = define_kind(
        "mail", Mail, max_attempts=5, timeout=timedelta(minutes=2), retry_policy=policy, queue="post", priority=3,
        key=lambda payload: payload.first, unique=lambda payload: Unique(key=payload.last),
    )  # fmt: skip
    assert kind.new(Mail("a", "b"), delay=timedelta(1)) == NewJob(
        "mail", payload_json=b'{"first":"a","last":"b"}', max_attempts=5, timeout=timedelta(minutes=2),
        retry_policy=policy, queue="post", priority=3, key="a", unique=Unique(key="b"), delay=timedelta(1),
    )  # fmt: skip
    own = kind.new(Mail("a", "b"), queue="other", priority=0, key="", unique=None, max_attempts=1)
    assert (own.queue, own.priority, own.key, own.unique, own.max_attempts) == ("other", 0, "", None, 1)


def test_the_first_version_is_not_told_and_a_later_one_is():
    assert define_kind("mail", Mail).new(Mail("a"), headers={"a": "b"}).headers == {"a": "b"}
    assert mail.new(Mail("a"), headers={"a": "b"}).headers == {"a": "b", VERSION_HEADER: "2"}


def test_a_payload_that_does_not_fit_is_refused_as_the_server_would():
    with pytest.raises(PayloadInvalid) as raised:
        mail.new(Mail(7))  # type: ignore[arg-type]
    assert [(each.field, each.description) for each in raised.value.violations] == [
        ("payload.first", "must be a string")
    ]
    assert raised.value.reason == "PAYLOAD_INVALID"


def test_a_payload_of_an_older_version_is_made_one_of_this():
    assert mail.payload_in(leased(b'{"name": "Ada Lovelace"}', "")) == Mail("Ada", "Lovelace")
    assert mail.payload_in(leased(b'{"name": "Ada Lovelace"}', "1")) == Mail("Ada", "Lovelace")
    three = define_kind("mail", Mail, version=3, upcasters={1: split, 2: lambda said: {**said, "last": "X"}})
    assert three.payload_in(leased(b'{"name": "Ada Lovelace"}', "1")) == Mail("Ada", "X")


@pytest.mark.parametrize(
    ("payload", "version", "words"),
    [
        (b'{"first": 7}', "2", "payload.first: must be a string"),
        (b'{"first": "secret", "last": 7}', "2", "payload.last: must be a string"),
        (b'{"nam": "secret"}', "1", "the payload has version 1, and its upcaster from 1 on failed with KeyError"),
        (b'{}', "0", f"headers.{VERSION_HEADER}: must be the number of a version, from 1"),
        (b'{}', "two", f"headers.{VERSION_HEADER}: must be the number of a version, from 1"),
    ],
)  # fmt: skip
def test_what_can_not_be_read_is_discarded_and_told_without_its_values(
    payload: bytes, version: str, words: str
):
    with pytest.raises(Discard) as raised:
        mail.payload_in(leased(payload, version))
    assert raised.value.message == words
    assert isinstance(raised.value.__cause__, PayloadUnreadable)


def test_what_an_upcaster_raises_is_told_by_its_type_alone():
    def fails(payload: Any) -> Any:
        raise ValueError(f"no {payload['nam']}")

    text = b'{"nam": "secret"}'
    with pytest.raises(Discard) as raised:
        define_kind("mail", Mail, version=2, upcasters={1: fails}).payload_in(leased(text, "1"))
    failure = of_exception(raised.value, None).failure
    assert "failed with ValueError" in failure.error
    assert "PayloadUnreadable" in failure.stack
    assert "secret" not in failure.error + failure.stack


def test_a_version_that_no_upcaster_begins_at_is_unreadable():
    with pytest.raises(Discard, match="has version 1, and the kind has no upcaster from 1 on"):
        define_kind("mail", Mail, version=2).payload_in(leased(b"{}", "1"))


def test_a_payload_that_is_newer_than_the_worker_waits_for_a_newer_worker_and_fails_after_half_an_hour():
    waits = []
    for waited in range(1, MOST_SNOOZES + 1):
        with pytest.raises(Snooze) as raised:
            mail.payload_in(leased(b'{"anything": 1}', "3", attempt=waited + 4, failures=4))
        waits.append(raised.value.delay.total_seconds())
    assert all(0.7 * 15 * min(n, 8) < wait < 1.3 * 15 * min(n, 8) for n, wait in enumerate(waits, 1))
    assert 20 * 60 < sum(waits) < 45 * 60
    with pytest.raises(PayloadTooNew, match="has version 3; this program knows 2"):
        mail.payload_in(leased(b'{"anything": 1}', "3", attempt=MOST_SNOOZES + 5, failures=4))


def test_the_schema_allows_what_producers_of_older_versions_send():
    kind = define_kind("mail", Mail, version=2, upcasters={1: Upcast(split, MailV1)})
    schema = kind.schema()
    assert [each["x-payload-version"] for each in schema["anyOf"]] == [2, 1]
    for fits in ({"first": "a"}, {"name": "a"}):
        assert jsonschema_rs.is_valid(schema, fits)
    fails: Any
    for fails in ({}, {"name": 7}, {"first": 7}, []):
        assert not jsonschema_rs.is_valid(schema, fails)
    # Of a version whose type is not told: any object.
    assert jsonschema_rs.is_valid(mail.schema(), {})
    assert not jsonschema_rs.is_valid(mail.schema(), [])
    assert define_kind("mail", Mail).schema()["x-payload-version"] == 1


def test_the_output_of_a_job_that_has_succeeded_is_of_its_type_and_of_no_other_job_is_there_one():
    assert mail.output_of(job(status=Status.SUCCEEDED, output_json=b'{"id": 7}')) == Sent(7)
    with pytest.raises(JobNotSucceeded, match=r"the job j is FAILED_PERMANENT \(NOT_RETRYABLE: no\)"):
        mail.output_of(job(status=Status.FAILED_PERMANENT, reason="NOT_RETRYABLE", last_error="no"))
    with pytest.raises(ValueError, match="without its output"):
        mail.output_of(job(status=Status.SUCCEEDED))
    with pytest.raises(ValueError, match="is of the kind post, not mail"):
        mail.output_of(job(kind="post", status=Status.SUCCEEDED, output_json=b"{}"))
    with pytest.raises(PayloadUnreadable, match=r"output\.id: must be a whole number"):
        mail.output_of(job(status=Status.SUCCEEDED, output_json=b'{"id": "7"}'))
    none: Any = define_kind("mail", Mail)
    assert none.output_of(job(status=Status.SUCCEEDED)) is None


def test_the_payload_of_a_job_that_was_read_is_of_its_type_also_under_an_older_name():
    kind = define_kind("mail", Mail, aliases=["post"])
    assert kind.payload_of(job(kind="post", payload_json=b'{"first": "a"}')) == Mail("a")
    with pytest.raises(ValueError, match="without its payload"):
        kind.payload_of(job())


def test_a_handler_that_answers_another_type_is_told():
    assert mail.output_text(Sent(7)).raw == b'{"id":7}'  # type: ignore[union-attr]
    with pytest.raises(
        TypeError, match="the handler of mail returned a dict: the value|output must be a Sent"
    ):
        mail.output_text({"id": 7})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="the kind has no output: return None, or declare output="):
        define_kind("mail", Mail).output_text(Sent(7))  # type: ignore[arg-type]


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    to: str
    count: int = pydantic.Field(default=1, ge=1, alias="Count")


def test_a_model_of_pydantic_is_read_written_and_described_by_pydantic():
    kind = define_kind("mail", Model, output=Annotated[int, pydantic.Field(ge=0)])
    assert kind.new(Model(to="a", Count=2)).payload_json == b'{"to":"a","Count":2}'
    assert kind.payload_in(leased(b'{"to": "a"}', "1")) == Model(to="a")
    with pytest.raises(Discard, match=r"payload\.Count: must be greater than or equal to 1"):
        kind.payload_in(leased(b'{"to": "a", "Count": 0}', "1"))
    with pytest.raises(PayloadInvalid, match="must be a Model"):
        kind.new({"to": "a"})  # type: ignore[arg-type]
    assert kind.output_of(job(status=Status.SUCCEEDED, output_json=b"3")) == 3
    # A server must not refuse what a later version of a producer adds.
    assert "additionalProperties" not in str(kind.schema())
    assert kind.schema()["properties"]["Count"]["minimum"] == 1


class Line(msgspec.Struct, forbid_unknown_fields=True):
    sku: str
    count: Annotated[int, msgspec.Meta(ge=1)] = 1


class Parcel(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    lines_of: list[Line]
    colour: Literal["red", "blue"] = "red"
    sent_at: datetime | None = None


class Boxed(msgspec.Struct, Generic[T]):
    inside: T


@dataclass
class Order:
    parcel: Parcel


def test_a_struct_of_msgspec_is_read_written_and_described_by_msgspec():
    kind = define_kind("mail", Parcel, output=Boxed[int])
    said = b'{"linesOf":[{"sku":"a","count":2}],"colour":"red","sentAt":"2026-11-29T08:00:00Z"}'
    parcel = Parcel([Line("a", 2)], sent_at=datetime(2026, 11, 29, 8, tzinfo=UTC))
    assert kind.new(parcel).payload_json == said
    assert kind.payload_in(leased(said, "1")) == parcel
    assert kind.output_text(Boxed(7)).raw == b'{"inside":7}'  # type: ignore[union-attr]
    # Of a field of a dataclass too.
    assert define_kind("mail", Order).payload_in(leased(b'{"parcel": %s}' % said, "1")) == Order(parcel)
    schema = jsonschema_rs.validator_for(kind.schema())
    assert schema.is_valid(json.loads(said))
    # A server must not refuse what a later version of a producer adds.
    assert schema.is_valid({**json.loads(said), "more": 1})
    assert not schema.is_valid({"linesOf": [{"sku": "a", "count": 0}]})
    # What a caller changes of a schema is not another's.
    strict = define_kind("mail", Parcel, strict=True)
    assert strict.schema()["$defs"]["Parcel"].pop("additionalProperties") is False
    assert "additionalProperties" in strict.schema()["$defs"]["Parcel"]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"{}", "payload.linesOf: must be there"),
        (b'{"linesOf": [{"sku": 7}]}', "payload.linesOf[0].sku: must be str"),
        (b'{"linesOf": [{"sku": "a", "count": 0}]}', "payload.linesOf[0].count: must be int >= 1"),
        (b'{"linesOf": [], "colour": "secret"}', "payload.colour: must be what its type takes"),
        (b'{"linesOf": [], "more": 1}', "payload.more: must be left out: it is not known"),
        (b'["secret"]', "payload: must be object"),
    ],
)
def test_what_is_no_value_of_a_struct_is_said_by_its_place_and_never_by_its_value(said: bytes, words: str):
    with pytest.raises(Discard) as caught:
        define_kind("mail", Parcel).payload_in(leased(said, "1"))
    assert str(caught.value) == words


def test_a_struct_that_was_made_wrongly_is_not_enqueued():
    kind = define_kind("mail", Parcel)
    with pytest.raises(PayloadInvalid, match=r"payload\.linesOf\[0\]\.sku: must be str"):
        kind.new(Parcel([Line(7)]))  # type: ignore[arg-type]
    with pytest.raises(PayloadInvalid, match="must be a Parcel"):
        kind.new({"linesOf": []})  # type: ignore[arg-type]
    with pytest.raises(PayloadInvalid, match="must be what msgspec has a form for"):
        kind.new(Parcel([object()]))  # type: ignore[list-item]
    with pytest.raises(TypeError, match="Odd, a Struct, has no form in JSON"):
        define_kind("mail", msgspec.defstruct("Odd", [("it", threading.Thread)]))


def test_a_strict_kind_wants_structs_that_are_strict_themselves():
    with pytest.raises(TypeError, match=r"Boxed, a Struct: Boxed.* give it forbid_unknown_fields=True"):
        define_kind("mail", Boxed[int], strict=True)
    outer = msgspec.defstruct("Outer", [("inner", Boxed[int])], forbid_unknown_fields=True)
    with pytest.raises(TypeError, match=r"Outer, a Struct: Boxed.* takes fields that it doesn't know"):
        define_kind("mail", list[outer], strict=True)  # type: ignore[valid-type]
    assert define_kind("mail", Boxed[int]).payload_in(leased(b'{"inside": 1, "more": 2}', "1")) == Boxed(1)
    with pytest.raises(Discard, match=r"payload\.linesOf\[0\]\.more: must be left out"):
        define_kind("mail", Parcel, strict=True).payload_in(leased(b'{"linesOf": [{"more": 1}]}', "1"))


def test_structs_and_other_types_of_one_name_are_described_each_by_itself():
    other = msgspec.defstruct("Line", [("text", str)])
    holder = msgspec.defstruct("Holder", [("line", other)])
    own = make_dataclass("Line", [("number", bool)])
    fields: Any = [("a", Line), ("b", holder), ("c", own), ("d", Line), ("e", own), ("f", other)]
    good: dict[str, dict[str, Any]] = {
        "a": {"sku": "a", "count": 2}, "b": {"line": {"text": "b"}}, "c": {"number": True},
        "d": {"sku": "d"}, "e": {"number": False}, "f": {"text": "f"},
    }  # fmt: skip
    for order in (fields, fields[::-1]):
        kind: Any = define_kind("mail", make_dataclass("All", order))
        schema = kind.schema()
        said = jsonschema_rs.validator_for(schema)
        assert said.is_valid(good)
        assert kind.payload_in(leased(json.dumps(good).encode(), "1"))
        for name in good:
            assert not said.is_valid({**good, name: {"else": 1}})
            for another in good:
                alike = good[name].keys() == good[another].keys() or {name, another} == {"a", "d"}
                assert said.is_valid({**good, name: good[another]}) is alike
        # The same type is described once.
        assert len(schema["$defs"]) == 5


def test_a_type_that_holds_a_struct_of_its_own_name_is_not_taken_for_it():
    line = make_dataclass("Line", [("inner", Line)])
    said = jsonschema_rs.validator_for(define_kind("mail", line).schema())
    assert said.is_valid({"inner": {"sku": "a"}})
    assert not said.is_valid({"inner": {"inner": {"sku": "a"}}})


def test_a_type_of_the_users_own_is_read_and_written_by_their_functions():
    kind = define_kind(
        "mail", decode=lambda said: complex(said["re"], said["im"]), encode=lambda it: {"re": it.real, "im": it.imag},
        schema={"type": "object", "required": ["re", "im"]},
    )  # fmt: skip
    assert kind.new(1 + 2j).payload_json == b'{"re":1.0,"im":2.0}'
    assert kind.payload_in(leased(b'{"re": 1, "im": 2}', "1")) == 1 + 2j
    with pytest.raises(Discard, match="must be what the kind decodes"):
        kind.payload_in(leased(b'{"re": "secret", "im": 2}', "1"))
    assert kind.schema()["required"] == ["re", "im"]
    with pytest.raises(TypeError, match="go together"):
        define_kind("mail", decode=complex)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"version": 0}, "a version is a whole number from 1 on"),
        ({"version": 2, "upcasters": {2: split}}, "each leads from a version below 2 to the next one"),
        ({"aliases": "post"}, r"must be a list, for example \['post'\]"),
    ],
)
def test_a_declaration_that_contradicts_itself_is_refused_where_it_stands(said: Any, words: str):
    with pytest.raises((TypeError, ValueError), match=words):
        define_kind("mail", Mail, **said)


def test_a_kind_is_imported_and_never_pickled():
    with pytest.raises(TypeError, match="import it, as its producers and workers do"):
        pickle.dumps(mail)


@pytest.mark.parametrize(
    ("given", "said"), [({"first": "Ada"}, "a dict"), (None, "None"), (7, "an int"), ("Ada", "a str")]
)
def test_a_payload_of_another_type_is_refused_with_what_was_given(given: Any, said: str):
    with pytest.raises(
        PayloadInvalid, match=f"^PAYLOAD_INVALID: payload: must be a Mail, not {said}$"
    ) as refused:
        mail.new(given)
    assert refused.value.violations[0].description == "must be a Mail"


def test_a_payload_of_the_right_type_that_is_wrong_inside_is_not_said_to_be_of_another():
    with pytest.raises(PayloadInvalid, match=r"^PAYLOAD_INVALID: payload.last: must be a string$"):
        mail.new(Mail("Ada", 7))  # type: ignore[arg-type]


def test_a_handler_that_returns_nothing_is_told_so():
    words = "^the handler of mail returned nothing, and the output must be a Sent$"
    with pytest.raises(TypeError, match=words):
        mail.output_text(None)  # type: ignore[arg-type]
