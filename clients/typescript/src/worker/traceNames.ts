/** The names of attributes. OpenTelemetry's conventions for messaging are not stable: they change here alone. */

export const MESSAGING_SYSTEM = "messaging.system";
export const MESSAGING_OPERATION = "messaging.operation.name";
export const MESSAGING_OPERATION_TYPE = "messaging.operation.type";
export const MESSAGING_DESTINATION = "messaging.destination.name";
export const MESSAGING_MESSAGE_ID = "messaging.message.id";
export const ERROR_TYPE = "error.type";
export const EXCEPTION = "exception";
export const EXCEPTION_TYPE = "exception.type";
export const EXCEPTION_MESSAGE = "exception.message";
export const EXCEPTION_STACK = "exception.stacktrace";

// Ours.
export const KIND = "jobqueue.kind";
export const ATTEMPT = "jobqueue.attempt";
export const LEASE = "jobqueue.lease_id";
export const WAIT = "jobqueue.wait_ms";
export const OUTCOME = "jobqueue.outcome";

export const SYSTEM = "jobqueue";
export const PROCESS = "process";
