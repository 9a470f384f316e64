"""One error class for each thing that a caller can do something about, and the registry of their reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """What is wrong with one field.

    Attributes:
        field: The field's path in the request, such as `jobs[3].priority`.
        description: What would be right.
    """

    field: str
    description: str


class JobQueueError(Exception):
    """An error that a caller gets.

    `reason` is stable. The text is for people: what was wrong, where, and what would be right.

    Attributes:
        reason: The stable name of the error, in `ErrorInfo.reason`.
        code: The name of its `google.rpc.Code`.
        http_status: The HTTP status, if it differs from the status that google/rpc/code.proto gives for `code`.
        metadata: Details for programs, in `ErrorInfo.metadata`.
        violations: The wrong fields, for bad input.
        retry_after: How long from now the caller should wait before it tries again, if the server has too much to do.
    """

    reason: str = "INTERNAL"
    code: str = "INTERNAL"
    http_status: int | None = None

    def __init__(
        self,
        message: str,
        *,
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[FieldViolation] = (),
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.metadata = dict(metadata or {})
        self.violations = tuple(violations)
        self.retry_after = retry_after


class FieldInvalid(JobQueueError):
    """A field of the request breaks its rule. Mend the fields named in `BadRequest` and call again."""

    reason, code = "FIELD_INVALID", "INVALID_ARGUMENT"

    @classmethod
    def of(cls, field: str, description: str) -> FieldInvalid:
        """An error about one field; its message is the path and the description."""
        return cls(f"{field}: {description}", violations=[FieldViolation(field, description)])


class PayloadInvalid(JobQueueError):
    """The payload is not JSON, or does not satisfy its kind's schema. The violations name the places."""

    reason, code, http_status = "PAYLOAD_INVALID", "INVALID_ARGUMENT", 422


class PayloadTooLarge(JobQueueError):
    """The payload is over 1 MiB. Store the data elsewhere and send a reference."""

    reason, code, http_status = "PAYLOAD_TOO_LARGE", "INVALID_ARGUMENT", 413


class BodyTooLarge(JobQueueError):
    """The request or frame is over 4 MiB. Send smaller ones, or store the data elsewhere and send a reference."""

    reason, code, http_status = "BODY_TOO_LARGE", "INVALID_ARGUMENT", 413


class KindUnknown(JobQueueError):
    """The kind is not declared. Check its spelling, or declare it: by PutKind, `jobqueue kinds put` or sync_kinds."""

    reason, code = "KIND_UNKNOWN", "INVALID_ARGUMENT"


class JobNotFound(JobQueueError):
    """No job has this id: it never existed, was deleted, or its retention ended."""

    reason, code = "JOB_NOT_FOUND", "NOT_FOUND"

    @classmethod
    def of(cls, job_id: UUID) -> JobNotFound:
        """No job has this id."""
        return cls(
            f"there is no job {job_id}: it never was, or it was deleted, or its retention ended",
            metadata={"job_id": str(job_id)},
        )


class QueueNotFound(JobQueueError):
    """No queue has this name; a queue exists from its first use."""

    reason, code = "QUEUE_NOT_FOUND", "NOT_FOUND"

    @classmethod
    def of(cls, name: str, field: str = "name") -> QueueNotFound:
        """No queue has this name, which stood in this field of the request."""
        return cls(
            f"{field}: there is no queue {name!r}; a queue exists from its first use",
            metadata={"queue": name},
        )


class FilterEmpty(JobQueueError):
    """The filter has no condition, so that it would match all jobs. Set one, or `everything`."""

    reason, code = "FILTER_EMPTY", "INVALID_ARGUMENT"


class FilterChanged(JobQueueError):
    """Not as many jobs match as `expected`: `metadata.estimate` says how many. Look at them again."""

    reason, code, http_status = "FILTER_CHANGED", "FAILED_PRECONDITION", 409


class WorkerNotFound(JobQueueError):
    """No open session has this number: it never existed, has ended, or takes nothing that the caller may read."""

    reason, code = "WORKER_NOT_FOUND", "NOT_FOUND"

    @classmethod
    def of(cls, session_id: int) -> WorkerNotFound:
        """No open session has this number."""
        return cls(
            f"session_id: there is no worker {session_id}: it never was, or its session has ended",
            metadata={"session_id": str(session_id)},
        )


class OperationNotFound(JobQueueError):
    """No operation has this name: it never existed, was deleted, is another principal's, or its retention ended."""

    reason, code = "OPERATION_NOT_FOUND", "NOT_FOUND"

    @classmethod
    def of(cls, name: str) -> OperationNotFound:
        """No operation has this name."""
        return cls(
            f"there is no operation {name}: it never was, or it was deleted, or its retention ended",
            metadata={"operation": name},
        )


class OperationNotDone(JobQueueError):
    """The operation is not done, so it can't be deleted. Wait for it, or cancel it first."""

    reason, code, http_status = "OPERATION_NOT_DONE", "FAILED_PRECONDITION", 409


class RequestIdReused(JobQueueError):
    """The request id belongs to another request, whose operation is in `metadata.operation`. Choose a new one."""

    reason, code = "REQUEST_ID_REUSED", "ALREADY_EXISTS"


class TooManyOperations(JobQueueError):
    """As many operations of the namespace are not done as there may be. Wait for one, or cancel one."""

    reason, code = "TOO_MANY_OPERATIONS", "RESOURCE_EXHAUSTED"


class ScheduleNotFound(JobQueueError):
    """No schedule has this name: it was never made, or it was deleted."""

    reason, code = "SCHEDULE_NOT_FOUND", "NOT_FOUND"

    @classmethod
    def of(cls, name: str, field: str = "name") -> ScheduleNotFound:
        """No schedule has this name, which stood in this field of the request."""
        return cls(
            f"{field}: there is no schedule {name!r}: it was never made, or it was deleted",
            metadata={"schedule": name},
        )


class ScheduleExists(JobQueueError):
    """A schedule has this name. Choose another one, or change that one with UpdateSchedule."""

    reason, code = "SCHEDULE_EXISTS", "ALREADY_EXISTS"


class SchedulesFull(JobQueueError):
    """The namespace has as many schedules as it may have. Delete some of them."""

    reason, code, http_status = "SCHEDULES_FULL", "FAILED_PRECONDITION", 409


class JobTerminal(JobQueueError):
    """The job has ended, so it can't be cancelled."""

    reason, code, http_status = "JOB_TERMINAL", "FAILED_PRECONDITION", 409


class JobNotTerminal(JobQueueError):
    """The job has not ended. Wait for its end, or cancel it first."""

    reason, code, http_status = "JOB_NOT_TERMINAL", "FAILED_PRECONDITION", 409


class JobNotHeld(JobQueueError):
    """The job is not held back by hand. It was released before, it was enqueued without `hold`, or it has ended."""

    reason, code, http_status = "JOB_NOT_HELD", "FAILED_PRECONDITION", 409


class IdempotencyKeyReused(JobQueueError):
    """The key belongs to another request, whose job is in `metadata.job_id`. Choose a new key for this request."""

    reason, code = "IDEMPOTENCY_KEY_REUSED", "ALREADY_EXISTS"


class Duplicate(JobQueueError):
    """Another job, in `metadata.job_id`, holds the name of a unique job. Wait for it, or leave the work to it."""

    reason, code = "DUPLICATE", "ALREADY_EXISTS"


class PageTokenInvalid(JobQueueError):
    """The server did not give this page token, or gave it for other filters. Start again without it."""

    reason, code = "PAGE_TOKEN_INVALID", "INVALID_ARGUMENT"


class WatchTokenExpired(JobQueueError):
    """The token is too old, or from another database. List the jobs, then watch without it."""

    reason, code = "WATCH_TOKEN_EXPIRED", "OUT_OF_RANGE"


class SessionUnknown(JobQueueError):
    """The server does not know the token, or a newer one replaced it. Send Hello without `resume`."""

    reason, code = "SESSION_UNKNOWN", "NOT_FOUND"


class SessionEnded(JobQueueError):
    """The session has ended, and its leases were given back. Send Hello without `resume`."""

    reason, code = "SESSION_ENDED", "NOT_FOUND"


class ProtocolViolated(JobQueueError):
    """The protocol does not allow this frame here, such as a frame before Hello."""

    reason, code = "PROTOCOL_VIOLATED", "INVALID_ARGUMENT"


class SessionSuperseded(JobQueueError):
    """Another stream or call has resumed the session. Resume it with its newest token."""

    reason, code = "SESSION_SUPERSEDED", "ABORTED"


class SessionSilent(JobQueueError):
    """No frame came for three heartbeat intervals, so the server ended the stream. Resume the session."""

    reason, code = "SESSION_SILENT", "ABORTED"


class SessionStreams(JobQueueError):
    """The session has a stream, and gets its jobs there. To claim by calls, open a session by OpenSession."""

    reason, code = "SESSION_STREAMS", "FAILED_PRECONDITION"


class QueueFull(JobQueueError):
    """Too many enqueues wait to be stored, in all or of this principal. Call again after `RetryInfo`."""

    reason, code = "QUEUE_FULL", "RESOURCE_EXHAUSTED"


class QueueBacklogFull(JobQueueError):
    """As many jobs wait in the queue as its `max_waiting` allows. Call again after `RetryInfo`, or add workers."""

    reason, code = "QUEUE_BACKLOG_FULL", "RESOURCE_EXHAUSTED"


class KeyBacklogFull(JobQueueError):
    """As many jobs as the queue allows wait for the key of a job. Back off for the time in `RetryInfo`."""

    reason, code = "KEY_BACKLOG_FULL", "RESOURCE_EXHAUSTED"


class QueueKeysFull(JobQueueError):
    """Something is said of as many keys of the queue as may be. Set back some of them first (UpdateQueueKey)."""

    reason, code, http_status = "QUEUE_KEYS_FULL", "FAILED_PRECONDITION", 409


class QueuesFull(JobQueueError):
    """The namespace has as many pairs of queue and kind as it may (`max_queues`). Use those that are there, or ask who
    runs the server for more. A pair is forgotten only days after its last job, so waiting does not help.
    """

    reason, code, http_status = "QUEUES_FULL", "FAILED_PRECONDITION", 409

    @classmethod
    def of(cls, what: str, count: int, most: int, of_what: str = "pairs of queue and kind") -> QueuesFull:
        """The error for who would make one more."""
        return cls(
            f"the namespace has {count} {of_what}, and may have {most}: {what} would be one more. "
            "Use those that are there, or raise JOBQUEUE_MAX_QUEUES",
            metadata={"queues": str(count), "limit": str(most)},
        )


class TooManyCalls(JobQueueError):
    """The server handles as many calls as it may, in all or of this principal. Call again after `RetryInfo`."""

    reason, code = "TOO_MANY_CALLS", "RESOURCE_EXHAUSTED"


class TooManyStreams(JobQueueError):
    """The server holds as many sessions as it may, in all or of this principal. Connect to another server, or later."""

    reason, code = "TOO_MANY_STREAMS", "RESOURCE_EXHAUSTED"


class TooManyWatches(JobQueueError):
    """The server serves as many watches as it may, in all or of this principal. Call another server, or later."""

    reason, code = "TOO_MANY_WATCHES", "RESOURCE_EXHAUSTED"


class CredentialsMissing(JobQueueError):
    """The call shows no credentials, and this server wants some: `authorization: Bearer KEY`, or a certificate."""

    reason, code = "CREDENTIALS_MISSING", "UNAUTHENTICATED"


class CredentialsInvalid(JobQueueError):
    """The credentials are malformed, or not known here. A key that was just made is known everywhere a second later."""

    reason, code = "CREDENTIALS_INVALID", "UNAUTHENTICATED"


class CredentialsExpired(JobQueueError):
    """The key or the token was good until a while ago. Rotate the key, or get a new token."""

    reason, code = "CREDENTIALS_EXPIRED", "UNAUTHENTICATED"


class CredentialsRevoked(JobQueueError):
    """The key was revoked. An administrator can say why, and make a new one."""

    reason, code = "CREDENTIALS_REVOKED", "UNAUTHENTICATED"


class NotAllowed(JobQueueError):
    """The credentials are good, but don't permit this. `metadata.permission` is what an administrator would grant."""

    reason, code = "NOT_ALLOWED", "PERMISSION_DENIED"


class NamespaceDisabled(JobQueueError):
    """The namespace was disabled by an administrator; nothing in it can be called until it is enabled."""

    reason, code = "NAMESPACE_DISABLED", "FAILED_PRECONDITION"


class RateLimited(JobQueueError):
    """The principal, or the address, calls more often than it may. Call again after `RetryInfo`."""

    reason, code = "RATE_LIMITED", "RESOURCE_EXHAUSTED"


class KeyNotFound(JobQueueError):
    """There is no key with this id in the namespace."""

    reason, code = "KEY_NOT_FOUND", "NOT_FOUND"


class KeyRevoked(JobQueueError):
    """The key was revoked, so it can't be rotated. Make a new one."""

    reason, code, http_status = "KEY_REVOKED", "FAILED_PRECONDITION", 409


class IdentityNotFound(JobQueueError):
    """There is no identity with this id in the namespace."""

    reason, code = "IDENTITY_NOT_FOUND", "NOT_FOUND"


class IdentityElsewhere(JobQueueError):
    """An identity for this name is in another namespace. Delete it there first: a name is one principal."""

    reason, code = "IDENTITY_ELSEWHERE", "ALREADY_EXISTS"


class NamespaceNotFound(JobQueueError):
    """There is no namespace of this name."""

    reason, code = "NAMESPACE_NOT_FOUND", "NOT_FOUND"


class IssuerAway(JobQueueError):
    """The keys of the issuer of tokens can't be read, and none are remembered. Try again; API keys still work."""

    reason, code = "ISSUER_AWAY", "UNAVAILABLE"


class DatabaseAway(JobQueueError):
    """The database does not answer, or refuses connections; the message says which.

    The call may have been committed. An enqueue with an idempotency key is safe to send again.
    """

    reason, code = "DATABASE_AWAY", "UNAVAILABLE"


class DatabaseFull(JobQueueError):
    """The database has no room left. Nothing was stored; the operator must make room."""

    reason, code = "DATABASE_FULL", "RESOURCE_EXHAUSTED"


class Draining(JobQueueError):
    """The server is shutting down. Connect to another server, or call again after `RetryInfo`."""

    reason, code = "DRAINING", "UNAVAILABLE"


class DeadlineExceeded(JobQueueError):
    """The call's time ended. It may have been committed. An enqueue with an idempotency key is safe to send again."""

    reason, code = "DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED"


class ServersDiffer(JobQueueError):
    """An older server that still runs would break what the request uses. Upgrade those in `metadata.servers` first."""

    reason, code = "SERVERS_DIFFER", "FAILED_PRECONDITION"


class EtagMismatch(JobQueueError):
    """It was changed since its etag was read. Read it again and decide anew; `metadata.etag` is its etag now."""

    reason, code, http_status = "ETAG_MISMATCH", "ABORTED", 409


class KeyPolicyConflict(JobQueueError):
    """Parts of the queue's key policy would contradict each other. Change both in one call, as the violation says."""

    reason, code, http_status = "KEY_POLICY_CONFLICT", "FAILED_PRECONDITION", 409


class KeyNotBlocked(JobQueueError):
    """No failed job blocks the key. It was unblocked before, or its job was retried or deleted."""

    reason, code, http_status = "KEY_NOT_BLOCKED", "FAILED_PRECONDITION", 409


class MethodNotImplemented(JobQueueError):
    """This server does not have the method."""

    reason, code = "NOT_IMPLEMENTED", "UNIMPLEMENTED"


class Internal(JobQueueError):
    """A fault of the server. `metadata.error_id` finds it in the server's log."""


def registry() -> dict[str, type[JobQueueError]]:
    """Every reason of the contract with its class, for documents and tests. `http.errors.REASONS` has more."""
    return {cls.reason: cls for cls in JobQueueError.__subclasses__() if cls.__module__ == __name__}
