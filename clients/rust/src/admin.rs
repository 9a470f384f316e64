//! Kinds and queues.

use std::collections::HashMap;
use std::time::Duration;

use prost_types::FieldMask;
use tonic::Code;

use crate::calls::call;
use crate::client::Client;
use crate::convert::{count, duration_message, duration_of, hold_of, policy_message, policy_of, status_of, whole};
use crate::errors::Error;
use crate::jobs::{Hold, RetryPolicy, Status};
use crate::json::JsonText;
use crate::typed::{KindDeclaration, SyncedKind};
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
    /// What it allows of all its jobs together, over all queues. `None`: no limit.
    pub limits: Option<Limits>,
    /// How many slots of a worker each of its jobs takes, 1..1000. `None`: 1.
    pub slot_weight: Option<u32>,
    /// That of its payloads, from 1, as its program declares it. 0: none is declared.
    pub version: u32,
    /// The JSON Schema (2020-12) of its outputs, for readers; no output is checked by it. `None`: none is told.
    pub output_schema: Option<JsonText>,
    /// What people note about it.
    pub annotations: HashMap<String, String>,
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
    /// What it allows of the jobs of one key. `None`: keys are marks, and limit nothing.
    pub key_policy: Option<KeyPolicy>,
    /// How many of its jobs may wait before enqueues are refused. `None`: any number.
    pub max_waiting: Option<u32>,
    /// What it allows of all its jobs together. `None`: their workers alone limit them.
    pub limits: Option<Limits>,
    /// How long its jobs can be read after their end. `None`: as those of every queue.
    pub retention: Option<Retention>,
    /// Stands for this version of its `key_policy`, `max_waiting`, `limits` and `retention`, for [`Client::update_queue`].
    pub etag: String,
}

/// What a queue or a kind allows of all its jobs together. `None`: no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// How many of them run at once, over all workers and servers, 1..1000000.
    pub max_running: Option<u32>,
    /// How many of them start in a time, over all workers and servers.
    pub rate: Option<Rate>,
}

/// How long jobs of a queue can be read after their end, by the status of that end. `None`: as those of every queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// Of those that ended as SUCCEEDED, 1 h to 3650 days.
    pub succeeded: Option<Duration>,
    /// Of those that ended as FAILED_PERMANENT, 1 h to 3650 days.
    pub failed_permanent: Option<Duration>,
    /// Of those that ended as CANCELLED, 1 h to 3650 days.
    pub cancelled: Option<Duration>,
}

/// What a queue allows of the jobs of one key ([`NewJob::key`](crate::NewJob::key)). `None`: no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeyPolicy {
    /// How many of them run at once, 1..1000000.
    pub max_running: Option<u32>,
    /// How many of them start in a time.
    pub rate: Option<Rate>,
    /// How many of them may wait for the key.
    pub max_waiting: Option<u32>,
    /// A job without a key is refused.
    pub require_key: bool,
    /// In what order they start; `Strict` lets one run at once. `None`: none is promised.
    pub order: Option<KeyOrder>,
    /// What becomes of a key in strict order whose job failed for good or was cancelled.
    pub on_failure: Option<OnKeyFailure>,
    /// Keys take turns, so that one with many jobs delays another by a round at most.
    pub fair: bool,
}

/// In what order jobs of one key start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyOrder {
    /// In the order in which their enqueues were answered, one after the other.
    Strict,
}

/// What becomes of a key in strict order whose job failed for good or was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnKeyFailure {
    /// The next job goes.
    Continue,
    /// The key is blocked, until that job is retried or deleted, or [`Client::unblock_queue_key`].
    Hold,
    /// The jobs that wait for the key are cancelled.
    CancelRest,
}

/// How many jobs may start in a time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rate {
    /// So many in each period, 1..1000000.
    pub count: u32,
    /// 1 ms to 24 h, in whole milliseconds.
    pub period: Duration,
    /// So many may start at once after a pause. `None`: what the rate lets start in 50 ms, 1 at least.
    pub burst: Option<u32>,
    /// In answers: the most that start in any span as long as the period.
    pub most_in_a_period: u32,
}

/// What to change of a queue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueueChange {
    /// The new policy. An empty one: keys limit nothing any longer. `None`: it stays.
    pub key_policy: Option<KeyPolicy>,
    /// The fields of the policy that are changed, such as `max_running`. Empty: all. Without a policy they change nothing.
    pub fields: Vec<String>,
    /// How many of its jobs may wait before enqueues are refused, 1..1000000. `Some(0)`: any number. `None`: as it is.
    pub max_waiting: Option<u32>,
    /// What it allows of all its jobs together. Empty: anything. `None`: it stays.
    pub limits: Option<Limits>,
    /// The fields of `limits` that are changed, such as `rate`. Empty: all. Without `limits` they change nothing.
    pub limit_fields: Vec<String>,
    /// How long its jobs can be read after their end. Empty: as those of every queue. `None`: it stays.
    pub retention: Option<Retention>,
    /// The fields of `retention` that are changed, such as `succeeded`. Empty: all. Without `retention` they change nothing.
    pub retention_fields: Vec<String>,
    /// [`Queue::etag`]: the queue is changed only if it still has it. Empty: whatever was changed since.
    pub etag: String,
    /// A queue that was never used is made.
    pub allow_missing: bool,
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
            kind: Some(kind_message(kind)),
            payload_format: v1::PayloadFormat::Json.into(),
            ..Default::default()
        };
        let answer = call!(self.admin.put_kind, request, repeat: true).await?;
        Ok(kind_of(answer.kind.unwrap_or_default()))
    }

    /// Tells the server what typed kinds are, each by a [`KindDeclaration`]: its version, its schemas, and the settings that
    /// it names. What it does not name stays as an operator set it. A kind of which the server has a higher version stays
    /// as it is. One that the server does not know is made. It takes a call for each kind, one after the other, and answers
    /// what was done, in the same order.
    ///
    /// # Errors
    ///
    /// `InvalidRequest`: a schema is no JSON Schema, or too large. `NotAllowed`: the caller may not declare a kind, which takes
    /// OPERATE on it in all queues; those before it are declared. `ServersDiffer`: an older server runs, which would replace
    /// what is not named. `NotSupported`: the server is older, and has done so.
    pub async fn sync_kinds(&self, kinds: impl IntoIterator<Item = KindDeclaration>) -> Result<Vec<SyncedKind>, Error> {
        let mut synced = Vec::new();
        for KindDeclaration { mut kind, fields, encoded } in kinds.into_iter().collect::<Vec<_>>() {
            if let Some(schema) = encoded.filter(|_| self.encodings.is_some()) {
                kind.schema = Some(schema);
            }
            let (name, version) = (kind.name.clone(), kind.version);
            let request = v1::PutKindRequest {
                kind: Some(kind_message(kind)),
                payload_format: v1::PayloadFormat::Json.into(),
                update_mask: Some(FieldMask { paths: fields.into_iter().map(Into::into).collect() }),
                only_newer: true,
            };
            let answer = call!(self.admin.put_kind, request, repeat: true).await?;
            let kind = kind_of(answer.kind.unwrap_or_default());
            if kind.version < version {
                let words = format!(
                    "the server is older than sync_kinds: it replaced all that was declared of the kind {name}; upgrade it, \
                     and set its settings again"
                );
                return Err(Error::new(Code::Unimplemented, words));
            }
            let newer = answer.unchanged && kind.version > version;
            synced.push(SyncedKind { kind, changed: !answer.unchanged, newer });
        }
        Ok(synced)
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

    /// Stops the claiming of jobs from a queue. Running jobs continue. The reason is for people, who read it in an
    /// explanation, and may be empty.
    ///
    /// # Errors
    ///
    /// `InvalidRequest`.
    pub async fn pause_queue(&self, name: &str, reason: &str) -> Result<Queue, Error> {
        let request = v1::PauseQueueRequest { name: name.to_owned(), reason: reason.to_owned() };
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

impl Client {
    /// Changes what a queue allows of its jobs, and of those of one key. All servers know it when this returns.
    ///
    /// # Errors
    ///
    /// `QueueNotFound`: no job was ever enqueued in it. `EtagMismatch`: it was changed since its etag was read.
    /// `ServersDiffer`: an older server runs, which would not keep to it.
    pub async fn update_queue(&self, name: &str, change: QueueChange) -> Result<Queue, Error> {
        let mut paths = Vec::new();
        if change.key_policy.is_some() {
            paths.extend(change.fields.iter().map(|each| format!("key_policy.{each}")));
        }
        if change.key_policy.is_some() && paths.is_empty() {
            paths.push("key_policy".to_owned());
        }
        if change.max_waiting.is_some() {
            paths.push("max_waiting".to_owned());
        }
        if change.limits.is_some() {
            paths.extend(change.limit_fields.iter().map(|each| format!("limits.{each}")));
        }
        if change.limits.is_some() && change.limit_fields.is_empty() {
            paths.push("limits".to_owned());
        }
        if change.retention.is_some() {
            paths.extend(change.retention_fields.iter().map(|each| format!("retention.{each}")));
        }
        if change.retention.is_some() && change.retention_fields.is_empty() {
            paths.push("retention".to_owned());
        }
        // A change that is made twice finds the etag of the first.
        let repeat = change.etag.is_empty();
        let queue = v1::Queue {
            name: name.to_owned(),
            key_policy: change.key_policy.map(key_policy_message),
            max_waiting: whole(change.max_waiting),
            limits: change.limits.map(limits_message),
            retention: change.retention.map(retention_message),
            etag: change.etag,
            ..v1::Queue::default()
        };
        let request = v1::UpdateQueueRequest {
            queue: Some(queue),
            update_mask: Some(prost_types::FieldMask { paths }),
            allow_missing: change.allow_missing,
        };
        let answer = call!(self.admin.update_queue, request, repeat: repeat).await?;
        Ok(queue_of(answer.queue.unwrap_or_default()))
    }

    /// Lets a key of a queue go on with its next job, though one that failed or was cancelled blocks it: the id of that
    /// job, which stays as it ended.
    ///
    /// # Errors
    ///
    /// `QueueNotFound`: no job was ever enqueued in the queue. `KeyNotBlocked`: no job blocks the key.
    pub async fn unblock_queue_key(&self, queue: &str, key: &str) -> Result<String, Error> {
        let request = v1::UnblockQueueKeyRequest { queue: queue.to_owned(), key: key.to_owned() };
        Ok(call!(self.admin.unblock_queue_key, request, repeat: false).await?.blocked_by)
    }
}

fn key_policy_message(policy: KeyPolicy) -> v1::KeyPolicy {
    v1::KeyPolicy {
        max_running: whole(policy.max_running),
        rate: policy.rate.map(rate_message),
        max_waiting: whole(policy.max_waiting),
        require_key: policy.require_key,
        order: policy.order.map(|KeyOrder::Strict| v1::KeyOrder::Strict.into()),
        on_failure: policy.on_failure.map(|failure| {
            match failure {
                OnKeyFailure::Continue => v1::OnKeyFailure::Continue,
                OnKeyFailure::Hold => v1::OnKeyFailure::Hold,
                OnKeyFailure::CancelRest => v1::OnKeyFailure::CancelRest,
            }
            .into()
        }),
        fair: policy.fair.then_some(true),
    }
}

fn key_policy_of(message: v1::KeyPolicy) -> KeyPolicy {
    KeyPolicy {
        max_running: Some(count(message.max_running)).filter(|most| *most > 0),
        rate: message.rate.map(rate_of),
        max_waiting: Some(count(message.max_waiting)).filter(|most| *most > 0),
        require_key: message.require_key,
        order: match message.order.map(v1::KeyOrder::try_from) {
            Some(Ok(v1::KeyOrder::Strict)) => Some(KeyOrder::Strict),
            _ => None,
        },
        on_failure: match message.on_failure.map(v1::OnKeyFailure::try_from) {
            Some(Ok(v1::OnKeyFailure::Continue)) => Some(OnKeyFailure::Continue),
            Some(Ok(v1::OnKeyFailure::Hold)) => Some(OnKeyFailure::Hold),
            Some(Ok(v1::OnKeyFailure::CancelRest)) => Some(OnKeyFailure::CancelRest),
            _ => None,
        },
        fair: message.fair.unwrap_or_default(),
    }
}

fn rate_message(rate: Rate) -> v1::Rate {
    v1::Rate {
        count: whole(Some(rate.count)),
        period: Some(duration_message(rate.period)),
        burst: whole(rate.burst),
        most_in_a_period: 0,
    }
}

fn rate_of(message: v1::Rate) -> Rate {
    Rate {
        count: count(message.count),
        period: duration_of(message.period.as_ref()).unwrap_or_default(),
        burst: Some(count(message.burst)).filter(|burst| *burst > 0),
        most_in_a_period: count(message.most_in_a_period),
    }
}

fn limits_message(limits: Limits) -> v1::Limits {
    v1::Limits { max_running: whole(limits.max_running), rate: limits.rate.map(rate_message) }
}

fn limits_of(message: v1::Limits) -> Limits {
    Limits { max_running: Some(count(message.max_running)).filter(|most| *most > 0), rate: message.rate.map(rate_of) }
}

fn retention_message(retention: Retention) -> v1::Retention {
    v1::Retention {
        succeeded: retention.succeeded.map(duration_message),
        failed_permanent: retention.failed_permanent.map(duration_message),
        cancelled: retention.cancelled.map(duration_message),
    }
}

fn retention_of(message: v1::Retention) -> Retention {
    Retention {
        succeeded: duration_of(message.succeeded.as_ref()),
        failed_permanent: duration_of(message.failed_permanent.as_ref()),
        cancelled: duration_of(message.cancelled.as_ref()),
    }
}

fn kind_message(kind: Kind) -> v1::Kind {
    v1::Kind {
        name: kind.name,
        definition: kind.schema.map(|schema| v1::kind::Definition::SchemaJson(schema.into_bytes())),
        output_definition: kind
            .output_schema
            .map(|schema| v1::kind::OutputDefinition::OutputSchemaJson(schema.into_bytes())),
        retry_policy: kind.retry_policy.map(policy_message),
        max_attempts: whole(kind.max_attempts),
        timeout: kind.timeout.map(duration_message),
        limits: kind.limits.map(limits_message),
        slot_weight: whole(kind.slot_weight),
        version: whole(Some(kind.version)),
        annotations: kind.annotations,
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
        limits: message.limits.map(limits_of),
        slot_weight: Some(count(message.slot_weight)).filter(|slots| *slots > 0),
        version: count(message.version),
        output_schema: match message.output_definition {
            Some(v1::kind::OutputDefinition::OutputSchemaJson(text)) => Some(JsonText::new(text)),
            _ => None,
        },
        annotations: message.annotations,
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
        key_policy: message.key_policy.map(key_policy_of),
        max_waiting: Some(count(message.max_waiting)).filter(|most| *most > 0),
        limits: message.limits.map(limits_of),
        retention: message.retention.map(retention_of),
        etag: message.etag,
    }
}
