//! The session's part that reads what became of outcomes.

use std::collections::HashMap;

use super::ending::{failure, released};
use super::lease::{Lease, Place};
use super::observer::AttemptOutcome;
use super::session::State;
use crate::errors::Error;
use crate::v1;
use crate::v1::outcome::Outcome;
use crate::v1::settle_result::Verdict;

impl State {
    pub(super) fn settled(&mut self, settled: v1::Settled) {
        let ids = self.answered(&settled);
        let results: HashMap<i64, v1::SettleResult> =
            settled.exceptions.into_iter().map(|each| (each.lease_id, each)).collect();
        let mut again = Vec::new();
        for id in ids {
            let result = results.get(&id);
            match result.map(v1::SettleResult::verdict) {
                None | Some(Verdict::Applied | Verdict::AlreadyApplied) => self.applied(id, result),
                Some(Verdict::TryAgain) => again.push(id),
                Some(Verdict::Invalid) => self.correct(id, result.map_or("", |result| &result.message)),
                Some(verdict) => {
                    if let (Some(lease), Some(result)) = (self.leases.get(&id), result) {
                        let (verdict, message) = (verdict.as_str_name(), &result.message);
                        lease.span.in_scope(|| tracing::warn!(verdict, message, "the outcome was not taken"));
                    }
                    let words = format!("the outcome was not taken: {}", verdict.as_str_name());
                    self.forget(id, AttemptOutcome::Error, &words);
                }
            }
        }
        if !again.is_empty() {
            self.settle_again_later(again);
        }
        self.notify();
    }

    /// The server called an outcome malformed. A failure says so instead, and if that is no better, a release.
    fn correct(&mut self, id: i64, message: &str) {
        let Some(lease) = self.leases.get_mut(&id) else { return };
        lease.corrections += 1;
        lease.span.in_scope(|| tracing::error!(message, "the server refused the outcome"));
        let outcome = match lease.corrections {
            1 => failure("InvalidOutcome", &format!("the handler's outcome was refused: {message}")),
            2 => released(),
            _ => {
                let words = format!("the server refused the outcome: {message}");
                return self.forget(id, AttemptOutcome::Error, &words);
            }
        };
        lease.settle(Some(outcome));
        self.add_settlement(id);
    }

    /// The stream has ended because a frame was larger than the server takes.
    pub(super) fn too_large_frame(&mut self, error: &Error) {
        if let Some((id, bytes)) = self.too_large() {
            let words = format!("it has {bytes} bytes, more than the server takes at once ({error})");
            self.correct(id, &words);
        }
    }

    fn applied(&mut self, id: i64, result: Option<&v1::SettleResult>) {
        let Some(lease) = self.leases.get(&id) else { return };
        let outcome = AttemptOutcome::applied(lease.outcome.as_ref(), result);
        if let Some(result) = result {
            lease.tell(result);
        }
        let failed = if lease.attempt.is_some() { lease.failure() } else { String::new() };
        self.forget(id, outcome, &failed);
    }

    fn forget(&mut self, id: i64, outcome: AttemptOutcome, error: &str) {
        let Some(lease) = self.leases.get_mut(&id) else { return };
        lease.place = Place::Done;
        lease.tell_end(&self.settings.telling, outcome, error);
        if !lease.alive {
            self.leases.remove(&id);
        }
    }
}

impl Lease {
    /// What failed, where its outcome is a failure.
    fn failure(&self) -> String {
        match self.outcome.as_ref().and_then(|each| each.outcome.as_ref()) {
            Some(Outcome::Failure(failed)) => format!("{}: {}", failed.error_type, failed.error),
            _ => String::new(),
        }
    }

    /// A line for what an operator wants to see: failures.
    fn tell(&self, result: &v1::SettleResult) {
        let Some(Outcome::Failure(failed)) = self.outcome.as_ref().and_then(|each| each.outcome.as_ref()) else {
            return;
        };
        let (error_type, error, status) = (&failed.error_type, &failed.error, result.status());
        self.span.in_scope(|| {
            if status == v1::job::Status::Retrying {
                let run_at = result.run_at.as_ref().map(ToString::to_string);
                tracing::warn!(error_type, error, run_at, "failed, is tried again");
            } else {
                tracing::error!(error_type, error, status = status.as_str_name(), "failed for good");
            }
        });
    }
}
