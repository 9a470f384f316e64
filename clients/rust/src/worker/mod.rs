//! A worker: holds one stream to a server, is handed jobs over it, and runs a handler for each.
//!
//! `Worker` has the settings and the handlers. While it runs, a `Session` holds the leases, over all its streams; one lock
//! guards it, and nothing under the lock blocks. What it does is by subject: `deliveries` runs handlers and stops them,
//! `settlements` sends outcomes until they are answered, `answers` reads what became of them, `progress` and `capacity`
//! tell the server. `Link` keeps it on a `Stream`: connects, moves, and leaves by `drain`.

mod answers;
mod around;
mod attempt;
mod builder;
mod capacity;
mod coding;
mod declaring;
mod deliveries;
mod drain;
mod ending;
#[cfg(feature = "health")]
mod health;
mod lease;
mod leased_job;
mod link;
mod observer;
mod progress;
mod pump;
mod session;
mod settlements;
mod status;
mod stream;
#[cfg(test)]
mod tests;
#[cfg(all(test, feature = "otel"))]
mod trace_tests;

#[cfg(feature = "testing")]
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::signal;
use tokio_util::sync::CancellationToken;
use tonic::Code;

pub use builder::WorkerBuilder;
pub use leased_job::LeasedJob;
pub use observer::{Attempt, AttemptOutcome, Observer};
pub use status::{WorkerState, WorkerStatus};

#[cfg(feature = "testing")]
use crate::access::Access;
use crate::environment;
use crate::errors::Error;
#[cfg(feature = "testing")]
use crate::telling::Telling;
use builder::Settings;
use link::Link;
use session::Session;
#[cfg(feature = "testing")]
pub(crate) use {
    around::around,
    attempt::{attempt, caught},
    builder::{Handler, names_of, of_job, of_kind},
    coding::Coding,
    ending::{OUTPUT_ERROR, wrong_with},
};

/// Runs jobs, each in a task of its own. Clones are the same worker.
#[derive(Clone)]
pub struct Worker {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Arc<Settings>,
    made: SystemTime,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    session: Option<Arc<Session>>,
    paused: bool,
    /// How the last session ended.
    last: Option<WorkerStatus>,
    /// It ended by an error.
    #[cfg(feature = "health")]
    failed: bool,
    #[cfg(feature = "health")]
    health: Option<health::Health>,
}

impl Worker {
    /// The settings of a worker, to be changed. The target is the address of a server, for example `127.0.0.1:50051`.
    pub fn builder(target: impl Into<String>) -> WorkerBuilder {
        WorkerBuilder::new(target.into())
    }

    /// The settings of a worker as the environment has them, by the names of the command line: `JOBQUEUE_SERVER` (default
    /// `127.0.0.1:50051`), `JOBQUEUE_TOKEN`, and for TLS `JOBQUEUE_TLS_ROOTS` (a PEM file, or `public`),
    /// `JOBQUEUE_TLS_CLIENT_CERT` and `JOBQUEUE_TLS_CLIENT_KEY`. Of the worker service it reads `JOBQUEUE_QUEUES`, with
    /// commas between them, `JOBQUEUE_WORKER_NAME` and `WORKER_CONCURRENCY`, where they are set. What the program says wins.
    ///
    /// # Errors
    ///
    /// `InvalidRequest`: a value is no number, a file can't be read, of a certificate and its key one is not set, or
    /// TLS is asked for without the feature `tls`.
    pub fn from_env() -> Result<WorkerBuilder, Error> {
        WorkerBuilder::of_environment(&environment::of_process())
    }

    fn new(settings: Settings, paused: bool) -> Self {
        let state = State { paused, ..State::default() };
        let inner = Inner { settings: Arc::new(settings), made: SystemTime::now(), state: Mutex::new(state) };
        Self { inner: Arc::new(inner) }
    }

    /// Serves until the token, one of the crate tokio-util, is cancelled, and then drains: no new jobs, running ones finish
    /// within the builder's `shutdown_grace`, others go back uncharged. A future that is dropped leaves at once: its jobs run
    /// again when the session ends.
    ///
    /// A lost server is no error: jobs run on, and the worker tries again for ever.
    ///
    /// # Errors
    ///
    /// What no other try will mend: the first server refused the worker, for example for a queue's name. Or the worker
    /// runs already.
    pub async fn run(&self, shutdown: CancellationToken) -> Result<(), Error> {
        #[cfg(feature = "health")]
        self.listen()?;
        let session = self.inner.open()?;
        let running = Running { worker: &self.inner, session: session.clone() };
        #[cfg(feature = "health")]
        if self.inner.settings.health.is_some() {
            tokio::spawn(tick(Arc::downgrade(&session)));
        }
        let ended = match declared(&session, &shutdown).await {
            Ok(true) => Link::new(session.clone()).run(shutdown).await,
            Ok(false) => Ok(()),
            Err(refused) => Err(refused),
        };
        session.lock().end(ended.as_ref().err());
        #[cfg(feature = "health")]
        {
            self.inner.lock().failed = ended.is_err();
        }
        drop(running);
        self.inner.settings.telling.flush(Duration::from_secs(1)).await;
        ended
    }

    /// Answers probes, unless it does already.
    #[cfg(feature = "health")]
    fn listen(&self) -> Result<(), Error> {
        let mut state = self.inner.lock();
        if let Some(address) = self.inner.settings.health.as_ref().filter(|_| state.health.is_none()) {
            state.health = Some(health::Health::open(address, Arc::downgrade(&self.inner))?);
        }
        Ok(())
    }

    /// How the worker is now.
    pub fn status(&self) -> WorkerStatus {
        self.inner.status()
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

    /// The handler of a kind, or the kinds that have one.
    #[cfg(feature = "testing")]
    pub(crate) fn handler_of(&self, kind: &str) -> Result<Handler, Vec<String>> {
        self.inner.settings.handlers.get(kind).cloned().ok_or_else(|| self.inner.settings.kinds())
    }

    /// What its encodings do for the jobs of a kind. `None`: it has none.
    #[cfg(feature = "testing")]
    pub(crate) fn coding_of(&self, kind: &str) -> Option<Coding> {
        self.inner.settings.codings.get(kind).cloned()
    }

    /// The queues and kinds that it takes jobs of.
    #[cfg(feature = "testing")]
    pub(crate) fn takes(&self) -> (HashSet<String>, HashSet<String>) {
        let settings = &self.inner.settings;
        let queues = settings.subscriptions.iter().map(|each| each.queue.clone()).collect();
        (queues, settings.handlers.keys().cloned().collect())
    }

    /// A worker of another server with the same handlers, queues and slots.
    #[cfg(feature = "testing")]
    pub(crate) fn elsewhere(&self, target: &str, access: Access, around: impl Fn(Handler) -> Handler) -> Self {
        let settings = &self.inner.settings;
        let handlers = settings.handlers.iter().map(|(kind, handler)| (kind.clone(), around(handler.clone())));
        let settings = Settings {
            targets: vec![target.to_owned()],
            access,
            subscriptions: settings.subscriptions.clone(),
            concurrency: settings.concurrency,
            slots_by_kind: settings.slots_by_kind.clone(),
            handlers: handlers.collect(),
            codings: HashMap::new(),
            encodings: None,
            declared: Vec::new(),
            name: settings.name.clone(),
            labels: settings.labels.clone(),
            session_ttl: None,
            shutdown_grace: Duration::from_secs(1),
            stop_when_lost: false,
            telling: Telling::default(),
            #[cfg(feature = "health")]
            health: None,
        };
        Self::new(settings, false)
    }

    /// Takes no more jobs until `resume`, also where it does not run yet; running ones run on.
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
        let unknown_kinds = state.last.as_ref().map(|last| last.unknown_kinds.clone()).unwrap_or_default();
        let session = Session::new(self.settings.clone(), state.paused, unknown_kinds);
        #[cfg(feature = "health")]
        {
            state.failed = false;
        }
        state.session = Some(session.clone());
        Ok(session)
    }

    fn status(&self) -> WorkerStatus {
        let state = self.lock();
        match (&state.session, &state.last) {
            (Some(session), _) => session.lock().status(),
            (None, Some(last)) => last.clone(),
            (None, None) => WorkerStatus {
                state: WorkerState::Starting,
                server: String::new(),
                session: 0,
                since: self.made,
                last_heard: None,
                slots: if state.paused { 0 } else { self.settings.concurrency },
                running: 0,
                orphans: 0,
                kinds: self.settings.kinds(),
                unknown_kinds: Vec::new(),
                last_error: String::new(),
                observer_dropped: 0,
            },
        }
    }

    /// What `/readyz` or `/livez` answers.
    #[cfg(feature = "health")]
    fn health(&self, readiness: bool) -> (bool, WorkerStatus) {
        let (session, failed) = {
            let state = self.lock();
            (state.session.clone(), state.failed)
        };
        let Some(session) = session else { return (!readiness && !failed, self.status()) };
        let state = session.lock();
        let (condition, ttl) = (&state.condition, state.ttl());
        (if readiness { condition.ready(ttl) } else { condition.live(ttl) }, state.status())
    }

    fn pause(&self, paused: bool) {
        let mut state = self.lock();
        state.paused = paused;
        if let Some(session) = &state.session {
            session.lock().pause(paused);
        }
    }
}

/// Tells a server what the worker's kinds are, where it is to. False: the worker was stopped before.
async fn declared(session: &Session, shutdown: &CancellationToken) -> Result<bool, Error> {
    if session.settings.declared.is_empty() {
        return Ok(true);
    }
    tokio::select! {
        biased;
        () = shutdown.cancelled() => Ok(false),
        declared = declaring::declare(session) => declared.map(|()| true),
    }
}

/// Ends the session when `run` ends, also where its future is dropped.
struct Running<'a> {
    worker: &'a Inner,
    session: Arc<Session>,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let last = {
            let mut session = self.session.lock();
            session.close();
            // Where its future was dropped.
            session.end(None);
            session.status()
        };
        let mut worker = self.worker.lock();
        worker.last = Some(last);
        worker.session = None;
        // After an error it goes on to say so. Otherwise it ends, and without the lock, which its answers take.
        #[cfg(feature = "health")]
        let _health = if worker.failed { None } else { worker.health.take() };
        drop(worker);
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

/// Notes each second that the runtime runs the session.
#[cfg(feature = "health")]
async fn tick(session: std::sync::Weak<Session>) {
    loop {
        if !session.upgrade().is_some_and(|session| session.lock().tick()) {
            return;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
