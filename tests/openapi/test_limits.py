"""What the document asks of a field is what the server asks: a value just within is taken, one just beyond is not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from google.longrunning import operations_pb2

from jobqueue.v1 import (
    access_admin_pb2,
    bulk_pb2,
    insight_pb2,
    job_pb2,
    jobqueue_pb2,
    lease_pb2,
    queue_admin_pb2,
    schedule_pb2,
    stats_pb2,
    worker_pb2,
)
from tests.http.conftest import Caller
from tests.lease.place import Place
from tools.openapi.limits import LIMITS

from .conftest import Document, validator

# Field of NewJob -> values that are just within, values that are just beyond.
NEW_JOB: dict[str, tuple[list[Any], list[Any]]] = {
    "kind": (["a", "9_.-", "a" * 128], ["", "A", "-a", "a" * 129, "a\n"]),
    "queue": (["", "a", "a" * 128], ["A", "_a", "a" * 129]),
    "priority": ([-10, 10], [-11, 11]),
    "max_attempts": ([0, 1, 1000], [-1, 1001]),
    "idempotency_key": (["", "a b é", "k" * 255], ["k" * 256, "a\n", "\x7f"]),
    "key": (["", "a\n é/", "k" * 255], ["k" * 256, "a\0"]),
    "unique": (
        [
            {},
            {"key": "k" * 255, "scope": "NAMESPACE", "until": "ENDS", "on_conflict": "KEEP"},
            {"payload_fields": ["/a~1b~0/0", "/"], "until": "STARTS", "period": "1s"},
            {"payload_fields": ["/" + "a" * 254] * 16},
            {"key": "p", "until": "PERIOD", "period": "34560000s"},
            {"key": "r", "on_conflict": "REPLACE", "replace": ["PAYLOAD", "RUN_AT"], "cancel_running": False},
        ],
        [
            {"key": "k" * 256},
            {"key": "a\0"},
            {"payload_fields": ["a"]},
            {"payload_fields": [""]},
            {"payload_fields": ["/~2"]},
            {"payload_fields": ["/" + "a" * 255]},
            {"payload_fields": ["/a"] * 17},
            {"scope": "ALL"},
            {"until": "NEVER"},
            {"on_conflict": "REPLACED"},
            {"replace": ["KIND"]},
            {"replace": ["PAYLOAD"] * 8},
            {"cancel_running": True},
        ],
    ),
    "labels": (
        [{}, {"A/b": ""}, {"a" * 63: "v" * 255}, {f"n{i}": "" for i in range(32)}],
        [
            {"": "v"},
            {"a b": "v"},
            {"a" * 64: "v"},
            {"a": "v" * 256},
            {"a": "\t"},
            dict.fromkeys(map(str, range(33)), ""),
        ],
    ),
    "headers": ([{"A-b!": "v é"}], [{"": "v"}, {"a b": "v"}, {"a": "\n"}]),
    "delay": (["0s", "1.5s"], ["1", "1m", "-1s", "1.s"]),
    "run_at": (["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.123456789+02:00"], ["2026-01-01", "soon"]),
}
# The same for parameters of ListJobs.
LIST_JOBS: dict[str, tuple[list[str], list[str]]] = {
    "page_size": (["0", "1"], ["-1"]),
    "queue": (["", "a"], ["A"]),
    "kind": (["", "a"], ["A"]),
    "labels": (["a=", "a=" + "v" * 255], ["a", "=v", "a=" + "v" * 256]),
    "status": (["QUEUED"], ["STATUS_UNSPECIFIED", "DONE"]),
    "created_after": (["2026-01-01T00:00:00Z"], ["2026-01-01"]),
}


def cases(table: dict[str, tuple[list[Any], list[Any]]]) -> Iterator[tuple[str, Any, bool]]:
    for field, (within, beyond) in table.items():
        yield from ((field, value, True) for value in within)
        yield from ((field, value, False) for value in beyond)


@pytest.fixture
async def open_place(dsn: str) -> Any:
    async with Place(dsn, http_addr="127.0.0.1:0") as place:
        yield place


async def test_a_job_is_taken_exactly_where_its_schema_takes_it(
    open_place: Place, document: Document
) -> None:
    told = validator(document, {"$ref": "#/components/schemas/JobToEnqueue"})
    caller = Caller(open_place.app.http_port)
    wrong = []
    for field, value, right in cases(NEW_JOB):
        job = {"kind": "work", field: value}
        answer = await caller("POST", "/v1/jobs", job)
        if (told.is_valid(job), answer.status) != (right, 201 if right else 400):
            wrong.append((field, value, told.is_valid(job), answer.text))
    await caller.session.close()
    assert not wrong


async def test_a_parameter_is_taken_exactly_where_its_schema_takes_it(
    open_place: Place, document: Document
) -> None:
    said = document["paths"]["/v1/jobs"]["get"]["parameters"]
    schemas = {each["name"]: each["schema"] for each in said if "name" in each}
    caller = Caller(open_place.app.http_port)
    wrong = []
    for field, value, right in cases(LIST_JOBS):
        schema = schemas[field]
        read = int(value) if schema.get("type") == "integer" else value
        valid = validator(document, schema).is_valid([read] if schema.get("type") == "array" else read)
        answer = await caller("GET", f"/v1/jobs?{field}={value}")
        if (valid, answer.status) != (right, 200 if right else 400):
            wrong.append((field, value, valid, answer.text))
    await caller.session.close()
    assert not wrong


def test_each_limit_is_of_a_field_that_there_is() -> None:
    fields = {
        f"{message.name}.{field.name}"
        for file in (
            access_admin_pb2,
            bulk_pb2,
            insight_pb2,
            job_pb2,
            jobqueue_pb2,
            lease_pb2,
            operations_pb2,
            queue_admin_pb2,
            schedule_pb2,
            worker_pb2,
            stats_pb2,
        )
        for message in file.DESCRIPTOR.message_types_by_name.values()
        for field in message.fields
    }
    assert set(LIMITS) <= fields


IDS = ["a", "a b", "~" * 128], ["~" * 129, "é", "a\tb"]
TRACES = (
    ["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
    ["00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", "00", "a"],
)
# Header -> values that are just within, values that are just beyond, and whether these are refused; else passed over.
HEADERS: dict[str, tuple[list[str], list[str], bool]] = {
    "X-Request-Id": (*IDS, False),
    "Traceparent": (*TRACES, False),
    "Grpc-Timeout": (["99999999m", "30S"], ["100000000m", "1s", "S", "-1S"], True),
    "X-Server-Timeout": (["2.5", "999999999"], ["1e3", "-1", "1.", ".5"], True),
    "Idempotency-Key": (["k", "k" * 255, "a b"], ["k" * 256, "a\tb"], True),
    "Last-Event-ID": (["a" * 16384], ["a" * 16385], True),
}


async def test_a_header_is_taken_exactly_where_its_schema_takes_it(
    open_place: Place, document: Document
) -> None:
    parameters = document["components"]["parameters"]
    assert set(HEADERS) == set(parameters)
    caller = Caller(open_place.app.http_port)

    async def taken(name: str, value: str) -> bool:
        sent = {name.replace("-", "_"): value}
        if name == "Last-Event-ID":
            # Of a job that there is not, so that no stream begins. That the token is none is said later.
            watched = await caller("GET", f"/v1/jobs:watch?ids={uuid4()}", **sent)
            return "must be at most" not in watched.text
        answer = await caller("POST", "/v1/jobs", {"kind": "work"}, **sent)
        if HEADERS[name][2]:
            return answer.status == 201
        assert answer.status == 201, "it is passed over"
        assert validator(document, parameters["X-Request-Id"]["schema"]).is_valid(
            answer.headers["X-Request-Id"]
        )
        return bool(answer.json["headers"].get(name.lower()) == value)

    wrong = []
    for name, (within, beyond, _) in HEADERS.items():
        told = validator(document, parameters[name]["schema"])
        for value, right in [*((value, True) for value in within), *((value, False) for value in beyond)]:
            found = told.is_valid(value), await taken(name, value)
            if found != (right, right):
                wrong.append((name, value, found))
    await caller.session.close()
    assert not wrong
