//! A job: as it is enqueued, as it is read, as its handler sees it, and their messages.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::convert::{
    count, duration_message, duration_of, hold_of, policy_message, policy_of, status_of, time_of, whole,
};
use crate::encoded::{encoded_in, encoding_required};
use crate::errors::Error;
use crate::jobs::{EncodingRule, Hold, OwnRule, RetryPolicy, Start, Status};
use crate::json::JsonText;
use crate::unique::{Unique, UniqueAction, unique_message};
use crate::v1;
use crate::worker::LeasedJob;

/// A job to enqueue. Only the kind must be given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewJob {
    /// The job's kind, which decides the handler.
    pub kind: String,
    /// The handler's input. `None`: `null`.
    pub payload: Option<JsonText>,
    /// The queue in which the job waits. Empty: `default`.
    pub queue: String,
    /// -10..10, higher first.
    pub priority: i32,
    /// `None`: at once.
    pub start: Option<Start>,
    /// After how many failures the job ends as FAILED_PERMANENT, 1..1000. `None`: the kind's value, else 3.
    pub max_attempts: Option<u32>,
    /// How long one attempt may run, 1 s to 7 days. `None`: the kind's value, else no limit.
    pub timeout: Option<Duration>,
    /// The wait between attempts. `None`: the kind's, else the default.
    pub retry_policy: Option<RetryPolicy>,
    /// The producer's own name for the request: the same key and the same job again answers the job that is there. With
    /// one, the client repeats the call when no server answers. See [`new_idempotency_key`](crate::new_idempotency_key).
    pub idempotency_key: String,
    /// The producer's own labels, by which jobs can be found.
    pub labels: HashMap<String, String>,
    /// Data for the handler in addition to the payload, at most 8 KiB.
    pub headers: HashMap<String, String>,
    /// No worker gets the job until [`Client::release`](crate::Client::release).
    pub hold: bool,
    /// What the job is about, for example a customer: its queue may limit how many jobs of one key run. Empty: none.
    pub key: String,
    /// The name of the job's work, if it is to be done once. `None`: the job is not unique.
    pub unique: Option<Unique>,
    pub(crate) encodings: OwnRule,
}

impl NewJob {
    /// A job of a kind, with the payload `null` and every default.
    pub fn new(kind: impl Into<String>) -> Self {
        Self { kind: kind.into(), ..Self::default() }
    }

    /// Sets the payload: a `serde_json::Value`, or a [`JsonText`], which goes byte for byte.
    #[must_use]
    pub fn payload(mut self, payload: impl Into<JsonText>) -> Self {
        self.payload = Some(payload.into());
        self
    }

    /// Sets the queue in which the job waits.
    #[must_use]
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.queue = queue.into();
        self
    }

    /// Sets the priority, -10..10, higher first.
    #[must_use]
    pub fn priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }

    /// Starts at this moment, or later. Replaces a delay.
    #[must_use]
    pub fn run_at(mut self, moment: SystemTime) -> Self {
        self.start = Some(Start::At(moment));
        self
    }

    /// Starts after so long, or later. Replaces a moment.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.start = Some(Start::After(delay));
        self
    }

    /// Sets after how many failures the job ends as FAILED_PERMANENT, 1..1000.
    #[must_use]
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = Some(attempts);
        self
    }

    /// Sets how long one attempt may run, 1 s to 7 days.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sets the wait between attempts.
    #[must_use]
    pub fn retry_policy(mut self, policy: RetryPolicy) -> Self {
        self.retry_policy = Some(policy);
        self
    }

    /// Sets the producer's own name for the request.
    #[must_use]
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = key.into();
        self
    }

    /// Adds a label.
    #[must_use]
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(name.into(), value.into());
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.insert(name.into(), value.into());
        self
    }

    /// No worker gets the job until [`Client::release`](crate::Client::release).
    #[must_use]
    pub fn hold(mut self) -> Self {
        self.hold = true;
        self
    }

    /// Sets what the job is about, by which its queue may limit it.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = key.into();
        self
    }

    /// Names the job's work, which is to be done once.
    #[must_use]
    pub fn unique(mut self, unique: Unique) -> Self {
        self.unique = Some(unique);
        self
    }

    /// Sets whether its payload is encoded, as a kind says it by [`JobKind::ENCODINGS`](crate::JobKind::ENCODINGS).
    #[must_use]
    pub fn encodings(mut self, rule: EncodingRule) -> Self {
        self.encodings = OwnRule(rule);
        self
    }
}

impl NewJob {
    /// Whether another one is the same, but for its headers and labels.
    pub(crate) fn is_but_for_marks(&self, other: &Self) -> bool {
        // All fields are named, so that a new one is not forgotten.
        let Self {
            kind,
            payload,
            queue,
            priority,
            start,
            max_attempts,
            timeout,
            retry_policy,
            idempotency_key,
            labels: _,
            headers: _,
            hold,
            key,
            unique,
            encodings,
        } = self;
        *kind == other.kind
            && *payload == other.payload
            && *queue == other.queue
            && *priority == other.priority
            && *start == other.start
            && *max_attempts == other.max_attempts
            && *timeout == other.timeout
            && *retry_policy == other.retry_policy
            && *idempotency_key == other.idempotency_key
            && *hold == other.hold
            && *key == other.key
            && *unique == other.unique
            && encodings.0 == other.encodings.0
    }
}

/// A job to enqueue, as a message. An error: its kind takes encrypted payloads alone, and it was not encoded.
pub(crate) fn new_job_message(job: NewJob) -> Result<v1::NewJob, Error> {
    if job.encodings.0 == EncodingRule::Required {
        // What encodes jobs says it of none that it has encoded.
        return Err(encoding_required(&job.kind, ": give the client or the worker encodings that encrypt"));
    }
    Ok(v1::NewJob {
        kind: job.kind,
        content: job.payload.map(|text| v1::new_job::Content::PayloadJson(text.into_bytes())),
        queue: job.queue,
        priority: job.priority,
        start: job.start.map(|start| match start {
            Start::At(moment) => v1::new_job::Start::RunAt(moment.into()),
            Start::After(delay) => v1::new_job::Start::Delay(duration_message(delay)),
        }),
        max_attempts: whole(job.max_attempts),
        timeout: job.timeout.map(duration_message),
        retry_policy: job.retry_policy.map(policy_message),
        idempotency_key: job.idempotency_key,
        labels: job.labels,
        headers: job.headers,
        hold: job.hold,
        key: job.key,
        unique: job.unique.map(unique_message),
    })
}

/// One attempt that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FailedAttempt {
    /// Its number in its job, from 1.
    pub attempt: u32,
    /// HANDLER_FAILED, TIMED_OUT or SESSION_LOST; more may be added.
    pub reason: String,
    /// As its worker named it.
    pub error_type: String,
    /// What went wrong, in words.
    pub error: String,
    /// The worker's name.
    pub worker: String,
    /// When it was claimed.
    pub started_at: Option<SystemTime>,
    /// When it ended.
    pub ended_at: Option<SystemTime>,
}

/// The last progress that a running attempt reported.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct JobProgress {
    /// 0..1, of the whole. `None`: it can't tell.
    pub fraction: Option<f64>,
    /// For people.
    pub message: String,
    /// When it said so, by the database's clock.
    pub updated_at: Option<SystemTime>,
}

/// A job as it was when it was read.
///
/// `payload`, `output`, `headers` and `failed_attempts` are empty in lists and watches unless they ask for `full`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Job {
    /// A UUID (version 7).
    pub id: String,
    /// The job's kind.
    pub kind: String,
    /// The queue in which the job waits.
    pub queue: String,
    /// Where it is in its life.
    pub status: Status,
    /// -10..10, higher first.
    pub priority: i32,
    /// How often it was claimed; never goes down.
    pub attempts: u32,
    /// After how many failures the job ends as FAILED_PERMANENT.
    pub max_attempts: u32,
    /// How many attempts failed or timed out.
    pub failures: u32,
    /// How many attempts ended because their worker was lost.
    pub losses: u32,
    /// The text as it was enqueued, byte for byte. One that is encoded and was not decoded says so
    /// ([`JsonText::encoded`]).
    pub payload: Option<JsonText>,
    /// The text as the handler gave it, byte for byte; as `payload` where it is encoded. `None`: no output.
    pub output: Option<JsonText>,
    /// Why it ended, for example ATTEMPTS_EXHAUSTED. Empty while it is not over and when it succeeded.
    pub reason: String,
    /// What the newest unsuccessful attempt said.
    pub last_error: String,
    /// The earliest moment at which it may be claimed.
    pub run_at: Option<SystemTime>,
    /// When it was enqueued.
    pub created_at: Option<SystemTime>,
    /// When its state last changed.
    pub updated_at: Option<SystemTime>,
    /// When it was over.
    pub finished_at: Option<SystemTime>,
    /// When the current attempt was claimed.
    pub locked_at: Option<SystemTime>,
    /// The name of the worker that runs the current attempt.
    pub locked_by: String,
    /// Whether its cancelling was asked for.
    pub cancel_requested: bool,
    /// The key that it was enqueued under. Empty: none.
    pub idempotency_key: String,
    /// How long one attempt may run. `None`: no limit.
    pub timeout: Option<Duration>,
    /// Its own wait between attempts.
    pub retry_policy: Option<RetryPolicy>,
    /// The producer's own labels.
    pub labels: HashMap<String, String>,
    /// As enqueued, with what the server added.
    pub headers: HashMap<String, String>,
    /// Every attempt that did not succeed, oldest first.
    pub failed_attempts: Vec<FailedAttempt>,
    /// What the newest attempt last said of how far it is.
    pub progress: Option<JobProgress>,
    /// What it waits for before it is in line for a worker. `None`: it is not held back.
    pub hold: Option<Hold>,
    /// That by which its queue may limit it. Empty: none.
    pub key: String,
    /// The name that it was enqueued with ([`Unique`]). Empty: it is not unique, or its payload makes the name.
    pub unique_key: String,
    /// Of an answer to `enqueue`: whether the job was there before, by its idempotency key.
    pub replayed: bool,
    /// Of an answer to `enqueue`: what was done with this job, which holds the name of the one that was to be enqueued
    /// ([`Unique`]). None: that one was stored, or `replayed`.
    pub unique_action: Option<UniqueAction>,
}

impl Job {
    /// Whether the job has ended.
    pub fn is_terminal(&self) -> bool {
        self.status.is_terminal()
    }
}

/// A job as it was answered.
pub(crate) fn job_of(message: v1::Job) -> Job {
    Job {
        status: status_of(message.status()),
        hold: message.hold.map(hold_of),
        id: message.id,
        kind: message.kind,
        queue: message.queue,
        priority: message.priority,
        attempts: count(message.attempts),
        max_attempts: count(message.max_attempts),
        failures: count(message.failures),
        losses: count(message.losses),
        payload: match message.content {
            Some(v1::job::Content::PayloadJson(text)) => Some(JsonText::read(text)),
            _ => None,
        },
        output: match message.result {
            Some(v1::job::Result::OutputJson(text)) => Some(JsonText::read(text)),
            _ => None,
        },
        reason: message.reason,
        last_error: message.last_error,
        run_at: time_of(message.run_at.as_ref()),
        created_at: time_of(message.created_at.as_ref()),
        updated_at: time_of(message.updated_at.as_ref()),
        finished_at: time_of(message.finished_at.as_ref()),
        locked_at: time_of(message.locked_at.as_ref()),
        locked_by: message.locked_by,
        cancel_requested: message.cancel_requested,
        idempotency_key: message.idempotency_key,
        timeout: duration_of(message.timeout.as_ref()),
        retry_policy: message.retry_policy.as_ref().map(policy_of),
        labels: message.labels,
        headers: message.headers,
        key: message.key,
        unique_key: message.unique_key,
        failed_attempts: message.failed_attempts.into_iter().map(attempt_of).collect(),
        progress: message.progress.map(|progress| JobProgress {
            fraction: progress.fraction,
            message: progress.message,
            updated_at: time_of(progress.updated_at.as_ref()),
        }),
        replayed: false,
        unique_action: None,
    }
}

fn attempt_of(message: v1::FailedAttempt) -> FailedAttempt {
    FailedAttempt {
        attempt: count(message.attempt),
        reason: message.reason,
        error_type: message.error_type,
        error: message.error,
        worker: message.worker,
        started_at: time_of(message.started_at.as_ref()),
        ended_at: time_of(message.ended_at.as_ref()),
    }
}

/// What a handler reads of its job.
impl LeasedJob {
    /// The job's id. With `attempt` a fencing token, for the handler's own store.
    pub fn id(&self) -> &str {
        &self.inner.message.id
    }

    /// Higher than that of every earlier lease on the job.
    pub fn attempt(&self) -> u32 {
        count(self.inner.message.attempt)
    }

    /// The job's kind.
    pub fn kind(&self) -> &str {
        &self.inner.message.kind
    }

    /// The JSON text as it was enqueued, byte for byte.
    pub fn payload(&self) -> &JsonText {
        self.inner.opened().map_or(&self.inner.payload, |opened| &opened.payload)
    }

    /// Reads the payload into a value.
    ///
    /// # Errors
    ///
    /// Where it does not fit, or is encoded and the worker has no encodings. Give it to [`discard`](crate::discard) where
    /// no later attempt can do better.
    pub fn decode<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        self.payload().decode()
    }

    /// The queue that it was claimed from.
    pub fn queue(&self) -> &str {
        &self.inner.message.queue
    }

    /// After how many failures the job ends as FAILED_PERMANENT.
    pub fn max_attempts(&self) -> u32 {
        count(self.inner.message.max_attempts)
    }

    /// How many there have been.
    pub fn failures(&self) -> u32 {
        count(self.inner.message.failures)
    }

    /// Whether one more failure ends the job as FAILED_PERMANENT.
    pub fn is_last_attempt(&self) -> bool {
        self.failures() + 1 >= self.max_attempts()
    }

    /// How long this attempt may run, by the server's clock. `None`: no limit.
    pub fn timeout(&self) -> Option<Duration> {
        duration_of(self.inner.message.timeout.as_ref())
    }

    /// -10..10, higher first.
    pub fn priority(&self) -> i32 {
        self.inner.message.priority
    }

    /// When the job was enqueued.
    pub fn created_at(&self) -> Option<SystemTime> {
        time_of(self.inner.message.created_at.as_ref())
    }

    /// The producer's own labels.
    pub fn labels(&self) -> &HashMap<String, String> {
        &self.inner.message.labels
    }

    /// The producer's headers, with `x-request-id` and `traceparent` of the call that enqueued the job.
    pub fn headers(&self) -> &HashMap<String, String> {
        &self.inner.message.headers
    }

    /// The key by which the queue may limit the job. Empty: none.
    pub fn key(&self) -> &str {
        &self.inner.message.key
    }

    /// The last checkpoint of the earlier attempts. Empty: none.
    pub fn checkpoint(&self) -> &Bytes {
        self.inner.opened().map_or(&self.inner.message.checkpoint, |opened| &opened.checkpoint)
    }

    /// The last checkpoint of the earlier attempts, as the value that [`save_checkpoint`](Self::save_checkpoint) was given.
    /// `None`: there is none.
    ///
    /// # Errors
    ///
    /// `CheckpointUnreadable`: it is not of this type, or is no JSON. `Encoded`: it is encoded, and the worker has no encodings.
    pub fn checkpoint_as<T: DeserializeOwned>(&self) -> Result<Option<T>, Error> {
        let text = self.checkpoint();
        if text.is_empty() {
            return Ok(None);
        }
        if self.inner.opened().is_none()
            && let Some(encoded) = encoded_in(text)
        {
            return Err(encoded.into());
        }
        crate::typed::checkpoint(text).map(Some)
    }
}
