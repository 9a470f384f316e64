//! A worker's settings and handlers.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::Worker;
use super::leased_job::LeasedJob;
use super::observer::{NoObserver, Observer};
use crate::access::Access;
use crate::errors::Error;
use crate::json::{IntoOutput, JsonText};
use crate::outcomes::HandlerError;
use crate::v1;

pub(super) type Handler =
    Arc<dyn Fn(LeasedJob) -> BoxFuture<'static, Result<Option<JsonText>, HandlerError>> + Send + Sync>;

/// What the builder has made.
pub(super) struct Settings {
    pub(super) targets: Vec<String>,
    pub(super) access: Access,
    pub(super) subscriptions: Vec<v1::Subscription>,
    pub(super) concurrency: u32,
    pub(super) slots_by_kind: HashMap<String, u32>,
    pub(super) handlers: HashMap<String, Handler>,
    pub(super) name: String,
    pub(super) labels: HashMap<String, String>,
    pub(super) session_ttl: Option<Duration>,
    pub(super) shutdown_grace: Duration,
    pub(super) stop_when_lost: bool,
    pub(super) observer: Box<dyn Observer>,
}

/// The settings of a [`Worker`]. By default it takes 8 jobs at once from the queue `default`.
#[must_use]
pub struct WorkerBuilder {
    targets: Vec<String>,
    access: Access,
    queues: Vec<String>,
    concurrency: u32,
    slots_by_kind: HashMap<String, u32>,
    handlers: Vec<(String, Handler)>,
    name: Option<String>,
    labels: HashMap<String, String>,
    session_ttl: Option<Duration>,
    shutdown_grace: Duration,
    stop_when_lost: bool,
    observer: Box<dyn Observer>,
}

impl WorkerBuilder {
    pub(super) fn new(target: String) -> Self {
        Self {
            targets: vec![target],
            access: Access::default(),
            queues: Vec::new(),
            concurrency: 8,
            slots_by_kind: HashMap::new(),
            handlers: Vec::new(),
            name: None,
            labels: HashMap::new(),
            session_ttl: None,
            shutdown_grace: Duration::from_secs(30),
            stop_when_lost: false,
            observer: Box::new(NoObserver),
        }
    }

    /// Makes a function the handler of a kind; a panic in it is a failure like another. It runs in a task of its own;
    /// what blocks belongs into `tokio::task::spawn_blocking`.
    pub fn handle<F, R, T>(mut self, kind: impl Into<String>, handler: F) -> Self
    where
        F: Fn(LeasedJob) -> R + Send + Sync + 'static,
        R: Future<Output = Result<T, HandlerError>> + Send + 'static,
        T: IntoOutput + 'static,
    {
        let handler: Handler = Arc::new(move |job| handler(job).map(|ended| ended.map(T::into_output)).boxed());
        self.handlers.push((kind.into(), handler));
        self
    }

    /// Bounds how many jobs of a kind run at once, at least one, within `concurrency`.
    pub fn slots(mut self, kind: impl Into<String>, slots: u32) -> Self {
        self.slots_by_kind.insert(kind.into(), slots);
        self
    }

    /// TLS and the token. Default: neither.
    pub fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// Adds the address of another server: a worker that loses one goes on with the next.
    pub fn target(mut self, target: impl Into<String>) -> Self {
        self.targets.push(target.into());
        self
    }

    /// Adds a queue to take jobs from. Several take turns. None: `default`.
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.queues.push(queue.into());
        self
    }

    /// How many jobs run at once, 1..10000. Default: 8.
    pub fn concurrency(mut self, jobs: u32) -> Self {
        self.concurrency = jobs;
        self
    }

    /// The worker's name, for people; shown as `locked_by`; 1..128 characters. Default: host and process id.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Adds a mark of the worker, for people.
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(name.into(), value.into());
        self
    }

    /// How long the worker may be silent before its jobs are given to others, 5 s to 1 h. Default: the server's, 30 s.
    pub fn session_ttl(mut self, ttl: Duration) -> Self {
        self.session_ttl = Some(ttl);
        self
    }

    /// How long a drain lets handlers run on before it stops them and gives their jobs back. Default: 30 s.
    pub fn shutdown_grace(mut self, grace: Duration) -> Self {
        self.shutdown_grace = grace;
        self
    }

    /// Whether a worker that has heard no server for its session's ttl, by its own monotonic clock, stops its handlers
    /// ([`Stop::Lost`](crate::Stop::Lost)): their jobs may run elsewhere by now. What they answer is sent all the same if
    /// the session can be resumed; one that stopped for it gives its job back. Default: false, they run on.
    pub fn stop_when_lost(mut self, stop: bool) -> Self {
        self.stop_when_lost = stop;
        self
    }

    /// Is told of starts and ends, for metrics. Default: none.
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observer = Box::new(observer);
        self
    }

    /// Makes the worker; it connects when it runs.
    ///
    /// # Errors
    ///
    /// `InvalidRequest`: a setting is out of its range, or there is no handler.
    pub fn build(self) -> Result<Worker, Error> {
        for target in &self.targets {
            self.access.endpoint(target)?;
        }
        let mut handlers = HashMap::new();
        for (kind, handler) in self.handlers {
            if handlers.insert(kind.clone(), handler).is_some() {
                return Err(Error::invalid("handle", format!("kind {kind:?} has two handlers")));
            }
        }
        if handlers.is_empty() {
            return Err(Error::invalid("handle", "the worker has no handler: add one"));
        }
        for (kind, slots) in &self.slots_by_kind {
            if !handlers.contains_key(kind) || *slots == 0 {
                let what = format!("kind {kind:?} needs a handler, and one slot at least, not {slots}");
                return Err(Error::invalid("slots", what));
            }
        }
        if !(1..=10_000).contains(&self.concurrency) {
            let what = format!("is {}; it is 1 to 10000", self.concurrency);
            return Err(Error::invalid("concurrency", what));
        }
        let name = self.name.unwrap_or_else(default_name);
        let length = name.chars().count();
        if !(1..=128).contains(&length) {
            return Err(Error::invalid("name", format!("has {length} characters; it has 1 to 128")));
        }
        if let Some(ttl) = self.session_ttl
            && !(Duration::from_secs(5)..=Duration::from_secs(3600)).contains(&ttl)
        {
            return Err(Error::invalid("session_ttl", format!("is {ttl:?}; it is 5 seconds to 1 hour")));
        }
        Ok(Worker::new(Settings {
            targets: self.targets,
            access: self.access,
            subscriptions: subscriptions(self.queues, &handlers),
            concurrency: self.concurrency,
            slots_by_kind: self.slots_by_kind,
            handlers,
            name,
            labels: self.labels,
            session_ttl: self.session_ttl,
            shutdown_grace: self.shutdown_grace,
            stop_when_lost: self.stop_when_lost,
            observer: self.observer,
        }))
    }
}

fn default_name() -> String {
    let host = hostname::get().unwrap_or_default();
    let host: String = host.to_string_lossy().chars().take(100).collect();
    format!("{host}:{}", std::process::id())
}

/// The queues, each with all kinds that have a handler.
fn subscriptions(queues: Vec<String>, handlers: &HashMap<String, Handler>) -> Vec<v1::Subscription> {
    let queues = if queues.is_empty() { vec!["default".to_owned()] } else { queues };
    let mut kinds: Vec<String> = handlers.keys().cloned().collect();
    kinds.sort();
    queues.into_iter().map(|queue| v1::Subscription { queue, kinds: kinds.clone() }).collect()
}
