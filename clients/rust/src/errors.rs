//! What a call may end with.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use tonic::{Code, Status, TimeoutExpired};
use tonic_types::StatusExt;

use crate::jobs::EnqueueResult;

const HTTP_PORT: &str =
    "this may be the HTTP port (gRPC has another one, 50051 unless told otherwise), or one that speaks TLS";

/// One for each thing that a caller can do something about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A field is malformed or out of its range: correct the call; [`Error::violations`] says where.
    InvalidRequest,
    /// The payload does not satisfy its kind's schema: correct the payload. Is an `InvalidRequest` too.
    PayloadInvalid,
    /// Make it smaller, or store it elsewhere and send its address. Is an `InvalidRequest` too.
    TooLarge,
    /// The kind was never put: look for a typing error, or put it. Is an `InvalidRequest` too.
    KindUnknown,
    /// What was asked for does not exist, or no longer exists.
    NotFound,
    /// The job was never there, was deleted, or its retention has ended. Is a `NotFound` too.
    JobNotFound,
    /// No job was ever enqueued in this queue. Is a `NotFound` too.
    QueueNotFound,
    /// No schedule has this name: it was never made, or it was deleted. Is a `NotFound` too.
    ScheduleNotFound,
    /// A schedule has this name: choose another one, or change that one.
    ScheduleExists,
    /// The namespace has as many schedules as it may have: delete some of them.
    SchedulesFull,
    /// Not about as many jobs match as were expected: `estimate` in [`Error::metadata`] says how many.
    FilterChanged,
    /// No open session has this number: it never existed, has ended, or takes nothing that may be read. Is a `NotFound` too.
    WorkerNotFound,
    /// No operation has this name: it never existed, was deleted, or its retention has ended. Is a `NotFound` too.
    OperationNotFound,
    /// The operation goes on: cancel it or wait for it first.
    OperationNotDone,
    /// The request id belongs to another request: `operation` in [`Error::metadata`] names its operation.
    RequestIdReused,
    /// The job has ended and can't be cancelled: `status` in [`Error::metadata`] says how it ended.
    JobTerminal,
    /// The job is not over: wait for it or cancel it first.
    JobNotTerminal,
    /// The job is not held back: it was released before, enqueued without `hold`, or has ended.
    JobNotHeld,
    /// The key belongs to another request: `job_id` in [`Error::metadata`] names its job.
    IdempotencyKeyReused,
    /// Another job, `job_id` in [`Error::metadata`], holds the name of a unique one: wait for it, or leave the work to it.
    Duplicate,
    /// An older server that still runs would break what was asked for: upgrade those in `servers` of
    /// [`Error::metadata`] first.
    ServersDiffer,
    /// The queue was changed since its `etag` was read: read it again and decide anew; `etag` of [`Error::metadata`] is
    /// its etag.
    EtagMismatch,
    /// Parts of a queue's key policy would contradict each other.
    KeyPolicyConflict,
    /// No failed job blocks the key: it was unblocked before, or its job was retried or deleted.
    KeyNotBlocked,
    /// Something is said of as many keys of the queue as may be: set back some of them first.
    QueueKeysFull,
    /// The server has too much to do: try again after [`Error::retry_after`].
    Overloaded,
    /// As many jobs wait in the queue as it lets wait: `queue` and `limit` in [`Error::metadata`] say which and how many. Is
    /// an `Overloaded` too.
    QueueBacklogFull,
    /// As many jobs wait for a key as its queue lets wait: [`Error::violations`] says which jobs of the call have it. Is an
    /// `Overloaded` too.
    KeyBacklogFull,
    /// No server answered, or it can't reach its database or the issuer of tokens. What was asked for may have been
    /// done.
    Unavailable,
    /// Not done in time. What was asked for may have been done.
    DeadlineExceeded,
    /// The job had not ended when the wait for it did: [`Error::summary`] says why. Is a `DeadlineExceeded` too. No server
    /// said so.
    WaitTimeout,
    /// The watch's token is too old to go on from: list the jobs, then watch without it.
    WatchTokenExpired,
    /// The server has no such session: open a new one. The `Worker` does so by itself.
    SessionUnknown,
    /// The worker's session has ended, its leases were given back: open a new one. The `Worker` does so by itself. Is a
    /// `SessionUnknown` too.
    SessionEnded,
    /// Another stream has resumed the session: resume it there. The `Worker` does so by itself.
    SessionSuperseded,
    /// The server got no frame for three heartbeat intervals: resume the session. The `Worker` does so by itself.
    SessionSilent,
    /// The credentials are not enough for this call: `permission` in [`Error::metadata`] is what an administrator would
    /// grant.
    NotAllowed,
    /// The credentials are missing or wrong, have expired, or were revoked: [`Error::reason`] says which. Is a
    /// `NotAllowed` too.
    Unauthenticated,
    /// The namespace of the credentials was disabled: an administrator can enable it. Is a `NotAllowed` too.
    NamespaceDisabled,
    /// A payload, or an output, is of a version that is known here, and is not what that version says. No server said so.
    PayloadUnreadable,
    /// A payload is of a version that this program does not know. No server said so.
    PayloadTooNew,
    /// A checkpoint is not of the type that a handler reads it as. No server said so.
    CheckpointUnreadable,
    /// What was read is encoded, and was not decoded: give the client [`Encodings`](crate::Encodings); `key_id` in
    /// [`Error::metadata`] names the key. No server said so.
    Encoded,
    /// The kind takes encrypted payloads alone, and this program does not encrypt. Is an `InvalidRequest` too. No server
    /// said so.
    EncodingRequired,
    /// Something was encoded by what this program does not have. No server said so.
    EncodingUnknown,
    /// Nothing here has the key: `key_id` in [`Error::metadata`] names it. No server said so.
    KeyUnknown,
    /// What is encoded is damaged, or was made for another kind, job or purpose. No server said so.
    Undecodable,
    /// The job has no output, since it has not ended as SUCCEEDED: `status` in [`Error::metadata`] says what it is. No
    /// server said so.
    JobNotSucceeded,
    /// The server does not have this method: it is older than the client, or no JobQueue server.
    NotSupported,
    /// Give the server's operator [`Error::request_id`], or `error_id` in [`Error::metadata`].
    ServerFault,
    /// None of these; [`Error::code`] and [`Error::reason`] say more.
    Other,
}

impl ErrorKind {
    fn of_reason(reason: &str) -> Option<Self> {
        Some(match reason {
            "FIELD_INVALID" => Self::InvalidRequest,
            "PAYLOAD_INVALID" => Self::PayloadInvalid,
            "PAYLOAD_TOO_LARGE" | "BODY_TOO_LARGE" => Self::TooLarge,
            "KIND_UNKNOWN" => Self::KindUnknown,
            "JOB_NOT_FOUND" => Self::JobNotFound,
            "QUEUE_NOT_FOUND" => Self::QueueNotFound,
            "SCHEDULE_NOT_FOUND" => Self::ScheduleNotFound,
            "SCHEDULE_EXISTS" => Self::ScheduleExists,
            "SCHEDULES_FULL" => Self::SchedulesFull,
            "FILTER_CHANGED" => Self::FilterChanged,
            "WORKER_NOT_FOUND" => Self::WorkerNotFound,
            "OPERATION_NOT_FOUND" => Self::OperationNotFound,
            "OPERATION_NOT_DONE" => Self::OperationNotDone,
            "REQUEST_ID_REUSED" => Self::RequestIdReused,
            "JOB_TERMINAL" => Self::JobTerminal,
            "JOB_NOT_TERMINAL" => Self::JobNotTerminal,
            "JOB_NOT_HELD" => Self::JobNotHeld,
            "IDEMPOTENCY_KEY_REUSED" => Self::IdempotencyKeyReused,
            "DUPLICATE" => Self::Duplicate,
            "SERVERS_DIFFER" => Self::ServersDiffer,
            "ETAG_MISMATCH" => Self::EtagMismatch,
            "KEY_POLICY_CONFLICT" => Self::KeyPolicyConflict,
            "KEY_NOT_BLOCKED" => Self::KeyNotBlocked,
            "QUEUE_KEYS_FULL" => Self::QueueKeysFull,
            "QUEUE_BACKLOG_FULL" => Self::QueueBacklogFull,
            "KEY_BACKLOG_FULL" => Self::KeyBacklogFull,
            "WATCH_TOKEN_EXPIRED" => Self::WatchTokenExpired,
            "SESSION_UNKNOWN" => Self::SessionUnknown,
            "SESSION_ENDED" => Self::SessionEnded,
            "SESSION_SUPERSEDED" => Self::SessionSuperseded,
            "SESSION_SILENT" => Self::SessionSilent,
            "NAMESPACE_DISABLED" => Self::NamespaceDisabled,
            _ => return None,
        })
    }

    /// For reasons that this version does not know, and for answers of proxies, which have none.
    fn of_code(code: Code) -> Self {
        match code {
            Code::InvalidArgument | Code::OutOfRange => Self::InvalidRequest,
            Code::NotFound => Self::NotFound,
            Code::ResourceExhausted => Self::Overloaded,
            Code::Unavailable => Self::Unavailable,
            Code::DeadlineExceeded => Self::DeadlineExceeded,
            Code::Unauthenticated => Self::Unauthenticated,
            Code::PermissionDenied => Self::NotAllowed,
            Code::Unimplemented => Self::NotSupported,
            Code::Internal | Code::Unknown | Code::DataLoss => Self::ServerFault,
            _ => Self::Other,
        }
    }

    /// What it is too; itself, where it is nothing else.
    pub(crate) fn general(self) -> Self {
        match self {
            Self::PayloadInvalid | Self::TooLarge | Self::KindUnknown | Self::EncodingRequired => Self::InvalidRequest,
            Self::JobNotFound
            | Self::QueueNotFound
            | Self::ScheduleNotFound
            | Self::WorkerNotFound
            | Self::OperationNotFound => Self::NotFound,
            Self::QueueBacklogFull | Self::KeyBacklogFull => Self::Overloaded,
            Self::WaitTimeout => Self::DeadlineExceeded,
            Self::SessionEnded => Self::SessionUnknown,
            Self::Unauthenticated | Self::NamespaceDisabled => Self::NotAllowed,
            other => other,
        }
    }
}

/// One field that was wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FieldViolation {
    /// Its path in the request, for example `job.payload.to`.
    pub field: String,
    /// What is wrong with it and what would be right.
    pub description: String,
}

/// A call that was refused or failed. Every answer of a server that is no success becomes one. Its `{:?}` is its words, as of
/// `{}`, for a `main` that returns it; `{:#?}` shows all that it has.
#[derive(Clone)]
pub struct Error(Box<Facts>);

#[derive(Debug, Clone)]
struct Facts {
    kind: ErrorKind,
    message: String,
    code: Code,
    reason: String,
    metadata: HashMap<String, String>,
    violations: Vec<FieldViolation>,
    retry_after: Option<Duration>,
    request_id: String,
    note: String,
    summary: String,
    enqueued: Vec<EnqueueResult>,
}

impl Error {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self(Box::new(Facts {
            kind: ErrorKind::of_code(code),
            message: message.into(),
            code,
            reason: String::new(),
            metadata: HashMap::new(),
            violations: Vec::new(),
            retry_after: None,
            request_id: String::new(),
            note: String::new(),
            summary: String::new(),
            enqueued: Vec::new(),
        }))
    }

    /// What this side refuses before it is sent.
    pub(crate) fn invalid(field: impl Into<String>, description: impl Into<String>) -> Self {
        let (field, description) = (field.into(), description.into());
        let mut made = Self::new(Code::InvalidArgument, format!("{field}: {description}"));
        made.0.violations.push(FieldViolation { field, description });
        made
    }

    /// As another kind of error, with the reason that a server would give.
    pub(crate) fn named(mut self, kind: ErrorKind, reason: &str) -> Self {
        self.0.kind = kind;
        reason.clone_into(&mut self.0.reason);
        self
    }

    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether it is of this kind: what is `PayloadInvalid` is an `InvalidRequest` too.
    pub fn is(&self, kind: ErrorKind) -> bool {
        self.0.kind == kind || self.0.kind.general() == kind
    }

    /// What went wrong, for people.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// gRPC's code.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The stable name of the cause, for example `JOB_NOT_FOUND`. Empty when no JobQueue server answered.
    pub fn reason(&self) -> &str {
        &self.0.reason
    }

    /// Facts about the error, for example `job_id`.
    pub fn metadata(&self) -> &HashMap<String, String> {
        &self.0.metadata
    }

    /// The fields that were wrong.
    pub fn violations(&self) -> &[FieldViolation] {
        &self.0.violations
    }

    /// How long the server asks to wait before another try. `None`: it does not ask.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Finds the call in the server's log. Empty when no server answered.
    pub fn request_id(&self) -> &str {
        &self.0.request_id
    }

    /// Of `enqueue_many`: the results of the batches before the one that was refused; their jobs are enqueued.
    pub fn enqueued(&self) -> &[EnqueueResult] {
        &self.0.enqueued
    }

    pub(crate) fn after_batches(mut self, enqueued: Vec<EnqueueResult>) -> Self {
        self.0.enqueued = enqueued;
        self
    }

    /// Of `WaitTimeout`: why the job had not ended, in a sentence, as [`Client::explain`](crate::Client::explain) says it.
    /// Empty: the wait was for less than a second, or no server answered that within a second.
    pub fn summary(&self) -> &str {
        &self.0.summary
    }

    /// With a summary, also among its words unless it is empty.
    pub(crate) fn summed_up(mut self, summary: String) -> Self {
        self.0.summary.clone_from(&summary);
        if summary.is_empty() { self } else { self.noted(summary) }
    }

    pub(crate) fn noted(mut self, note: impl Into<String>) -> Self {
        if !self.0.note.is_empty() {
            self.0.note.push_str("; ");
        }
        self.0.note.push_str(&note.into());
        self
    }

    pub(crate) fn fact(mut self, name: &str, value: &str) -> Self {
        self.0.metadata.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn violations_mut(&mut self) -> &mut [FieldViolation] {
        &mut self.0.violations
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let facts = &self.0;
        if facts.reason.is_empty() {
            write!(f, "{:?}: {}", facts.code, facts.message)?;
        } else {
            write!(f, "{}: {}", facts.reason, facts.message)?;
        }
        let fields: Vec<String> =
            facts.violations.iter().map(|each| format!("{}: {}", each.field, each.description)).collect();
        // A server often says the one violation in its message already.
        let fields = fields.join("; ");
        if !facts.message.contains(&fields) {
            write!(f, " ({fields})")?;
        }
        if !facts.note.is_empty() {
            write!(f, "; {}", facts.note)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() { f.debug_tuple("Error").field(&self.0).finish() } else { fmt::Display::fmt(self, f) }
    }
}

impl StdError for Error {}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        if let Some(source) = status.source() {
            return cut_off(&status, source);
        }
        let mut made = Self::new(status.code(), status.message());
        let facts = &mut made.0;
        let details = status.get_error_details();
        if let Some(info) = details.error_info() {
            facts.reason.clone_from(&info.reason);
            facts.metadata.clone_from(&info.metadata);
        }
        if let Some(bad) = details.bad_request() {
            facts.violations.extend(
                bad.field_violations
                    .iter()
                    .map(|each| FieldViolation { field: each.field.clone(), description: each.description.clone() }),
            );
        }
        facts.retry_after = details.retry_info().and_then(|info| info.retry_delay);
        if let Some(kind) = ErrorKind::of_reason(&facts.reason) {
            facts.kind = kind;
        } else if facts.reason.is_empty() && facts.message.contains("message length too large") {
            // gRPC refuses a message before anybody has read it.
            facts.kind = ErrorKind::TooLarge;
            facts.message = format!("a message is too large, the most is 4 MiB ({})", facts.message);
        }
        if let Some(id) = status.metadata().get("x-request-id") {
            id.to_str().unwrap_or_default().clone_into(&mut facts.request_id);
        }
        made
    }
}

impl From<tonic::transport::Error> for Error {
    fn from(error: tonic::transport::Error) -> Self {
        Self::new(Code::Unavailable, with_causes(&error))
    }
}

/// A status with a source is not the server's: the connection failed, or the time was over.
fn cut_off(status: &Status, source: &(dyn StdError + 'static)) -> Error {
    if status.code() == Code::DeadlineExceeded || chain(source).any(<dyn StdError>::is::<TimeoutExpired>) {
        return Error::new(Code::DeadlineExceeded, "no answer in time");
    }
    let words = with_causes(source);
    // What HTTP/1 answers has too large a length, where it is read as HTTP/2.
    let http = words.contains("error detected: frame with invalid size");
    let made = Error::new(Code::Unavailable, words);
    if http { made.noted(HTTP_PORT) } else { made }
}

/// Whether the call came to something that speaks, and was no server of gRPC.
pub(crate) fn reached(error: &Error) -> bool {
    ["http2 error", "operation was canceled: connection closed", "mapped from HTTP status code"]
        .iter()
        .any(|sign| error.message().contains(sign))
}

fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |each: &&'a (dyn StdError + 'static)| (*each).source())
}

fn with_causes(error: &(dyn StdError + 'static)) -> String {
    let mut words: Vec<String> = chain(error).map(ToString::to_string).collect();
    words.dedup();
    words.join(": ")
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn a_program_whose_main_returns_an_error_prints_what_went_wrong_in_one_line() {
        let error = Error::invalid("concurrency", "is 0; it is 1 to 10000");
        assert_eq!(format!("{error:?}"), "InvalidArgument: concurrency: is 0; it is 1 to 10000");
        let all = format!("{error:#?}");
        assert!(all.contains("violations: [") && all.lines().count() > 10, "{all}");
    }

    #[test]
    fn a_connection_to_what_speaks_http_1_says_that_it_may_be_the_wrong_port() {
        let http = Status::from_error("connection error detected: frame with invalid size".into());
        let hint =
            "; this may be the HTTP port (gRPC has another one, 50051 unless told otherwise), or one that speaks TLS";
        assert!(Error::from(http).to_string().ends_with(hint));
        // The other side says so of what was sent to it.
        let large = Status::from_error("connection error received: frame with invalid size".into());
        assert!(!Error::from(large).to_string().contains("HTTP port"));
    }

    #[test]
    fn what_schedules_and_keys_are_refused_for_has_its_kind() {
        assert_eq!(ErrorKind::of_reason("SCHEDULE_NOT_FOUND"), Some(ErrorKind::ScheduleNotFound));
        assert_eq!(ErrorKind::ScheduleNotFound.general(), ErrorKind::NotFound);
        assert_eq!(ErrorKind::of_reason("SCHEDULE_EXISTS"), Some(ErrorKind::ScheduleExists));
        assert_eq!(ErrorKind::of_reason("SCHEDULES_FULL"), Some(ErrorKind::SchedulesFull));
        assert_eq!(ErrorKind::of_reason("QUEUE_KEYS_FULL"), Some(ErrorKind::QueueKeysFull));
    }

    #[test]
    fn a_full_backlog_has_a_kind_of_its_own_and_is_an_overload() {
        for (reason, kind) in
            [("QUEUE_BACKLOG_FULL", ErrorKind::QueueBacklogFull), ("KEY_BACKLOG_FULL", ErrorKind::KeyBacklogFull)]
        {
            let details = ErrorDetails::with_error_info(reason, "jobqueue", [("limit".to_owned(), "2".to_owned())]);
            let error = Error::from(Status::with_error_details(Code::ResourceExhausted, "full", details));
            assert_eq!(error.kind(), kind);
            assert!(error.is(ErrorKind::Overloaded) && error.metadata()["limit"] == "2");
        }
    }

    #[test]
    fn what_workers_and_operations_are_refused_for_has_its_kind() {
        assert_eq!(ErrorKind::of_reason("WORKER_NOT_FOUND"), Some(ErrorKind::WorkerNotFound));
        assert_eq!(ErrorKind::WorkerNotFound.general(), ErrorKind::NotFound);
        assert_eq!(ErrorKind::of_reason("FILTER_CHANGED"), Some(ErrorKind::FilterChanged));
        assert_eq!(ErrorKind::of_reason("OPERATION_NOT_FOUND"), Some(ErrorKind::OperationNotFound));
        assert_eq!(ErrorKind::OperationNotFound.general(), ErrorKind::NotFound);
        assert_eq!(ErrorKind::of_reason("OPERATION_NOT_DONE"), Some(ErrorKind::OperationNotDone));
        assert_eq!(ErrorKind::of_reason("REQUEST_ID_REUSED"), Some(ErrorKind::RequestIdReused));
    }
}
