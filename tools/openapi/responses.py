"""The errors of an operation, by status: reasons of the Errors: of the .proto files, and reasons of HTTP alone."""

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
#: Under what an error's response lists the reasons of its ErrorInfo.
REASONS_OF = "x-reasons"
# What says when to call again.
_SHEDDING = frozenset({429, 503})
_UNAUTHENTICATED = 401
# Answered before the request becomes a call that has an id.
_BEFORE_THE_CALL = frozenset({403, 421})

_STATUS = {
    "type": "object",
    "description": "Every error: a google.rpc.Status. `details` always has an ErrorInfo, whose `reason` is stable.",
    "properties": {
        "code": {"type": "integer", "format": "int32", "description": "A google.rpc.Code."},
        "message": {"type": "string", "description": "What was wrong, for people."},
        "details": {
            "type": "array",
            "items": fields.reference("ErrorDetail"),
        },
    },
    "required": ["code", "message", "details"],
}

#: What each type of detail has for sure.
_DETAILS = {
    "ErrorInfo": ["reason", "domain"],
    "BadRequest": ["field_violations"],
    "RetryInfo": ["retry_delay"],
}

# One schema for all three: where several could be meant, the code of generators takes the first or fails.
_ERROR_DETAIL = {
    "type": "object",
    "description": (
        "`@type` names its type. ErrorInfo says which error it is. BadRequest names every wrong field. "
        "RetryInfo says when to try again, as `Retry-After` does."
    ),
    "properties": {
        "@type": {"type": "string", "enum": [_TYPE + name for name in _DETAILS]},
        "reason": {"type": "string", "pattern": "^[A-Z][A-Z0-9_]*$", "description": "Of ErrorInfo. Stable."},
        "domain": {"type": "string", "const": DOMAIN, "description": "Of ErrorInfo."},
        "metadata": {
            "type": "object",
            "additionalProperties": {"type": "string"},
            "description": "Of ErrorInfo: details for programs, such as `job_id` or `error_id`.",
        },
        "field_violations": {
            "type": "array",
            "items": fields.reference("FieldViolation"),
            "description": "Of BadRequest.",
        },
        "retry_delay": {**fields.DURATION, "description": "Of RetryInfo."},
    },
    "required": ["@type"],
    "allOf": [
        {"if": {"properties": {"@type": {"const": _TYPE + name}}}, "then": {"required": required}}
        for name, required in _DETAILS.items()
    ],
}

_FIELD_VIOLATION = {
    "type": "object",
    "description": "A field that is wrong.",
    "properties": {
        "field": {
            "type": "string",
            "description": "The field's path in the request, such as `jobs[3].payload.to`.",
        },
        "description": {"type": "string", "description": "What would be right."},
    },
    "required": ["field", "description"],
}

SCHEMAS: dict[str, Schema] = {
    "ErrorDetail": _ERROR_DETAIL,
    "FieldViolation": _FIELD_VIOLATION,
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


def headers_of(status: int) -> list[str]:
    """The headers of an error's answer."""
    names = ["Retry-After"] if status in _SHEDDING else []
    if status == _UNAUTHENTICATED:
        names.append("WWW-Authenticate")
    if status not in _BEFORE_THE_CALL:
        names.append("X-Request-Id")
    return names


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
    content = {"schema": fields.reference("Status")} | ({} if example is None else {"example": example})
    return {
        "description": f"{description}\n\n{points}",
        "headers": dict(headers),
        "content": {"application/json": content},
        # Beside the schema, of which generators would make a type for each set of reasons.
        REASONS_OF: [one.reason for one in found],
    }
