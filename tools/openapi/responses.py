"""What goes wrong, by status: the reasons that the Errors: of the .proto files name, and those of HTTP alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from jobqueue_server.errors import registry
from jobqueue_server.http.errors import DOMAIN, REASONS, STATUS_OF
from tools import comments

from . import fields

Schema = dict[str, Any]

# Said of gRPC's code; here the status is where the reason stands.
_THE_STATUS = re.compile(r" HTTP \d{3}\.$")
_TYPE = "type.googleapis.com/google.rpc."
#: What says when to call again.
SHEDDING = frozenset({429, 503})
#: Answered before the request becomes a call that has an id.
BEFORE_THE_CALL = frozenset({403, 421})

_STATUS = {
    "type": "object",
    "description": "Every error: a google.rpc.Status. `details` always has an ErrorInfo, whose `reason` is stable.",
    "properties": {
        "code": {"type": "integer", "format": "int32", "description": "A google.rpc.Code."},
        "message": {"type": "string", "description": "What was wrong, for people."},
        "details": {
            "type": "array",
            "items": {"anyOf": [fields.reference(name) for name in ("ErrorInfo", "BadRequest", "RetryInfo")]},
        },
    },
    "required": ["code", "message", "details"],
}

_ERROR_INFO = {
    "type": "object",
    "description": "Which error it is.",
    "properties": {
        "@type": {"const": _TYPE + "ErrorInfo"},
        "reason": {"type": "string", "pattern": "^[A-Z][A-Z0-9_]*$", "description": "Stable."},
        "domain": {"const": DOMAIN},
        "metadata": {
            "type": "object",
            "additionalProperties": {"type": "string"},
            "description": "What a program may want to know, such as `job_id` or `error_id`.",
        },
    },
    "required": ["@type", "reason", "domain"],
}

_BAD_REQUEST = {
    "type": "object",
    "description": "Every field at fault, by its path in the request message.",
    "properties": {
        "@type": {"const": _TYPE + "BadRequest"},
        "field_violations": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "field": {"type": "string", "description": "Such as `jobs[3].payload.to`."},
                    "description": {"type": "string", "description": "What would be right."},
                },
                "required": ["field", "description"],
            },
        },
    },
    "required": ["@type", "field_violations"],
}

_RETRY_INFO = {
    "type": "object",
    "description": "When it is worth trying again, as `Retry-After` says too.",
    "properties": {"@type": {"const": _TYPE + "RetryInfo"}, "retry_delay": fields.DURATION},
    "required": ["@type", "retry_delay"],
}

SCHEMAS: dict[str, Schema] = {
    "BadRequest": _BAD_REQUEST,
    "ErrorInfo": _ERROR_INFO,
    "RetryInfo": _RETRY_INFO,
    "Status": _STATUS,
}


@dataclass(frozen=True)
class Reason:
    """One reason why an operation answers a status."""

    status: int
    reason: str
    when: str


def listed(comment: str) -> list[Reason]:
    """What a comment lists below `Errors:`."""
    known = registry()
    return [
        Reason(
            error.http_status or known[error.reason].http_status or STATUS_OF[error.code],
            error.reason,
            _THE_STATUS.sub("", error.when),
        )
        for error in comments.errors(comment)
    ]


def of_http(*, has_body: bool, has_variables: bool, is_stream: bool) -> list[Reason]:
    """What the HTTP server answers before a request gets to its method.

    Args:
        has_body: Whether the operation takes a body.
        has_variables: Whether its path has variables, whose values may make it another path.
        is_stream: Whether it is answered in one of several forms.

    Raises:
        KeyError: HTTP has a status that is new here; say which operations answer it.
    """
    answered = {
        # It reaches none.
        400: False,
        403: True,
        404: has_variables,
        # To another operation than this one.
        405: False,
        406: is_stream,
        413: has_body,
        415: has_body,
        421: True,
    }
    return [Reason(status, reason, when) for status, (reason, when) in REASONS.items() if answered[status]]


def by_status(reasons: Iterable[Reason]) -> dict[int, list[Reason]]:
    """The same, each reason once, by its status."""
    found: dict[int, dict[str, Reason]] = {}
    for reason in reasons:
        found.setdefault(reason.status, {}).setdefault(reason.reason, reason)
    return {status: list(found[status].values()) for status in sorted(found)}


def response(
    description: str, reasons: Iterable[Reason], headers: Mapping[str, Any], example: Any = None
) -> Schema:
    """One error of an operation: what it means, and each reason that it may have."""
    found = list(reasons)
    points = "\n".join(f"- `{one.reason}`: {one.when}" for one in found)
    named = {"properties": {"reason": {"enum": [one.reason for one in found]}}, "required": ["reason"]}
    schema = {**fields.reference("Status"), "properties": {"details": {"contains": named}}}
    content = {"schema": schema} if example is None else {"schema": schema, "example": example}
    return {
        "description": f"{description}\n\n{points}",
        "headers": dict(headers),
        "content": {"application/json": content},
    }
