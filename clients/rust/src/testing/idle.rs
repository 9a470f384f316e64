//! A worker's handlers, run by a real server until it has nothing more for them.

use std::any::Any;
use std::collections::HashSet;
use std::error::Error as StdError;
use std::fmt::{self, Write};
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::scope::{LIVE, POLL, TestScope};
use crate::errors::{Error, ErrorKind};
use crate::insight::Explanation;
use crate::job::Job;
use crate::jobs::Status;
use crate::outcomes::{Ending, Failed, HandlerError, HandlerResult, Stop};
use crate::worker::{Handler, OUTPUT_ERROR, Worker, WorkerState, wrong_with};

const WITHIN: Duration = Duration::from_secs(10);
const LIMIT: usize = 1000;
/// So many jobs an error shows.
const SHOWN: usize = 20;
/// The server's clock, by which jobs are due, may be so far ahead of this one.
const CLOCKS_DIFFER: Duration = Duration::from_secs(60);
const BACKOFF: &str = "BACKOFF";
/// A job that waits for one of these, too, does not start soon.
const LATER: [&str; 2] = ["NOT_DUE", BACKOFF];
/// A job that waits for one of these starts by itself when a handler ends, or soon.
const SOON: [&str; 9] = [
    "IS_RUNNING",
    "NO_CREDIT",
    "BEHIND",
    "ABOUT_TO_START",
    "RUNS_ALONE",
    "WORKERS_DRAINING",
    "KEY_TURN",
    "TERMINAL",
    "NO_WORKER",
];

/// What an ordinary failure of a handler does to [`TestScope::run_until_idle_with`]. What [`retry`](crate::retry),
/// [`discard`](crate::discard), [`snooze`](crate::snooze) and [`cancelled`](crate::cancelled) make is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failures {
    /// It ends it, and is its error.
    Raise,
    /// It is the job's alone.
    Keep,
    /// It is the job's alone, and backoffs are made due at once.
    Retry,
}

/// How [`TestScope::run_until_idle_with`] runs. [`Failures`] become one by `into()`.
///
/// ```
/// use std::time::Duration;
///
/// use jobqueue::testing::{Failures, RunOptions};
///
/// let options = RunOptions::new().failures(Failures::Retry).within(Duration::from_secs(60)).limit(5000);
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct RunOptions {
    failures: Failures,
    within: Duration,
    limit: usize,
}

impl RunOptions {
    /// Those of [`TestScope::run_until_idle`].
    pub fn new() -> Self {
        Self { failures: Failures::Raise, within: WITHIN, limit: LIMIT }
    }

    /// What an ordinary failure of a handler does. Default: [`Failures::Raise`].
    pub fn failures(mut self, failures: Failures) -> Self {
        self.failures = failures;
        self
    }

    /// How long it may take. Default: 10 s.
    pub fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    /// How many jobs the scope may have, ended ones too. Default: 1000.
    pub fn limit(mut self, jobs: usize) -> Self {
        self.limit = jobs;
        self
    }
}

impl Default for RunOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl From<Failures> for RunOptions {
    fn from(failures: Failures) -> Self {
        Self::new().failures(failures)
    }
}

/// A job that waits.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Waiting {
    /// The job.
    pub job: Job,
    /// The server's words for what it waits for.
    pub why: String,
}

/// What [`TestScope::run_until_idle`] has left.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Idle {
    /// The jobs that ended meanwhile, the oldest first, with payloads, outputs and failed attempts.
    pub ended: Vec<Job>,
    /// Those of the scope that wait, the oldest first.
    pub waiting: Vec<Waiting>,
}

/// There is still something to do when [`TestScope::run_until_idle`] has no more time. It says what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotIdle(String);

impl fmt::Display for NotIdle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for NotIdle {}

enum Raised {
    Error(HandlerError),
    Panic(Box<dyn Any + Send>),
}

pub(super) struct Working<'a> {
    scope: &'a TestScope<'a>,
    worker: Worker,
    options: RunOptions,
    /// What it takes: the queues and kinds.
    queues: HashSet<String>,
    kinds: HashSet<String>,
    failed: UnboundedReceiver<Raised>,
}

impl<'a> Working<'a> {
    pub(super) fn new(scope: &'a TestScope<'a>, worker: &Worker, options: RunOptions) -> Self {
        let (raises, failed) = unbounded_channel();
        let (queues, kinds) = worker.takes();
        let raise = options.failures == Failures::Raise;
        let watched = |handler| if raise { watched(handler, raises.clone()) } else { handler };
        let worker = worker.elsewhere(&scope.target, scope.access(), watched);
        Self { scope, worker, options, queues, kinds, failed }
    }

    pub(super) async fn run(mut self) -> HandlerResult<Idle> {
        let within = self.options.within;
        let jobs = self.jobs(&[]).await?;
        let ended_before: HashSet<String> = jobs.into_iter().filter(Job::is_terminal).map(|job| job.id).collect();
        let end = CancellationToken::new();
        // Where this future is dropped, too.
        let guard = end.clone().drop_guard();
        let mut serving = tokio::spawn({
            let worker = self.worker.clone();
            async move { worker.run(end).await }
        });
        let mut failures = std::mem::replace(&mut self.failed, unbounded_channel().1);
        let first = async {
            tokio::select! {
                biased;
                Some(raised) = failures.recv() => Ok(Some(raised)),
                served = &mut serving => match served {
                    Ok(served) => served.map(|()| None),
                    Err(error) => Err(Error::new(tonic::Code::Internal, error.to_string())),
                },
                idle = self.until_idle() => idle.map(|()| None),
            }
        };
        let first = timeout(within, first).await;
        let late = match first {
            Err(_) => Some(self.said(within).await?),
            Ok(_) => None,
        };
        drop(guard);
        if !serving.is_finished() {
            let _ = serving.await;
        }
        if let Some(words) = late {
            return Err(NotIdle(words).into());
        }
        let raised = match first {
            Ok(first) => first?,
            Err(_) => None,
        };
        match raised.or_else(|| failures.try_recv().ok()) {
            Some(Raised::Error(error)) => return Err(error),
            Some(Raised::Panic(panic)) => resume_unwind(panic),
            None => {}
        }
        let (ended, live): (Vec<Job>, Vec<Job>) = self.jobs(&[]).await?.into_iter().partition(Job::is_terminal);
        let ended = ended.into_iter().filter(|job| !ended_before.contains(&job.id)).collect();
        let mut waiting = Vec::new();
        for job in live {
            waiting.push(Waiting { why: self.why(&job).await?, job });
        }
        Ok(Idle { ended, waiting })
    }

    async fn until_idle(&self) -> Result<(), Error> {
        let mut made_due = HashSet::new();
        loop {
            let live = self.jobs(&LIVE).await?;
            if self.options.failures == Failures::Retry {
                // Once after each attempt: the server's clock, not this one, says whether a backoff is over.
                let backs_off =
                    |job: &&Job| job.status == Status::Retrying && made_due.insert((job.id.clone(), job.attempts));
                let later: Vec<String> = live.iter().filter(backs_off).map(|job| job.id.clone()).collect();
                if !later.is_empty() {
                    // One of them may have begun meanwhile.
                    self.scope.due(later).await?;
                    sleep(POLL).await;
                    continue;
                }
            }
            let ours = |job: &&Job| self.kinds.contains(&job.kind) && self.queues.contains(&job.queue);
            let ours: Vec<&Job> = live.iter().filter(ours).collect();
            if ours.iter().all(|job| job.status != Status::Running) && !self.any_starts(&ours).await? {
                return Ok(());
            }
            sleep(POLL).await;
        }
    }

    /// Whether one of these jobs, which all wait, starts soon by itself.
    async fn any_starts(&self, jobs: &[&Job]) -> Result<bool, Error> {
        let now = SystemTime::now();
        for job in jobs.iter().filter(|job| job.hold.is_none() && may_be_due(job.run_at, now)) {
            match self.scope.client.explain(&job.id).await {
                Err(error) if error.is(ErrorKind::JobNotFound) => return Ok(true),
                found => {
                    if goes_on(job.status, &found?, self.options.failures) {
                        return Ok(true);
                    }
                }
            }
        }
        Ok(false)
    }

    async fn jobs(&self, status: &[Status]) -> Result<Vec<Job>, Error> {
        let found = self.scope.jobs("", status).await?;
        let limit = self.options.limit;
        assert!(found.len() <= limit, "the scope has {} jobs, and the limit is {limit}", found.len());
        Ok(found)
    }

    async fn why(&self, job: &Job) -> Result<String, Error> {
        match self.scope.client.explain(&job.id).await {
            Err(error) if error.is(ErrorKind::JobNotFound) => Ok("it is gone".to_owned()),
            found => Ok(found?.summary),
        }
    }

    async fn said(&self, within: Duration) -> Result<String, Error> {
        let status = self.worker.status();
        if status.state != WorkerState::Serving {
            let why = if status.last_error.is_empty() { "no server answers it" } else { &status.last_error };
            return Ok(format!("the worker is {} after {within:?}: {why}", status.state));
        }
        let mut words = format!("after {within:?} there is still something to do:");
        for job in self.jobs(&LIVE).await?.iter().take(SHOWN) {
            let since = job.locked_at.and_then(|moment| moment.elapsed().ok());
            let what = match since {
                Some(since) => format!("runs for {:.1} s", since.as_secs_f64()),
                None => self.why(job).await?,
            };
            let _ = write!(words, "\n  {} {}: {what}", job.kind, job.id);
        }
        Ok(words)
    }
}

/// Whether a job may be due by the server's clock.
fn may_be_due(run_at: Option<SystemTime>, now: SystemTime) -> bool {
    run_at.is_none_or(|moment| moment <= now + CLOCKS_DIFFER)
}

/// Whether a job that waited in one look has gone on before the next, or starts by itself.
fn goes_on(seen: Status, now: &Explanation, failures: Failures) -> bool {
    let codes: Vec<&str> = now.reasons.iter().map(|reason| reason.code).collect();
    // What holds it now is not what held it then.
    now.status != seen || starts_soon(&codes, failures)
}

/// Whether a job that waits starts by itself, by the codes of what a server says that it waits for.
fn starts_soon(codes: &[&str], failures: Failures) -> bool {
    if codes.contains(&BACKOFF) && failures == Failures::Retry {
        // It has failed since its backoff was made due.
        return true;
    }
    !codes.iter().any(|code| LATER.contains(code)) && codes.first().is_some_and(|code| SOON.contains(code))
}

/// A handler whose ordinary failures and panics go to the test; its worker is told their words.
fn watched(handler: Handler, raises: UnboundedSender<Raised>) -> Handler {
    Arc::new(move |job| {
        let (handler, raises) = (handler.clone(), raises.clone());
        async move {
            match AssertUnwindSafe(async { handler(job).await }).catch_unwind().await {
                Ok(Err(HandlerError(Ending::Failed(failed)))) if ordinary(&failed) => {
                    let told = HandlerError::failing(failed.error.to_string(), failed.error_type, false);
                    let _ = raises.send(Raised::Error(HandlerError(Ending::Failed(failed))));
                    Err(told)
                }
                Ok(ended) => {
                    let output = ended.as_ref().ok().and_then(Option::as_ref);
                    if let Some(words) = wrong_with(output) {
                        let _ = raises.send(Raised::Error(crate::failed(format!("{OUTPUT_ERROR}: {words}"))));
                    }
                    ended
                }
                Err(panic) => {
                    let _ = raises.send(Raised::Panic(panic));
                    Err(HandlerError::failing("the handler has panicked", "panic", false))
                }
            }
        }
        .boxed()
    })
}

fn ordinary(failed: &Failed) -> bool {
    !failed.permanent && failed.retry_after.is_none() && !failed.error.is::<Stop>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::insight::Reason;

    #[test]
    fn the_server_says_what_is_due_unless_it_is_more_than_a_minute_ahead() {
        let (now, second) = (SystemTime::now(), Duration::from_secs(1));
        assert!(may_be_due(None, now) && may_be_due(Some(now - 3600 * second), now));
        assert!(may_be_due(Some(now + 59 * second), now) && !may_be_due(Some(now + 61 * second), now));
    }

    #[test]
    fn a_job_that_goes_on_between_two_looks_is_looked_at_again() {
        let backoff = Reason { code: BACKOFF, message: String::new(), unblocked_by: Vec::new(), detail: None };
        let mut found = Explanation {
            job_id: String::new(),
            status: Status::Queued,
            summary: String::new(),
            reasons: vec![backoff],
            could_start_at: None,
            read_at: None,
            unknown: Vec::new(),
            estimate: None,
        };
        assert!(!goes_on(Status::Queued, &found, Failures::Raise));
        // It has run and failed meanwhile: the look before was of another wait.
        found.status = Status::Retrying;
        assert!(goes_on(Status::Queued, &found, Failures::Raise));
    }

    #[test]
    fn a_job_starts_soon_if_it_waits_for_no_time_and_first_for_what_ends_by_itself() {
        let starts = |codes: &[&str]| starts_soon(codes, Failures::Raise);
        assert!(starts(&["ABOUT_TO_START"]) && starts(&["NO_CREDIT", "BEHIND"]));
        assert!(!starts(&["NOT_DUE"]) && !starts(&["BACKOFF"]) && !starts(&[]));
        assert!(!starts(&["NO_WORKER", "NOT_DUE"]) && !starts(&["BEHIND", "BACKOFF"]));
        assert!(!starts(&["QUEUE_PAUSED", "BEHIND"]));
        assert!(starts_soon(&["BACKOFF"], Failures::Retry) && !starts_soon(&["NOT_DUE"], Failures::Retry));
    }
}
