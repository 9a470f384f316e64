//! How a worker leaves.

use std::time::Duration;

use super::ending::released;
use super::lease::Lease;
use super::link::Link;
use super::session::State;
use super::status::WorkerState;
use crate::outcomes::Stop;

/// How long a handler that was told to stop at the end of the grace may take for it.
const UNWIND: Duration = Duration::from_secs(2);
/// How long the last answers, and then Goodbye, are waited for.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

impl Link {
    /// No new jobs, finish what is held within the grace, give the rest back, wait for the answers.
    pub(super) async fn drain(&self) {
        let session = &self.session;
        {
            let mut state = session.lock();
            state.draining = true;
            state.enter(WorkerState::Draining);
            state.send_drain();
        }
        self.poke();
        let grace = session.settings.shutdown_grace;
        tracing::info!(?grace, "draining");
        // A session that is just being opened may have been given jobs: it is drained as well.
        session.until(ANSWERS_WITHIN, |state| !state.opening()).await;
        let idle = |state: &State| state.alive().next().is_none();
        if !session.until(grace, idle).await {
            session.lock().stop_all();
            session.until(UNWIND, idle).await;
            session.lock().release_all();
        }
        let answered = |state: &State| !state.leases.values().any(Lease::unanswered);
        if !session.until(ANSWERS_WITHIN, answered).await {
            tracing::error!("outcomes were not answered; their jobs run again when the session ends");
        } else if !session.until(ANSWERS_WITHIN, |state| state.stream.is_none() || state.finished()).await {
            tracing::warn!("the server said no Goodbye");
        }
    }
}

impl State {
    /// Tells every handler to stop; what it then answers is a release.
    fn stop_all(&self) {
        let handlers = self.alive().count();
        tracing::warn!(handlers, "handlers still run at the end of the grace; they are stopped");
        for lease in self.leases.values().filter(|lease| lease.runs()) {
            lease.stop(Stop::Shutdown);
        }
    }

    /// Gives back what still runs; the worker ends before its handlers do.
    fn release_all(&mut self) {
        let mut running: Vec<i64> = Vec::new();
        for lease in self.leases.values_mut().filter(|lease| lease.runs()) {
            lease.span.in_scope(|| tracing::warn!("the handler did not stop in time; its job goes back"));
            lease.took = Some(lease.started.elapsed());
            lease.settle(Some(released()));
            running.push(lease.id);
        }
        for id in running {
            self.add_settlement(id);
        }
    }
}
