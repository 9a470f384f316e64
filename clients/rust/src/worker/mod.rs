//! A worker: holds one stream to a server, is handed jobs over it, and runs a handler for each.
//!
//! `Worker` has the settings and the handlers. While it runs, a `Session` holds the leases, over all its streams; one lock
//! guards it, and nothing under the lock blocks. What it does is by subject: `deliveries` runs handlers and stops them,
//! `settlements` sends outcomes until they are answered, `answers` reads what became of them, `progress` and `capacity`
//! tell the server. `Link` keeps it on a `Stream`: connects, moves, and leaves by `drain`.

mod answers;
mod builder;
mod capacity;
mod deliveries;
mod drain;
mod ending;
mod lease;
mod leased_job;
mod link;
mod observer;
mod progress;
mod pump;
mod session;
mod settlements;
mod stream;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};

use tokio::signal;
use tokio_util::sync::CancellationToken;
use tonic::Code;

pub use builder::WorkerBuilder;
pub use leased_job::LeasedJob;
pub use observer::{AttemptOutcome, Observer};

use crate::errors::Error;
use builder::Settings;
use link::Link;
use session::Session;

/// Runs jobs, each in a task of its own. Clones are the same worker.
#[derive(Clone)]
pub struct Worker {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Arc<Settings>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    session: Option<Arc<Session>>,
    paused: bool,
}

impl Worker {
    /// The settings of a worker, to be changed. The target is the address of a server, for example `127.0.0.1:50051`.
    pub fn builder(target: impl Into<String>) -> WorkerBuilder {
        WorkerBuilder::new(target.into())
    }

    fn new(settings: Settings) -> Self {
        let inner = Inner { settings: Arc::new(settings), state: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// Serves until the token is cancelled, and then drains: no new jobs, running ones finish within the builder's
    /// `shutdown_grace`, others go back uncharged. A future that is dropped leaves at once: its jobs run again when the
    /// session ends.
    ///
    /// A lost server is no error: jobs run on, and the worker tries again for ever.
    ///
    /// # Errors
    ///
    /// What no other try will mend: the first server refused the worker, for example for a queue's name. Or the worker
    /// runs already.
    pub async fn run(&self, shutdown: CancellationToken) -> Result<(), Error> {
        let session = self.inner.open()?;
        let _running = Running { worker: &self.inner, session: session.clone() };
        Link::new(session).run(shutdown).await
    }

    /// Serves until the process is told to end by SIGTERM or Ctrl-C, and then drains. A second one ends the process at
    /// once.
    ///
    /// # Errors
    ///
    /// As those of `run`.
    pub async fn run_until_signal(&self) -> Result<(), Error> {
        let shutdown = CancellationToken::new();
        let _end = shutdown.clone().drop_guard();
        let told = shutdown.clone();
        let mut signals = Signals::new()?;
        let listening = tokio::spawn(async move {
            signals.next().await;
            told.cancel();
            signals.next().await;
            tracing::warn!("told to end a second time: ends without a drain");
            std::process::exit(1);
        });
        let ended = self.run(shutdown).await;
        listening.abort();
        ended
    }

    /// Takes no more jobs until `resume`; running ones run on.
    pub fn pause(&self) {
        self.inner.pause(true);
    }

    /// Takes jobs again.
    pub fn resume(&self) {
        self.inner.pause(false);
    }
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("name", &self.inner.settings.name).finish_non_exhaustive()
    }
}

impl Inner {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> Result<Arc<Session>, Error> {
        let mut state = self.lock();
        if state.session.is_some() {
            return Err(Error::new(Code::FailedPrecondition, "the worker runs already"));
        }
        let session = Session::new(self.settings.clone(), state.paused);
        state.session = Some(session.clone());
        Ok(session)
    }

    fn pause(&self, paused: bool) {
        let mut state = self.lock();
        state.paused = paused;
        if let Some(session) = &state.session {
            session.lock().pause(paused);
        }
    }
}

/// Ends the session when `run` ends, also where its future is dropped.
struct Running<'a> {
    worker: &'a Inner,
    session: Arc<Session>,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.session.lock().close();
        self.worker.lock().session = None;
    }
}

/// SIGTERM and Ctrl-C; where there is no SIGTERM, Ctrl-C alone.
struct Signals {
    #[cfg(unix)]
    terminate: signal::unix::Signal,
}

impl Signals {
    fn new() -> Result<Self, Error> {
        Ok(Self {
            #[cfg(unix)]
            terminate: signal::unix::signal(signal::unix::SignalKind::terminate())
                .map_err(|error| Error::new(Code::Internal, format!("signals can't be listened to: {error}")))?,
        })
    }

    async fn next(&mut self) {
        #[cfg(unix)]
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = signal::ctrl_c() => {}
        }
        #[cfg(not(unix))]
        let _ = signal::ctrl_c().await;
    }
}
