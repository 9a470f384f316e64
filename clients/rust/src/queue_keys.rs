//! Single keys of queues.

use std::time::SystemTime;

use crate::calls::call;
use crate::client::Client;
use crate::convert::{count, time_of, whole};
use crate::errors::Error;
use crate::v1;

const PAGE_SIZE: usize = 1000;

/// One key of a queue ([`NewJob::key`](crate::NewJob::key)), as it was when it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueKey {
    /// The queue's name.
    pub queue: String,
    /// The key.
    pub key: String,
    /// How many of its jobs run at once, instead of what the queue allows. `None`: as many as the queue allows.
    pub max_running: Option<u32>,
    /// No more of its jobs are let in.
    pub paused: bool,
    /// Since when. `None`: it is not paused.
    pub paused_at: Option<SystemTime>,
    /// The principal who paused it. Empty: it is not known.
    pub paused_by: String,
    /// How many of its jobs may be in line or run at once. `None`: no limit.
    pub limit: Option<u32>,
    /// How many were let in: they are in line or run.
    pub taken: u32,
    /// How many wait for it.
    pub waiting: u32,
    /// When the rate lets the next one in. `None`: an end must come first, or none waits.
    pub next_start_at: Option<SystemTime>,
    /// Of those that were let in, at most 20. Empty in lists.
    pub holders: Vec<KeyHolder>,
    /// Stands for this version of `max_running` and `paused`, for [`Client::update_queue_key`].
    pub etag: String,
    /// Until when a worker has paused it ([`HandlerError::pause_key`](crate::HandlerError::pause_key)). `None`: none has.
    pub paused_until: Option<SystemTime>,
    /// The job that failed or was cancelled and blocks it ([`OnKeyFailure::Hold`](crate::OnKeyFailure::Hold)). `None`: none
    /// does.
    pub blocked_by: Option<String>,
}

/// A job that counts against what its queue allows of its key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyHolder {
    /// The job's id.
    pub job_id: String,
    /// Who runs it. Empty: it is in line.
    pub worker: String,
    /// Since when it runs, or is in line.
    pub since: Option<SystemTime>,
}

/// Which keys of a queue to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum KeyFilter {
    /// All.
    #[default]
    All,
    /// Of which as many jobs are in line or run as are allowed.
    AtLimit,
    /// That are paused.
    Paused,
    /// That jobs wait for.
    Waiting,
    /// That a job blocks which failed or was cancelled.
    Blocked,
}

/// Which keys of a queue to list, and in which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueKeys {
    /// Which of them.
    pub only: KeyFilter,
    /// Those that most jobs wait for come first. Else they come by name.
    pub most_waiting_first: bool,
    /// How many keys at most.
    pub most: usize,
}

impl Default for QueueKeys {
    /// All, by name, 1000 at most.
    fn default() -> Self {
        Self { only: KeyFilter::All, most_waiting_first: false, most: 1000 }
    }
}

/// What to change of a key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueueKeyChange {
    /// Its own limit. `Some(0)`: as many as the queue allows. `None`: as it is.
    pub max_running: Option<u32>,
    /// Whether no more of its jobs are let in. `None`: as it is.
    pub paused: Option<bool>,
    /// [`QueueKey::etag`]: the key is changed only if it still has it. Empty: whatever was changed since.
    pub etag: String,
}

impl Client {
    /// Reads the keys of a queue that have jobs, or of which something is said.
    ///
    /// # Errors
    ///
    /// `QueueNotFound`: no job was ever enqueued in it.
    pub async fn list_queue_keys(&self, queue: &str, which: QueueKeys) -> Result<Vec<QueueKey>, Error> {
        use v1::list_queue_keys_request::Only;
        let only = match which.only {
            KeyFilter::All => Only::Unspecified,
            KeyFilter::AtLimit => Only::AtLimit,
            KeyFilter::Paused => Only::Paused,
            KeyFilter::Waiting => Only::Waiting,
            KeyFilter::Blocked => Only::Blocked,
        };
        let order_by = if which.most_waiting_first { "waiting desc" } else { "key" };
        let (mut keys, mut page_token) = (Vec::new(), String::new());
        while keys.len() < which.most {
            let request = v1::ListQueueKeysRequest {
                queue: queue.to_owned(),
                page_size: i32::try_from((which.most - keys.len()).min(PAGE_SIZE)).unwrap_or(i32::MAX),
                page_token,
                only: only.into(),
                order_by: order_by.to_owned(),
            };
            let answer = call!(self.admin.list_queue_keys, request, repeat: true).await?;
            keys.extend(answer.keys.into_iter().map(queue_key_of));
            page_token = answer.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        Ok(keys)
    }

    /// Reads one key of a queue, with the jobs that hold it. Every key is there, also one without jobs.
    ///
    /// # Errors
    ///
    /// `QueueNotFound`: no job was ever enqueued in it.
    pub async fn get_queue_key(&self, queue: &str, key: &str) -> Result<QueueKey, Error> {
        let request = v1::GetQueueKeyRequest { queue: queue.to_owned(), key: key.to_owned() };
        let answer = call!(self.admin.get_queue_key, request, repeat: true).await?;
        Ok(queue_key_of(answer.queue_key.unwrap_or_default()))
    }

    /// Gives one key of a queue a limit of its own, or pauses it.
    ///
    /// # Errors
    ///
    /// `QueueNotFound`: no job was ever enqueued in it. `EtagMismatch`: the key was changed since its etag was read.
    pub async fn update_queue_key(&self, queue: &str, key: &str, change: QueueKeyChange) -> Result<QueueKey, Error> {
        let mut paths = Vec::new();
        if change.max_running.is_some() {
            paths.push("max_running".to_owned());
        }
        if change.paused.is_some() {
            paths.push("paused".to_owned());
        }
        // A change that is made twice finds the etag of the first.
        let repeat = change.etag.is_empty();
        let changed = v1::QueueKey {
            queue: queue.to_owned(),
            key: key.to_owned(),
            max_running: whole(change.max_running),
            paused: change.paused.unwrap_or_default(),
            etag: change.etag,
            ..v1::QueueKey::default()
        };
        let request =
            v1::UpdateQueueKeyRequest { queue_key: Some(changed), update_mask: Some(prost_types::FieldMask { paths }) };
        let answer = call!(self.admin.update_queue_key, request, repeat: repeat).await?;
        Ok(queue_key_of(answer.queue_key.unwrap_or_default()))
    }
}

fn queue_key_of(message: v1::QueueKey) -> QueueKey {
    let some = |number| Some(count(number)).filter(|most| *most > 0);
    QueueKey {
        queue: message.queue,
        key: message.key,
        max_running: some(message.max_running),
        paused: message.paused,
        paused_at: time_of(message.paused_at.as_ref()),
        paused_by: message.paused_by,
        limit: some(message.limit),
        taken: count(message.taken),
        waiting: count(message.waiting),
        next_start_at: time_of(message.next_start_at.as_ref()),
        holders: message.holders.into_iter().map(holder_of).collect(),
        etag: message.etag,
        paused_until: time_of(message.paused_until.as_ref()),
        blocked_by: Some(message.blocked_by).filter(|job| !job.is_empty()),
    }
}

fn holder_of(message: v1::KeyHolder) -> KeyHolder {
    KeyHolder { job_id: message.job_id, worker: message.worker, since: time_of(message.since.as_ref()) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_key_says_until_when_a_worker_has_paused_it_and_which_job_blocks_it() {
        let seven = prost_types::Timestamp { seconds: 7, nanos: 0 };
        let message = v1::QueueKey { paused_until: Some(seven), blocked_by: "j".to_owned(), ..v1::QueueKey::default() };
        let key = queue_key_of(message);
        assert_eq!(key.paused_until, Some(SystemTime::UNIX_EPOCH + Duration::from_secs(7)));
        assert_eq!(key.blocked_by.as_deref(), Some("j"));
        let key = queue_key_of(v1::QueueKey::default());
        assert_eq!((key.paused_until, key.blocked_by), (None, None));
    }
}
