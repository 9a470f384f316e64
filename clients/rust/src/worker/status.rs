//! How a worker is.

use std::fmt;
#[cfg(feature = "health")]
use std::time::Duration;
use std::time::{Instant, SystemTime};

use prost_types::Timestamp;
use serde_json::{Value, json};

#[cfg(feature = "health")]
use super::session::DEFAULT_TTL;
use super::session::State;
use crate::convert::count;
use crate::errors::Error;

/// What a worker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WorkerState {
    /// No server has welcomed it yet.
    Starting,
    /// It holds a stream to a server.
    Serving,
    /// It has lost its stream, and tries to get another one. Its handlers run on.
    Reconnecting,
    /// It takes no more jobs, and finishes those that it has.
    Draining,
    /// `run` has ended.
    Ended,
    /// A server has refused what no other try mends: the credentials, a permission or a field.
    Refused,
}

impl WorkerState {
    /// Its name in `/livez` and `/readyz`, for example `serving`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::Reconnecting => "reconnecting",
            Self::Draining => "draining",
            Self::Ended => "ended",
            Self::Refused => "refused",
        }
    }
}

impl fmt::Display for WorkerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a worker is, as it was when [`Worker::status`](crate::Worker::status) was asked. Times are by the worker's clock.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerStatus {
    /// What it does.
    pub state: WorkerState,
    /// The name of the server that holds its session, or held it last. Empty: none has welcomed it.
    pub server: String,
    /// The number of its newest session. 0: it has had none.
    pub session: i64,
    /// Since when it is in this state.
    pub since: SystemTime,
    /// When the newest frame of a server came. `None`: none has come.
    pub last_heard: Option<SystemTime>,
    /// How many jobs it takes at most now. 0 while it is paused.
    pub slots: u32,
    /// How many handlers run, those of `orphans` included.
    pub running: usize,
    /// How many handlers run on though their session is over.
    pub orphans: usize,
    /// The kinds that it has handlers for, sorted.
    pub kinds: Vec<String>,
    /// Those of them that the server does not know, as of its last welcome: no job of them can be enqueued.
    pub unknown_kinds: Vec<String>,
    /// Why it lost its stream or was refused, the last time. Empty: neither has happened.
    pub last_error: String,
    /// How many events its [`Observer`](crate::Observer) was not told of, because 10,000 waited already.
    pub observer_dropped: u64,
}

impl WorkerStatus {
    /// As the body of `/livez` and `/readyz`: times are RFC 3339, null where there is none.
    pub fn as_json(&self) -> Value {
        let time = |time: SystemTime| Timestamp::from(time).to_string();
        json!({
            "state": self.state.as_str(),
            "server": self.server,
            "session": self.session,
            "since": time(self.since),
            "last_heard": self.last_heard.map(time),
            "slots": self.slots,
            "running": self.running,
            "orphans": self.orphans,
            "kinds": self.kinds,
            "unknown_kinds": self.unknown_kinds,
            "last_error": self.last_error,
            "observer_dropped": self.observer_dropped,
        })
    }
}

/// The session's part of it.
pub(super) struct Condition {
    state: WorkerState,
    since: SystemTime,
    /// The same by the monotonic clock, for which nothing changes when a clock is set.
    #[cfg(feature = "health")]
    entered: Instant,
    server: String,
    heard: Option<Instant>,
    unknown_kinds: Vec<String>,
    last_error: String,
    /// When the runtime has last run the session's own task; where health is asked for.
    #[cfg(feature = "health")]
    pub(super) ticked: Instant,
}

impl Condition {
    /// What the last session of the same worker knew of its kinds is said once alone.
    pub(super) fn new(unknown_kinds: Vec<String>) -> Self {
        Self {
            state: WorkerState::Starting,
            since: SystemTime::now(),
            #[cfg(feature = "health")]
            entered: Instant::now(),
            server: String::new(),
            heard: None,
            unknown_kinds,
            last_error: String::new(),
            #[cfg(feature = "health")]
            ticked: Instant::now(),
        }
    }

    /// A frame has come.
    pub(super) fn hears(&mut self) {
        self.heard = Some(Instant::now());
    }

    /// Whether the session goes on, with a server or without one.
    #[cfg(feature = "health")]
    pub(super) fn live(&self, ttl: Duration) -> bool {
        self.ticked.elapsed() <= ttl.max(DEFAULT_TTL)
    }

    /// Whether the worker takes jobs, or will soon again.
    #[cfg(feature = "health")]
    pub(super) fn ready(&self, ttl: Duration) -> bool {
        match self.state {
            WorkerState::Serving => true,
            WorkerState::Reconnecting => self.entered.elapsed() < ttl,
            _ => false,
        }
    }
}

impl State {
    pub(super) fn status(&self) -> WorkerStatus {
        let condition = &self.condition;
        WorkerStatus {
            state: condition.state,
            server: condition.server.clone(),
            session: self.id,
            since: condition.since,
            last_heard: condition.heard.map(|heard| SystemTime::now() - heard.elapsed()),
            slots: count(self.capacity.message(&self.settings).slots),
            running: self.alive().count(),
            orphans: self.capacity.orphans().count(),
            kinds: self.settings.kinds(),
            unknown_kinds: condition.unknown_kinds.clone(),
            last_error: condition.last_error.clone(),
            observer_dropped: self.settings.telling.dropped(),
        }
    }

    /// Notes that the runtime runs the session. False: the worker has left.
    #[cfg(feature = "health")]
    pub(super) fn tick(&mut self) -> bool {
        self.condition.ticked = Instant::now();
        !self.closed
    }

    /// A server has welcomed the worker; `before` is the number of the session until then.
    pub(super) fn serves(&mut self, server: String, unknown_kinds: Vec<String>, before: i64) {
        self.condition.hears();
        self.knows_not(unknown_kinds);
        let elsewhere = server != self.condition.server || before != self.id;
        self.condition.server = server;
        if elsewhere || self.condition.state != WorkerState::Serving {
            self.enter(WorkerState::Serving);
        }
    }

    /// Is in another state, or at another server. A worker that drains does so until it has ended.
    pub(super) fn enter(&mut self, next: WorkerState) {
        let ends = matches!(next, WorkerState::Ended | WorkerState::Refused);
        let next = if self.draining && !ends { WorkerState::Draining } else { next };
        if next != self.condition.state {
            self.condition.state = next;
            self.condition.since = SystemTime::now();
            #[cfg(feature = "health")]
            {
                self.condition.entered = Instant::now();
            }
        }
        if self.settings.telling.on() {
            let status = self.status();
            self.settings.telling.tell(move |observer| observer.session_changed(&status));
        }
    }

    /// There is no stream, for this reason.
    pub(super) fn broken(&mut self, why: &Error, refused: bool) {
        self.condition.last_error = why.to_string();
        let next = match (refused, self.condition.server.is_empty()) {
            (true, _) => WorkerState::Refused,
            (false, true) => WorkerState::Starting,
            (false, false) => WorkerState::Reconnecting,
        };
        if next != self.condition.state && !self.draining {
            self.enter(next);
        }
    }

    /// `run` has ended, by an error or without one.
    pub(super) fn end(&mut self, error: Option<&Error>) {
        if let Some(error) = error {
            self.condition.last_error = error.to_string();
            self.enter(WorkerState::Refused);
        } else if !matches!(self.condition.state, WorkerState::Ended | WorkerState::Refused) {
            self.enter(WorkerState::Ended);
        }
    }

    fn knows_not(&mut self, mut kinds: Vec<String>) {
        kinds.sort();
        if !kinds.is_empty() && kinds != self.condition.unknown_kinds {
            let (quoted, plain) = (kinds.join("\", \""), kinds.join(", "));
            tracing::warn!(
                "the server knows no kind \"{quoted}\": no job of it can be enqueued; declare it by sync_kinds or \
                 PutKind (jobqueue kinds put {plain})"
            );
        }
        self.condition.unknown_kinds = kinds;
    }
}
