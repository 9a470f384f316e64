//! Kinds and queues.

use std::collections::HashMap;
use std::time::Duration;

use crate::calls::call;
use crate::client::Client;
use crate::convert::{count, duration_message, duration_of, hold_of, policy_message, policy_of, status_of, whole};
use crate::errors::Error;
use crate::jobs::{Hold, RetryPolicy, Status};
use crate::json::JsonText;
use crate::v1;

const PAGE_SIZE: i32 = 1000;

/// A sort of work. Putting one replaces it as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kind {
    /// `[a-z0-9][a-z0-9_.-]{0,127}`
    pub name: String,
    /// The JSON Schema (2020-12) of its payloads. `None`: every JSON value is taken.
    pub schema: Option<JsonText>,
    /// For jobs without their own value.
    pub retry_policy: Option<RetryPolicy>,
    /// For jobs without their own value.
    pub max_attempts: Option<u32>,
    /// For jobs without their own value.
    pub timeout: Option<Duration>,
}

impl Kind {
    /// A kind that takes every payload, with every default.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }
}

/// A queue as it was when it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// No job may be claimed from it.
    pub paused: bool,
    /// How many of its jobs run.
    pub running: u32,
    /// Its jobs that are not over, by `Queued`, `Retrying` and `Running`.
    pub depths: HashMap<Status, QueueDepth>,
    /// Its jobs that are held back, by what they wait for. They count in `depths` too.
    pub held: HashMap<Hold, HoldDepth>,
}

/// How many jobs of a queue are held back and wait for the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct HoldDepth {
    /// How many.
    pub jobs: u32,
    /// Counting stopped at its bound, so that there are at least so many.
    pub capped: bool,
}

/// How many jobs of one status there are in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueDepth {
    /// Those with a later `run_at` and those that are held back included.
    pub jobs: u32,
    /// Counting stopped at its bound, so that there are at least so many.
    pub capped: bool,
    /// How long the first of them has been due, or the first running one has run. `None`: there is none.
    pub oldest_age: Option<Duration>,
}

impl Client {
    /// Declares a kind, or replaces it as a whole.
    ///
    /// # Errors
    ///
    /// `InvalidRequest`: for example a schema that is none.
    pub async fn put_kind(&self, kind: Kind) -> Result<Kind, Error> {
        let request = v1::PutKindRequest {
            kind: Some(v1::Kind {
                name: kind.name,
                definition: kind.schema.map(|schema| v1::kind::Definition::SchemaJson(schema.into_bytes())),
                retry_policy: kind.retry_policy.map(policy_message),
                max_attempts: whole(kind.max_attempts),
                timeout: kind.timeout.map(duration_message),
            }),
            payload_format: v1::PayloadFormat::Json.into(),
        };
        let answer = call!(self.admin.put_kind, request, repeat: true).await?;
        Ok(kind_of(answer.kind.unwrap_or_default()))
    }

    /// Reads all kinds, in order of their names.
    ///
    /// # Errors
    ///
    /// Those of every call.
    pub async fn list_kinds(&self) -> Result<Vec<Kind>, Error> {
        let (mut kinds, mut page_token) = (Vec::new(), String::new());
        loop {
            let payload_format = v1::PayloadFormat::Json.into();
            let request = v1::ListKindsRequest { page_size: PAGE_SIZE, page_token, payload_format };
            let answer = call!(self.admin.list_kinds, request, repeat: true).await?;
            kinds.extend(answer.kinds.into_iter().map(kind_of));
            page_token = answer.next_page_token;
            if page_token.is_empty() {
                return Ok(kinds);
            }
        }
    }

    /// Reads all queues, in order of their names.
    ///
    /// # Errors
    ///
    /// Those of every call.
    pub async fn list_queues(&self) -> Result<Vec<Queue>, Error> {
        let (mut queues, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = v1::ListQueuesRequest { page_size: PAGE_SIZE, page_token };
            let answer = call!(self.admin.list_queues, request, repeat: true).await?;
            queues.extend(answer.queues.into_iter().map(queue_of));
            page_token = answer.next_page_token;
            if page_token.is_empty() {
                return Ok(queues);
            }
        }
    }

    /// Reads a queue.
    ///
    /// # Errors
    ///
    /// `QueueNotFound`: no job was ever enqueued in it.
    pub async fn get_queue(&self, name: &str) -> Result<Queue, Error> {
        let request = v1::GetQueueRequest { name: name.to_owned() };
        let answer = call!(self.admin.get_queue, request, repeat: true).await?;
        Ok(queue_of(answer.queue.unwrap_or_default()))
    }

    /// Stops the claiming of jobs from a queue. Running jobs continue.
    ///
    /// # Errors
    ///
    /// `InvalidRequest`.
    pub async fn pause_queue(&self, name: &str) -> Result<Queue, Error> {
        let request = v1::PauseQueueRequest { name: name.to_owned() };
        let answer = call!(self.admin.pause_queue, request, repeat: true).await?;
        Ok(queue_of(answer.queue.unwrap_or_default()))
    }

    /// Lets jobs be claimed from a queue again.
    ///
    /// # Errors
    ///
    /// `QueueNotFound`: no job was ever enqueued in it.
    pub async fn resume_queue(&self, name: &str) -> Result<Queue, Error> {
        let request = v1::ResumeQueueRequest { name: name.to_owned() };
        let answer = call!(self.admin.resume_queue, request, repeat: true).await?;
        Ok(queue_of(answer.queue.unwrap_or_default()))
    }
}

fn kind_of(message: v1::Kind) -> Kind {
    Kind {
        name: message.name,
        schema: match message.definition {
            Some(v1::kind::Definition::SchemaJson(text)) => Some(JsonText::new(text)),
            _ => None,
        },
        retry_policy: message.retry_policy.as_ref().map(policy_of),
        max_attempts: Some(count(message.max_attempts)).filter(|attempts| *attempts > 0),
        timeout: duration_of(message.timeout.as_ref()),
    }
}

fn queue_of(message: v1::Queue) -> Queue {
    let depths = message.depths.iter().map(|each| {
        let oldest_age = duration_of(each.oldest_age.as_ref());
        (status_of(each.status()), QueueDepth { jobs: count(each.jobs), capped: each.capped, oldest_age })
    });
    let held =
        message.held.iter().map(|each| (hold_of(each.hold), HoldDepth { jobs: count(each.jobs), capped: each.capped }));
    Queue {
        depths: depths.collect(),
        held: held.collect(),
        name: message.name,
        paused: message.paused,
        running: count(message.running),
    }
}
