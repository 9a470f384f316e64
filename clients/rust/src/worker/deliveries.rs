//! The session's part that runs handlers and stops them.

use std::time::Duration;

use tokio::time::sleep;
use tracing::Instrument;

use super::attempt::{attempt, caught};
use super::builder::Handler;
use super::ending::{outcome_of, released};
use super::lease::{Lease, Place};
use super::leased_job::LeasedJob;
use super::session::State;
use crate::outcomes::Stop;
use crate::v1;

/// A receipt is due within 20 ms of a delivery; some of that is for the wire.
const RECEIPT_AFTER: Duration = Duration::from_millis(12);
/// An attempt after the first may be one that ends the process: its handler waits until its receipt is on its way. The
/// connection writes what it was given in a task of its own, and does not say when it has.
const WRITTEN_AFTER: Duration = Duration::from_millis(1);

impl State {
    pub(super) fn deliver(&mut self, delivery: v1::Delivery) {
        if self.moving {
            // Nor receipted: what the new stream's Hello has not seen must not look as if it had been.
            self.crossed.push(delivery);
            return;
        }
        self.take(delivery, !self.draining);
    }

    /// Makes leases of a delivery, and begins them or gives them back.
    pub(super) fn take(&mut self, delivery: v1::Delivery, begin: bool) {
        let Some(stream) = &mut self.stream else { return };
        self.delivered = delivery.seq;
        stream.delivered(delivery.seq);
        if begin && delivery.jobs.iter().any(|job| job.attempt > 1) {
            stream.receipt();
        }
        if !std::mem::replace(&mut stream.receipt_planned, true) {
            self.later(RECEIPT_AFTER, |state| {
                // Of another stream, where it has moved meanwhile: that one has its own.
                if let Some(stream) = &mut state.stream {
                    stream.receipt_planned = false;
                    stream.receipt();
                }
            });
        }
        for message in delivery.jobs {
            let id = message.lease_id;
            let handler = self.settings.handlers.get(&message.kind).cloned();
            let mut lease = self.lease(message);
            lease.tell_start(&self.settings.telling);
            if handler.is_none() {
                lease.span.in_scope(|| {
                    tracing::error!("delivered, but its kind has no handler here; it goes back");
                });
            }
            // Otherwise it crossed our Drain or a move on the wire.
            let handler = handler.filter(|_| begin);
            let goes_back = handler.is_none();
            if let Some(handler) = handler {
                self.start(&lease, handler);
            }
            self.leases.insert(id, lease);
            if goes_back {
                self.ended(self.turn, id, Some(released()));
            }
        }
    }

    fn lease(&self, message: v1::LeasedJob) -> Lease {
        let (turn, id, me) = (self.turn, message.lease_id, self.me.clone());
        let report = move |report| {
            if let Some(session) = me.upgrade() {
                session.lock().report(turn, id, report);
            }
        };
        let job = LeasedJob::new(message, Box::new(report));
        let span = tracing::info_span!(
            "job",
            job_id = job.id(),
            kind = job.kind(),
            attempt = job.attempt(),
            request_id = job.request_id()
        );
        Lease::new(id, job, span)
    }

    fn start(&self, lease: &Lease, handler: Handler) {
        let (turn, id, me, job) = (self.turn, lease.id, self.me.clone(), lease.job.clone());
        #[cfg(feature = "otel")]
        let (access, traced) = (self.settings.access.clone(), lease.job.clone());
        let attempted = async move {
            if job.attempt() > 1 {
                sleep(WRITTEN_AFTER).await;
                if let Some(stop) = job.stop_reason() {
                    return outcome_of(&job, &Err(stop.clone().into())); // told to stop before it began
                }
            }
            attempt(job, handler, drop).await
        };
        let run = async move {
            #[cfg(feature = "otel")]
            let span = access.begin(&traced, id);
            #[cfg(feature = "otel")]
            let attempted = opentelemetry::context::FutureExt::with_context(
                attempted,
                span.as_ref().map_or_else(opentelemetry::Context::current, |span| span.context.clone()),
            );
            let outcome = caught(attempted, drop).await;
            #[cfg(feature = "otel")]
            if let Some(span) = span {
                span.ended(&traced, outcome.as_ref());
            }
            if let Some(session) = me.upgrade() {
                session.lock().ended(turn, id, outcome);
            }
        };
        tokio::spawn(run.instrument(lease.span.clone()));
    }

    /// A handler has ended.
    fn ended(&mut self, turn: u64, id: i64, outcome: Option<v1::Outcome>) {
        if turn != self.turn {
            if self.capacity.ended(turn, id) {
                self.say_capacity(); // its slot is free again
            }
        } else if let Some(lease) = self.leases.get_mut(&id) {
            lease.alive = false;
            lease.took = Some(lease.started.elapsed());
            match lease.place {
                Place::Done => {
                    self.leases.remove(&id);
                }
                Place::Running => {
                    lease.settle(outcome);
                    self.progress_before_settling(id);
                    self.add_settlement(id);
                }
                // Released at the end of a drain.
                Place::Waiting | Place::Sent | Place::HeldBack => {}
            }
        }
        self.notify();
    }

    pub(super) fn cancel(&mut self, id: i64, reason: &str) {
        if let Some(lease) = self.leases.get(&id).filter(|lease| lease.alive) {
            lease.stop(Stop::CancelRequested(reason.to_owned()));
        }
    }

    pub(super) fn revoke(&mut self, id: i64, reason: &str) {
        let Some(lease) = self.leases.get_mut(&id) else { return };
        if lease.alive && lease.place == Place::Done {
            return; // it is said again as long as the handler runs
        }
        lease.span.in_scope(|| tracing::warn!(reason, "the lease was revoked"));
        lease.give_up(&self.settings.telling, reason);
        if lease.alive {
            lease.stop(match reason {
                "TIMED_OUT" => Stop::TimedOut,
                reason => Stop::LeaseRevoked(reason.to_owned()),
            });
        } else {
            self.leases.remove(&id);
        }
        self.notify();
    }
}
