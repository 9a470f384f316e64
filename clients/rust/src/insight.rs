//! Why a job waits, and what a queue wants.

use std::time::{Duration, SystemTime};

use crate::calls::call;
use crate::client::Client;
use crate::convert::{count, duration_of, status_of, time_of};
use crate::errors::Error;
use crate::jobs::Status;
use crate::v1;

/// Why a job waits, or how it runs or ended.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Explanation {
    /// The job's id.
    pub job_id: String,
    /// The job's status.
    pub status: Status,
    /// One sentence: why it waits, and what would start it.
    pub summary: String,
    /// What holds it now comes first, then what would hold it next. At least one.
    pub reasons: Vec<Reason>,
    /// When it can start, if nothing but time is awaited. `None`: not known.
    pub could_start_at: Option<SystemTime>,
    /// When this was so, by the database's clock.
    pub read_at: Option<SystemTime>,
    /// The servers that were not heard. Their workers are left out.
    pub unknown: Vec<String>,
    /// When it may start, where it waits for its turn alone. `None`: it waits for something else, or no job of the queue
    /// ended in the last minute.
    pub estimate: Option<Estimate>,
}

/// When a job may start, if the jobs of its queue go on ending as they did in the last minute.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Estimate {
    /// The jobs that go before it.
    pub ahead: u32,
    /// The server stopped counting `ahead` at its bound, so that there may be more.
    pub capped: bool,
    /// How many jobs ended in each second of the last minute.
    pub ends_per_second: f64,
    /// It hardly starts before this.
    pub earliest_at: Option<SystemTime>,
    /// It hardly starts after this. `None`: too few jobs ended to say so, or `capped`.
    pub latest_at: Option<SystemTime>,
}

/// One reason why a job waits.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Reason {
    /// The contract's name of it, such as `QUEUE_PAUSED`. `CODE_UNSPECIFIED`: one that this version does not know.
    pub code: &'static str,
    /// The same for people.
    pub message: String,
    /// What would end it, each enough by itself, such as `ResumeQueue reports`.
    pub unblocked_by: Vec<String>,
    /// What is known of it, by its code. `None`: nothing more.
    pub detail: Option<v1::reason::Detail>,
}

/// How many slots of workers a queue wants.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct QueueDemand {
    /// The jobs that could start now if there were slots.
    pub runnable: u32,
    /// The server stopped counting `runnable` at its bound, so that there may be more.
    pub capped: bool,
    /// The jobs that run.
    pub running: u32,
    /// The jobs that are held back.
    pub held: u32,
    /// Of these, the jobs that wait for their key.
    pub held_by_key: u32,
    /// The jobs that are due later.
    pub later: u32,
    /// The jobs that are due, while the queue is paused.
    pub paused: u32,
    /// The jobs that are due, and more than the queue lets run.
    pub beyond_limit: u32,
    /// The sessions that take jobs of the queue.
    pub workers: u32,
    /// Their slots.
    pub slots: u32,
    /// Of these, the free ones.
    pub free_slots: u32,
    /// For how long the first runnable job has been due. `None`: there is none.
    pub oldest_runnable_age: Option<Duration>,
    /// How many slots it wants: `running` and `runnable` together.
    pub wanted_slots: u32,
    /// Jobs could run now, and no slot is free for them.
    pub more_workers_would_help: bool,
    /// Why, for people.
    pub why: String,
    /// When this was so, by the database's clock.
    pub read_at: Option<SystemTime>,
    /// The servers that were not heard. Their workers are left out.
    pub unknown: Vec<String>,
    /// How many jobs were enqueued in each second of the last minute.
    pub arrivals_per_second: f64,
    /// How many jobs ended in each second of the last minute.
    pub ends_per_second: f64,
}

impl Client {
    /// Asks why a job waits, and what would start it.
    ///
    /// # Errors
    ///
    /// `JobNotFound`: no job has this id.
    pub async fn explain(&self, id: &str) -> Result<Explanation, Error> {
        self.explain_within(id, self.deadline).await
    }

    pub(crate) async fn explain_within(&self, id: &str, limit: Duration) -> Result<Explanation, Error> {
        let request = v1::ExplainJobRequest { id: id.to_owned() };
        let answer = call!(self.insight.explain_job, request, repeat: true, within: limit).await?;
        Ok(Explanation {
            status: status_of(answer.status()),
            reasons: answer.reasons.into_iter().map(reason_of).collect(),
            could_start_at: time_of(answer.could_start_at.as_ref()),
            read_at: time_of(answer.read_at.as_ref()),
            job_id: answer.job_id,
            summary: answer.summary,
            unknown: answer.unknown,
            estimate: answer.estimate.map(estimate_of),
        })
    }

    /// Asks how many slots of workers a queue wants. The answer may be a second old.
    ///
    /// # Errors
    ///
    /// `QueueNotFound`: no job was ever enqueued in it.
    pub async fn get_queue_demand(&self, name: &str) -> Result<QueueDemand, Error> {
        let request = v1::GetQueueDemandRequest { queue: name.to_owned() };
        let answer = call!(self.insight.get_queue_demand, request, repeat: true).await?;
        Ok(QueueDemand {
            runnable: count(answer.runnable),
            capped: answer.capped,
            running: count(answer.running),
            held: count(answer.held),
            held_by_key: count(answer.held_by_key),
            later: count(answer.later),
            paused: count(answer.paused),
            beyond_limit: count(answer.beyond_limit),
            workers: count(answer.workers),
            slots: count(answer.slots),
            free_slots: count(answer.free_slots),
            oldest_runnable_age: duration_of(answer.oldest_runnable_age.as_ref()),
            wanted_slots: count(answer.wanted_slots),
            more_workers_would_help: answer.more_workers_would_help,
            why: answer.why,
            read_at: time_of(answer.read_at.as_ref()),
            unknown: answer.unknown,
            arrivals_per_second: answer.arrivals_per_second,
            ends_per_second: answer.ends_per_second,
        })
    }
}

fn estimate_of(message: v1::Estimate) -> Estimate {
    Estimate {
        ahead: count(message.ahead),
        capped: message.capped,
        ends_per_second: message.ends_per_second,
        earliest_at: time_of(message.earliest_at.as_ref()),
        latest_at: time_of(message.latest_at.as_ref()),
    }
}

fn reason_of(message: v1::Reason) -> Reason {
    Reason {
        code: message.code().as_str_name(),
        message: message.message,
        unblocked_by: message.unblocked_by,
        detail: message.detail,
    }
}
