//! Where metrics of a worker come from.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use super::leased_job::LeasedJob;
use super::status::WorkerStatus;
use crate::errors::Error;
use crate::v1;
use crate::v1::job::Status;
use crate::v1::outcome::Outcome;

/// Is told of attempts, of calls to enqueue, and of a worker's session: where metrics, and reports of errors, come from.
///
/// Its methods are called one at a time, in the order of what happened, in a thread of its own: one that is slow or blocks
/// holds up no heartbeat. Up to 10,000 events wait for it; more are dropped, and
/// [`observer_dropped`](WorkerStatus::observer_dropped) counts them. A panic is logged once, and it goes on being called.
pub trait Observer: Send + Sync + 'static {
    /// An attempt was delivered to a worker.
    fn attempt_started(&self, attempt: &Attempt) {
        let _ = attempt;
    }

    /// The server has answered the outcome of an attempt, whose handler ran for so long, or takes none of it any more.
    /// The error is what failed, such as `std::io::Error: no disk`; empty: nothing.
    fn attempt_ended(&self, attempt: &Attempt, outcome: AttemptOutcome, took: Duration, error: &str) {
        let _ = (attempt, outcome, took, error);
    }

    /// A client's call to enqueue has ended, all its tries together. Of many jobs, once for each kind and queue of a
    /// batch, with how many these were. The error is why none of them was enqueued, as far as is known.
    fn enqueued(&self, count: usize, kind: &str, queue: &str, took: Duration, error: Option<&Error>) {
        let _ = (count, kind, queue, took, error);
    }

    /// A worker's state, server or session has changed.
    fn session_changed(&self, status: &WorkerStatus) {
        let _ = status;
    }
}

/// An attempt by its values, for an [`Observer`]: what may be kept, and holds no payload.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attempt {
    /// The job's id.
    pub id: String,
    /// The job's kind.
    pub kind: String,
    /// The queue that it was claimed from.
    pub queue: String,
    /// Its number in its job, from 1.
    pub attempt: u32,
    /// How many failures there were before it.
    pub failures: u32,
    /// The producer's own labels.
    pub labels: HashMap<String, String>,
    /// `x-request-id` of the enqueuing call. Empty: it had none.
    pub request_id: String,
}

impl Attempt {
    pub(super) fn of(job: &LeasedJob) -> Self {
        Self {
            id: job.id().to_owned(),
            kind: job.kind().to_owned(),
            queue: job.queue().to_owned(),
            attempt: job.attempt(),
            failures: job.failures(),
            labels: job.labels().clone(),
            request_id: job.request_id().to_owned(),
        }
    }
}

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
