//! One attempt in this process: the worker's own way from a leased job to an outcome.

use std::any::Any;
use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::job::{KIND, StopAt, TestJob};
use super::performed::{Outcome, Performed, Report, Told};
use crate::encoded::worker_must_encrypt;
use crate::errors::Error;
use crate::jobs::EncodingRule;
use crate::json::IntoOutput;
use crate::outcomes::{HandlerError, HandlerResult};
use crate::typed::JobKind;
use crate::worker::{Coding, Handler, LeasedJob, Worker, around, attempt as run, caught, names_of, of_job, of_kind};

/// A handler has not ended in the time that the test gives it. It is dropped; what it has spawned runs on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StillRunning {
    /// The job's kind.
    pub kind: String,
    /// The time.
    pub within: Duration,
    /// Whether it was told to stop.
    pub told: bool,
}

impl fmt::Display for StillRunning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the handler of {} still runs after {:?}", self.kind, self.within)?;
        if self.told { f.write_str(", though it was told to stop") } else { Ok(()) }
    }
}

impl StdError for StillRunning {}

/// What [`perform`] takes: a function of a [`LeasedJob`], one of a [`JobKind`] and a [`LeasedJob`], or a [`Worker`] that has
/// a handler of the job's kind. `M` tells them apart, and is never written.
pub trait Handles<M> {
    #[doc(hidden)]
    fn handler(self, kind: &str) -> Result<Made, Error>;
}

#[doc(hidden)]
pub struct Made {
    handler: Handler,
    /// Of its kind. None: it is a worker's, which has its middleware around it.
    names: Vec<String>,
    /// What the worker's encodings do. None: it has none.
    coding: Option<Coding>,
}

impl<F, R, T> Handles<(R, T)> for F
where
    F: Fn(LeasedJob) -> R + Send + Sync + 'static,
    R: Future<Output = HandlerResult<T>> + Send + 'static,
    T: IntoOutput + 'static,
{
    fn handler(self, kind: &str) -> Result<Made, Error> {
        Ok(Made { handler: of_job(self), names: vec![kind.to_owned()], coding: None })
    }
}

impl<K, F, R> Handles<(K, R, K::Output)> for F
where
    K: JobKind,
    F: Fn(K, LeasedJob) -> R + Send + Sync + 'static,
    R: Future<Output = HandlerResult<K::Output>> + Send + 'static,
{
    fn handler(self, kind: &str) -> Result<Made, Error> {
        let names = names_of::<K>();
        if kind != KIND && !names.iter().any(|name| name == kind) {
            let what = format!("the job is of kind {kind:?}; the handler is of {}", names.join(", "));
            return Err(Error::invalid("kind", what));
        }
        if K::ENCODINGS == EncodingRule::Required {
            return Err(worker_must_encrypt(K::NAME));
        }
        Ok(Made { handler: of_kind(self), names, coding: None })
    }
}

impl Handles<()> for &Worker {
    fn handler(self, kind: &str) -> Result<Made, Error> {
        let coding = self.coding_of(kind);
        self.handler_of(kind).map(|handler| Made { handler, names: Vec::new(), coding }).map_err(|kinds| {
            Error::invalid("kind", format!("the worker has no handler of kind {kind:?}; it has: {}", kinds.join(", ")))
        })
    }
}

/// Performs one attempt of a job, by the code that a worker runs, without a server. Within a tokio runtime.
///
/// The payload goes through JSON and a worker's encodings, the handler runs in a task of its own, and the limits of outputs, checkpoints and
/// follow-ups hold.
///
/// # Errors
///
/// What the handler failed with, itself, where that is an ordinary failure: [`TestJob::catch`] answers it. What
/// [`retry`](crate::retry), [`discard`](crate::discard), [`snooze`](crate::snooze) and [`cancelled`](crate::cancelled) make
/// are outcomes. [`StillRunning`], by [`HandlerError::downcast_ref`]: it has not ended in time. [`Error`]: the worker has no
/// handler of the kind, a typed handler is of another kind than the job, or the job has middleware, which is the worker's; or `EncodingRequired`: the kind takes encrypted
/// payloads alone, so its handler is performed as a worker's that encrypts.
///
/// # Panics
///
/// Where the handler panics, unless that is caught.
pub async fn perform<M>(handler: impl Handles<M>, job: TestJob) -> HandlerResult<Performed> {
    let Made { handler, names, coding } = handler.handler(&job.kind)?;
    if names.is_empty() && !job.middleware.is_empty() {
        return Err(Error::invalid("middleware", "it is beside a worker: a worker has its own").into());
    }
    let handler = around(handler, &job.middleware, &names);
    let mut message = job.message();
    if let Some(coding) = &coding {
        coding.seal(&mut message).await?;
    }
    let (leased, told) = watched(&job, message);
    let raised = Arc::new(Mutex::new(None));
    let (keeps_error, keeps_panic) = (raised.clone(), raised.clone());
    if job.stop_at == Some(StopAt::Start) {
        leased.stop(job.stop.clone());
    }
    let attempt = run(leased.clone(), handler, move |error| *lock(&keeps_error) = Some(Raised::Error(error)));
    let task = tokio::spawn(caught(attempt, move |panic| *lock(&keeps_panic) = Some(Raised::Panic(panic))));
    let ends = task.abort_handle();
    let stops = async {
        if let Some(StopAt::After(wait)) = job.stop_at {
            sleep(wait).await;
            leased.stop(job.stop.clone());
        }
        std::future::pending::<()>().await;
    };
    let ended = async {
        tokio::select! {
            ended = task => ended,
            () = stops => unreachable!("it waits for ever"),
        }
    };
    let Ok(ended) = timeout(job.within, ended).await else {
        ends.abort();
        let told = leased.stop_reason().is_some();
        return Err(StillRunning { kind: job.kind, within: job.within, told }.into());
    };
    let mut outcome = match ended {
        Ok(outcome) => outcome,
        Err(error) => return Err(error.into()), // the runtime shuts down
    };
    let mut told = std::mem::take(&mut *lock(&told));
    if let Some(coding) = &coding {
        coding.open(&leased, outcome.as_mut(), &mut told.checkpoints).await?;
    }
    let catch = job.catch;
    let done = Performed::new(job, outcome, told);
    if catch || done.outcome != Outcome::Failed || done.retry_after.is_some() {
        return Ok(done);
    }
    match lock(&raised).take() {
        Some(Raised::Error(error)) => Err(error),
        Some(Raised::Panic(panic)) => resume_unwind(panic),
        // Its output was refused.
        None => Err(crate::failed(format!("{}: {}", done.error_type, done.error))),
    }
}

/// The attempt of a job alone, for code that is called with one. What it reports is dropped; [`perform`] keeps it.
pub fn attempt(job: &TestJob) -> LeasedJob {
    watched(job, job.message()).0
}

enum Raised {
    Error(HandlerError),
    Panic(Box<dyn Any + Send>),
}

/// The attempt, and what it tells.
fn watched(job: &TestJob, message: crate::v1::LeasedJob) -> (LeasedJob, Arc<Mutex<Told>>) {
    let told = Arc::new(Mutex::new(Told::default()));
    let itself: Arc<OnceLock<Weak<_>>> = Arc::default();
    let (keeps, found, stop, stop_at) = (told.clone(), itself.clone(), job.stop.clone(), job.stop_at);
    let report = move |report: crate::v1::Progress| {
        let mut told = lock(&keeps);
        if let Some(data) = report.checkpoint {
            told.checkpoints.push(data);
            return;
        }
        told.progress.push(Report { fraction: report.fraction, message: report.message });
        if stop_at == Some(StopAt::Progress(told.progress.len()))
            && let Some(inner) = found.get().and_then(Weak::upgrade)
        {
            LeasedJob { inner }.stop(stop.clone());
        }
    };
    let leased = LeasedJob::new(message, Box::new(report));
    let _ = itself.set(Arc::downgrade(&leased.inner));
    (leased, told)
}

fn lock<T>(kept: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}
