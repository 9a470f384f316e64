"""Headers that calls and answers may have, as components of the document."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from jobqueue_server.chain import MAX_REQUEST_ID_CHARS
from jobqueue_server.model import MAX_KEY_CHARS

from .limits import RESUME_TOKEN

Schema = dict[str, Any]

# 1 to 128 characters of printable ASCII. Blanks around a header's value are no part of it.
_REQUEST_ID: Schema = {
    "type": "string",
    "minLength": 1,
    "maxLength": MAX_REQUEST_ID_CHARS,
    "pattern": "^[!-~]([ -~]*[!-~])?$",
}

PARAMETERS: dict[str, Schema] = {
    "X-Request-Id": {
        "description": (
            "The caller's own id of the request: 1 to 128 characters of printable ASCII. The answer and the server's "
            "log have it, and the job's handler gets it. If it is missing or malformed, the server makes "
            "one."
        ),
        "schema": _REQUEST_ID,
    },
    "Grpc-Timeout": {
        "description": "How long the caller waits: at most 8 digits and a unit of H, M, S, m, u and n.",
        "schema": {"type": "string", "pattern": "^[0-9]{1,8}[HMSmun]$", "examples": ["500m"]},
    },
    "X-Server-Timeout": {
        "description": "How long the caller waits, in seconds. Of both headers the shorter time counts.",
        "schema": {"type": "string", "pattern": r"^[0-9]{1,9}(\.[0-9]{1,9})?$", "examples": ["2.5"]},
    },
    "Idempotency-Key": {
        "description": (
            "The producer's own name for this request. It wins over `idempotency_key` in the body. The same key with "
            "the same request answers the same job, for at least 24 hours."
        ),
        "schema": {
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_KEY_CHARS,
            "pattern": "^[!-~]([ -~]*[!-~])?$",
        },
    },
    "Traceparent": {
        "description": (
            "The W3C trace context of the caller; the job's handler gets it. The server ignores a malformed "
            "one."
        ),
        "schema": {
            "type": "string",
            "pattern": "^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-[!-~]{0,200})?$",
            "examples": ["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
        },
    },
    "Last-Event-ID": {
        "description": (
            "The id of the last event that the caller got, as EventSource sends it. The stream continues after it, as "
            "with `resume_token`."
        ),
        "schema": {"type": "string", **RESUME_TOKEN},
    },
}

ANSWERED: dict[str, Schema] = {
    "X-Request-Id": {
        "description": "The id of the request: the caller's or a new one.",
        "required": True,
        "schema": _REQUEST_ID,
    },
    "Retry-After": {
        "description": "In how many seconds to try again.",
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    },
    "WWW-Authenticate": {
        "description": "How to show who one is: `Bearer`.",
        "required": True,
        "schema": {"type": "string", "const": "Bearer"},
    },
    "Cache-Control": {
        "description": "The answer has a secret, which no cache may keep.",
        "required": True,
        "schema": {"type": "string", "const": "no-store"},
    },
    "Location": {
        "description": "The path of what was made.",
        "required": True,
        "schema": {"type": "string", "format": "uri-reference", "pattern": "^/v1/(jobs|schedules)/"},
    },
    "Jobqueue-Pressure": {
        "description": (
            "How near the server is to refusing jobs, where it is near: the greatest of how full the line of those is "
            "that wait to be stored, and what part of a second the last commit took. Without it: there is room."
        ),
        "schema": {"type": "string", "pattern": "^(0\\.[5-9][0-9]|1\\.00)$"},
    },
    "Idempotency-Replayed": {
        "description": "Nothing was enqueued: the job of an earlier request with the same key existed already.",
        "schema": {"type": "string", "const": "true"},
    },
    "Unique-Action": {
        "description": "Nothing was enqueued: another job holds the name of a job with `unique`.",
        "schema": {"type": "string", "enum": ["kept", "replaced", "debounced"]},
    },
}

#: What any call may carry.
EVERY_CALL = ("X-Request-Id", "Grpc-Timeout", "X-Server-Timeout")


def parameters(names: Iterable[str]) -> list[Schema]:
    """References to headers of a call."""
    return [{"$ref": f"#/components/parameters/{name}"} for name in names]


def answered(*names: str) -> Schema:
    """References to headers of an answer."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def components() -> dict[str, Schema]:
    """What the references refer to."""
    given = {name: {"name": name, "in": "header", **said} for name, said in PARAMETERS.items()}
    return {"parameters": given, "headers": ANSWERED}
