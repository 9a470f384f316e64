//! Jobs to enqueue, as their messages have them.

use crate::convert::{duration_of, policy_of, time_of};
use crate::job::NewJob;
use crate::jobs::{OwnRule, Start};
use crate::json::JsonText;
use crate::unique::{OnConflict, Unique, UniqueField, UniqueScope, Until};
use crate::v1;

/// The job that a message enqueues.
pub(crate) fn new_job_of(message: v1::NewJob) -> NewJob {
    NewJob {
        kind: message.kind,
        payload: match message.content {
            Some(v1::new_job::Content::PayloadJson(text)) => Some(JsonText::new(text)),
            _ => None,
        },
        queue: message.queue,
        priority: message.priority,
        start: message.start.and_then(|start| match start {
            v1::new_job::Start::RunAt(moment) => time_of(Some(&moment)).map(Start::At),
            v1::new_job::Start::Delay(delay) => duration_of(Some(&delay)).map(Start::After),
        }),
        max_attempts: u32::try_from(message.max_attempts).ok().filter(|attempts| *attempts > 0),
        timeout: duration_of(message.timeout.as_ref()),
        retry_policy: message.retry_policy.as_ref().map(policy_of),
        idempotency_key: message.idempotency_key,
        labels: message.labels,
        headers: message.headers,
        hold: message.hold,
        key: message.key,
        unique: message.unique.map(unique_of),
        encodings: OwnRule::default(),
    }
}

fn unique_of(message: v1::Unique) -> Unique {
    Unique {
        scope: match message.scope() {
            v1::unique::Scope::Kind | v1::unique::Scope::Unspecified => UniqueScope::Kind,
            v1::unique::Scope::QueueAndKind => UniqueScope::QueueAndKind,
            v1::unique::Scope::Queue => UniqueScope::Queue,
            v1::unique::Scope::Namespace => UniqueScope::Namespace,
        },
        until: match message.until() {
            v1::unique::Until::Starts | v1::unique::Until::Unspecified => Until::Starts,
            v1::unique::Until::Ends => Until::Ends,
            v1::unique::Until::Period => Until::Period,
        },
        on_conflict: match message.on_conflict() {
            v1::unique::OnConflict::Keep | v1::unique::OnConflict::Unspecified => OnConflict::Keep,
            v1::unique::OnConflict::Reject => OnConflict::Reject,
            v1::unique::OnConflict::Replace => OnConflict::Replace,
            v1::unique::OnConflict::Debounce => OnConflict::Debounce,
        },
        replace: message.replace().filter_map(field_of).collect(),
        period: duration_of(message.period.as_ref()),
        max_delay: duration_of(message.max_delay.as_ref()),
        key: message.key,
        payload_fields: message.payload_fields,
    }
}

fn field_of(field: v1::unique::Field) -> Option<UniqueField> {
    use v1::unique::Field;
    Some(match field {
        Field::Payload => UniqueField::Payload,
        Field::RunAt => UniqueField::RunAt,
        Field::Priority => UniqueField::Priority,
        Field::Labels => UniqueField::Labels,
        Field::Headers => UniqueField::Headers,
        Field::MaxAttempts => UniqueField::MaxAttempts,
        Field::Timeout => UniqueField::Timeout,
        Field::Unspecified => return None,
    })
}
