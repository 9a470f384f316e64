"""What the contract says of JobQueue over HTTP beyond the annotations: raw JSON, Location, words for parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.message import Message

from jobqueue.v1 import job_pb2

from ..errors import FieldInvalid
from .transcoding.options import Options

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

#: What a 201 made: its path, from the method's answer.
LOCATIONS: Mapping[str, Callable[[Any], str]] = {
    "/jobqueue.v1.JobQueue/EnqueueJob": lambda response: f"/v1/jobs/{response.job.id}",
}

# What other list interfaces have; here a page goes on by its token, so that no job is missed or seen twice.
_PAGED = frozenset({"/v1/jobs", "/v1/queues", "/v1/kinds"})
_INSTEAD = {
    "limit": "is no parameter here; page_size says how many, page_token where to go on",
    "offset": "is no parameter here; page_token, the next_page_token of the page before, says where to go on, "
    "and page_size how many",
}


def readable(request: Message) -> None:
    """Asks for payloads as bytes, whatever the caller said: over HTTP they are JSON either way."""
    if "payload_format" in request.DESCRIPTOR.fields_by_name:
        known: Any = request
        known.payload_format = job_pb2.PAYLOAD_FORMAT_JSON


def paging_refused(error: FieldInvalid, path: str) -> FieldInvalid:
    """The same error, or a better one where a caller pages by limit and offset."""
    for violation in error.violations:
        if path in _PAGED and violation.field in _INSTEAD:
            return FieldInvalid.of(violation.field, _INSTEAD[violation.field])
    return error
