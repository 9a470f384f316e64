//! Changes of many jobs at once.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use crate::calls::call;
use crate::client::Client;
use crate::convert::{duration_message, label_filter, long, long_bound, status_message, whole_bound};
use crate::errors::Error;
use crate::jobs::{Start, Status};
use crate::operations::{Operation, operation_of};
use crate::v1;

/// Which jobs to change. What is set must all match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// These jobs, 1000 at most. Empty: any.
    pub ids: Vec<String>,
    /// Of this queue. Empty: of any.
    pub queue: String,
    /// Of this kind. Empty: of any.
    pub kind: String,
    /// With one of these. Empty: for a retry `FailedPermanent` or `Cancelled`, for a cancel any that has not ended, for a
    /// delete any that has, for an update `Queued` or `Retrying`.
    pub status: Vec<Status>,
    /// With all of these.
    pub labels: HashMap<String, String>,
    /// Enqueued then or later.
    pub created_after: Option<SystemTime>,
    /// Enqueued before.
    pub created_before: Option<SystemTime>,
    /// Ended then or later.
    pub ended_after: Option<SystemTime>,
    /// Ended before.
    pub ended_before: Option<SystemTime>,
    /// Ended for one of these reasons, such as `ATTEMPTS_EXHAUSTED`.
    pub reason: Vec<String>,
    /// The last attempt that failed did so with an error of this type. Empty: with any, or none.
    pub error_type: String,
    /// All jobs, if nothing else is set.
    pub everything: bool,
}

/// How to retry many jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RetryJobs {
    /// Do it. Without it nothing changes, and the answer has how many match and some of them.
    pub force: bool,
    /// How many jobs a second, 1 at least. `None`: as fast as the service takes it.
    pub per_second: Option<u32>,
    /// After so many it is done, 1 at least. `None`: after all.
    pub max_jobs: Option<u64>,
    /// A text of your own: the same call again is answered the operation of the first. Empty: the call is not tried again
    /// when the server is away.
    pub request_id: String,
    /// How many should match, as the dry run said. More than a tenth off, nothing is changed. `None`: any number.
    pub expected: Option<u64>,
    /// The queue in which they wait from now on, which must exist. Empty: each stays in its own.
    pub to_queue: String,
    /// The earliest time at which they start; a delay is from the retry of each on. `None`: its retry.
    pub start: Option<Start>,
    /// Draws each start evenly from so long after the earliest.
    pub spread: Option<Duration>,
    /// Each starts from the beginning, without the checkpoint that its attempts left.
    pub reset_checkpoint: bool,
    /// One whose name another job holds is skipped; the others take theirs again.
    pub respect_unique: bool,
}

/// How to cancel many jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CancelJobs {
    /// Do it. Without it nothing changes, and the answer has how many match and some of them.
    pub force: bool,
    /// How many jobs a second, 1 at least. `None`: as fast as the service takes it.
    pub per_second: Option<u32>,
    /// After so many it is done, 1 at least. `None`: after all.
    pub max_jobs: Option<u64>,
    /// A text of your own: the same call again is answered the operation of the first. Empty: the call is not tried again
    /// when the server is away.
    pub request_id: String,
    /// How many should match, as the dry run said. More than a tenth off, nothing is changed. `None`: any number.
    pub expected: Option<u64>,
    /// Why, for workers and people. At most 255 characters.
    pub reason: String,
}

/// How to delete many jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeleteJobs {
    /// Do it. Without it nothing changes, and the answer has how many match and some of them.
    pub force: bool,
    /// How many jobs a second, 1 at least. `None`: as fast as the service takes it.
    pub per_second: Option<u32>,
    /// After so many it is done, 1 at least. `None`: after all.
    pub max_jobs: Option<u64>,
    /// A text of your own: the same call again is answered the operation of the first. Empty: the call is not tried again
    /// when the server is away.
    pub request_id: String,
    /// How many should match, as the dry run said. More than a tenth off, nothing is changed. `None`: any number.
    pub expected: Option<u64>,
}

/// How to change many jobs that wait.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpdateJobs {
    /// Do it. Without it nothing changes, and the answer has how many match and some of them.
    pub force: bool,
    /// How many jobs a second, 1 at least. `None`: as fast as the service takes it.
    pub per_second: Option<u32>,
    /// After so many it is done, 1 at least. `None`: after all.
    pub max_jobs: Option<u64>,
    /// A text of your own: the same call again is answered the operation of the first. Empty: the call is not tried again
    /// when the server is away.
    pub request_id: String,
    /// How many should match, as the dry run said. More than a tenth off, nothing is changed. `None`: any number.
    pub expected: Option<u64>,
    /// Theirs from now on, -10..10. `None`: each keeps its own.
    pub priority: Option<i32>,
    /// When they may start; a delay is from the change of each on, and one of zero is now. `None`: each keeps its own.
    pub start: Option<Start>,
    /// With `start`: each starts at a time that is drawn from so long after it.
    pub spread: Option<Duration>,
    /// They wait in this queue, which must exist. Empty: each in its own.
    pub to_queue: String,
    /// Theirs from now on, 1..1000; one more than a job's failures at least. `None`: each keeps its own.
    pub max_attempts: Option<u32>,
}

impl Client {
    /// Makes many jobs that have ended QUEUED again, by an operation that goes on without this program
    /// ([`wait_operation`](Self::wait_operation)). Without `force` nothing changes.
    ///
    /// # Errors
    ///
    /// `FilterChanged`: not about as many as `expected` match. `QueueNotFound`: no job was ever enqueued in `to_queue`.
    /// `InvalidRequest`: such as a filter without a condition. `RequestIdReused`: another request was made with this
    /// `request_id`.
    pub async fn retry_jobs(&self, filter: JobFilter, how: RetryJobs) -> Result<Operation, Error> {
        let repeat = !how.force || !how.request_id.is_empty();
        let request = v1::RetryJobsRequest {
            filter: Some(filter_message(filter)),
            force: how.force,
            per_second: whole_bound("per_second", how.per_second)?,
            max_jobs: long_bound("max_jobs", how.max_jobs)?,
            request_id: how.request_id,
            expected: expected_message(how.expected),
            to_queue: how.to_queue,
            start: how.start.map(|start| match start {
                Start::At(moment) => v1::retry_jobs_request::Start::RunAt(moment.into()),
                Start::After(delay) => v1::retry_jobs_request::Start::Delay(duration_message(delay)),
            }),
            spread: how.spread.map(duration_message),
            reset_checkpoint: how.reset_checkpoint,
            respect_unique: how.respect_unique,
        };
        let answer = call!(self.bulk.retry_jobs, request, repeat: repeat).await?;
        Ok(operation_of(answer.operation.unwrap_or_default()))
    }

    /// Cancels many jobs that have not ended, by an operation that goes on without this program
    /// ([`wait_operation`](Self::wait_operation)). Without `force` nothing changes.
    ///
    /// # Errors
    ///
    /// `FilterChanged`: not about as many as `expected` match. `InvalidRequest`: such as a filter without a condition.
    /// `RequestIdReused`: another request was made with this `request_id`.
    pub async fn cancel_jobs(&self, filter: JobFilter, how: CancelJobs) -> Result<Operation, Error> {
        let repeat = !how.force || !how.request_id.is_empty();
        let request = v1::CancelJobsRequest {
            filter: Some(filter_message(filter)),
            force: how.force,
            per_second: whole_bound("per_second", how.per_second)?,
            max_jobs: long_bound("max_jobs", how.max_jobs)?,
            request_id: how.request_id,
            expected: expected_message(how.expected),
            reason: how.reason,
        };
        let answer = call!(self.bulk.cancel_jobs, request, repeat: repeat).await?;
        Ok(operation_of(answer.operation.unwrap_or_default()))
    }

    /// Deletes many jobs that have ended, by an operation that goes on without this program
    /// ([`wait_operation`](Self::wait_operation)). Without `force` nothing changes.
    ///
    /// # Errors
    ///
    /// As those of [`cancel_jobs`](Self::cancel_jobs).
    pub async fn delete_jobs(&self, filter: JobFilter, how: DeleteJobs) -> Result<Operation, Error> {
        let repeat = !how.force || !how.request_id.is_empty();
        let request = v1::DeleteJobsRequest {
            filter: Some(filter_message(filter)),
            force: how.force,
            per_second: whole_bound("per_second", how.per_second)?,
            max_jobs: long_bound("max_jobs", how.max_jobs)?,
            request_id: how.request_id,
            expected: expected_message(how.expected),
        };
        let answer = call!(self.bulk.delete_jobs, request, repeat: repeat).await?;
        Ok(operation_of(answer.operation.unwrap_or_default()))
    }

    /// Changes many jobs that wait, by an operation that goes on without this program
    /// ([`wait_operation`](Self::wait_operation)). Without `force` nothing changes.
    ///
    /// # Errors
    ///
    /// As those of [`retry_jobs`](Self::retry_jobs). `ServersDiffer`: an older server runs, which does not know such
    /// operations.
    pub async fn update_jobs(&self, filter: JobFilter, how: UpdateJobs) -> Result<Operation, Error> {
        let repeat = !how.force || !how.request_id.is_empty();
        let request = v1::UpdateJobsRequest {
            filter: Some(filter_message(filter)),
            force: how.force,
            per_second: whole_bound("per_second", how.per_second)?,
            max_jobs: long_bound("max_jobs", how.max_jobs)?,
            request_id: how.request_id,
            expected: expected_message(how.expected),
            priority: how.priority,
            start: how.start.map(|start| match start {
                Start::At(moment) => v1::update_jobs_request::Start::RunAt(moment.into()),
                Start::After(delay) => v1::update_jobs_request::Start::Delay(duration_message(delay)),
            }),
            spread: how.spread.map(duration_message),
            to_queue: how.to_queue,
            max_attempts: whole_bound("max_attempts", how.max_attempts)?,
        };
        let answer = call!(self.bulk.update_jobs, request, repeat: repeat).await?;
        Ok(operation_of(answer.operation.unwrap_or_default()))
    }
}

/// None should match, or any number may: these are not the same.
fn expected_message(expected: Option<u64>) -> Option<i64> {
    expected.map(|number| long(Some(number)))
}

fn filter_message(filter: JobFilter) -> v1::JobFilter {
    v1::JobFilter {
        ids: filter.ids,
        queue: filter.queue,
        kind: filter.kind,
        status: filter.status.iter().map(|each| status_message(*each).into()).collect(),
        labels: label_filter(&filter.labels),
        created_after: filter.created_after.map(Into::into),
        created_before: filter.created_before.map(Into::into),
        ended_after: filter.ended_after.map(Into::into),
        ended_before: filter.ended_before.map(Into::into),
        reason: filter.reason,
        error_type: filter.error_type,
        everything: filter.everything,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;
    use crate::schedules::Backfill;

    #[tokio::test]
    async fn a_bound_of_zero_is_refused_and_does_not_stand_for_none() {
        let client = Client::builder("127.0.0.1:1").deadline(Duration::from_millis(1)).build().unwrap();
        let jobs = JobFilter::default;
        let moment = SystemTime::now();
        let (per_second, max_jobs) = (Some(0), Some(0));
        let fires = Backfill::between(moment, moment);
        let found = [
            client.retry_jobs(jobs(), RetryJobs { per_second, ..RetryJobs::default() }).await,
            client.retry_jobs(jobs(), RetryJobs { max_jobs, ..RetryJobs::default() }).await,
            client.cancel_jobs(jobs(), CancelJobs { per_second, ..CancelJobs::default() }).await,
            client.cancel_jobs(jobs(), CancelJobs { max_jobs, ..CancelJobs::default() }).await,
            client.delete_jobs(jobs(), DeleteJobs { per_second, ..DeleteJobs::default() }).await,
            client.delete_jobs(jobs(), DeleteJobs { max_jobs, ..DeleteJobs::default() }).await,
            client.update_jobs(jobs(), UpdateJobs { per_second, ..UpdateJobs::default() }).await,
            client.update_jobs(jobs(), UpdateJobs { max_jobs, ..UpdateJobs::default() }).await,
            client.update_jobs(jobs(), UpdateJobs { max_attempts: Some(0), ..UpdateJobs::default() }).await,
            client.schedules().backfill("s", Backfill { per_second, ..fires.clone() }).await,
            client.schedules().backfill("s", Backfill { max_ticks: Some(0), ..fires }).await,
        ];
        let words = found.map(|each| {
            let error = each.unwrap_err();
            assert!(error.is(ErrorKind::InvalidRequest), "{error}");
            error.violations()[0].field.clone()
        });
        let both = ["per_second", "max_jobs"];
        assert_eq!(words[..8], both.repeat(4)[..]);
        assert_eq!(words[8..], ["max_attempts", "per_second", "max_ticks"]);
    }
}
