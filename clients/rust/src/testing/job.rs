//! A job and its attempt, as a test gives them.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::ids::new_id;
use crate::convert::{duration_message, whole};
use crate::errors::Error;
use crate::job::NewJob;
use crate::json::JsonText;
use crate::middleware::{Middleware, Middlewares};
use crate::outcomes::Stop;
use crate::typed::JobKind;
use crate::v1;

/// Of a job whose kind nothing names.
pub(super) const KIND: &str = "performed";
const WITHIN: Duration = Duration::from_secs(10);

/// When a handler is told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopAt {
    /// Before it begins.
    Start,
    /// At this call of `progress` or `progress_message`, from 1.
    Progress(usize),
    /// After so long.
    After(Duration),
}

/// An attempt of a job for a test, as a server would lease it, and how the test runs it. By default it is the first one.
#[derive(Debug, Clone)]
#[must_use]
pub struct TestJob {
    pub(super) kind: String,
    payload: JsonText,
    pub(super) attempt: u32,
    failures: Option<u32>,
    max_attempts: u32,
    pub(super) checkpoint: Bytes,
    queue: String,
    priority: i32,
    labels: HashMap<String, String>,
    headers: HashMap<String, String>,
    key: String,
    timeout: Option<Duration>,
    created_at: SystemTime,
    id: String,
    pub(super) stop: Stop,
    pub(super) stop_at: Option<StopAt>,
    pub(super) within: Duration,
    pub(super) catch: bool,
    pub(super) middleware: Middlewares,
}

impl TestJob {
    /// A job of the kind `performed`, with this payload: a `serde_json::Value`, or a [`JsonText`], which goes byte for byte.
    pub fn new(payload: impl Into<JsonText>) -> Self {
        Self {
            kind: KIND.to_owned(),
            payload: payload.into(),
            attempt: 1,
            failures: None,
            max_attempts: 3,
            checkpoint: Bytes::new(),
            queue: "default".to_owned(),
            priority: 0,
            labels: HashMap::new(),
            headers: HashMap::new(),
            key: String::new(),
            timeout: None,
            created_at: SystemTime::now(),
            id: new_id(),
            stop: Stop::CancelRequested("the test".to_owned()),
            stop_at: None,
            within: WITHIN,
            catch: false,
            middleware: Middlewares::default(),
        }
    }

    /// A job of a typed kind, as [`NewJob::of`] makes it.
    ///
    /// # Errors
    ///
    /// As those of [`NewJob::of`].
    pub fn of<K: JobKind>(payload: &K) -> Result<Self, Error> {
        Ok(Self::from(NewJob::of(payload)?))
    }

    /// Sets the kind.
    pub fn kind(mut self, kind: impl Into<String>) -> Self {
        self.kind = kind.into();
        self
    }

    /// Sets the attempt's number, from 1. Each earlier attempt was a failure, unless [`failures`](Self::failures) are set.
    ///
    /// # Panics
    ///
    /// It is 0.
    pub fn attempt(mut self, number: u32) -> Self {
        assert!(number > 0, "attempts count from 1");
        self.attempt = number;
        self
    }

    /// Sets how many failures there were before.
    pub fn failures(mut self, failures: u32) -> Self {
        self.failures = Some(failures);
        self
    }

    /// Sets after how many failures the job ends. Default: 3.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts;
        self
    }

    /// Sets what the attempts before have left.
    pub fn checkpoint(mut self, data: impl Into<Bytes>) -> Self {
        self.checkpoint = data.into();
        self
    }

    /// Sets the queue. Default: `default`.
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.queue = queue.into();
        self
    }

    /// Sets the priority, -10..10.
    pub fn priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }

    /// Adds a label.
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(name.into(), value.into());
        self
    }

    /// Adds a header.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.insert(name.into(), value.into());
        self
    }

    /// Sets what the job is about.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = key.into();
        self
    }

    /// Sets how long the attempt may run. Nothing ends it then: a server would.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sets when the job was enqueued. Default: now.
    pub fn created_at(mut self, moment: SystemTime) -> Self {
        self.created_at = moment;
        self
    }

    /// Sets the job's id. Default: a new one.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = id.into();
        self
    }

    /// Tells the handler to stop then, for [`stop`](Self::stop). Default: it is not told to.
    pub fn stop_at(mut self, when: StopAt) -> Self {
        self.stop_at = Some(when);
        self
    }

    /// Sets why the handler is to stop. Default: `CancelRequested`.
    pub fn stop(mut self, why: Stop) -> Self {
        self.stop = why;
        self
    }

    /// Sets how long the handler may take. Default: 10 s.
    pub fn within(mut self, time: Duration) -> Self {
        self.within = time;
        self
    }

    /// Answers an ordinary failure, or a panic, as an outcome.
    pub fn catch(mut self) -> Self {
        self.catch = true;
        self
    }

    /// Adds what goes around the handler and its follow-ups. The first is the outermost one. A worker has its own.
    pub fn middleware(mut self, middleware: impl Middleware) -> Self {
        self.middleware.add(middleware);
        self
    }

    pub(super) fn failed_before(&self) -> u32 {
        self.failures.unwrap_or(self.attempt - 1)
    }

    /// The lease, as a server would send it.
    pub(super) fn message(&self) -> v1::LeasedJob {
        v1::LeasedJob {
            lease_id: 1,
            id: self.id.clone(),
            attempt: whole(Some(self.attempt)),
            kind: self.kind.clone(),
            queue: self.queue.clone(),
            max_attempts: whole(Some(self.max_attempts)),
            failures: whole(Some(self.failed_before())),
            timeout: self.timeout.map(duration_message),
            priority: self.priority,
            created_at: Some(self.created_at.into()),
            labels: self.labels.clone(),
            headers: self.headers.clone(),
            checkpoint: self.checkpoint.clone(),
            key: self.key.clone(),
            content: Some(v1::leased_job::Content::PayloadJson(self.payload.clone().into_bytes())),
        }
    }
}

/// As a server would lease it at first.
impl From<NewJob> for TestJob {
    fn from(job: NewJob) -> Self {
        let payload = job.payload.unwrap_or_else(|| JsonText::new("null"));
        let made = Self::new(payload).kind(job.kind).priority(job.priority).key(job.key);
        let queue = if job.queue.is_empty() { made.queue } else { job.queue };
        let max_attempts = job.max_attempts.unwrap_or(made.max_attempts);
        Self { queue, max_attempts, timeout: job.timeout, labels: job.labels, headers: job.headers, ..made }
    }
}
