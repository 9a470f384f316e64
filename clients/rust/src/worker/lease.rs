//! One lease in this process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::Span;

use super::leased_job::LeasedJob;
use super::observer::{Attempt, AttemptOutcome};
use crate::outcomes::Stop;
use crate::telling::Telling;
use crate::v1;

/// Where a lease stands on the way of its outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// No outcome yet.
    Running,
    /// Goes with the next Settle frame.
    Waiting,
    /// In a Settle frame that was not answered yet.
    Sent,
    /// Was told TRY_AGAIN, and waits for its turn.
    HeldBack,
    /// Answered, or dropped.
    Done,
}

/// A lease from its delivery until its outcome was answered and its handler has ended. The session's lock guards it.
pub(super) struct Lease {
    pub(super) id: i64,
    pub(super) job: LeasedJob,
    /// Its name in the log.
    pub(super) span: Span,
    /// With a place beyond `Running`: `None` is a success without output, which travels as a bare number.
    pub(super) outcome: Option<v1::Outcome>,
    pub(super) place: Place,
    /// Its handler runs, and so takes up a slot, whatever became of the lease.
    pub(super) alive: bool,
    /// When it was delivered, and how long its handler ran, once it has ended.
    pub(super) started: Instant,
    pub(super) took: Option<Duration>,
    /// How often the server has called an outcome of it INVALID.
    pub(super) corrections: u32,
    /// What the observer is told of it. `None`: there is none.
    pub(super) attempt: Option<Arc<Attempt>>,
}

impl Lease {
    pub(super) fn new(id: i64, job: LeasedJob, span: Span) -> Self {
        Self {
            id,
            job,
            span,
            outcome: None,
            place: Place::Running,
            alive: true,
            started: Instant::now(),
            took: None,
            corrections: 0,
            attempt: None,
        }
    }

    /// Drops its outcome: it is no longer ours.
    pub(super) fn give_up(&mut self, telling: &Telling, why: &str) {
        if self.place != Place::Done {
            self.place = Place::Done;
            self.tell_end(telling, AttemptOutcome::Error, &format!("the lease was revoked: {why}"));
        }
    }

    pub(super) fn tell_start(&mut self, telling: &Telling) {
        if telling.on() {
            let attempt = Arc::new(Attempt::of(&self.job));
            self.attempt = Some(attempt.clone());
            telling.tell(move |observer| observer.attempt_started(&attempt));
        }
    }

    pub(super) fn tell_end(&self, telling: &Telling, outcome: AttemptOutcome, error: &str) {
        if let Some(attempt) = self.attempt.clone() {
            let (took, error) = (self.took(), error.to_owned());
            telling.tell(move |observer| observer.attempt_ended(&attempt, outcome, took, &error));
        }
    }

    /// How long its handler ran, or has run by now.
    pub(super) fn took(&self) -> Duration {
        self.took.unwrap_or_else(|| self.started.elapsed())
    }

    /// Its handler runs, and its outcome will count.
    pub(super) fn runs(&self) -> bool {
        self.alive && self.place == Place::Running
    }

    /// Its three numbers, for Resume.
    pub(super) fn held(&self) -> v1::HeldLease {
        v1::HeldLease { lease_id: self.id, job_id: self.job.id().to_owned(), attempt: self.job.message().attempt }
    }

    /// Takes an outcome, and names the lease in it.
    pub(super) fn settle(&mut self, outcome: Option<v1::Outcome>) {
        self.outcome = outcome.map(|outcome| v1::Outcome { lease_id: self.id, ..outcome });
    }

    /// Tells the handler to stop. A later reason does not replace an earlier one.
    pub(super) fn stop(&self, why: Stop) {
        self.job.stop(why);
    }
}
