"""The errors of calls: one class for each case that a caller can handle."""

from __future__ import annotations

import re
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

# What gRPC says of a port that speaks something else, and what to do. The first that fits counts.
_OTHER_PORTS = (
    (
        re.compile(r"HTTP status 426"),
        "the port speaks TLS: connect with tls_credentials(), on the command line with --tls-roots",
    ),
    (
        re.compile(r"http/?1\.[x01]|frame too large|expected settings|missing selected ALPN", re.I),
        "this may be the HTTP port; gRPC has another one, 50051 unless told otherwise",
    ),
    (
        re.compile(r"WRONG_VERSION_NUMBER"),
        "the port speaks no TLS: connect without credentials, on the command line without --tls-roots",
    ),
    (
        re.compile(r"failed to connect to all addresses.*: Socket closed", re.S),
        "something takes connections there and ends them at once: it may speak TLS, or not be a server of gRPC",
    ),
)
_DETAILS_KEY = "grpc-status-details-bin"
_REQUEST_ID_KEY = "x-request-id"


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One wrong field.

    Attributes:
        field: Its path in the request, for example `job.payload.to`.
        description: What is wrong with the field, and what would be right.
    """

    field: str
    description: str


class JobQueueError(Exception):
    """A call was refused or failed. The base of every error of the client.

    Attributes:
        message: What went wrong, for people.
        code: The name of the gRPC code, for example `NOT_FOUND`.
        reason: The stable name of the cause, for example `JOB_NOT_FOUND`. Empty if no JobQueue server answered.
        metadata: Details for programs, for example `job_id`.
        violations: The wrong fields.
        retry_after: How long the server asks to wait before another try; None if it does not say.
        request_id: Finds the call in the server's log. Empty if no server answered.
        enqueued: Of `enqueue_many`: the jobs of the earlier batches, which are committed.
        hint: What to do, where the client knows it. Empty mostly.
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
        self.hint = ""

    def __str__(self) -> str:
        fields = "; ".join(f"{v.field}: {v.description}" for v in self.violations)
        name = self.reason or self.code
        # A server often says the one violation in its message already.
        words = f"{name}: {self.message}" + (f" ({fields})" if fields and fields not in self.message else "")
        return f"{words}; {self.hint}" if self.hint else words


class InvalidRequest(JobQueueError):
    """A field is malformed or out of its range: correct the call; `violations` says where."""


class PayloadInvalid(InvalidRequest):
    """The payload does not satisfy its kind's schema: correct the payload."""


class TooLarge(InvalidRequest):
    """A payload or the whole request is over its limit: make it smaller, or store it elsewhere and send its address."""


class KindUnknown(InvalidRequest):
    """The kind is not declared: check its spelling, or declare it with `put_kind`."""


class NotFound(JobQueueError):
    """What was asked for does not exist, or no longer exists."""


class JobNotFound(NotFound):
    """No job has this id: it never existed, was deleted, or its retention ended."""


class QueueNotFound(NotFound):
    """No job was ever enqueued in this queue."""


class JobTerminal(JobQueueError):
    """The job has ended and can't be cancelled: `metadata["status"]` says how it ended."""


class JobNotTerminal(JobQueueError):
    """The job is not over: wait for it or cancel it first."""


class JobNotHeld(JobQueueError):
    """The job is not held back: it was released before, enqueued without `hold`, or has ended."""


class IdempotencyKeyReused(JobQueueError):
    """The key belongs to another request: `metadata["job_id"]` names its job. Use a new key."""


class Duplicate(JobQueueError):
    """Another job, `metadata["job_id"]`, holds the name of a unique job: wait for it, or leave the work to it."""


class EtagMismatch(JobQueueError):
    """What is to be changed was changed since its `etag` was read. Read it again and decide anew; its own is in
    `metadata["etag"]`.
    """


class KeyPolicyConflict(JobQueueError):
    """Parts of a queue's key policy would contradict each other. `violations` says which one must be another."""


class KeyNotBlocked(JobQueueError):
    """No failed job blocks the key. It was unblocked before, or its job was retried or deleted."""


class QueueKeysFull(JobQueueError):
    """Something is said of as many keys of the queue as may be. Set back some of them first."""


class ScheduleNotFound(NotFound):
    """No schedule has this name: it was never made, or it was deleted."""


class ScheduleExists(JobQueueError):
    """A schedule has this name. Choose another one, or change that one."""


class SchedulesFull(JobQueueError):
    """The namespace has as many schedules as it may have. Delete some of them."""


class FilterChanged(JobQueueError):
    """Not about as many jobs match as were expected: `metadata["estimate"]` says how many. Look at them again."""


class WorkerNotFound(NotFound):
    """No open session has this number: it never existed, has ended, or takes nothing that may be read."""


class OperationNotFound(NotFound):
    """No operation has this name: it never existed, was deleted, is another's, or its retention ended."""


class OperationNotDone(JobQueueError):
    """The operation is not done. Wait for it, or cancel it first."""


class RequestIdReused(JobQueueError):
    """The request id belongs to another request, whose operation is in `metadata["operation"]`. Choose a new one."""


class ServersDiffer(JobQueueError):
    """An older server that still runs would break what the call uses: upgrade those in `metadata["servers"]` first."""


class Overloaded(JobQueueError):
    """The server has too much to do, or this caller calls too often: try again after `retry_after`."""


class QueueBacklogFull(Overloaded):
    """As many jobs wait in the queue `metadata["queue"]` as it lets wait: `metadata["limit"]` says how many."""


class KeyBacklogFull(Overloaded):
    """As many jobs wait for a key as its queue lets wait: `violations` says which jobs of the call have it."""


class Unavailable(JobQueueError):
    """No server answered, or it can't reach its database or the issuer of tokens. The call may have been committed: try
    again.
    """


class DeadlineExceeded(JobQueueError):
    """The call's time ended. The call may have been committed: try again, an enqueue with the same key."""


class WaitTimeout(DeadlineExceeded, TimeoutError):
    """The job did not end in time.

    Attributes:
        job: The job as it was at the end of the wait.
        summary: Why it had not ended, in a sentence, as `Client.explain` says it. Empty: the wait was shorter than a
            second, or no server answered that.
    """

    def __init__(self, message: str, job: Job, summary: str = "") -> None:
        super().__init__(message, code="DEADLINE_EXCEEDED", metadata={"job_id": job.id})
        self.job = job
        self.summary = summary
        self.hint = summary


class WatchTokenExpired(JobQueueError):
    """The token is too old: list the jobs, then watch without it."""


class SessionUnknown(JobQueueError):
    """The server has no such session: open a new one. The Worker does so by itself."""


class SessionEnded(SessionUnknown):
    """The worker's session has ended, its leases were given back: open a new one. The Worker does so by itself."""


class SessionSuperseded(JobQueueError):
    """Another stream has resumed the session: resume it there. The Worker does so by itself."""


class SessionSilent(JobQueueError):
    """The server got no frame for three heartbeat intervals: resume the session. The Worker does so by itself."""


class NotAllowed(JobQueueError):
    """The credentials are not enough for this call: `metadata["permission"]` is what an administrator would grant."""


class Unauthenticated(NotAllowed):
    """The credentials are missing or wrong, have expired, or were revoked: `reason` says which. Get new ones."""


class NamespaceDisabled(NotAllowed):
    """The namespace of the credentials was disabled: an administrator can enable it."""


class KeyNotFound(NotFound):
    """The namespace has no key of this id."""


class IdentityNotFound(NotFound):
    """There is no identity with this id in the namespace."""


class IdentityElsewhere(JobQueueError):
    """An identity for this name is in another namespace: delete it there first."""


class NamespaceNotFound(NotFound):
    """There is no namespace of this name."""


class KeyRevoked(JobQueueError):
    """The key was revoked, so it can't be rotated: make a new one."""


class NotSupported(JobQueueError):
    """The server does not have this method: it is older than the client, or not a JobQueue server."""


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
    "JOB_NOT_HELD": JobNotHeld,
    "IDEMPOTENCY_KEY_REUSED": IdempotencyKeyReused,
    "DUPLICATE": Duplicate,
    "SCHEDULE_NOT_FOUND": ScheduleNotFound,
    "SCHEDULE_EXISTS": ScheduleExists,
    "SCHEDULES_FULL": SchedulesFull,
    "FILTER_CHANGED": FilterChanged,
    "WORKER_NOT_FOUND": WorkerNotFound,
    "OPERATION_NOT_FOUND": OperationNotFound,
    "OPERATION_NOT_DONE": OperationNotDone,
    "REQUEST_ID_REUSED": RequestIdReused,
    "SERVERS_DIFFER": ServersDiffer,
    "ETAG_MISMATCH": EtagMismatch,
    "KEY_POLICY_CONFLICT": KeyPolicyConflict,
    "KEY_NOT_BLOCKED": KeyNotBlocked,
    "QUEUE_KEYS_FULL": QueueKeysFull,
    "QUEUE_BACKLOG_FULL": QueueBacklogFull,
    "KEY_BACKLOG_FULL": KeyBacklogFull,
    "WATCH_TOKEN_EXPIRED": WatchTokenExpired,
    "SESSION_UNKNOWN": SessionUnknown,
    "SESSION_ENDED": SessionEnded,
    "SESSION_SUPERSEDED": SessionSuperseded,
    "SESSION_SILENT": SessionSilent,
    "NAMESPACE_DISABLED": NamespaceDisabled,
    "KEY_NOT_FOUND": KeyNotFound,
    "KEY_REVOKED": KeyRevoked,
    "IDENTITY_NOT_FOUND": IdentityNotFound,
    "IDENTITY_ELSEWHERE": IdentityElsewhere,
    "NAMESPACE_NOT_FOUND": NamespaceNotFound,
}

# For reasons that this version does not know, and for answers of proxies, which have none.
_BY_CODE: dict[str, type[JobQueueError]] = {
    "INVALID_ARGUMENT": InvalidRequest,
    "OUT_OF_RANGE": InvalidRequest,
    "NOT_FOUND": NotFound,
    "RESOURCE_EXHAUSTED": Overloaded,
    "UNAVAILABLE": Unavailable,
    "DEADLINE_EXCEEDED": DeadlineExceeded,
    "UNAUTHENTICATED": Unauthenticated,
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
        # gRPC has refused a message, before a handler read it.
        found, message = TooLarge, f"a message is too large, the most is 4 MiB ({message})"
    if code == message == "CANCELLED":
        # gRPC's server, as it shuts down, ends calls in this way that no handler has begun. The caller's own cancelling
        # has another text.
        found, code, message = Unavailable, "UNAVAILABLE", "the server left before it came to the call"
    request_id = metadata.get(_REQUEST_ID_KEY, "")
    made = found(
        message,
        code=code,
        reason=info.reason,
        metadata=info.metadata,
        violations=[FieldViolation(each.field, each.description) for each in bad.field_violations],
        retry_after=retry.retry_delay.ToTimedelta() if retry.HasField("retry_delay") else None,
        request_id=request_id if isinstance(request_id, str) else request_id.decode("ascii", "replace"),
    )
    if not info.reason:
        made.hint = hint_of_ports(message)
    return made


def hint_of_ports(message: str) -> str:
    """What to do where gRPC says that a port speaks something else. Empty: it does not say so."""
    return next((hint for said, hint in _OTHER_PORTS if said.search(message)), "")


def _details(raw: str | bytes | None) -> Status:
    """The details, or none where a proxy garbled them: the code and the message still say what happened."""
    if not isinstance(raw, bytes):
        return Status()
    try:
        return Status.FromString(raw)
    except DecodeError:
        return Status()
