//! The workers of a service.

use std::collections::HashMap;
use std::time::SystemTime;

use crate::calls::call;
use crate::client::Client;
use crate::convert::{count, time_of};
use crate::errors::Error;
use crate::v1;

const PAGE_SIZE: i32 = 1000;

/// What a worker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SessionState {
    /// Something that this version does not know.
    Unspecified,
    /// It is heard, and takes jobs if it has free slots.
    Connected,
    /// It is heard, and takes no more jobs.
    Draining,
    /// It is not heard: `ends_at` says when it is lost.
    Silent,
}

/// A job that a worker holds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeldJob {
    /// The job's id.
    pub job_id: String,
    /// The job's queue.
    pub queue: String,
    /// The job's kind.
    pub kind: String,
    /// The attempt's number in its job, from 1.
    pub attempt: u32,
    /// When the attempt began.
    pub since: Option<SystemTime>,
    /// When the server ends the attempt. `None`: it may run as long as it likes.
    pub deadline_at: Option<SystemTime>,
    /// Whether a caller asked to cancel the job.
    pub cancel_requested: bool,
}

/// Since when and why a worker takes no more jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerDrain {
    /// Since when.
    pub since: Option<SystemTime>,
    /// The principal that drained it. Empty: it is shutting down by itself.
    pub by: String,
    /// Why, for people. May be empty.
    pub reason: String,
}

/// A worker, as far as the caller may read what it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerSession {
    /// The number of its session.
    pub session_id: String,
    /// Its name, which need not be unique.
    pub name: String,
    /// Its own labels.
    pub labels: HashMap<String, String>,
    /// Its client library.
    pub client: String,
    /// The IP address from which it connected last.
    pub address: String,
    /// On whose behalf it works.
    pub principal: String,
    /// The server that has its stream.
    pub server: String,
    /// The kinds, by queue.
    pub takes: HashMap<String, Vec<String>>,
    /// How many slots it has. 0: none, or it makes calls and bounds nothing.
    pub slots: u32,
    /// Of these, the free ones.
    pub free_slots: u32,
    /// How many jobs it holds.
    pub held: u32,
    /// What it does.
    pub state: SessionState,
    /// When its session was opened.
    pub opened_at: Option<SystemTime>,
    /// When it was heard last. `None`: it is heard.
    pub silent_since: Option<SystemTime>,
    /// When its session ends if it is not heard before. `None`: it is heard.
    pub ends_at: Option<SystemTime>,
    /// Why it takes no more jobs. `None`: it takes some.
    pub drain: Option<WorkerDrain>,
    /// What it holds. Empty in lists.
    pub jobs: Vec<HeldJob>,
}

/// Which workers to list. What is set must all match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkerFilter {
    /// Those that take jobs of it. Empty: of any.
    pub queue: String,
    /// Those that take jobs of it. Empty: of any.
    pub kind: String,
    /// Those whose name begins so.
    pub name: String,
    /// Those in one of these. Empty: in any.
    pub state: Vec<SessionState>,
}

impl Client {
    /// Reads the workers of all servers, those first that came last.
    ///
    /// # Errors
    ///
    /// Those of every call.
    pub async fn list_workers(&self, filter: WorkerFilter) -> Result<Vec<WorkerSession>, Error> {
        let mut request = v1::ListWorkersRequest {
            page_size: PAGE_SIZE,
            page_token: String::new(),
            queue: filter.queue,
            kind: filter.kind,
            name: filter.name,
            state: filter.state.into_iter().map(state_number).collect(),
        };
        let mut workers = Vec::new();
        loop {
            let answer = call!(self.insight.list_workers, request.clone(), repeat: true).await?;
            workers.extend(answer.workers.into_iter().map(session_of));
            request.page_token = answer.next_page_token;
            if request.page_token.is_empty() {
                return Ok(workers);
            }
        }
    }

    /// Reads a worker by the number of its session, with the jobs that it holds.
    ///
    /// # Errors
    ///
    /// `WorkerNotFound`: no open session has this number.
    pub async fn get_worker(&self, session_id: &str) -> Result<WorkerSession, Error> {
        let request = v1::GetWorkerRequest { session_id: session_id.to_owned() };
        let answer = call!(self.insight.get_worker, request, repeat: true).await?;
        Ok(session_of(answer.worker.unwrap_or_default()))
    }

    /// Gives a worker no more jobs, for good. It finishes what it holds; then its operator stops it. The reason is for
    /// people, and may be empty.
    ///
    /// # Errors
    ///
    /// `WorkerNotFound`: no open session has this number. `NotAllowed`: it takes something on which these credentials
    /// permit no OPERATE. `ServersDiffer`: an older server runs, which would give it jobs all the same.
    pub async fn drain_worker(&self, session_id: &str, reason: &str) -> Result<WorkerSession, Error> {
        let request = v1::DrainWorkerRequest { session_id: session_id.to_owned(), reason: reason.to_owned() };
        let answer = call!(self.insight.drain_worker, request, repeat: true).await?;
        Ok(session_of(answer.worker.unwrap_or_default()))
    }
}

fn state_number(state: SessionState) -> i32 {
    match state {
        SessionState::Unspecified => v1::worker::State::Unspecified,
        SessionState::Connected => v1::worker::State::Connected,
        SessionState::Draining => v1::worker::State::Draining,
        SessionState::Silent => v1::worker::State::Silent,
    }
    .into()
}

fn session_of(message: v1::Worker) -> WorkerSession {
    WorkerSession {
        state: match message.state() {
            v1::worker::State::Unspecified => SessionState::Unspecified,
            v1::worker::State::Connected => SessionState::Connected,
            v1::worker::State::Draining => SessionState::Draining,
            v1::worker::State::Silent => SessionState::Silent,
        },
        session_id: message.session_id,
        name: message.name,
        labels: message.labels,
        client: message.client,
        address: message.address,
        principal: message.principal,
        server: message.server,
        takes: message.takes.into_iter().map(|each| (each.queue, each.kinds)).collect(),
        slots: count(message.slots),
        free_slots: count(message.free_slots),
        held: count(message.held),
        opened_at: time_of(message.opened_at.as_ref()),
        silent_since: time_of(message.silent_since.as_ref()),
        ends_at: time_of(message.ends_at.as_ref()),
        drain: message.drain.map(|drain| WorkerDrain {
            since: time_of(drain.since.as_ref()),
            by: drain.by,
            reason: drain.reason,
        }),
        jobs: message.jobs.into_iter().map(held_of).collect(),
    }
}

fn held_of(message: v1::WorkerJob) -> HeldJob {
    HeldJob {
        job_id: message.job_id,
        queue: message.queue,
        kind: message.kind,
        attempt: count(message.attempt),
        since: time_of(message.since.as_ref()),
        deadline_at: time_of(message.deadline_at.as_ref()),
        cancel_requested: message.cancel_requested,
    }
}
