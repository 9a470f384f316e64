//! How many enqueues may be in flight at once, as the server's hints say: more by one a round, less by a part.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use tonic::Code;
use tonic::metadata::MetadataMap;

use crate::errors::Error;

const PRESSURE: &str = "jobqueue-pressure";
const REFUSALS: [&str; 2] = ["QUEUE_FULL", "QUEUE_BACKLOG_FULL"];
const FIRST: f64 = 64.0;
const LEAST: f64 = 1.0;
const MOST: f64 = 1000.0;
/// What is left of the bound after a hint, and after a refusal.
const HINTED: f64 = 0.8;
const REFUSED: f64 = 0.5;

/// Lets so many calls go at once; the others wait for their turns, first come first.
///
/// The bound grows by one for each round of calls that were answered without a hint, while it is reached. A round that
/// brings hints or refusals makes it smaller, once however many it brings: they tell of the same.
#[derive(Debug)]
pub(crate) struct Window(Mutex<State>);

#[derive(Debug)]
struct State {
    /// How many may be in flight, but for the fraction.
    bound: f64,
    /// How many are.
    in_flight: u32,
    /// Grows when the bound gets smaller: what began before tells nothing of the new one.
    round: u64,
    line: VecDeque<oneshot::Sender<Place>>,
}

impl State {
    fn has_room(&self) -> bool {
        f64::from(self.in_flight) + 1.0 <= self.bound
    }
}

impl Window {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(State { bound: FIRST, in_flight: 0, round: 0, line: VecDeque::new() }))
    }

    /// Waits until one more call may go. At `ends` it fails, and says that the wait was for `limit`.
    pub(crate) async fn turn_until(self: &Arc<Self>, ends: Instant, limit: Duration) -> Result<Turn, Error> {
        timeout_at(ends, self.turn()).await.map_err(|_| {
            let (limit, in_flight) = (limit.as_secs_f64(), self.lock().in_flight);
            let words = format!(
                "the call was not sent: for {limit} s the server had no room for more than the {in_flight} enqueues in \
                 flight"
            );
            Error::new(Code::DeadlineExceeded, words)
        })
    }

    async fn turn(self: &Arc<Self>) -> Turn {
        let place = match self.enter() {
            Ok(place) => place,
            Err(waits) => waits.await.expect("who stands in the line is let in"),
        };
        Turn { began: self.lock().round, place }
    }

    /// A place, or what waits for one in the line.
    fn enter(self: &Arc<Self>) -> Result<Place, oneshot::Receiver<Place>> {
        let mut state = self.lock();
        if state.line.is_empty() && state.has_room() {
            state.in_flight += 1;
            return Ok(Place(Arc::clone(self)));
        }
        let (lets_in, waits) = oneshot::channel();
        state.line.push_back(lets_in);
        Err(waits)
    }

    /// A call is over: the next may go.
    fn leave(self: &Arc<Self>) {
        self.lock().in_flight -= 1;
        while let Some(next) = self.next() {
            if next.is_closed() {
                // It has given up.
                self.lock().in_flight -= 1;
            } else {
                // Without the lock. One that gives up at the same moment drops its place, and so leaves it to the next.
                let _ = next.send(Place(Arc::clone(self)));
            }
        }
    }

    /// The first in the line, where there is room for it. It is in flight from now on.
    fn next(&self) -> Option<oneshot::Sender<Place>> {
        let mut state = self.lock();
        let next = if state.has_room() { state.line.pop_front() } else { None }?;
        state.in_flight += 1;
        Some(next)
    }

    /// A call was answered without a hint.
    fn grow(&self) {
        let mut state = self.lock();
        if !state.has_room() {
            state.bound = (state.bound + 1.0 / state.bound).min(MOST);
        }
    }

    /// A call that began in this round was told to slow down: this part of the bound is left.
    /// Returns the round that it is now.
    fn shrink(&self, part: f64, began: u64) -> u64 {
        let mut state = self.lock();
        if began == state.round {
            state.round += 1;
            state.bound = (state.bound * part).max(LEAST);
        }
        state.round
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of those in flight, until it is dropped.
#[derive(Debug)]
struct Place(Arc<Window>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// One call's turn, with all its tries. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    place: Place,
    /// The round in which the call began.
    began: u64,
}

impl Turn {
    /// The call was answered, with this metadata; tonic puts the trailers into it.
    pub(crate) fn answered(&self, metadata: &MetadataMap) {
        if metadata.contains_key(PRESSURE) {
            self.place.0.shrink(HINTED, self.began);
        } else {
            self.place.0.grow();
        }
    }

    /// The call was refused, or failed; it may be sent again within the same turn.
    pub(crate) fn refused(&mut self, failure: &Error) {
        if REFUSALS.contains(&failure.reason()) {
            self.began = self.place.0.shrink(REFUSED, self.began);
        }
    }
}
