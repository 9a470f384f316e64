"""The names of attributes. OpenTelemetry's conventions for messaging are not stable: they change here alone."""

from __future__ import annotations

MESSAGING_SYSTEM, MESSAGING_OPERATION, MESSAGING_OPERATION_TYPE = (
    "messaging.system",
    "messaging.operation.name",
    "messaging.operation.type",
)
MESSAGING_DESTINATION, MESSAGING_MESSAGE_ID = "messaging.destination.name", "messaging.message.id"
ERROR_TYPE = "error.type"
EXCEPTION, EXCEPTION_TYPE, EXCEPTION_MESSAGE, EXCEPTION_STACK = (
    "exception",
    "exception.type",
    "exception.message",
    "exception.stacktrace",
)
#: Ours.
KIND, ATTEMPT, LEASE, WAIT, OUTCOME = (
    "jobqueue.kind",
    "jobqueue.attempt",
    "jobqueue.lease_id",
    "jobqueue.wait_ms",
    "jobqueue.outcome",
)

#: What all of ours say of themselves, and how the span of a handler begins and is called.
SYSTEM, PROCESS = "jobqueue", "process"
#: The outcomes, by what the message of one has; revoked: it was dropped, since the lease was another's by then.
OUTCOMES = {
    "success": "succeeded",
    "failure": "failed",
    "cancellation": "cancelled",
    "snooze": "snoozed",
    "release": "released",
}
REVOKED = "revoked"
