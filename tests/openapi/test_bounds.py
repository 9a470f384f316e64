"""Each bound that the document states of a request is where the server has it, and each field has one or a reason.

test_limits.py has the same of some fields written out; here everything follows from the document.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote, urlencode
from uuid import uuid4

import pytest

from tests.http.conftest import Caller, Reply
from tests.lease.place import Place

from .bounds import Bound, bounds
from .conftest import Document, operations, validator

JOB = {
    "kind": "work",
    "payload": 1,
    "queue": "mail",
    "priority": 1,
    "delay": "60s",
    "max_attempts": 2,
    "timeout": "60s",
    "retry_policy": {"min_backoff": "0.001s", "max_backoff": "604800s"},
    "labels": {"k": "v"},
    "headers": {"k": "v"},
    "key": "k",
    "unique": {
        "key": "k",
        "scope": "KIND",
        "until": "ENDS",
        "period": "60s",
        "on_conflict": "KEEP",
    },
}
# What they bring has a meaning with these alone.
REPLACES = {
    "kind": "work",
    "idempotency_key": "r",
    "unique": {"on_conflict": "REPLACE", "replace": ["PAYLOAD"]},
}
DEBOUNCES = {
    "kind": "work",
    "idempotency_key": "d",
    "delay": "0s",
    "unique": {"on_conflict": "DEBOUNCE", "max_delay": "34560000s"},
}
KEYED = {**JOB, "idempotency_key": "k"}
AT_A_TIME = {"kind": "work", "run_at": "2026-01-01T00:00:00Z", "unique": {"payload_fields": ["/a"]}}
LEASE = {"lease_id": "1", "job_id": str(uuid4()), "attempt": 1}
HELLO = {
    "worker": "w",
    "subscriptions": [{"queue": "mail", "kinds": ["work"]}],
    "capacity": {"slots": 1, "slots_by_kind": {"work": 1}, "bytes": "1"},
    "labels": {"k": "v"},
    "client": "c",
    "session_ttl": "30s",
    "payload_format": "PAYLOAD_FORMAT_VALUE",
    "features": ["f"],
    "resume": {"session_token": "t", "last_delivery": "1", "held": [LEASE], "unanswered": [LEASE]},
}
FAILURE = {"error_type": "E", "error": "e", "stack": "s", "permanent": False, "retry_after": "1s"}
OUTCOMES = [
    {**LEASE, "success": {"output": 1, "follow_ups": [KEYED, AT_A_TIME]}},
    {**LEASE, "failure": FAILURE, "pause_key": "1s"},
    {**LEASE, "cancellation": {}},
    {**LEASE, "snooze": {"delay": "1s"}},
    {**LEASE, "release": {}},
]
#: Stands for the token of a session that is open.
OPEN = "OPEN"

#: Why fields have no bound that stands in the document.
UNBOUNDED = {
    "JobToEnqueue.payload": "bytes of JSON text; PAYLOAD_TOO_LARGE says so",
    "Success.output": "bytes of JSON text",
    "PutKindBody.schema": "bytes of JSON text; an object or a boolean, which is said by what it is not",
    "PutKindBody.output_schema": "as `schema`",
    "Failure.error_type": "what is longer is cut, and not refused",
    "Failure.error": "what is longer is cut, and not refused",
    "Failure.stack": "what is longer is cut, and not refused",
    "Failure.permanent": "a boolean",
    "Grant.payloads": "a boolean",
    "JobToEnqueue.hold": "a boolean",
    "KeyPolicy.fair": "a boolean",
    "Unique.cancel_running": "a boolean, which must be false",
    "KeyPolicy.require_key": "a boolean",
    "allow_missing": "a boolean",
    "only_newer": "a boolean",
    "RetryJobsRequest.force": "a boolean",
    "RetryJobsRequest.reset_checkpoint": "a boolean",
    "RetryJobsRequest.respect_unique": "a boolean",
    "CancelJobsRequest.force": "a boolean",
    "DeleteJobsRequest.force": "a boolean",
    "UpdateJobsRequest.force": "a boolean",
    "JobFilter.everything": "a boolean",
    "UpdateQueueKeyBody.paused": "a boolean",
    "Schedule.paused": "a boolean",
    "paused": "a boolean",
    "BackfillScheduleBody.validate_only": "a boolean",
    "Hello.features": "what the server does not know is passed over",
}
_SET_BY_SERVER = ("pause_note", "next_at", "last_at", "upcoming", "last_run", "fired", "skipped_in_a_row")
_SET_BY_SERVER_TOO = ("created_at", "updated_at", "failures_in_a_row", "open_job_ids", "buffered_at")
#: What is not varied.
UNSENT = {
    "UpdateScheduleBody.name": "must be that of the path, which is varied",
    **{
        f"{schema}.{name}": "the server sets it"
        for schema in ("Schedule", "UpdateScheduleBody")
        for name in (*_SET_BY_SERVER, *_SET_BY_SERVER_TOO)
    },
    "UpdateScheduleBody.paused": "PauseSchedule and ResumeSchedule change it",
    **dict.fromkeys(
        [f"ScheduleTick.{name}" for name in ("tick_at", "local_time", "rule")], "the server sets it"
    ),
    **dict.fromkeys(
        [
            f"ScheduleRun.{name}"
            for name in ("tick_at", "nth", "decided_at", "outcome", "job_id", "note", "ticks", "cause")
        ],
        "the server sets it",
    ),
    "PauseScheduleBody.payload_format": "an enum that stands in each request; GetJob has it",
    "ResumeScheduleBody.payload_format": "an enum that stands in each request; GetJob has it",
    "PutKindBody.name": "must be that of the path, which is varied",
    "UpdateQueueBody.name": "must be that of the path, which is varied",
    "UpdateQueueKeyBody.queue": "must be that of the path, which is varied",
    "UpdateQueueKeyBody.key": "must be that of the path, which is varied",
    **dict.fromkeys(
        [
            f"UpdateQueueKeyBody.{name}"
            for name in (
                "paused_at",
                "paused_by",
                "limit",
                "taken",
                "waiting",
                "next_start_at",
                "paused_until",
                "blocked_by",
                "holders",
            )
        ],
        "the server sets it",
    ),
    **dict.fromkeys([f"KeyHolder.{name}" for name in ("job_id", "worker", "since")], "the server sets it"),
    "Rate.most_in_a_period": "the server sets it",
    "JobFilter.status": "each method takes those that its jobs can have: tests/rpc/test_bulk.py",
    **dict.fromkeys(
        [f"UpdateQueueBody.{name}" for name in ("paused", "depths", "running", "held")], "the server sets it"
    ),
    **dict.fromkeys(
        [f"QueueDepth.{name}" for name in ("status", "jobs", "capped", "oldest_age")], "the server sets it"
    ),
    **dict.fromkeys([f"HoldDepth.{name}" for name in ("hold", "jobs", "capped")], "the server sets it"),
    "CancelJobBody.payload_format": "an enum that stands in each request; GetJob has it",
    "RetryJobBody.respect_unique": "a boolean",
    "RetryJobBody.payload_format": "an enum that stands in each request; GetJob has it",
    "ReleaseJobBody.payload_format": "an enum that stands in each request; GetJob has it",
}


#: A boolean, which changes nothing.
UNSENT_PARAMETERS = {"return_partial_success"}


@dataclass
class Base:
    """A request in which everything is right, and all is set that can be at once.

    Attributes:
        fixed: The fields that others hang on, so that they are not varied.
    """

    path: dict[str, str] = field(default_factory=dict)
    query: dict[str, Any] = field(default_factory=dict)
    body: Any = None
    fixed: frozenset[str] = frozenset()


ID = str(uuid4())
KEY = {"id": "0123456789"}
OF_NAMESPACE = {"namespace": ""}
FORM = {"payload_format": "PAYLOAD_FORMAT_VALUE"}
PAGE = {"page_size": 1, "page_token": ""}
FOUND = {"queue": "mail", "kind": "work", "labels": ["k=v"], "view": "JOB_VIEW_BASIC", **FORM}
TIMES = {"created_after": "2026-01-01T00:00:00Z", "created_before": "2026-01-01T00:00:00Z"}
ENDED = {"ended_after": "2026-01-01T00:00:00Z", "ended_before": "2026-01-01T00:00:00Z", "reason": ["A"]}
CHOSEN = {"ids": [ID], "queue": "mail", "kind": "work", "labels": ["k=v"], "error_type": "E", **TIMES}
BULK = {"force": False, "per_second": 1, "max_jobs": "1", "request_id": "r", "expected": "1"}
#: An end in the past has no tick before it, and DEBOUNCE wants a delay.
OF_SCHEDULES = frozenset(["ScheduleSpec.ends_at", "Unique.on_conflict"])
SCHEDULE: dict[str, Any] = {
    "spec": {
        "cron": ["0 0 1 1 *"],
        "time_zone": "Etc/UTC",
        "starts_at": "2026-01-01T00:00:00Z",
        "ends_at": "2060-01-01T00:00:00Z",
        "jitter": "1s",
    },
    # Without a key: queues that are changed to a strict order refuse one with a priority.
    "job": {key: value for key, value in JOB.items() if key not in ("delay", "key")},
    "policy": {
        "overlap": "BUFFER_ONE",
        "catch_up_window": "60s",
        "catch_up": "LATEST",
        "pause_after_failures": 1,
        "keep_runs": 1,
    },
    "labels": {"k": "v"},
}
#: By operation; two where not all can be set at once.
BASES: dict[str, list[Base]] = {
    "EnqueueJob": [
        Base(query=FORM, body=KEYED),
        Base(body=AT_A_TIME),
        *(Base(body=body, fixed=frozenset(["Unique.on_conflict"])) for body in (REPLACES, DEBOUNCES)),
    ],
    "BatchEnqueueJobs": [Base(body={"jobs": [KEYED, AT_A_TIME]})],
    "GetJob": [Base({"id": ID}, FORM)],
    "ListJobs": [Base(query={**PAGE, **FOUND, **TIMES, "status": ["QUEUED"]})],
    "CancelJob": [Base({"id": ID}, body={"reason": "r"})],
    "RetryJob": [Base({"id": ID}, body={"respect_unique": True})],
    "ReleaseJob": [Base({"id": ID}, body={})],
    "ExplainJob": [Base({"id": ID})],
    "DeleteJob": [Base({"id": ID})],
    "WaitJob": [Base({"id": ID}, {"timeout": "0s", **FORM})],
    # A job that there is not ends the stream.
    "WatchJobs": [Base(query={"ids": [ID], **FOUND, "resume_token": ""})],
    "OpenSession": [Base(body=HELLO)],
    "ClaimJobs": [
        Base(body={"session_token": "t", "max_jobs": 1, "wait": "0s", "held": {"leases": [LEASE]}})
    ],
    "SettleJobs": [Base(body={"session_token": OPEN, "outcomes": OUTCOMES})],
    "HeartbeatSession": [Base(body={"session_token": "t", "held": {"leases": [LEASE]}})],
    "CloseSession": [Base(body={"session_token": "t"})],
    "RetryJobs": [
        Base(
            body={
                **BULK,
                "filter": {**CHOSEN, **ENDED},
                "spread": "1s",
                "delay": "1s",
                "to_queue": "mail",
                "reset_checkpoint": True,
                "respect_unique": True,
            }
        ),
        Base(body={"filter": {"everything": True}, "run_at": "2026-01-01T00:00:00Z"}),
    ],
    "CancelJobs": [
        Base(body={**BULK, "filter": CHOSEN, "reason": "r"}),
        Base(body={"filter": {"everything": True}}),
    ],
    "DeleteJobs": [
        Base(body={**BULK, "filter": {**CHOSEN, **ENDED}}),
        Base(body={"filter": {"everything": True}}),
    ],
    "UpdateJobs": [
        Base(
            body={
                **BULK,
                "filter": CHOSEN,
                "priority": 1,
                "max_attempts": 1,
                "spread": "1s",
                "delay": "1s",
                "to_queue": "mail",
            }
        ),
        Base(body={"filter": {"everything": True}, "run_at": "2026-01-01T00:00:00Z"}),
    ],
    "ListWorkers": [
        Base(query={**PAGE, "queue": "mail", "kind": "work", "name": "n", "state": ["CONNECTED"]})
    ],
    "GetWorker": [Base({"session_id": "1"})],
    "DrainWorker": [Base({"session_id": "1"}, body={"reason": "r"})],
    "ListOperations": [Base(query={**PAGE, "filter": ""})],
    "GetOperation": [Base({"name": ID})],
    "WaitOperation": [Base({"name": ID}, {"timeout": "0s"})],
    "CancelOperation": [Base({"name": ID}, body={})],
    "DeleteOperation": [Base({"name": ID})],
    "ResumeOperation": [Base({"id": ID}, body={})],
    "ListQueues": [Base(query=PAGE)],
    "GetQueue": [Base({"name": "mail"})],
    "PauseQueue": [Base({"name": "mail"}, body={"reason": "a test"})],
    "GetQueueDemand": [Base({"queue": "mail"})],
    "GetOverview": [Base()],
    "WatchOverview": [Base()],
    "QueryStats": [
        Base(
            query={
                "queue": "mail",
                "kind": "work",
                "since": "2026-01-01T00:00:00Z",
                "until": "2026-01-02T00:00:00Z",
                "step": "900s",
                "group_by": "GROUP_BY_QUEUE",
            },
            # One is before the other.
            fixed=frozenset(["since", "until"]),
        )
    ],
    "CountJobs": [
        Base(query={"queue": "mail", "kind": "work", "labels": ["a=b"], **TIMES, "status": ["QUEUED"]})
    ],
    "ListServers": [Base()],
    "ResumeQueue": [Base({"name": "mail"}, body={})],
    "UpdateQueue": [
        Base(
            {"name": "mail"},
            {"update_mask": "limits,keyPolicy,maxWaiting,retention", "allow_missing": True},
            {
                "max_waiting": 1,
                "limits": {"max_running": 1, "rate": {"count": 1, "period": "1s", "burst": 1}},
                "key_policy": {
                    "max_running": 1,
                    "rate": {"count": 1, "period": "1s", "burst": 1},
                    "order": "KEY_ORDER_STRICT",
                    "on_failure": "ON_KEY_FAILURE_HOLD",
                    "fair": True,
                    "max_waiting": 1,
                    "require_key": False,
                },
                "retention": {"succeeded": "3600s", "failed_permanent": "3600s", "cancelled": "3600s"},
                "etag": "",
            },
        )
    ],
    "ListQueueKeys": [
        Base({"queue": "mail"}, {"page_size": 1, "page_token": "", "only": "WAITING", "order_by": "key"})
    ],
    "GetQueueKey": [Base({"queue": "mail", "key": "a"})],
    "UpdateQueueKey": [
        Base(
            {"queue": "mail", "key": "a"},
            {"update_mask": "maxRunning"},
            {"max_running": 1, "paused": False, "etag": ""},
        )
    ],
    "UnblockQueueKey": [Base({"queue": "mail", "key": "a"}, body={})],
    "PutKind": [
        Base(
            {"name": "work"},
            {**FORM, "update_mask": "schema", "only_newer": False},
            {
                "schema": True,
                "max_attempts": 1,
                "timeout": "1s",
                "retry_policy": JOB["retry_policy"],
                "limits": {"max_running": 1, "rate": {"count": 1, "period": "1s", "burst": 1}},
                "slot_weight": 1,
                "version": 1,
                "output_schema": True,
                "annotations": {"owner": "post"},
            },
        )
    ],
    "CreateSchedule": [
        Base(query=FORM, body={"name": "s", "paused": True, **SCHEDULE, "etag": ""}, fixed=OF_SCHEDULES),
        Base(
            body={"name": "t", **SCHEDULE, "spec": {"every": "34560000s", "phase": "0s"}}, fixed=OF_SCHEDULES
        ),
    ],
    "GetSchedule": [Base({"name": "s"}, FORM)],
    "ListSchedules": [
        Base(query={**PAGE, "kind": "work", "queue": "mail", "paused": True, "labels": ["k=v"]})
    ],
    "UpdateSchedule": [
        Base(
            {"name": "s"},
            {"update_mask": "spec,job,labels,policy", "allow_missing": True, **FORM},
            {**SCHEDULE, "etag": ""},
            fixed=OF_SCHEDULES | {"update_mask"},
        )
    ],
    "DeleteSchedule": [Base({"name": "s"}, {"etag": ""})],
    "PauseSchedule": [Base({"name": "s"}, body={"note": "n"})],
    "ResumeSchedule": [Base({"name": "s"}, body={})],
    "RunSchedule": [Base({"name": "s"}, body={"overlap": "ALLOW", "request_id": "r"})],
    "BackfillSchedule": [
        Base(
            {"name": "s"},
            body={
                "start_at": "2026-01-01T00:00:00Z",
                "end_at": "2026-01-02T00:00:00Z",
                "overlap": "SKIP",
                "max_ticks": "1",
                "validate_only": True,
                "per_second": 1,
                "request_id": "r",
            },
            fixed=frozenset(["BackfillScheduleBody.start_at", "BackfillScheduleBody.end_at"]),
        )
    ],
    "ListScheduleRuns": [Base({"name": "s"}, PAGE)],
    "PreviewSchedule": [
        Base(
            body={"spec": SCHEDULE["spec"], "count": 1, "since": "2026-01-01T00:00:00Z"}, fixed=OF_SCHEDULES
        ),
    ],
    "ListKinds": [Base(query={**PAGE, **FORM})],
    "GetAccess": [Base()],
    "CreateKey": [
        Base(
            body={
                "name": "n",
                # Twice, so that one of them can be another.
                "grants": [
                    {"permissions": ["READ", "READ"], "queues": ["*"], "kinds": ["*"], "payloads": True}
                ],
                "expires_in": "60s",
                "rate_limit": {"per_second": 1, "burst": 1},
                "networks": ["10.0.0.0/8"],
                "namespace": "",
            }
        )
    ],
    "GetKey": [Base(KEY, OF_NAMESPACE)],
    "ListKeys": [Base(query={**PAGE, **OF_NAMESPACE})],
    "RotateKey": [Base(KEY, body={"grace": "1s", "expires_in": "60s", **OF_NAMESPACE})],
    "RevokeKey": [Base(KEY, body={"reason": "r", **OF_NAMESPACE})],
    "PutIdentity": [
        Base(
            body={
                "kind": "jwt",
                "pattern": "mailer",
                "issuer": "",
                "claim": "",
                # Twice, so that one of them can be another.
                "grants": [
                    {"permissions": ["READ", "READ"], "queues": ["*"], "kinds": ["*"], "payloads": True}
                ],
                "rate_limit": {"per_second": 1, "burst": 1},
                "namespace": "",
            }
        )
    ],
    "ListIdentities": [Base(query={**PAGE, **OF_NAMESPACE})],
    "DeleteIdentity": [Base({"id": "999"}, query=OF_NAMESPACE)],
    "CreateNamespace": [Base(body={"name": "team-a"})],
    "ListNamespaces": [Base(query=PAGE)],
    "DisableNamespace": [Base({"name": "nobodys"}, body={})],
    "EnableNamespace": [Base({"name": "nobodys"}, body={})],
    "ListAudit": [
        Base(
            query={
                **PAGE,
                **OF_NAMESPACE,
                **dict.fromkeys(("action", "principal", "object", "outcome"), "a"),
                "since": "2026-01-31T18:00:00Z",
                "until": "2026-01-31T18:00:00Z",
            }
        )
    ],
}


@dataclass(frozen=True)
class Spot:
    """A place in a value.

    Attributes:
        at: How to get there, by names and indexes.
        of: The field that it belongs to, as `Schema.field`.
        schema: What is said of it.
    """

    at: tuple[Any, ...]
    of: str
    schema: Document


class Reading:
    """A document whose references are followed."""

    def __init__(self, document: Document) -> None:
        self._schemas = document["components"]["schemas"]

    def _read(self, said: Document) -> tuple[str, Document]:
        """The name of what is referred to, and the schema with what is said beside the reference."""
        if "$ref" not in said:
            return "", said
        name = said["$ref"].rpartition("/")[2]
        return name, {**self._schemas[name], **said}

    def fields(self, said: Document) -> set[str]:
        """Every field of a schema and of those within."""
        found: set[str] = set()

        def look(said: Document) -> None:
            name, schema = self._read(said)
            for each, inner in schema.get("properties", {}).items():
                if f"{name}.{each}" not in found:
                    found.add(f"{name}.{each}")
                    look(inner)
            if "items" in schema:
                look(schema["items"])

        look(said)
        return found

    def spots(self, value: Any, said: Document, of: str, at: tuple[Any, ...] = ()) -> Iterator[Spot]:
        """Every place in a value that a schema speaks of."""
        name, schema = self._read(said)
        yield Spot(at, of, schema)
        if isinstance(value, dict) and "properties" in schema:
            for each, inner in value.items():
                yield from self.spots(inner, schema["properties"][each], f"{name}.{each}", (*at, each))
        if isinstance(value, list):
            for index, inner in enumerate(value):
                yield from self.spots(inner, schema["items"], of, (*at, index))


def with_value(whole: Any, at: tuple[Any, ...], value: Any) -> Any:
    """A copy with another value at a place."""
    if not at:
        return value
    made = copy.deepcopy(whole)
    inner = made
    for step in at[:-1]:
        inner = inner[step]
    inner[at[-1]] = value
    return made


@dataclass(frozen=True)
class Part:
    """The body of a request, or one of its parameters: its name, its value when all is right, and its schema."""

    place: str
    name: str
    value: Any
    schema: Document

    def put(self, base: Base, value: Any) -> Base:
        """The request with another value of it."""
        if self.place == "body":
            return replace(base, body=value)
        changed: dict[str, Any] = {self.place: {**getattr(base, self.place), self.name: value}}
        return replace(base, **changed)


def parts(operation: Document, base: Base) -> Iterator[Part]:
    for said in operation["parameters"]:
        values = getattr(base, said.get("in", ""), {})
        if said.get("name") in values:
            yield Part(said["in"], said["name"], values[said["name"]], said["schema"])
    if base.body is not None:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        yield Part("body", "", base.body, schema)


# What is said of a token whose length and characters are right.
NO_TOKEN = "is not a token that WatchJobs gave"


def refused(answer: Reply) -> bool:
    """Whether a field is not within its bounds; what else there is to say, the server says after that."""
    assert answer.status < 500, answer.text
    assert answer.status not in (405, 413, 415), answer.text
    wrong = answer.status == 400 and answer.reason == "FIELD_INVALID" and NO_TOKEN not in answer.text
    return wrong or '"verdict":"INVALID"' in answer.text


@pytest.fixture
async def place(dsn: str) -> Any:
    async with Place(dsn, http_addr="127.0.0.1:0", max_sessions="100000") as place:
        yield place


class Sender:
    """Sends requests to operations by their names. `await sender.takes("GetJob", request)`."""

    def __init__(self, document: Document, call: Caller, token: str) -> None:
        self._operations = operations(document)
        self._call = call
        self._token = token

    async def takes(self, name: str, request: Base) -> bool:
        """Whether the server finds every field within its bounds."""
        method, path, _ = self._operations[name]
        for each, value in request.path.items():
            path = path.replace(f"{{{each}}}", quote(value, safe=""))
        query = urlencode(request.query, doseq=True)
        body = request.body
        if isinstance(body, dict) and body.get("session_token") == OPEN:
            body = {**body, "session_token": self._token}
        return not refused(await self._call(method, f"{path}?{query}" if query else path, body))


@pytest.fixture
async def sender(place: Place, call: Caller, document: Document) -> Sender:
    hello = {"worker": "w", "subscriptions": [{"kinds": ["work"]}], "session_ttl": "3600s"}
    opened = await call("POST", "/v1/sessions", hello)
    return Sender(document, call, opened.json["session_token"])


@pytest.mark.slow
async def test_what_the_document_says_of_a_request_is_what_the_server_takes(
    document: Document, sender: Sender
) -> None:
    reading = Reading(document)
    wrong, sent = [], 0
    for name, base in ((name, base) for name, bases in BASES.items() for base in bases):
        if base == Base():
            # It has no field; and one of these is a stream without an end.
            continue
        assert await sender.takes(name, base), name
        for part in parts(operations(document)[name][2], base):
            told = validator(document, part.schema)
            assert told.is_valid(part.value), (name, part.name)
            for spot, bound in bounded(reading, part):
                if spot.of in base.fixed:
                    continue
                value = with_value(part.value, spot.at, bound.value)
                if part.place == "path" and not value:
                    continue  # another path
                sent += 1
                said = told.is_valid(value) and not bound.in_words
                taken = await sender.takes(name, part.put(base, value))
                if (said, taken) != (bound.within, bound.within):
                    wrong.append((name, spot.of, spot.at, str(bound.value)[:80], said, taken))
    assert not wrong
    assert sent > 500


def bounded(reading: Reading, part: Part) -> Iterator[tuple[Spot, Bound]]:
    """Every bound of a part, with its place."""
    for spot in reading.spots(part.value, part.schema, part.name):
        named = str(spot.at[-1]) if spot.at else part.name
        for bound in bounds(named, spot.schema):
            yield spot, bound


def test_each_field_of_each_request_has_a_bound_or_a_reason(document: Document) -> None:
    reading = Reading(document)
    there, held = set(), set()
    for name, bases in BASES.items():
        said = operations(document)[name][2]
        for part in (part for base in bases for part in parts(said, base)):
            there |= reading.fields(part.schema) if part.place == "body" else {part.name}
            held |= {spot.of for spot, _ in bounded(reading, part)}
            held |= {
                spot.of
                for spot in reading.spots(part.value, part.schema, part.name)
                if "properties" in spot.schema
            }
    assert there - held == UNBOUNDED.keys() | UNSENT.keys()


@pytest.mark.parametrize("name", sorted(BASES))
def test_all_that_a_request_can_have_is_sent(name: str, document: Document) -> None:
    said = operations(document)[name][2]
    given = {each["name"] for each in said["parameters"] if "name" in each}
    sent = {each for base in BASES[name] for each in (*base.path, *base.query)}
    assert sent == given - UNSENT_PARAMETERS
    assert any(base.body is not None for base in BASES[name]) == ("requestBody" in said)


def test_each_operation_that_takes_something_is_held(document: Document) -> None:
    assert set(BASES) == {
        name for name, (_, _, said) in operations(document).items() if said["tags"] != ["ops"]
    }
