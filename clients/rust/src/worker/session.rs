//! The worker's session, over all its streams: its leases, and what each frame of the server does to them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::builder::Settings;
use super::capacity::CapacityBook;
use super::lease::{Lease, Place};
use super::progress::ProgressReports;
use super::settlements::Settlements;
use super::status::Condition;
use super::stream::Stream;
use crate::convert::{duration_message, duration_of};
use crate::outcomes::Stop;
use crate::v1;
use crate::v1::lease_request::Frame;

// Where Welcome does not say them.
const DEFAULT_HEARTBEAT: Duration = Duration::from_secs(5);
pub(super) const DEFAULT_TTL: Duration = Duration::from_secs(30);

/// The session, for those who hold it together.
pub(super) struct Session {
    pub(super) settings: Arc<Settings>,
    state: Mutex<State>,
    changed: Notify,
}

impl Session {
    pub(super) fn new(settings: Arc<Settings>, paused: bool, unknown_kinds: Vec<String>) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            settings: settings.clone(),
            state: Mutex::new(State::new(settings, me.clone(), paused, unknown_kinds)),
            changed: Notify::new(),
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a condition on the session holds. False: it did not in time.
    pub(super) async fn until(&self, within: Duration, condition: impl Fn(&State) -> bool) -> bool {
        let holds = async {
            loop {
                let changed = self.changed.notified();
                if condition(&self.lock()) {
                    return;
                }
                changed.await;
            }
        };
        timeout(within, holds).await.is_ok() || condition(&self.lock())
    }

    pub(super) fn notify(&self) {
        self.changed.notify_waiters();
    }
}

/// How long the session lives, as far as its worker knows.
struct Life {
    /// The server has heard of the session after the newest frame was sent that it has answered.
    heard: Instant,
    hello_sent: Instant,
    beats_sent: BTreeMap<i64, Instant>,
    ttl: Duration,
    /// A timer looks whether the worker is cut off.
    watched: bool,
}

/// What the session's lock guards. Nothing in here blocks.
pub(super) struct State {
    pub(super) settings: Arc<Settings>,
    pub(super) me: Weak<Session>,
    /// Counts the sessions of this worker: a lease's number is unique in one of them only.
    pub(super) turn: u64,
    pub(super) leases: HashMap<i64, Lease>,
    pub(super) capacity: CapacityBook,
    pub(super) settlements: Settlements,
    pub(super) progress: ProgressReports,
    pub(super) stream: Option<Stream>,
    pub(super) id: i64,
    token: String,
    /// Between heartbeats.
    pub(super) beat: Duration,
    beat_seq: i64,
    pong_seq: i64,
    life: Life,
    pub(super) condition: Condition,
    /// On the newest stream.
    pub(super) delivered: i64,
    /// Deliveries that came on the old stream after the Hello of a new one, which does not name their leases.
    pub(super) crossed: Vec<v1::Delivery>,
    /// Takes no more jobs, on this stream and on those that follow.
    pub(super) draining: bool,
    /// While a new stream is opened nothing is settled on the old one, so that both sides know what was said.
    pub(super) moving: bool,
    /// The worker has left; timers that still run do nothing.
    pub(super) closed: bool,
}

impl State {
    fn new(settings: Arc<Settings>, me: Weak<Session>, paused: bool, unknown_kinds: Vec<String>) -> Self {
        let mut capacity = CapacityBook::default();
        capacity.paused = paused;
        Self {
            me,
            turn: 0,
            leases: HashMap::new(),
            capacity,
            settlements: Settlements::new(settings.concurrency),
            settings,
            progress: ProgressReports::default(),
            stream: None,
            id: 0,
            token: String::new(),
            beat: DEFAULT_HEARTBEAT,
            beat_seq: 0,
            pong_seq: 0,
            life: Life {
                heard: Instant::now(),
                hello_sent: Instant::now(),
                beats_sent: BTreeMap::new(),
                ttl: DEFAULT_TTL,
                watched: false,
            },
            condition: Condition::new(unknown_kinds),
            delivered: 0,
            crossed: Vec::new(),
            draining: false,
            moving: false,
            closed: false,
        }
    }

    /// Does something under the lock, after a while, unless the worker has left by then.
    pub(super) fn later(&self, wait: Duration, what: impl FnOnce(&mut Self) + Send + 'static) {
        let me = self.me.clone();
        tokio::spawn(async move {
            sleep(wait).await;
            if let Some(session) = me.upgrade() {
                let mut state = session.lock();
                if !state.closed {
                    what(&mut state);
                }
            }
        });
    }

    /// Wakes those who wait for a change.
    pub(super) fn notify(&self) {
        if let Some(session) = self.me.upgrade() {
            session.notify();
        }
    }

    // --- the stream ---

    /// The first frame of a stream: opens the session, or resumes it where there is one. From now on it moves.
    pub(super) fn hello(&mut self) -> v1::LeaseRequest {
        self.moving = true;
        self.life.hello_sent = Instant::now();
        let resume = (!self.token.is_empty()).then(|| v1::Resume {
            session_token: self.token.clone(),
            last_delivery: self.delivered,
            held: self.held(|lease| lease.place == Place::Running),
            unanswered: self.held(Lease::unanswered),
        });
        let hello = v1::Hello {
            worker: self.settings.name.clone(),
            subscriptions: self.settings.subscriptions.clone(),
            capacity: Some(self.capacity.message(&self.settings)),
            labels: self.settings.labels.clone(),
            client: crate::CLIENT_NAME.to_owned(),
            session_ttl: self.settings.session_ttl.map(duration_message),
            payload_format: v1::PayloadFormat::Json.into(),
            features: Vec::new(),
            resume,
        };
        v1::LeaseRequest { last_delivery: 0, frame: Some(Frame::Hello(hello)) }
    }

    fn held(&self, which: impl Fn(&Lease) -> bool) -> Vec<v1::HeldLease> {
        self.leases.values().filter(|lease| which(lease)).map(Lease::held).collect()
    }

    /// Goes on, or begins, on this stream.
    pub(super) fn welcome(&mut self, welcome: v1::Welcome, stream: Stream) {
        // Only now that another takes its place the old one ends.
        self.stream = Some(stream);
        self.moving = false;
        let before = std::mem::replace(&mut self.id, welcome.session_id);
        self.token = welcome.session_token;
        self.beat = duration_of(welcome.heartbeat_interval.as_ref())
            .filter(|interval| !interval.is_zero())
            .unwrap_or(DEFAULT_HEARTBEAT);
        self.life.ttl = duration_of(welcome.session_ttl.as_ref()).filter(|ttl| !ttl.is_zero()).unwrap_or(DEFAULT_TTL);
        self.life.heard = self.life.hello_sent;
        self.life.beats_sent.clear();
        if self.settings.stop_when_lost && !std::mem::replace(&mut self.life.watched, true) {
            self.later(self.life.ttl, Self::stop_if_lost);
        }
        (self.beat_seq, self.pong_seq, self.delivered) = (0, 0, 0);
        // Hello did not name them: they went back uncharged, and may run elsewhere by now.
        self.crossed.clear();
        for each in welcome.revoked {
            self.revoke(each.lease_id, "the session went on without it");
        }
        self.restart_settlements();
        // Names revoked handlers that still run, so that their slots are not given away.
        self.heartbeat();
        if self.draining {
            self.send_drain();
        } else {
            self.say_capacity();
        }
        self.serves(welcome.server, welcome.unknown_kinds, before);
        self.notify();
    }

    /// Goes on with the old stream, if there is one: no other was found.
    pub(super) fn stay(&mut self) {
        self.moving = false;
        self.flush_settlements();
        let crossed = std::mem::take(&mut self.crossed);
        if self.stream.is_some() {
            for each in crossed {
                // Not begun after all: the server that refused may have taken the session over, and then each of these
                // went back and may run elsewhere. A release by a lease that is over is told so, and does no harm.
                self.take(each, false);
            }
        }
        self.notify();
    }

    /// The stream is gone, and with it what it delivered but the session did not take.
    pub(super) fn lost(&mut self) {
        self.stream = None;
        self.crossed.clear();
        self.notify();
    }

    /// The server has ended the session, or does not know it any more. What it still held went back.
    pub(super) fn over(&mut self) {
        let turn = self.turn;
        self.turn += 1;
        self.token.clear();
        self.moving = false;
        self.stream = None;
        self.crossed.clear();
        self.settlements.clear();
        self.settlements.suspects.clear();
        self.progress = ProgressReports::default();
        let mut lost = 0;
        for (_, mut lease) in std::mem::take(&mut self.leases) {
            // Those of revoked leases were told already.
            if lease.place != Place::Done {
                lost += 1;
                lease.give_up(&self.settings.telling, "the session is over");
                if lease.alive {
                    lease.stop(Stop::LeaseRevoked("the session is over".to_owned()));
                }
            }
            if lease.alive {
                self.capacity.orphan(turn, lease);
            }
        }
        if lost > 0 {
            tracing::warn!(jobs = lost, "the session is over; jobs went back, their handlers are stopped");
        }
        self.notify();
    }

    /// The worker leaves: ends the stream, and stops what still runs.
    pub(super) fn close(&mut self) {
        self.closed = true;
        self.stream = None;
        for lease in self.alive() {
            lease.stop(Stop::Shutdown);
        }
    }

    /// How long the worker may be silent, as the server has said last.
    #[cfg(feature = "health")]
    pub(super) fn ttl(&self) -> Duration {
        self.life.ttl
    }

    /// A Welcome is awaited that would begin a session.
    pub(super) fn opening(&self) -> bool {
        self.moving && self.token.is_empty()
    }

    /// A session is there to go on with.
    pub(super) fn is_open(&self) -> bool {
        !self.token.is_empty()
    }

    /// It drains and the server keeps nothing of it; there is nothing left to say.
    pub(super) fn finished(&self) -> bool {
        self.draining && self.token.is_empty()
    }

    /// Every lease whose handler runs, those of earlier sessions included.
    pub(super) fn alive(&self) -> impl Iterator<Item = &Lease> {
        self.leases.values().filter(|lease| lease.alive).chain(self.capacity.orphans())
    }

    /// Does what a frame says. An unknown one is ignored.
    pub(super) fn handle(&mut self, frame: v1::lease_response::Frame) {
        use v1::lease_response::Frame;
        self.condition.hears();
        match frame {
            Frame::Delivery(delivery) => self.deliver(delivery),
            Frame::Settled(settled) => self.settled(settled),
            Frame::Pong(pong) => self.pong(pong.seq),
            Frame::Control(control) => match control.action {
                Some(v1::control::Action::Cancel(cancel)) => {
                    for id in cancel.lease_ids {
                        self.cancel(id, &cancel.reason);
                    }
                }
                Some(v1::control::Action::Revoke(revoke)) => {
                    for id in revoke.lease_ids {
                        self.revoke(id, &revoke.reason);
                    }
                }
                None => {}
            },
            Frame::Welcome(_) | Frame::GoAway(_) | Frame::Goodbye(_) => {}
        }
    }

    /// Sends a heartbeat. False: the last two were not answered, and the stream is as good as dead.
    pub(super) fn heartbeat(&mut self) -> bool {
        if self.beat_seq - self.pong_seq >= 2 {
            return false;
        }
        self.flush_settlements();
        self.beat_seq += 1;
        self.life.beats_sent.insert(self.beat_seq, Instant::now());
        // Those that are settled and wait for the answer alone are no longer held: they should free their slots.
        let held = self
            .leases
            .values()
            .filter(|lease| lease.alive || lease.place != Place::Sent)
            .map(|lease| lease.id)
            .collect();
        self.send(Frame::Heartbeat(v1::Heartbeat { seq: self.beat_seq, held }));
        true
    }

    fn pong(&mut self, seq: i64) {
        self.pong_seq = self.pong_seq.max(seq);
        let open = self.life.beats_sent.split_off(&(self.pong_seq + 1));
        let answered = std::mem::replace(&mut self.life.beats_sent, open);
        if let Some((_, sent)) = answered.last_key_value() {
            self.life.heard = *sent;
        }
    }

    /// Stops the handlers if no server can have heard of the session for its ttl, and else looks again.
    fn stop_if_lost(&mut self) {
        let left = self.life.ttl.saturating_sub(self.life.heard.elapsed());
        self.life.watched = self.is_open() && !left.is_zero();
        if self.life.watched {
            self.later(left, Self::stop_if_lost);
        } else if self.is_open() {
            let running = self.leases.values().filter(|lease| lease.runs());
            tracing::warn!(
                ttl = ?self.life.ttl,
                running = running.clone().count(),
                "no server was heard for the session's ttl; its handlers are stopped"
            );
            running.for_each(|lease| lease.stop(Stop::Lost));
        }
    }

    pub(super) fn send(&mut self, frame: Frame) {
        if let Some(stream) = &mut self.stream {
            stream.send(Some(frame));
        }
    }

    pub(super) fn send_drain(&mut self) {
        self.send(Frame::Drain(v1::Drain { reason: "the worker is shutting down".to_owned() }));
    }

    pub(super) fn say_capacity(&mut self) {
        let capacity = self.capacity.message(&self.settings);
        self.send(Frame::Capacity(capacity));
    }

    /// Declares no capacity, or all of it again.
    pub(super) fn pause(&mut self, paused: bool) {
        self.capacity.paused = paused;
        self.say_capacity();
    }
}
