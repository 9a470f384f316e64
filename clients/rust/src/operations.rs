//! Changes of many jobs and backfills, as they go on.

use std::time::{Duration, SystemTime};

use futures_util::TryStreamExt;
use prost::Message;

use crate::calls::{call, wait_until};
use crate::client::Client;
use crate::convert::{count, duration_message, time_of, total};
use crate::errors::Error;
use crate::longrunning;
use crate::pages::pages;
use crate::v1;

/// An operation may name 1000 jobs, and so have 40 KB.
const PAGE_SIZE: i32 = 50;

/// How an operation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BulkState {
    /// One that this version does not know.
    Unspecified,
    /// It was made, and no server has begun it.
    Waiting,
    /// A server works on it.
    Running,
    /// It is done.
    Succeeded,
    /// It was cancelled. What it had done stays done.
    Cancelled,
    /// It has ended by a fault. What it had done stays done.
    Failed,
}

/// A change of many jobs, or a backfill of a schedule. Of a backfill all that is counted is ticks, not jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Operation {
    /// `operations/` and an id. Empty in a dry run.
    pub name: String,
    /// The method that made it, such as `RetryJobs` or `BackfillSchedule`.
    pub verb: String,
    /// How it stands.
    pub state: BulkState,
    /// Whether it goes on no more.
    pub done: bool,
    /// Whether nothing is changed.
    pub dry_run: bool,
    /// How many jobs were looked at.
    pub looked: u64,
    /// How many jobs were changed. Of a backfill: how many ticks fired.
    pub changed: u64,
    /// How many jobs matched and were changed by another caller just before their turn. Of a backfill: how many ticks did
    /// not fire.
    pub skipped: u64,
    /// How many jobs matched when they were counted.
    pub estimate: u64,
    /// Whether counting ended at its bound: more may match.
    pub estimate_capped: bool,
    /// The limit that it was given. 0: none.
    pub per_second: u32,
    /// The limit that it was given, of jobs or of ticks. 0: none.
    pub max_jobs: u64,
    /// The first jobs that matched, 20 at most.
    pub sample_ids: Vec<String>,
    /// When it was made. `None`: it is a dry run.
    pub created_at: Option<SystemTime>,
    /// When it last changed jobs, or was changed itself.
    pub updated_at: Option<SystemTime>,
    /// When it was done. `None`: it goes on.
    pub ended_at: Option<SystemTime>,
    /// Why it ended early. Empty: it did not.
    pub error: String,
    /// The schedule of a backfill. `None`: it is no backfill.
    pub schedule: Option<String>,
    /// The beginning of a backfill.
    pub start_at: Option<SystemTime>,
    /// The end of a backfill.
    pub end_at: Option<SystemTime>,
    /// The last tick of a backfill that was decided. `None`: none was yet.
    pub last_at: Option<SystemTime>,
}

impl Client {
    /// Reads an operation.
    ///
    /// # Errors
    ///
    /// `OperationNotFound`: there is none of this name.
    pub async fn get_operation(&self, name: &str) -> Result<Operation, Error> {
        let request = longrunning::GetOperationRequest { name: name.to_owned() };
        Ok(operation_of(call!(self.operations.get_operation, request, repeat: true).await?))
    }

    /// Reads the operations that are kept, newest first: your own, or with ADMIN those of the namespace.
    ///
    /// # Errors
    ///
    /// Those of every call.
    pub async fn list_operations(&self) -> Result<Vec<Operation>, Error> {
        let client = self.clone();
        let read = move |page_token| {
            let client = client.clone();
            async move {
                let request = longrunning::ListOperationsRequest {
                    name: "operations".to_owned(),
                    page_size: PAGE_SIZE,
                    page_token,
                    ..Default::default()
                };
                let answer = call!(client.operations.list_operations, request, repeat: true).await?;
                Ok((answer.operations.into_iter().map(operation_of).collect(), answer.next_page_token))
            }
        };
        pages(read).try_collect().await
    }

    /// Waits until an operation is done. After `within` the answer is the operation as it then is. `None`: for as long as
    /// it takes.
    ///
    /// # Errors
    ///
    /// `OperationNotFound`: there is none of this name.
    pub async fn wait_operation(&self, name: &str, within: impl Into<Option<Duration>>) -> Result<Operation, Error> {
        let ask = |wait: Duration| async move {
            let timeout = Some(duration_message(wait));
            let request = longrunning::WaitOperationRequest { name: name.to_owned(), timeout };
            // Time for the answer to come back, after the server has waited.
            let limit = wait.saturating_add(self.deadline);
            call!(self.operations.wait_operation, request, repeat: true, within: limit).await
        };
        Ok(operation_of(wait_until(within.into(), |answer: &longrunning::Operation| answer.done, ask).await?))
    }

    /// Asks an operation to stop after the step that it is in. What it has done stays done.
    ///
    /// # Errors
    ///
    /// `OperationNotFound`: there is none of this name.
    pub async fn cancel_operation(&self, name: &str) -> Result<(), Error> {
        let request = longrunning::CancelOperationRequest { name: name.to_owned() };
        call!(self.operations.cancel_operation, request, repeat: true).await
    }

    /// Deletes an operation that is done.
    ///
    /// # Errors
    ///
    /// `OperationNotDone`: it is not. `OperationNotFound`: there is none of this name.
    pub async fn delete_operation(&self, name: &str) -> Result<(), Error> {
        let request = longrunning::DeleteOperationRequest { name: name.to_owned() };
        // To delete one again is refused, and done.
        call!(self.operations.delete_operation, request, repeat: false).await
    }
}

/// An operation as it was answered.
pub(crate) fn operation_of(message: longrunning::Operation) -> Operation {
    let error = match message.result {
        Some(longrunning::operation::Result::Error(status)) => status.message,
        _ => String::new(),
    };
    let told = message.metadata.unwrap_or_default();
    if told.type_url.ends_with("/jobqueue.v1.BackfillMetadata") {
        let told = v1::BackfillMetadata::decode(&*told.value).unwrap_or_default();
        return Operation {
            state: state_of(told.state()),
            name: message.name,
            verb: "BackfillSchedule".to_owned(),
            done: message.done,
            dry_run: told.validate_only,
            looked: total(told.looked),
            changed: total(told.fired),
            skipped: total(told.skipped),
            estimate: total(told.estimate),
            estimate_capped: told.estimate_capped,
            per_second: count(told.per_second),
            max_jobs: total(told.max_ticks),
            sample_ids: Vec::new(),
            created_at: time_of(told.created_at.as_ref()),
            updated_at: time_of(told.updated_at.as_ref()),
            ended_at: time_of(told.ended_at.as_ref()),
            error,
            schedule: Some(told.schedule),
            start_at: time_of(told.start_at.as_ref()),
            end_at: time_of(told.end_at.as_ref()),
            last_at: time_of(told.last_at.as_ref()),
        };
    }
    let told = v1::BulkMetadata::decode(&*told.value).unwrap_or_default();
    Operation {
        state: state_of(told.state()),
        name: message.name,
        verb: told.verb,
        done: message.done,
        dry_run: told.dry_run,
        looked: total(told.looked),
        changed: total(told.changed),
        skipped: total(told.skipped),
        estimate: total(told.estimate),
        estimate_capped: told.estimate_capped,
        per_second: count(told.per_second),
        max_jobs: total(told.max_jobs),
        sample_ids: told.sample_ids,
        created_at: time_of(told.created_at.as_ref()),
        updated_at: time_of(told.updated_at.as_ref()),
        ended_at: time_of(told.ended_at.as_ref()),
        error,
        schedule: None,
        start_at: None,
        end_at: None,
        last_at: None,
    }
}

fn state_of(message: v1::BulkState) -> BulkState {
    match message {
        v1::BulkState::Unspecified => BulkState::Unspecified,
        v1::BulkState::Waiting => BulkState::Waiting,
        v1::BulkState::Running => BulkState::Running,
        v1::BulkState::Succeeded => BulkState::Succeeded,
        v1::BulkState::Cancelled => BulkState::Cancelled,
        v1::BulkState::Failed => BulkState::Failed,
    }
}
