//! What goes with jobs: their status and policy, filters, pages, answers.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, SystemTime};

use crate::job::Job;
use crate::unique::UniqueAction;

/// Where a job is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Status {
    /// One that this version does not know.
    Unspecified,
    /// Waits for its first attempt, or for another one that was not caused by a failure or a lost worker.
    Queued,
    /// A worker holds it.
    Running,
    /// Over: its handler succeeded.
    Succeeded,
    /// Waits for another attempt after a failure or a lost worker.
    Retrying,
    /// Terminal: the job failed and gets no more attempts.
    FailedPermanent,
    /// Over: it was cancelled.
    Cancelled,
}

impl Status {
    /// Whether the job has ended.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::FailedPermanent | Self::Cancelled)
    }
}

impl fmt::Display for Status {
    /// The contract's name, for example `FAILED_PERMANENT`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(crate::convert::status_message(*self).as_str_name())
    }
}

/// What a job that is held back waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Hold {
    /// Something that this version does not know.
    Unspecified,
    /// Its key: as many jobs of the key run as the queue allows, or its rate allows no more now.
    Key,
    /// Its `run_at`, and then its key.
    Time,
    /// [`Client::release`](crate::Client::release).
    Hand,
}

/// The wait between a failure and the next attempt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The shortest wait, 1 ms to 7 days. `None`: 1 s.
    pub min_backoff: Option<Duration>,
    /// The longest wait, `min_backoff` to 7 days. `None`: 60 s.
    pub max_backoff: Option<Duration>,
}

/// Whether payloads, outputs and checkpoints of a kind are encoded, where a program has [`Encodings`](crate::Encodings).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum EncodingRule {
    /// They are; what a server is told of the kind depends on whether the program that tells it has encodings.
    #[default]
    Unsaid,
    /// They are not.
    Never,
    /// They are, and a server takes both.
    Allowed,
    /// Payloads are encrypted, and refused where they are not.
    Required,
}

/// The rule of a job. Jobs compare as equal whatever it is, since no server is told.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct OwnRule(pub(crate) EncodingRule);

impl PartialEq for OwnRule {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for OwnRule {}

/// When a job may start at the earliest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At this moment, at most 400 days ahead.
    At(SystemTime),
    /// After so long, by the database's clock.
    After(Duration),
}

/// A key that was never used, so that the client may repeat a call whose answer was lost.
///
/// # Panics
///
/// Where the system has no random numbers.
pub fn new_idempotency_key() -> String {
    let mut random = [0; 16];
    getrandom::fill(&mut random).expect("the system's random numbers can't be read");
    format!("{:032x}", u128::from_ne_bytes(random))
}

/// What became of one job of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EnqueueResult {
    /// The job's id.
    pub id: String,
    /// Whether it was there before, by its idempotency key.
    pub replayed: bool,
    /// What was done with this job, which holds the name of the one that was to be enqueued ([`Unique`](crate::Unique)).
    /// None: that one was stored.
    pub unique_action: Option<UniqueAction>,
}

impl EnqueueResult {
    pub(crate) fn of(job: &Job) -> Self {
        Self { id: job.id.clone(), replayed: job.replayed, unique_action: job.unique_action }
    }
}

/// The answer to `cancel`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Cancellation {
    /// The job as the call left it.
    pub job: Job,
    /// Whether it ran: its worker is told.
    pub pending: bool,
}

/// Chooses jobs to list. What is set must all match.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Empty: every queue.
    pub queue: String,
    /// Empty: every kind.
    pub kind: String,
    /// Only with one of these. Empty: every status.
    pub status: Vec<Status>,
    /// Only with all of these.
    pub labels: HashMap<String, String>,
    /// Only enqueued then or later.
    pub created_after: Option<SystemTime>,
    /// Only enqueued before.
    pub created_before: Option<SystemTime>,
    /// With payloads, outputs, headers and failed attempts.
    pub full: bool,
    /// How many one call reads. `None`: 50; above 1000: 1000.
    pub page_size: Option<u32>,
}

/// A page of a list.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct JobPage {
    /// Newest first. May be few, even none, where there is a next page.
    pub jobs: Vec<Job>,
    /// Of the next page. `None`: this was the last.
    pub next: Option<String>,
}
