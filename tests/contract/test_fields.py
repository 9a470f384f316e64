"""Each field of a job has one name in `fields.py`, the contract, the server's values and each client."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from google.protobuf.descriptor import Descriptor

import jobqueue
from jobqueue.v1 import job_pb2, lease_pb2
from jobqueue_server import fields, model
from jobqueue_server.core.lease.lease import LeaseTemplate
from jobqueue_server.fields import FIELDS, Field, Type, View
from jobqueue_server.store.intake.intake import NewRows
from tools.openapi.limits import LIMITS

CLIENTS = Path(__file__).parents[2] / "clients"


def asked(field: Field) -> bool:
    return field.asked


def shown(field: Field) -> bool:
    return field.shown is not None


def delivered(field: Field) -> bool:
    return field.delivered


def names(wanted: Callable[[Field], object]) -> set[str]:
    return set(fields.names(wanted))


def of_message(message: Descriptor) -> set[str]:
    """A payload and an output have two forms in a message, of which one is set."""
    return {field.name.removesuffix("_json") for field in message.fields}


def of_dataclass(values: type) -> set[str]:
    return {field.name for field in dataclasses.fields(values)}


def test_no_field_is_declared_twice() -> None:
    assert len({field.name for field in FIELDS}) == len(FIELDS)
    assert len({column.name for column in fields.COLUMNS}) == len(fields.COLUMNS)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (asked, job_pb2.NewJob.DESCRIPTOR),
        (shown, job_pb2.Job.DESCRIPTOR),
        (delivered, lease_pb2.LeasedJob.DESCRIPTOR),
    ],
    ids=["NewJob", "Job", "LeasedJob"],
)
def test_the_contract_has_the_fields_that_are_declared(
    wanted: Callable[[Field], object], message: Descriptor
) -> None:
    assert names(wanted) == of_message(message)


def test_the_servers_values_have_the_fields_that_are_declared() -> None:
    assert names(asked) == of_dataclass(model.NewJob)
    assert names(shown) == of_dataclass(model.Job)
    of_itself = {
        "name",
        "schema",
        "max_running",
        "rate",
        "slot_weight",
        "version",
        "output_schema",
        "annotations",
    }
    of_kind = of_dataclass(model.Kind) - of_itself
    assert names(lambda field: field.by_kind) == of_kind


def test_what_is_asked_for_is_shown_or_is_not_kept() -> None:
    assert names(lambda field: asked(field) and not shown(field)) == {"delay", "unique"}


def test_each_attribute_that_the_list_names_is_there() -> None:
    rows, template, lane = of_dataclass(NewRows), of_dataclass(LeaseTemplate), {"kind", "queue"}
    for column in fields.COLUMNS:
        first, _, rest = column.of.partition(".")
        assert first in rows, column
        assert not rest or rest in of_dataclass(model.NewJob), column
    for field in FIELDS:
        if field.of_template:
            first, _, rest = field.of_template.partition(".")
            assert first in template, field
            assert not rest or rest in lane, field
            assert field.delivered, field
            assert not field.columns, field


def test_a_delivered_field_has_one_column_at_most() -> None:
    for field in FIELDS:
        assert not field.delivered or len(field.columns) <= 1, field


def test_only_json_headers_and_what_became_of_it_are_left_out_of_a_basic_view() -> None:
    comment = "payload output headers failed_attempts"
    assert names(lambda field: field.shown is View.FULL) == set(comment.split())


def test_each_bounded_text_has_its_bound_in_the_document() -> None:
    bounded = {field.name: field.most for field in FIELDS if field.most}
    assert bounded
    for name, most in bounded.items():
        assert LIMITS[f"NewJob.{name}"]["maxLength"] == most


# ---- the clients, read from their sources: no toolchain is needed


def camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(map(str.capitalize, rest))


def go(field: Field) -> str:
    return {"id": "ID", "lease_id": "LeaseId"}.get(
        field.name, "".join(map(str.capitalize, field.name.split("_")))
    )


def java(field: Field) -> str:
    return camel(field.name)


def typescript(field: Field) -> str:
    """A span is a number of milliseconds, and says so; JSON is kept as the text that came."""
    ending = {Type.SPAN: "Ms", Type.JSON: "Json"}.get(field.type, "")
    return camel(field.name) + ending


def snake(field: Field) -> str:
    return field.name


class Source(NamedTuple):
    """A part of a client's source that must name each field: a type, or what fills it or reads it."""

    file: str
    begins: str
    ends: str
    name: Callable[[Field], str]
    wanted: Callable[[Field], object]


def camel_of(field: Field) -> str:
    """As in a message."""
    return camel(field.name)


def setter(field: Field) -> str:
    """Of a message's builder in Java."""
    return {Type.TEXTS: "putAll"}.get(field.type, "set") + go(field).replace("ID", "Id")


def kept(field: Field) -> bool:
    """What a producer gives and a job shows."""
    return bool(asked(field) and shown(field))


def handed(field: Field) -> bool:
    """What a handler sees: which lease it is, is between the worker and the server."""
    return delivered(field) and field.name != "lease_id"


SOURCES = [
    Source("go/jobqueue/job.go", "type NewJob struct {", "\n}\n", go, asked),
    Source("go/jobqueue/job.go", "func plainMessage(", "\n}\n", go, asked),
    Source("go/jobqueue/job.go", "type Job struct {", "\n}\n", go, shown),
    Source("go/jobqueue/job.go", "job := &Job{", "\n}\n", go, shown),
    Source("go/jobqueue/job.go", "type LeasedJob struct {", "\n}\n", go, handed),
    Source("go/jobqueue/job.go", "func leasedJob(", "\n}\n", go, handed),
    Source("java/src/main/java/dev/jobqueue/NewJob.java", "class Builder", "\n    }\n", java, asked),
    Source("java/src/main/java/dev/jobqueue/Job.java", "class Job", "\n}\n", java, shown),
    Source("java/src/main/java/dev/jobqueue/LeasedJob.java", "class LeasedJob", "\n}\n", java, handed),
    Source("typescript/src/job.ts", "interface JobOptions", "unknown;\n}\n", typescript, asked),
    Source("typescript/src/job.ts", "function newJob(", "\n}\n", typescript, asked),
    Source("typescript/src/job.ts", "class Job {", "constructor(", typescript, shown),
    Source("typescript/src/job.ts", "constructor(job: pb.Job", "\n  }\n", typescript, shown),
    Source("typescript/src/job.ts", "class LeasedJob", "\n}\n", typescript, handed),
    Source("rust/src/job.rs", "pub struct NewJob {", "\n/// ", snake, asked),
    Source("rust/src/job.rs", "fn new_job_message(", "\n}\n", snake, asked),
    Source("rust/src/job.rs", "pub struct Job {", "\n}\n", snake, shown),
    Source("rust/src/job.rs", "fn job_of(", "\n}\n", snake, shown),
    Source("rust/src/job.rs", "impl LeasedJob {", "\n}\n", snake, handed),
    Source("python/src/jobqueue/convert.py", "def new_job(", "\n\n\n", snake, asked),
    Source("python/src/jobqueue/convert.py", "def job(", "\n\n\n", snake, shown),
    Source("python/src/jobqueue/client.py", "job = NewJob(", "answer =", snake, asked),
    Source("python/src/jobqueue/cli/jobs.py", "client.enqueue(", "\n        )\n", snake, asked),
    # Read back from a message, as a schedule and a recording client show it.
    Source("python/src/jobqueue/new_jobs.py", "def new_job_of(", "\n\n\n", snake, asked),
    Source("typescript/src/newJobs.ts", "function newJobOf(", "\n}\n", typescript, asked),
    # What a recording client answers. Of a job that has just been stored, nothing else is shown.
    Source("python/src/jobqueue/testing/recording.py", "def _stored(", "\n\n\n", snake, kept),
    Source("go/jobqueue/jobqueuetest/recording.go", "func storedOf(", "\n}\n", go, kept),
    Source("typescript/src/testing/recording.ts", "function storedOf(", "\n}\n", camel_of, kept),
    Source("rust/src/testing/recording.rs", "fn answer_to(", "\n}\n", snake, kept),
    Source(
        "java/testing/src/main/java/dev/jobqueue/testing/Stored.java", "message(", "\n    }\n", setter, kept
    ),
    Source("python/src/jobqueue/jobs.py", "class LeasedJob", "\nclass ", snake, handed),
]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: f"{source.file}: {source.begins}")
def test_each_client_has_each_field(source: Source) -> None:
    text = (CLIENTS / source.file).read_text()
    start = text.index(source.begins)
    end = text.find(source.ends, start)
    part = text[start : end if end > 0 else None]
    # Of comments a name may be left over.
    code = re.sub(r"^\s*(//|\*|/\*|#).*$|\"\"\"[\s\S]*?\"\"\"", "", part, flags=re.MULTILINE)
    words = set(re.findall(r"\w+", code))
    if "content" in words:
        # The oneof of a message that has it.
        words.add("payload")
    if source.file.startswith("rust"):
        words |= {"run_at", "delay"} if {"At", "After"} <= words else set()
    missing = {
        name
        for field in FIELDS
        if source.wanted(field) and not {name := source.name(field), f"{name}_json", f"{name}Json"} & words
    }
    assert not missing


def test_the_client_in_python_has_each_field() -> None:
    # What a client does with a payload before it is sent is its own, and a kind says it.
    new, told = of_dataclass(jobqueue.NewJob) - {"encodings"}, of_dataclass(jobqueue.Job)
    assert {name.removesuffix("_json") for name in new} == names(asked)
    assert {name.removesuffix("_json") for name in told} == names(shown) | {"replayed", "unique_action"}
    given = inspect.signature(jobqueue.Client.enqueue).parameters.keys() - {"self", "deadline"}
    assert given == new
