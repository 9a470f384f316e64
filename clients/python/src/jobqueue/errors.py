"""What a call may raise: one class for each thing that a caller can do something about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import grpc
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

if TYPE_CHECKING:
    from .jobs import EnqueueResult, Job

_DETAILS_KEY = "grpc-status-details-bin"
_REQUEST_ID_KEY = "x-request-id"


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One field that was wrong.

    Attributes:
        field: Its path in the request, for example `job.payload.to`.
        description: What is wrong with it and what would be right.
    """

    field: str
    description: str


class JobQueueError(Exception):
    """A call was refused or failed. Every error of the client is one.

    Attributes:
        message: What went wrong, for people.
        code: The name of the gRPC code, for example `NOT_FOUND`.
        reason: The stable name of the cause, for example `JOB_NOT_FOUND`. Empty when no JobQueue server answered.
        metadata: Facts about the error, for example `job_id`.
        violations: The fields that were wrong.
        retry_after: How long the server asks to wait before another try.
        request_id: Finds the call in the server's log. Empty when no server answered.
        enqueued: Of `enqueue_many`: the jobs of the batches before, which are committed.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "UNKNOWN",
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        violations: Iterable[FieldViolation] = (),
        retry_after: timedelta | None = None,
        request_id: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.reason = reason
        self.metadata = dict(metadata or {})
        self.violations = tuple(violations)
        self.retry_after = retry_after
        self.request_id = request_id
        self.enqueued: tuple[EnqueueResult, ...] = ()

    def __str__(self) -> str:
        fields = "; ".join(f"{v.field}: {v.description}" for v in self.violations)
        name = self.reason or self.code
        # A server often says the one violation in its message already.
        return f"{name}: {self.message}" + (f" ({fields})" if fields and fields not in self.message else "")


class InvalidRequest(JobQueueError):
    """A field is malformed or out of its range: mend the call; `violations` says where."""


class PayloadInvalid(InvalidRequest):
    """The payload does not satisfy its kind's schema: mend the payload."""


class TooLarge(InvalidRequest):
    """A payload or the whole request is over its limit: make it smaller, or store it elsewhere and send its address."""


class KindUnknown(InvalidRequest):
    """The kind was never put: look for a typing error, or put it with `put_kind`."""


class NotFound(JobQueueError):
    """There is no such thing, or no longer."""


class JobNotFound(NotFound):
    """There is no job of this id, or no longer: it may have been deleted, or its retention has ended."""


class QueueNotFound(NotFound):
    """No job was ever enqueued in this queue."""


class JobTerminal(JobQueueError):
    """The job is over and can't be cancelled: `metadata["status"]` says how it ended."""


class JobNotTerminal(JobQueueError):
    """The job is not over: wait for it or cancel it first."""


class IdempotencyKeyReused(JobQueueError):
    """The key stands for another request: `metadata["job_id"]` names its job. Use a new key."""


class ServersDiffer(JobQueueError):
    """An older server that still runs would break what was asked for: upgrade those in `metadata["servers"]` first."""


class Overloaded(JobQueueError):
    """The server takes no more for now: try again after `retry_after`."""


class Unavailable(JobQueueError):
    """No server answered, or it can't reach its database. What was asked for may have been done: try again."""


class DeadlineExceeded(JobQueueError):
    """Not done in time. What was asked for may have been done: try again, an enqueue under the same key."""


class WaitTimeout(DeadlineExceeded, TimeoutError):
    """The job was not over in time.

    Attributes:
        job: The job as it was at the end.
    """

    def __init__(self, message: str, job: Job) -> None:
        super().__init__(message, code="DEADLINE_EXCEEDED", metadata={"job_id": job.id})
        self.job = job


class WatchTokenExpired(JobQueueError):
    """The token is too old to go on from: list the jobs, then watch without it."""


class SessionUnknown(JobQueueError):
    """The server has no such session: open a new one. The Worker does so by itself."""


class SessionEnded(SessionUnknown):
    """The worker's session is over, and its leases went back: open a new one. The Worker does so by itself."""


class SessionSuperseded(JobQueueError):
    """The session goes on on another stream: resume it there. The Worker does so by itself."""


class SessionSilent(JobQueueError):
    """The server heard nothing of the worker for three heartbeats: resume the session. The Worker does so by itself."""


class NotAllowed(JobQueueError):
    """The credentials are missing, wrong, or not enough for this call."""


class NotSupported(JobQueueError):
    """The server does not have this method: it is older than the client, or no JobQueue server."""


class ServerFault(JobQueueError):
    """A fault of the server: give its operator `request_id` or `metadata["error_id"]`."""


_BY_REASON: dict[str, type[JobQueueError]] = {
    "PAYLOAD_INVALID": PayloadInvalid,
    "PAYLOAD_TOO_LARGE": TooLarge,
    "BODY_TOO_LARGE": TooLarge,
    "KIND_UNKNOWN": KindUnknown,
    "JOB_NOT_FOUND": JobNotFound,
    "QUEUE_NOT_FOUND": QueueNotFound,
    "JOB_TERMINAL": JobTerminal,
    "JOB_NOT_TERMINAL": JobNotTerminal,
    "IDEMPOTENCY_KEY_REUSED": IdempotencyKeyReused,
    "SERVERS_DIFFER": ServersDiffer,
    "WATCH_TOKEN_EXPIRED": WatchTokenExpired,
    "SESSION_UNKNOWN": SessionUnknown,
    "SESSION_ENDED": SessionEnded,
    "SESSION_SUPERSEDED": SessionSuperseded,
    "SESSION_SILENT": SessionSilent,
}

# For reasons that this version does not know, and for answers of proxies, which have none.
_BY_CODE: dict[str, type[JobQueueError]] = {
    "INVALID_ARGUMENT": InvalidRequest,
    "OUT_OF_RANGE": InvalidRequest,
    "NOT_FOUND": NotFound,
    "RESOURCE_EXHAUSTED": Overloaded,
    "UNAVAILABLE": Unavailable,
    "DEADLINE_EXCEEDED": DeadlineExceeded,
    "UNAUTHENTICATED": NotAllowed,
    "PERMISSION_DENIED": NotAllowed,
    "UNIMPLEMENTED": NotSupported,
    "INTERNAL": ServerFault,
    "UNKNOWN": ServerFault,
    "DATA_LOSS": ServerFault,
}


def from_rpc(error: grpc.RpcError) -> JobQueueError:
    """The typed error of a failed call, of the asyncio or the blocking API."""
    code = error.code().name
    message = error.details() or "no details were given"
    metadata: dict[str, str | bytes] = {}
    # A call that ended before it was sent has no metadata.
    for part in ("initial_metadata", "trailing_metadata"):
        for entry in getattr(error, part, tuple)() or ():
            metadata[entry[0]] = entry[1]
    info, bad, retry = ErrorInfo(), BadRequest(), RetryInfo()
    for detail in _details(metadata.get(_DETAILS_KEY)).details:
        for known in (info, bad, retry):
            if detail.Is(known.DESCRIPTOR):
                detail.Unpack(known)
    found = _BY_REASON.get(info.reason) or _BY_CODE.get(code, JobQueueError)
    if not info.reason and code == "RESOURCE_EXHAUSTED" and "larger than max" in message:
        # gRPC refuses a message before anybody has read it.
        found, message = TooLarge, f"a message is too large, the most is 4 MiB ({message})"
    if code == message == "CANCELLED":
        # So gRPC's server ends, as it leaves, the calls that nobody has come to yet. A caller's own cancelling says so.
        found, code, message = Unavailable, "UNAVAILABLE", "the server left before it came to the call"
    request_id = metadata.get(_REQUEST_ID_KEY, "")
    return found(
        message,
        code=code,
        reason=info.reason,
        metadata=info.metadata,
        violations=[FieldViolation(each.field, each.description) for each in bad.field_violations],
        retry_after=retry.retry_delay.ToTimedelta() if retry.HasField("retry_delay") else None,
        request_id=request_id if isinstance(request_id, str) else request_id.decode("ascii", "replace"),
    )


def _details(raw: str | bytes | None) -> Status:
    """The details, or none where a proxy garbled them: the code and the message still say what happened."""
    if not isinstance(raw, bytes):
        return Status()
    try:
        return Status.FromString(raw)
    except DecodeError:
        return Status()
