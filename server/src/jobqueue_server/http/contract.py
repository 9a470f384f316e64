"""What the contract of JobQueue over HTTP has beyond the annotations: raw JSON, Location, resume, parameters."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from google.api import http_pb2
from google.protobuf.message import Message

from jobqueue.v1 import job_pb2

from ..errors import FieldInvalid, FieldViolation
from .transcoding.options import Options


@dataclass(frozen=True, slots=True)
class Resume:
    """How a caller resumes a stream.

    Attributes:
        token: The field of each answer that becomes the id of its event.
        into: The field of the request that gets the value of `Last-Event-ID`.
    """

    token: str
    into: str


@dataclass(frozen=True, slots=True)
class Contract:
    """What an application serves in addition to the annotations of its services.

    Attributes:
        options: The switches of the transcoder.
        locations: By the full name of a method: makes the Location of a 201 from its answer.
        resumes: By the full name of a server stream: how it is resumed.
        dealt: The full names of methods that give many callers one and the same message, which is rendered once.
    """

    options: Options = field(default_factory=Options)
    locations: Mapping[str, Callable[[Any], str]] = field(default_factory=dict)
    resumes: Mapping[str, Resume] = field(default_factory=dict)
    dealt: Collection[str] = ()


_PAYLOAD = ("payload", "payload_json")
_OUTPUT = ("output", "output_json")
_OPERATION = "/v1/{name=operations/*}"

#: JSON of callers, workers and kinds is kept as text, so that 20 digits survive and `7` stays `7`.
OPTIONS = Options(
    raw_json={
        "jobqueue.v1.NewJob": _PAYLOAD,
        "jobqueue.v1.Job": (_PAYLOAD, _OUTPUT),
        "jobqueue.v1.LeasedJob": _PAYLOAD,
        "jobqueue.v1.Success": _OUTPUT,
        "jobqueue.v1.Kind": (("schema", "schema_json"), ("output_schema", "output_schema_json")),
    },
    # Its .proto file has `operations/**`, which also answers at `operations` itself, and gives WaitOperation none.
    rules={
        "google.longrunning.Operations.GetOperation": http_pb2.HttpRule(get=_OPERATION),
        "google.longrunning.Operations.DeleteOperation": http_pb2.HttpRule(delete=_OPERATION),
        "google.longrunning.Operations.CancelOperation": http_pb2.HttpRule(
            post=f"{_OPERATION}:cancel", body="*"
        ),
        "google.longrunning.Operations.WaitOperation": http_pb2.HttpRule(get=f"{_OPERATION}:wait"),
    },
)

JOBQUEUE = Contract(
    OPTIONS,
    locations={
        "/jobqueue.v1.JobQueue/EnqueueJob": lambda response: f"/v1/jobs/{response.job.id}",
        "/jobqueue.v1.Schedules/CreateSchedule": lambda response: f"/v1/schedules/{response.schedule.name}",
    },
    resumes={"/jobqueue.v1.JobQueue/WatchJobs": Resume("resume_token", "resume_token")},
    dealt=("/jobqueue.v1.Insight/QueryStats", "/jobqueue.v1.Insight/WatchOverview"),
)

# Parameters of other list interfaces. Here a token names the next page, so that no job is missed or comes twice.
_PAGED = frozenset(
    {
        "/v1/jobs",
        "/v1/queues",
        "/v1/kinds",
        "/v1/keys",
        "/v1/namespaces",
        "/v1/schedules",
        "/v1/{name=operations}",
    }
)
_INSTEAD = {
    "limit": "is not a parameter here; page_size says how many, page_token where to go on",
    "offset": "is not a parameter here; page_token, the next_page_token of the page before, says where to go on, "
    "and page_size how many",
}


def readable(request: Message) -> None:
    """Asks for payloads as bytes, whatever the caller asked for: over HTTP both forms are JSON."""
    if "payload_format" in request.DESCRIPTOR.fields_by_name:
        known: Any = request
        known.payload_format = job_pb2.PAYLOAD_FORMAT_JSON


def paging_refused(error: FieldInvalid, path: str) -> FieldInvalid:
    """The same error, or a better one for a caller that pages by limit and offset. `path` is the binding's."""
    if path not in _PAGED or not any(one.field in _INSTEAD for one in error.violations):
        return error
    violations = [
        FieldViolation(one.field, _INSTEAD.get(one.field, one.description)) for one in error.violations
    ]
    message = "; ".join(f"{one.field}: {one.description}" for one in violations)
    return FieldInvalid(message, violations=violations)
