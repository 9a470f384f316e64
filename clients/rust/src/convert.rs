//! Between the contract's messages and what this crate shows.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use crate::jobs::{FailedAttempt, Job, JobProgress, NewJob, RetryPolicy, Start, Status};
use crate::json::JsonText;
use crate::v1;

/// A number of the caller's in the contract's 32 bits; one that does not fit stays out of every range.
pub(crate) fn whole(number: Option<u32>) -> i32 {
    number.map_or(0, |number| i32::try_from(number).unwrap_or(i32::MAX))
}

/// Counts are never negative.
pub(crate) fn count(number: i32) -> u32 {
    u32::try_from(number).unwrap_or_default()
}

/// One of ages that no message can hold stays out of every range.
pub(crate) fn duration_message(duration: Duration) -> prost_types::Duration {
    duration.try_into().unwrap_or(prost_types::Duration { seconds: i64::MAX, nanos: 0 })
}

pub(crate) fn duration_of(message: Option<&prost_types::Duration>) -> Option<Duration> {
    message.and_then(|message| Duration::try_from(*message).ok())
}

pub(crate) fn time_of(message: Option<&prost_types::Timestamp>) -> Option<SystemTime> {
    message.and_then(|message| SystemTime::try_from(*message).ok())
}

pub(crate) fn new_job_message(job: NewJob) -> v1::NewJob {
    v1::NewJob {
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
    }
}

pub(crate) fn policy_message(policy: RetryPolicy) -> v1::RetryPolicy {
    v1::RetryPolicy {
        min_backoff: policy.min_backoff.map(duration_message),
        max_backoff: policy.max_backoff.map(duration_message),
    }
}

pub(crate) fn policy_of(message: &v1::RetryPolicy) -> RetryPolicy {
    RetryPolicy {
        min_backoff: duration_of(message.min_backoff.as_ref()),
        max_backoff: duration_of(message.max_backoff.as_ref()),
    }
}

pub(crate) fn status_message(status: Status) -> v1::job::Status {
    match status {
        Status::Unspecified => v1::job::Status::Unspecified,
        Status::Queued => v1::job::Status::Queued,
        Status::Running => v1::job::Status::Running,
        Status::Succeeded => v1::job::Status::Succeeded,
        Status::Retrying => v1::job::Status::Retrying,
        Status::FailedPermanent => v1::job::Status::FailedPermanent,
        Status::Cancelled => v1::job::Status::Cancelled,
    }
}

/// One that this version does not know is read as `Unspecified`.
pub(crate) fn status_of(message: v1::job::Status) -> Status {
    match message {
        v1::job::Status::Unspecified => Status::Unspecified,
        v1::job::Status::Queued => Status::Queued,
        v1::job::Status::Running => Status::Running,
        v1::job::Status::Succeeded => Status::Succeeded,
        v1::job::Status::Retrying => Status::Retrying,
        v1::job::Status::FailedPermanent => Status::FailedPermanent,
        v1::job::Status::Cancelled => Status::Cancelled,
    }
}

/// A job as it was answered.
pub(crate) fn job_of(message: v1::Job) -> Job {
    Job {
        status: status_of(message.status()),
        id: message.id,
        kind: message.kind,
        queue: message.queue,
        priority: message.priority,
        attempts: count(message.attempts),
        max_attempts: count(message.max_attempts),
        failures: count(message.failures),
        losses: count(message.losses),
        payload: match message.content {
            Some(v1::job::Content::PayloadJson(text)) => Some(JsonText::new(text)),
            _ => None,
        },
        output: match message.result {
            Some(v1::job::Result::OutputJson(text)) => Some(JsonText::new(text)),
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
        failed_attempts: message.failed_attempts.into_iter().map(attempt_of).collect(),
        progress: message.progress.map(|progress| JobProgress {
            fraction: progress.fraction,
            message: progress.message,
            updated_at: time_of(progress.updated_at.as_ref()),
        }),
        replayed: false,
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

/// The contract's form of labels in a filter.
pub(crate) fn label_filter(labels: &HashMap<String, String>) -> Vec<String> {
    labels.iter().map(|(name, value)| format!("{name}={value}")).collect()
}

pub(crate) fn view_of(full: bool) -> i32 {
    if full { v1::JobView::Full.into() } else { v1::JobView::Basic.into() }
}
