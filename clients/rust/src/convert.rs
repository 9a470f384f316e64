//! Between the contract's messages and what this crate shows.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use crate::errors::Error;
use crate::jobs::{Hold, RetryPolicy, Status};
use crate::v1;

/// A number of the caller's in the contract's 32 bits; one that does not fit stays out of every range.
pub(crate) fn whole(number: Option<u32>) -> i32 {
    number.map_or(0, |number| i32::try_from(number).unwrap_or(i32::MAX))
}

/// Counts are never negative.
pub(crate) fn count(number: i32) -> u32 {
    u32::try_from(number).unwrap_or_default()
}

/// As `whole`, of 64 bits.
pub(crate) fn long(number: Option<u64>) -> i64 {
    number.map_or(0, |number| i64::try_from(number).unwrap_or(i64::MAX))
}

/// As `whole`, of what bounds a change of many: the contract's zero is none.
pub(crate) fn whole_bound(field: &str, number: Option<u32>) -> Result<i32, Error> {
    long_bound(field, number.map(u64::from))?;
    Ok(whole(number))
}

/// As `whole_bound`, of 64 bits.
pub(crate) fn long_bound(field: &str, number: Option<u64>) -> Result<i64, Error> {
    if number == Some(0) {
        return Err(Error::invalid(field, "is 0; it is 1 at least, or None"));
    }
    Ok(long(number))
}

/// As `count`, of 64 bits.
pub(crate) fn total(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
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

/// One that this version does not know is `Unspecified`.
pub(crate) fn hold_of(number: i32) -> Hold {
    match v1::job::Hold::try_from(number) {
        Ok(v1::job::Hold::Key) => Hold::Key,
        Ok(v1::job::Hold::Time) => Hold::Time,
        Ok(v1::job::Hold::Hand) => Hold::Hand,
        Ok(v1::job::Hold::Unspecified) | Err(_) => Hold::Unspecified,
    }
}

/// The contract's form of labels in a filter.
pub(crate) fn label_filter(labels: &HashMap<String, String>) -> Vec<String> {
    labels.iter().map(|(name, value)| format!("{name}={value}")).collect()
}

pub(crate) fn view_of(full: bool) -> i32 {
    if full { v1::JobView::Full.into() } else { v1::JobView::Basic.into() }
}
