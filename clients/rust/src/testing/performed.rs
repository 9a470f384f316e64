//! What an attempt came to, as values.

use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use tonic::Code;

use super::job::TestJob;
use crate::convert::duration_of;
use crate::errors::{Error, ErrorKind};
use crate::job::NewJob;
use crate::json::JsonText;
use crate::new_jobs::new_job_of;
use crate::v1;
use crate::v1::outcome::Outcome as Message;

/// How an attempt has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The job is done.
    Succeeded,
    /// It counts against `max_attempts`.
    Failed,
    /// It failed, and there is no later attempt.
    Discarded,
    /// The job goes back, for later.
    Snoozed,
    /// The handler gave the job up, or stopped since it was asked to.
    Cancelled,
    /// The job goes back, uncharged.
    Released,
}

/// One call of `progress` or `progress_message`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// 0..1, of the whole. `None`: it did not say.
    pub fraction: Option<f64>,
    /// What it said. Empty: nothing.
    pub message: String,
}

/// What a handler told while it ran.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) progress: Vec<Report>,
    pub(super) checkpoints: Vec<Bytes>,
}

/// What an attempt came to: what the worker would have told the server.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Performed {
    /// How it ended.
    pub outcome: Outcome,
    /// The output's text. `None`: no output.
    pub output: Option<JsonText>,
    /// What went wrong, as `last_error` would have it. Empty: nothing.
    pub error: String,
    /// The error's type. Empty: nothing went wrong.
    pub error_type: String,
    /// The wait that [`retry`](crate::retry) asked for.
    pub retry_after: Option<Duration>,
    /// How long no job of the key starts, by [`pause_key`](crate::HandlerError::pause_key). `None`: the key goes on.
    pub pause_key: Option<Duration>,
    /// The delay that [`snooze`](crate::snooze) asked for.
    pub delay: Option<Duration>,
    /// The calls of `progress` and `progress_message`, in order. A server is told the newest one each 100 ms.
    pub progress: Vec<Report>,
    /// What was saved, in order.
    pub checkpoints: Vec<Bytes>,
    /// The follow-ups. They are enqueued if the attempt has succeeded.
    pub follow_ups: Vec<NewJob>,
    /// Its number.
    pub attempt: u32,
    /// How many failures there had been before.
    pub failures: u32,
    job: TestJob,
}

impl Performed {
    pub(super) fn new(job: TestJob, outcome: Option<v1::Outcome>, told: Told) -> Self {
        let mut made = Self {
            outcome: Outcome::Succeeded,
            output: None,
            error: String::new(),
            error_type: String::new(),
            retry_after: None,
            pause_key: outcome.as_ref().and_then(|outcome| duration_of(outcome.pause_key.as_ref())),
            delay: None,
            progress: told.progress,
            checkpoints: told.checkpoints,
            follow_ups: Vec::new(),
            attempt: job.attempt,
            failures: job.failed_before(),
            job,
        };
        match outcome.and_then(|outcome| outcome.outcome) {
            None => {}
            Some(Message::Success(success)) => {
                made.output = match success.result {
                    Some(v1::success::Result::OutputJson(text)) => Some(JsonText::new(text)),
                    _ => None,
                };
                made.follow_ups = success.follow_ups.into_iter().map(new_job_of).collect();
            }
            Some(Message::Failure(failure)) => {
                made.outcome = if failure.permanent { Outcome::Discarded } else { Outcome::Failed };
                made.retry_after = duration_of(failure.retry_after.as_ref());
                // As a server keeps it.
                (made.error, made.error_type) = (failure.error.replace('\0', "\u{fffd}"), failure.error_type);
            }
            Some(Message::Snooze(snooze)) => {
                made.outcome = Outcome::Snoozed;
                made.delay = duration_of(snooze.delay.as_ref());
            }
            Some(Message::Cancellation(_)) => made.outcome = Outcome::Cancelled,
            Some(Message::Release(_)) => made.outcome = Outcome::Released,
        }
        made
    }

    /// The output as a type.
    ///
    /// # Errors
    ///
    /// `PayloadUnreadable`: it is not of this type, or there is none. `JobNotSucceeded`: the attempt ended otherwise than by
    /// success; the message says how.
    pub fn output_as<T: DeserializeOwned>(&self) -> Result<T, Error> {
        if self.outcome != Outcome::Succeeded {
            let why: Vec<&str> =
                [&*self.error_type, &*self.error].into_iter().filter(|each| !each.is_empty()).collect();
            let why = if why.is_empty() { String::new() } else { format!(": {}", why.join(": ")) };
            let words = format!("the attempt ended as {:?}, without an output{why}", self.outcome);
            return Err(Error::new(Code::FailedPrecondition, words).named(ErrorKind::JobNotSucceeded, ""));
        }
        crate::typed::output(self.output.as_ref())
    }

    /// What the next attempt would read: the newest checkpoint that was saved, or that of before. Empty: none.
    pub fn checkpoint(&self) -> Bytes {
        self.checkpoints.last().unwrap_or(&self.job.checkpoint).clone()
    }

    /// The next attempt of the same job, to be performed: with its checkpoint, and the failures that it would have.
    pub fn again(&self) -> TestJob {
        let failures = self.failures + u32::from(self.outcome == Outcome::Failed);
        self.job.clone().attempt(self.attempt + 1).failures(failures).checkpoint(self.checkpoint())
    }
}
