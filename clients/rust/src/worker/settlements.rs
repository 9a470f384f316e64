//! The session's part that keeps every outcome until its answer has come, and sends it again on a new stream.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use prost::Message;

use super::lease::{Lease, Place};
use super::session::State;
use crate::backoff::Backoff;
use crate::v1;
use crate::v1::lease_request::Frame;

const FRAME_OUTCOMES: usize = 1000;
/// A frame may measure 4 MiB; one outcome at most 3 MiB and a little.
const FRAME_BYTES: usize = 2 * 1024 * 1024;
/// While an answer is awaited, outcomes gather for so long, or until half of the slots wait: a frame and its answer cost
/// the server about as much as a hundred outcomes in it.
const LINGER: Duration = Duration::from_millis(10);

/// Leases by number. The outcomes are with the leases; one whose lease is elsewhere by now is passed over.
pub(super) struct Settlements {
    /// So many outcomes that wait are sent at once.
    enough: usize,
    waiting: Vec<i64>,
    frames: HashMap<i64, Vec<i64>>,
    /// Not answered because a frame was too large for the server: while there are any, a frame holds one.
    pub(super) suspects: HashSet<i64>,
    seq: i64,
    planned: bool,
    waits: Backoff,
}

impl Settlements {
    pub(super) fn new(slots: u32) -> Self {
        Self {
            enough: FRAME_OUTCOMES.min(slots.div_ceil(2) as usize),
            waiting: Vec::new(),
            frames: HashMap::new(),
            suspects: HashSet::new(),
            seq: 0,
            planned: false,
            waits: Backoff::of_worker(),
        }
    }

    /// Forgets all of them: the session is over.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        self.frames.clear();
    }
}

impl Lease {
    /// It is settled, and the answer has not come.
    pub(super) fn unanswered(&self) -> bool {
        matches!(self.place, Place::Waiting | Place::Sent | Place::HeldBack)
    }
}

impl State {
    /// Takes the outcome of a lease.
    pub(super) fn add_settlement(&mut self, id: i64) {
        let Some(lease) = self.leases.get_mut(&id) else { return };
        lease.place = Place::Waiting;
        self.settlements.waiting.push(id);
        if self.settlements.frames.is_empty() || self.settlements.waiting.len() >= self.settlements.enough {
            self.flush_settlements();
        } else if !std::mem::replace(&mut self.settlements.planned, true) {
            self.later(LINGER, |state| {
                state.settlements.planned = false;
                state.flush_settlements();
            });
        }
    }

    /// Sends what waits, if it can be sent now.
    pub(super) fn flush_settlements(&mut self) {
        if self.stream.is_none() || self.moving {
            return;
        }
        let mut waiting = std::mem::take(&mut self.settlements.waiting);
        waiting.retain(|id| self.leases.get(id).is_some_and(|lease| lease.place == Place::Waiting));
        let open = |id: &i64| self.leases.get(id).is_some_and(|lease| lease.place != Place::Done);
        self.settlements.suspects.retain(open);
        let most = if self.settlements.suspects.is_empty() { FRAME_OUTCOMES } else { 1 };
        let mut rest = waiting.as_slice();
        while !rest.is_empty() {
            let (frame, count) = self.frame(&rest[..most.min(rest.len())]);
            let (sent, later) = rest.split_at(count);
            for id in sent {
                if let Some(lease) = self.leases.get_mut(id) {
                    lease.place = Place::Sent;
                }
            }
            self.settlements.seq = frame.seq;
            self.settlements.frames.insert(frame.seq, sent.to_vec());
            self.send(Frame::Settle(frame));
            rest = later;
        }
    }

    /// A frame of as many of these as it takes, at least one, and how many those are.
    fn frame(&self, waiting: &[i64]) -> (v1::Settle, usize) {
        let mut frame = v1::Settle { seq: self.settlements.seq + 1, ..v1::Settle::default() };
        let (mut bytes, mut count) = (0, 0);
        for id in waiting {
            match self.leases.get(id).and_then(|lease| lease.outcome.as_ref()) {
                None => frame.succeeded.push(*id),
                Some(outcome) => {
                    bytes += outcome.encoded_len();
                    if bytes > FRAME_BYTES && count > 0 {
                        break;
                    }
                    frame.outcomes.push(outcome.clone());
                }
            }
            count += 1;
        }
        (frame, count)
    }

    /// The stream has ended for a frame that is larger than the server takes: from now on each outcome goes alone. Answers
    /// the lease whose outcome is too large by itself, and its bytes; none: the frame held several.
    pub(super) fn too_large(&mut self) -> Option<(i64, usize)> {
        let bytes = |id: &i64| {
            let outcome = self.leases.get(id).and_then(|lease| lease.outcome.as_ref());
            outcome.map_or(0, Message::encoded_len)
        };
        let sum = |sent: &&Vec<i64>| sent.iter().map(bytes).sum::<usize>();
        let largest = self.settlements.frames.values().max_by_key(sum).cloned().unwrap_or_default();
        let alone = match largest[..] {
            [id] => Some((id, bytes(&id))).filter(|(_, bytes)| *bytes > 0),
            _ => None,
        };
        let sent = |id: &&i64| self.leases.get(id).is_some_and(|lease| lease.place == Place::Sent);
        let suspects: Vec<i64> = self.settlements.frames.values().flatten().filter(sent).copied().collect();
        let alone = alone.filter(|(id, _)| suspects.contains(id));
        self.settlements.suspects.extend(suspects);
        alone
    }

    /// Takes the leases of a frame out. They are still kept: the session decides what an answer means, and forgets them
    /// or sends them again.
    pub(super) fn answered(&mut self, settled: &v1::Settled) -> Vec<i64> {
        if settled.exceptions.is_empty() {
            self.settlements.waits.reset();
        }
        let mut ids = self.settlements.frames.remove(&settled.seq).unwrap_or_default();
        ids.retain(|id| self.leases.get(id).is_some_and(|lease| lease.place == Place::Sent));
        ids
    }

    /// Sends outcomes again after a while that grows: the server could not commit them.
    pub(super) fn settle_again_later(&mut self, ids: Vec<i64>) {
        for id in &ids {
            if let Some(lease) = self.leases.get_mut(id) {
                lease.place = Place::HeldBack;
            }
        }
        let (wait, turn) = (self.settlements.waits.next(), self.turn);
        self.later(wait, move |state| {
            for id in ids {
                // A restart in between has sent it already; a revocation has dropped it.
                let held_back = |lease: &Lease| lease.place == Place::HeldBack;
                if state.turn == turn && state.leases.get(&id).is_some_and(held_back) {
                    state.add_settlement(id);
                }
            }
        });
    }

    /// Sends everything on a new stream, whose frames are counted from 1.
    pub(super) fn restart_settlements(&mut self) {
        self.settlements.clear();
        self.settlements.seq = 0;
        for (id, lease) in &mut self.leases {
            if lease.unanswered() {
                lease.place = Place::Waiting;
                self.settlements.waiting.push(*id);
            }
        }
        self.flush_settlements();
    }
}
