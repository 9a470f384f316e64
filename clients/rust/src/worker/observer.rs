//! Where metrics of a worker come from.

use std::fmt;
use std::time::Duration;

use crate::v1;
use crate::v1::job::Status;
use crate::v1::outcome::Outcome;

/// Is told of every attempt. Its methods are called one at a time, while the session waits: they must be quick, and call
/// nothing of the worker's.
pub trait Observer: Send + Sync + 'static {
    /// An attempt has been delivered, and starts.
    fn started(&self, kind: &str) {
        let _ = kind;
    }

    /// The server has answered the outcome of an attempt, whose handler ran for so long.
    fn finished(&self, kind: &str, outcome: AttemptOutcome, took: Duration) {
        let _ = (kind, outcome, took);
    }
}

/// Observes nothing.
pub(super) struct NoObserver;

impl Observer for NoObserver {}

/// What became of an attempt. The names are those of the server's metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AttemptOutcome {
    /// It succeeded.
    Succeeded,
    /// The job will run again, after a failure that it may have, a snooze or a release.
    Retrying,
    /// The job failed and gets no more attempts.
    FailedPermanent,
    /// It was cancelled.
    Cancelled,
    /// No outcome was taken: the lease was revoked or stale, or the job is gone.
    Error,
}

impl AttemptOutcome {
    /// Its name in metrics, for example `failed_permanent`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Retrying => "retrying",
            Self::FailedPermanent => "failed_permanent",
            Self::Cancelled => "cancelled",
            Self::Error => "error",
        }
    }

    /// Of an outcome that was applied. The server remarks on a status that does not follow from the outcome.
    pub(super) fn applied(outcome: Option<&v1::Outcome>, result: Option<&v1::SettleResult>) -> Self {
        match result.map(v1::SettleResult::status) {
            Some(Status::Succeeded) => return Self::Succeeded,
            Some(Status::Retrying | Status::Queued) => return Self::Retrying,
            Some(Status::FailedPermanent) => return Self::FailedPermanent,
            Some(Status::Cancelled) => return Self::Cancelled,
            _ => {}
        }
        match outcome.and_then(|outcome| outcome.outcome.as_ref()) {
            None | Some(Outcome::Success(_)) => Self::Succeeded,
            Some(Outcome::Cancellation(_)) => Self::Cancelled,
            Some(_) => Self::Retrying,
        }
    }
}

impl fmt::Display for AttemptOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
