"""What the contract says of JobQueue over HTTP beyond the annotations: raw JSON, places, resuming, parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import Message

from jobqueue.v1 import job_pb2

from ..errors import FieldInvalid, FieldViolation
from .transcoding.options import Options


@dataclass(frozen=True, slots=True)
class Resume:
    """How a stream goes on after a break.

    Attributes:
        token: The field of each answer that is its event's id.
        into: The field of the request that `Last-Event-ID` fills with the id of the last event seen.
    """

    token: str
    into: str


@dataclass(frozen=True, slots=True)
class Contract:
    """What an application serves beyond the annotations of its services.

    Attributes:
        options: The switches of the transcoder.
        locations: By the full name of a method: the path of what its 201 made, from its answer.
        resumes: By the full name of a server stream.
    """

    options: Options = field(default_factory=Options)
    locations: Mapping[str, Callable[[Any], str]] = field(default_factory=dict)
    resumes: Mapping[str, Resume] = field(default_factory=dict)


_PAYLOAD = ("payload", "payload_json")
_OUTPUT = ("output", "output_json")

#: JSON of callers, workers and kinds goes in and out as its own text, so that 20 digits survive and `7` stays `7`.
OPTIONS = Options(
    raw_json={
        "jobqueue.v1.NewJob": _PAYLOAD,
        "jobqueue.v1.Job": (_PAYLOAD, _OUTPUT),
        "jobqueue.v1.LeasedJob": _PAYLOAD,
        "jobqueue.v1.Success": _OUTPUT,
        "jobqueue.v1.Kind": ("schema", "schema_json"),
    }
)

JOBQUEUE = Contract(
    OPTIONS,
    locations={"/jobqueue.v1.JobQueue/EnqueueJob": lambda response: f"/v1/jobs/{response.job.id}"},
    resumes={"/jobqueue.v1.JobQueue/WatchJobs": Resume("resume_token", "resume_token")},
)

# What other list interfaces have; here a page goes on by its token, so that no job is missed or seen twice.
_PAGED = frozenset({"/v1/jobs", "/v1/queues", "/v1/kinds"})
_INSTEAD = {
    "limit": "is not a parameter here; page_size says how many, page_token where to go on",
    "offset": "is not a parameter here; page_token, the next_page_token of the page before, says where to go on, "
    "and page_size how many",
}


def readable(request: Message) -> None:
    """Asks for payloads as bytes, whatever the caller said: over HTTP they are JSON either way."""
    if "payload_format" in request.DESCRIPTOR.fields_by_name:
        known: Any = request
        known.payload_format = job_pb2.PAYLOAD_FORMAT_JSON


def paging_refused(error: FieldInvalid, path: str) -> FieldInvalid:
    """The same error, or a better one where a caller pages by limit and offset; `path` as the binding has it."""
    if path not in _PAGED or not any(one.field in _INSTEAD for one in error.violations):
        return error
    violations = [
        FieldViolation(one.field, _INSTEAD.get(one.field, one.description)) for one in error.violations
    ]
    message = "; ".join(f"{one.field}: {one.description}" for one in violations)
    return FieldInvalid(message, violations=violations)
