//! The names of attributes. OpenTelemetry's conventions for messaging are not stable: they change here alone.

pub(crate) const MESSAGING_SYSTEM: &str = "messaging.system";
pub(crate) const MESSAGING_OPERATION: &str = "messaging.operation.name";
pub(crate) const MESSAGING_OPERATION_TYPE: &str = "messaging.operation.type";
pub(crate) const MESSAGING_DESTINATION: &str = "messaging.destination.name";
pub(crate) const MESSAGING_MESSAGE_ID: &str = "messaging.message.id";
pub(crate) const ERROR_TYPE: &str = "error.type";
pub(crate) const EXCEPTION: &str = "exception";
pub(crate) const EXCEPTION_TYPE: &str = "exception.type";
pub(crate) const EXCEPTION_MESSAGE: &str = "exception.message";
pub(crate) const EXCEPTION_STACK: &str = "exception.stacktrace";

// Ours.
pub(crate) const KIND: &str = "jobqueue.kind";
pub(crate) const ATTEMPT: &str = "jobqueue.attempt";
pub(crate) const LEASE: &str = "jobqueue.lease_id";
pub(crate) const WAIT: &str = "jobqueue.wait_ms";
pub(crate) const OUTCOME: &str = "jobqueue.outcome";

pub(crate) const SYSTEM: &str = "jobqueue";
pub(crate) const PROCESS: &str = "process";
