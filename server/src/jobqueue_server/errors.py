"""One error class for each thing that a caller can do something about, and the registry of their reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """What is wrong with one field: its path in the request message, and what would be right."""

    field: str
    description: str


class JobQueueError(Exception):
    """An answer that says what was wrong. `reason` is stable; the text is for people.

    Attributes:
        code: The name of its `google.rpc.Code`.
        http_status: The HTTP status where it differs from what google/rpc/code.proto maps `code` to.
        metadata: What a program may want to know, as strings, in `ErrorInfo.metadata`.
        violations: The fields at fault, for bad input.
        retry_after: When it is worth trying again, where shedding load.
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
        """One violation, which is the message too."""
        return cls(f"{field}: {description}", violations=[FieldViolation(field, description)])


class PayloadInvalid(JobQueueError):
    """The payload is no JSON, or does not fit its kind's schema. The violations name the places."""

    reason, code, http_status = "PAYLOAD_INVALID", "INVALID_ARGUMENT", 422


class PayloadTooLarge(JobQueueError):
    """The payload is over its limit. Store the data elsewhere and send a reference."""

    reason, code, http_status = "PAYLOAD_TOO_LARGE", "INVALID_ARGUMENT", 413


class BodyTooLarge(JobQueueError):
    """The request or frame is over 4 MiB. Send less at once, or store the data elsewhere and send a reference."""

    reason, code, http_status = "BODY_TOO_LARGE", "INVALID_ARGUMENT", 413


class KindUnknown(JobQueueError):
    """No such kind is declared. Check the spelling, or declare it with PutKind or `jobqueue kinds put`."""

    reason, code = "KIND_UNKNOWN", "INVALID_ARGUMENT"


class JobNotFound(JobQueueError):
    """There is no job with this id: it never was, or it was deleted, or its retention ended."""

    reason, code = "JOB_NOT_FOUND", "NOT_FOUND"

    @classmethod
    def of(cls, job_id: UUID) -> JobNotFound:
        """No job has this id."""
        return cls(
            f"there is no job {job_id}: it never was, or it was deleted, or its retention ended",
            metadata={"job_id": str(job_id)},
        )


class QueueNotFound(JobQueueError):
    """There is no queue of this name; a queue exists from its first use."""

    reason, code = "QUEUE_NOT_FOUND", "NOT_FOUND"


class JobTerminal(JobQueueError):
    """The job has ended, so there is nothing to cancel."""

    reason, code, http_status = "JOB_TERMINAL", "FAILED_PRECONDITION", 409


class JobNotTerminal(JobQueueError):
    """The job has not ended. Wait for it, or cancel it first."""

    reason, code, http_status = "JOB_NOT_TERMINAL", "FAILED_PRECONDITION", 409


class IdempotencyKeyReused(JobQueueError):
    """The key was used for another request. `metadata.job_id` is that request's job; choose a new key for this one."""

    reason, code = "IDEMPOTENCY_KEY_REUSED", "ALREADY_EXISTS"


class PageTokenInvalid(JobQueueError):
    """The page token is not one of ours, or belongs to another filter. Start again without it."""

    reason, code = "PAGE_TOKEN_INVALID", "INVALID_ARGUMENT"


class WatchTokenExpired(JobQueueError):
    """The token is too old to go on from, or of a database that this is not. List the jobs, then watch without it."""

    reason, code = "WATCH_TOKEN_EXPIRED", "OUT_OF_RANGE"


class SessionUnknown(JobQueueError):
    """The token is not one of ours, or is no longer good for its session. Say Hello without `resume`."""

    reason, code = "SESSION_UNKNOWN", "NOT_FOUND"


class SessionEnded(JobQueueError):
    """The session has ended, and its leases went back. Say Hello without `resume`."""

    reason, code = "SESSION_ENDED", "NOT_FOUND"


class ProtocolViolated(JobQueueError):
    """A frame came that the protocol does not allow here, such as another before Hello."""

    reason, code = "PROTOCOL_VIOLATED", "INVALID_ARGUMENT"


class SessionSuperseded(JobQueueError):
    """The session goes on in a later epoch, on another stream or by calls. Resume it with its newest token."""

    reason, code = "SESSION_SUPERSEDED", "ABORTED"


class SessionSilent(JobQueueError):
    """The stream was silent for three heartbeat intervals, and has ended. The session goes on: resume it."""

    reason, code = "SESSION_SILENT", "ABORTED"


class SessionStreams(JobQueueError):
    """The session has a stream, and is given its jobs there. Open one by OpenSession to claim by calls."""

    reason, code = "SESSION_STREAMS", "FAILED_PRECONDITION"


class QueueFull(JobQueueError):
    """More enqueues wait to be stored than the server holds. Call again after `RetryInfo`."""

    reason, code = "QUEUE_FULL", "RESOURCE_EXHAUSTED"


class TooManyCalls(JobQueueError):
    """The server handles as many calls as it is allowed. Call again after `RetryInfo`."""

    reason, code = "TOO_MANY_CALLS", "RESOURCE_EXHAUSTED"


class TooManyStreams(JobQueueError):
    """The server holds as many sessions as it is allowed. Connect to another, or call again after `RetryInfo`."""

    reason, code = "TOO_MANY_STREAMS", "RESOURCE_EXHAUSTED"


class TooManyWatches(JobQueueError):
    """The server serves as many watches as it is allowed. Watch on another, or call again after `RetryInfo`."""

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


class NamespaceNotFound(JobQueueError):
    """There is no namespace of this name."""

    reason, code = "NAMESPACE_NOT_FOUND", "NOT_FOUND"


class DatabaseAway(JobQueueError):
    """The database does not answer, or takes no connection; the message says which.

    What this call changed is unknown; an enqueue with a key may be sent again.
    """

    reason, code = "DATABASE_AWAY", "UNAVAILABLE"


class DatabaseFull(JobQueueError):
    """The database has no room left. Nothing was stored; the operator must make room."""

    reason, code = "DATABASE_FULL", "RESOURCE_EXHAUSTED"


class Draining(JobQueueError):
    """The server is leaving. Connect to another, or call again after `RetryInfo`."""

    reason, code = "DRAINING", "UNAVAILABLE"


class DeadlineExceeded(JobQueueError):
    """The call's time was up. Nothing is known of what it changed; an enqueue with a key may be sent again."""

    reason, code = "DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED"


class ServersDiffer(JobQueueError):
    """The request uses what an older server that still runs would break. Upgrade those in `metadata.servers` first."""

    reason, code = "SERVERS_DIFFER", "FAILED_PRECONDITION"


class NotBuilt(JobQueueError):
    """This server does not have the method yet."""

    reason, code = "NOT_BUILT", "UNIMPLEMENTED"


class Internal(JobQueueError):
    """A fault of the server. `metadata.error_id` finds it in the server's log."""


def registry() -> dict[str, type[JobQueueError]]:
    """Every reason of the contract with its class, for the documents and the tests; HTTP has some of its own."""
    return {cls.reason: cls for cls in JobQueueError.__subclasses__() if cls.__module__ == __name__}
