"""Turns errors into HTTP answers: status, headers, and a body in one of two forms. No other file does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta

from google.rpc.code_pb2 import Code

from ..errors import FieldInvalid, FieldViolation, JobQueueError
from .answer import Answer, Headers, json_answer
from .transcoding.errors import TranscodingError

DOMAIN = "jobqueue"

#: The HTTP status of each code, as google/rpc/code.proto has it.
STATUS_OF = {
    "OK": 200,
    "CANCELLED": 499,
    "UNKNOWN": 500,
    "INVALID_ARGUMENT": 400,
    "DEADLINE_EXCEEDED": 504,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "PERMISSION_DENIED": 403,
    "UNAUTHENTICATED": 401,
    "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 400,
    "ABORTED": 409,
    "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DATA_LOSS": 500,
}

#: Reasons of HTTP alone, by HTTP status: the request did not reach a handler.
REASONS = {
    400: (
        "REQUEST_MALFORMED",
        "The bytes are not an HTTP/1.1 request, or can be read in two ways. The message says why. The connection ends.",
    ),
    403: (
        "ORIGIN_FOREIGN",
        "A page of another site sent the request from a browser. List the page's origin in `JOBQUEUE_CORS_ORIGINS`.",
    ),
    404: (
        "ROUTE_NOT_FOUND",
        "No method has this path, or the path has no such verb. The message names the most similar ones.",
    ),
    405: (
        "METHOD_NOT_ALLOWED",
        "The path exists, but not for this HTTP method. `Allow` lists the methods that it has.",
    ),
    406: (
        "ACCEPT_UNSUPPORTED",
        "The method answers a stream, and `Accept` allows none of its forms. The message lists the forms.",
    ),
    413: ("BODY_TOO_LARGE", "The body is over 4 MiB. Send smaller ones, or store the data elsewhere."),
    415: (
        "CONTENT_TYPE_UNSUPPORTED",
        "The body's type is not `application/json`, or its encoding is not gzip.",
    ),
    421: (
        "HOST_UNKNOWN",
        "`Host` is not a name of this server. Call it by its address, or add the name to `JOBQUEUE_HTTP_HOSTS`.",
    ),
}

_TYPE = "type.googleapis.com/google.rpc."
#: How a caller that is not known can show who it is.
_CHALLENGE = ("WWW-Authenticate", "Bearer")


class Refused(JobQueueError):
    """A request that does not reach a method's handler, for one of `REASONS`."""

    def __init__(self, status: int, code: str, message: str, headers: Headers = ()) -> None:
        super().__init__(message)
        self.reason = REASONS[status][0]
        self.code = code
        self.http_status = status
        self.headers = headers


def refused_by_transcoder(error: TranscodingError) -> Refused | FieldInvalid:
    """The error for a request that the transcoder refused.

    A request that it can't read is FIELD_INVALID, as over gRPC. Others did not reach a method.
    """
    if error.http_status == STATUS_OF["INVALID_ARGUMENT"]:
        violations = [FieldViolation(one.field, one.description) for one in error.violations]
        return FieldInvalid(error.message, violations=violations)
    allow = allowed(error.allow) if error.allow else ""
    return Refused(error.http_status, error.code, error.message, (("Allow", allow),) if allow else ())


def allowed(methods: Sequence[str]) -> str:
    """The value of `Allow`: the methods, HEAD if GET is one of them, and OPTIONS."""
    more = {"HEAD"} if "GET" in methods else set()
    return ", ".join(sorted({*methods, *more, "OPTIONS"}))


class ErrorForm:
    """The form of errors.

    Args:
        aip193: Whether to answer as Google's APIs do: an object `error` with the HTTP status as its code, and the name
            of the gRPC code as its status. Otherwise the body is a google.rpc.Status.
    """

    def __init__(self, *, aip193: bool = False) -> None:
        self._aip193 = aip193

    def answer(self, error: JobQueueError) -> Answer:
        """The answer to a failed call. Its status is the reason's own, or the status of its code."""
        beside = error.headers if isinstance(error, Refused) else ()
        if error.code == "UNAUTHENTICATED":
            beside = (*beside, _CHALLENGE)
        if error.retry_after is not None:
            beside = (
                *beside,
                ("Retry-After", str(max(1, math.ceil(error.retry_after.total_seconds())))),
            )
        return json_answer(_status(error), self.body(error), beside)

    def body(self, error: JobQueueError) -> dict[str, object]:
        """The body of that answer."""
        return {"error": self.status(error)} if self._aip193 else self.status(error)

    def status(self, error: JobQueueError) -> dict[str, object]:
        """The error as an object. A stream that has begun ends with it."""
        code = _code(error)
        if self._aip193:
            parts = {"code": _status(error), "message": error.message, "status": code}
            return {**parts, "details": _details(error)}
        return {"code": Code.Value(code), "message": error.message, "details": _details(error)}


def _code(error: JobQueueError) -> str:
    return error.code if error.code in STATUS_OF else "INTERNAL"


def _status(error: JobQueueError) -> int:
    return error.http_status or STATUS_OF[_code(error)]


def _details(error: JobQueueError) -> list[dict[str, object]]:
    info = {"reason": error.reason, "domain": DOMAIN, "metadata": error.metadata}
    details: list[dict[str, object]] = [{"@type": _TYPE + "ErrorInfo", **info}]
    if error.violations:
        violations = [{"field": one.field, "description": one.description} for one in error.violations]
        details.append({"@type": _TYPE + "BadRequest", "field_violations": violations})
    if error.retry_after is not None:
        details.append({"@type": _TYPE + "RetryInfo", "retry_delay": _duration(error.retry_after)})
    return details


def _duration(span: timedelta) -> str:
    """A Duration in the form of ProtoJSON."""
    text = f"{span.total_seconds():.6f}".rstrip("0").rstrip(".")
    return f"{text}s"
