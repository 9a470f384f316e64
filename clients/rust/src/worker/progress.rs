//! What handlers report while they run.

use std::collections::HashMap;
use std::time::Duration;

use super::lease::Lease;
use super::session::State;
use crate::v1;
use crate::v1::lease_request::Frame;

const INTERVAL: Duration = Duration::from_millis(100);

/// The newest report of each lease, so that a chatty handler costs no more than a quiet one: it goes out ten times a
/// second at most.
#[derive(Default)]
pub(super) struct ProgressReports {
    newest: HashMap<i64, v1::Progress>,
}

impl State {
    /// Takes a report; what it does not say stays as it was.
    pub(super) fn report(&mut self, turn: u64, id: i64, report: v1::Progress) {
        // A number is unique in one session only: an orphan's may meanwhile be another's.
        if turn != self.turn || !self.leases.get(&id).is_some_and(Lease::runs) {
            return;
        }
        if self.progress.newest.is_empty() {
            self.later(INTERVAL, Self::send_progress);
        }
        let kept =
            self.progress.newest.entry(id).or_insert_with(|| v1::Progress { lease_id: id, ..v1::Progress::default() });
        kept.fraction = report.fraction.or(kept.fraction);
        kept.checkpoint = report.checkpoint.or_else(|| kept.checkpoint.take());
        if !report.message.is_empty() {
            kept.message = report.message;
        }
    }

    /// Sends a checkpoint that waits: behind the outcome it would come too late for the next attempt.
    pub(super) fn progress_before_settling(&mut self, id: i64) {
        if let Some(kept) = self.progress.newest.remove(&id)
            && kept.checkpoint.is_some()
        {
            self.send(Frame::Progress(kept));
        }
    }

    fn send_progress(&mut self) {
        for (_, kept) in std::mem::take(&mut self.progress.newest) {
            // Reports of leases that were given up meanwhile are dropped.
            if self.leases.get(&kept.lease_id).is_some_and(Lease::runs) {
                self.send(Frame::Progress(kept));
            }
        }
    }
}
