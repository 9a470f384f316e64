//! A worker's settings and handlers.

use std::any::type_name;
use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::Worker;
use super::around::around;
use super::coding::{Coding, coded};
use super::leased_job::LeasedJob;
use super::observer::Observer;
use crate::access::Access;
use crate::encoded::worker_must_encrypt;
use crate::encodings::Encodings;
use crate::environment::Environment;
use crate::errors::Error;
use crate::jobs::EncodingRule;
use crate::json::{IntoOutput, JsonText};
use crate::middleware::{Middleware, Middlewares};
use crate::outcomes::HandlerError;
use crate::telling::Telling;
use crate::typed::{JobKind, KindDeclaration, output_text, payload_in};
use crate::v1;

pub(crate) type Handler =
    Arc<dyn Fn(LeasedJob) -> BoxFuture<'static, Result<Option<JsonText>, HandlerError>> + Send + Sync>;

/// A function of a job as a handler.
pub(crate) fn of_job<F, R, T>(handler: F) -> Handler
where
    F: Fn(LeasedJob) -> R + Send + Sync + 'static,
    R: Future<Output = Result<T, HandlerError>> + Send + 'static,
    T: IntoOutput + 'static,
{
    Arc::new(move |job| handler(job).map(|ended| Ok(ended?.into_output()?)).boxed())
}

/// A function of a payload and its job as a handler.
pub(crate) fn of_kind<K, F, R>(handler: F) -> Handler
where
    K: JobKind,
    F: Fn(K, LeasedJob) -> R + Send + Sync + 'static,
    R: Future<Output = Result<K::Output, HandlerError>> + Send + 'static,
{
    let handler = Arc::new(handler);
    Arc::new(move |job| {
        let handler = handler.clone();
        async move { output_text::<K>(&handler(payload_in::<K>(&job)?, job).await?) }.boxed()
    })
}

/// A typed kind's name, and its older ones.
pub(crate) fn names_of<K: JobKind>() -> Vec<String> {
    std::iter::once(&K::NAME).chain(K::ALIASES).map(|name| (*name).to_owned()).collect()
}

/// What the builder has made.
pub(super) struct Settings {
    pub(super) targets: Vec<String>,
    pub(super) access: Access,
    pub(super) subscriptions: Vec<v1::Subscription>,
    pub(super) concurrency: u32,
    pub(super) slots_by_kind: HashMap<String, u32>,
    pub(super) handlers: HashMap<String, Handler>,
    /// What its encodings do for the jobs of a kind, for tests of users. Empty: it has none.
    #[cfg(feature = "testing")]
    pub(super) codings: HashMap<String, Coding>,
    pub(super) encodings: Option<Encodings>,
    /// The kinds that a server is told before the worker takes jobs.
    pub(super) declared: Vec<KindDeclaration>,
    pub(super) name: String,
    pub(super) labels: HashMap<String, String>,
    pub(super) session_ttl: Option<Duration>,
    pub(super) shutdown_grace: Duration,
    pub(super) stop_when_lost: bool,
    pub(super) telling: Telling,
    #[cfg(feature = "health")]
    pub(super) health: Option<String>,
}

impl Settings {
    /// Those that have a handler, sorted.
    pub(super) fn kinds(&self) -> Vec<String> {
        sorted(&self.handlers)
    }
}

fn sorted(handlers: &HashMap<String, Handler>) -> Vec<String> {
    let mut kinds: Vec<String> = handlers.keys().cloned().collect();
    kinds.sort();
    kinds
}

/// A handler as it was given.
struct Given {
    /// Those of its kind.
    names: Vec<String>,
    handler: Handler,
    /// What the code names it.
    function: &'static str,
    rule: EncodingRule,
}

/// The settings of a [`Worker`]. By default it takes 8 jobs at once from the queue `default`.
#[must_use]
pub struct WorkerBuilder {
    targets: Vec<String>,
    access: Access,
    queues: Vec<String>,
    /// Those of the environment, where the program says none.
    queues_of_environment: Vec<String>,
    concurrency: u32,
    slots_by_kind: HashMap<String, u32>,
    handlers: Vec<Given>,
    middleware: Middlewares,
    encodings: Option<Encodings>,
    /// Those of its typed kinds.
    declarations: Vec<fn() -> KindDeclaration>,
    sync_kinds: bool,
    name: Option<String>,
    labels: HashMap<String, String>,
    session_ttl: Option<Duration>,
    shutdown_grace: Duration,
    stop_when_lost: bool,
    observer: Option<Arc<dyn Observer>>,
    paused: bool,
    #[cfg(feature = "health")]
    health: Option<String>,
}

impl WorkerBuilder {
    pub(super) fn new(target: String) -> Self {
        Self {
            targets: vec![target],
            access: Access::default(),
            queues: Vec::new(),
            queues_of_environment: Vec::new(),
            concurrency: 8,
            slots_by_kind: HashMap::new(),
            handlers: Vec::new(),
            middleware: Middlewares::default(),
            encodings: None,
            declarations: Vec::new(),
            sync_kinds: false,
            name: None,
            labels: HashMap::new(),
            session_ttl: None,
            shutdown_grace: Duration::from_secs(30),
            stop_when_lost: false,
            observer: None,
            paused: false,
            #[cfg(feature = "health")]
            health: None,
        }
    }

    pub(super) fn of_environment<F: Fn(&str) -> Option<String>>(environment: &Environment<F>) -> Result<Self, Error> {
        let mut made = Self::new(environment.server()).access(environment.access()?);
        let queues = environment.get("JOBQUEUE_QUEUES").unwrap_or_default();
        let queues = queues.split(',').map(str::trim).filter(|queue| !queue.is_empty());
        made.queues_of_environment = queues.map(str::to_owned).collect();
        if let Some(name) = environment.get("JOBQUEUE_WORKER_NAME") {
            made = made.name(name);
        }
        if let Some(jobs) = environment.get("WORKER_CONCURRENCY") {
            let jobs = jobs
                .parse()
                .map_err(|_| Error::invalid("WORKER_CONCURRENCY", format!("is {jobs:?}; it is 1 to 10000")))?;
            made = made.concurrency(jobs);
        }
        Ok(made)
    }

    /// Makes a function the handler of a kind; a panic in it is a failure like another. It runs in a task of its own;
    /// what blocks belongs into `tokio::task::spawn_blocking`.
    pub fn handle<F, R, T>(mut self, kind: impl Into<String>, handler: F) -> Self
    where
        F: Fn(LeasedJob) -> R + Send + Sync + 'static,
        R: Future<Output = Result<T, HandlerError>> + Send + 'static,
        T: IntoOutput + 'static,
    {
        let (names, rule) = (vec![kind.into()], EncodingRule::Unsaid);
        self.handlers.push(Given { names, handler: of_job(handler), function: type_name::<F>(), rule });
        self
    }

    /// Makes a function the handler of a typed kind, which is that of its first argument. It gets the payload and the job,
    /// and answers the kind's output. It handles the kind's older names as well. In all else it is as [`handle`](Self::handle).
    /// A closure gives a function more than these: `move |mail: Mail, job| deliver(mail, job, pool.clone())`.
    ///
    /// A payload of an older version is made one of this version. One of a later version puts its job off by 15 s to 2 min,
    /// up to 20 times, and then fails with `PayloadTooNew`; one that can't be read ends its job with `PayloadUnreadable`.
    pub fn handle_kind<K, F, R>(mut self, handler: F) -> Self
    where
        K: JobKind,
        F: Fn(K, LeasedJob) -> R + Send + Sync + 'static,
        R: Future<Output = Result<K::Output, HandlerError>> + Send + 'static,
    {
        self.declarations.push(KindDeclaration::of::<K>);
        let (names, rule) = (names_of::<K>(), K::ENCODINGS);
        self.handlers.push(Given { names, handler: of_kind(handler), function: type_name::<F>(), rule });
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

    /// Adds a queue to take jobs from. Several take turns. None: those of the environment, where it is
    /// [`from_env`](Worker::from_env) and it has some, or `default`.
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

    /// Whether the worker takes no jobs before [`Worker::resume`]. Default: false.
    pub fn paused(mut self, paused: bool) -> Self {
        self.paused = paused;
        self
    }

    /// Is told of attempts and of the session, for metrics and reports of errors. The worker keeps it: what the program reads
    /// of it as well, such as counts, is behind an `Arc` in it. Default: none.
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Whether the worker tells the server what its typed kinds are, as [`Client::sync_kinds`](crate::Client::sync_kinds) does,
    /// before it takes jobs. Its key then needs OPERATE on them in all queues. It waits for a server as it does for its
    /// session. Default: false.
    pub fn sync_kinds(mut self, sync: bool) -> Self {
        self.sync_kinds = sync;
        self
    }

    /// Adds what goes around the handlers, also those that are added later, and around their follow-ups. The first is the
    /// outermost one. Default: none.
    pub fn middleware(mut self, middleware: impl Middleware) -> Self {
        self.middleware.add(middleware);
        self
    }

    /// What payloads and checkpoints come through before a handler and all middleware, also of those that are added later,
    /// and outputs, checkpoints and follow-ups before they are sent. A job whose key or encoding is not there waits for it
    /// for about half an hour, and then fails with `KeyUnknown` or `EncodingUnknown`; one that can't be decoded ends with
    /// `PayloadUnreadable`, and keeps its payload. Default: none.
    pub fn encodings(mut self, encodings: Encodings) -> Self {
        self.encodings = Some(encodings);
        self
    }

    /// Answers `/livez` and `/readyz` over HTTP at an address of this host, such as `127.0.0.1:8081`, while the worker
    /// runs; after an error until the worker is dropped. In a thread of its own. Needs the feature `health`. Default: off.
    ///
    /// `/livez` is 200 unless the session has stood still for the longer of its ttl and 30 s, or has ended by an error;
    /// never because a server is away. `/readyz` is 200 while the worker serves, or has been without a server for less
    /// than the ttl; else 503. Both have [`Worker::status`] as JSON. Where the address is taken, `run` says so and ends.
    #[cfg(feature = "health")]
    #[cfg_attr(docsrs, doc(cfg(feature = "health")))]
    pub fn health(mut self, address: impl Into<String>) -> Self {
        self.health = Some(address.into());
        self
    }

    /// Makes the worker; it connects when it runs.
    ///
    /// # Errors
    ///
    /// `InvalidRequest`: a setting is out of its range, or there is no handler. `EncodingRequired`: a typed kind takes
    /// encrypted payloads alone, and the worker does not encrypt.
    pub fn build(self) -> Result<Worker, Error> {
        for target in &self.targets {
            self.access.endpoint(target)?;
        }
        let given = [self.queues, self.queues_of_environment, vec!["default".to_owned()]];
        let queues = given.into_iter().find(|queues| !queues.is_empty()).unwrap_or_default();
        let mut handlers = HashMap::new();
        let mut names: HashMap<String, &str> = HashMap::new();
        #[cfg(feature = "testing")]
        let mut codings = HashMap::new();
        let encrypts = self.encodings.as_ref().is_some_and(Encodings::encrypts);
        for given in self.handlers {
            if given.rule == EncodingRule::Required && !encrypts {
                return Err(worker_must_encrypt(&given.names[0]));
            }
            let mut handler = around(given.handler, &self.middleware, &given.names);
            let coding = self.encodings.clone().map(|encodings| Coding::new(encodings, given.rule));
            if let Some(coding) = &coding {
                handler = coded(handler, coding.clone());
            }
            for kind in given.names {
                if let Some(first) = names.insert(kind.clone(), given.function) {
                    let what =
                        format!("kind {kind:?} has a handler already: {first}, in the worker of queues {queues:?}");
                    return Err(Error::invalid("handle", what));
                }
                #[cfg(feature = "testing")]
                if let Some(coding) = &coding {
                    codings.insert(kind.clone(), coding.clone());
                }
                handlers.insert(kind, handler.clone());
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
        #[cfg(feature = "health")]
        if let Some(address) = &self.health
            && address.rsplit_once(':').is_none_or(|(host, port)| host.is_empty() || port.parse::<u16>().is_err())
        {
            let what = format!("is {address:?}; it is an address and a port, such as 127.0.0.1:8081");
            return Err(Error::invalid("health", what));
        }
        let settings = Settings {
            targets: self.targets,
            access: self.access,
            subscriptions: subscriptions(queues, &handlers),
            concurrency: self.concurrency,
            slots_by_kind: self.slots_by_kind,
            handlers,
            #[cfg(feature = "testing")]
            codings,
            encodings: self.encodings,
            declared: if self.sync_kinds { self.declarations.iter().map(|of| of()).collect() } else { Vec::new() },
            name,
            labels: self.labels,
            session_ttl: self.session_ttl,
            shutdown_grace: self.shutdown_grace,
            stop_when_lost: self.stop_when_lost,
            telling: self.observer.map(Telling::new).unwrap_or_default(),
            #[cfg(feature = "health")]
            health: self.health,
        };
        Ok(Worker::new(settings, self.paused))
    }
}

fn default_name() -> String {
    let host = hostname::get().unwrap_or_default();
    let host: String = host.to_string_lossy().chars().take(100).collect();
    format!("{host}:{}", std::process::id())
}

/// The queues, each with all kinds that have a handler.
fn subscriptions(queues: Vec<String>, handlers: &HashMap<String, Handler>) -> Vec<v1::Subscription> {
    let kinds = sorted(handlers);
    queues.into_iter().map(|queue| v1::Subscription { queue, kinds: kinds.clone() }).collect()
}
