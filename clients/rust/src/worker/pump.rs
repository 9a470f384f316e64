//! What a stream's two tasks do while it is the session's: hand over its frames, and beat.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};
use tonic::Code;

use super::link::Link;
use super::stream::Incoming;
use crate::convert::duration_of;
use crate::errors::Error;
use crate::v1::lease_response::Frame;

/// After a stream that lived this long, the next reconnect is fast again.
const GOOD_AFTER: Duration = Duration::from_secs(5);

impl Link {
    /// Hands the frames of one stream to the session, with heartbeats in between, until it ends or another has taken its
    /// place.
    pub(super) async fn pump(self: Arc<Self>, mut incoming: Incoming, beat: Duration) {
        let opened = Instant::now();
        let mut beats = interval_at(opened + beat, beat);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let end = incoming.end.clone();
        let why = loop {
            tokio::select! {
                // Heartbeats first: frames may come without a pause.
                biased;
                () = end.cancelled() => return,
                _ = beats.tick() => {
                    let mut state = self.session.lock();
                    if !state.stream.as_ref().is_some_and(|stream| stream.is(&end)) {
                        return;
                    }
                    if !state.heartbeat() {
                        break Error::new(Code::Unavailable, "two heartbeats were not answered");
                    }
                }
                response = incoming.frames.message() => match response {
                    Ok(Some(response)) => if let Some(frame) = response.frame {
                        self.take(&incoming, frame);
                    }
                    Ok(None) => break Error::new(Code::Unavailable, "the server has closed it"),
                    Err(status) => break status.into(),
                }
            }
        };
        let good = opened.elapsed() > GOOD_AFTER;
        let wait = {
            let mut state = self.session.lock();
            if !state.stream.as_ref().is_some_and(|stream| stream.is(&end)) {
                return;
            }
            self.ended(&mut state, &why);
            let mut course = self.course();
            if good {
                course.waits.reset();
                Duration::ZERO
            } else {
                // Or a server that welcomes and then hangs up would be asked without a pause.
                course.waits.next()
            }
        };
        drop(incoming);
        sleep(wait).await;
        self.poke();
    }

    fn take(&self, from: &Incoming, frame: Frame) {
        let mut state = self.session.lock();
        if !state.stream.as_ref().is_some_and(|stream| stream.is(&from.end)) {
            return;
        }
        match frame {
            Frame::GoAway(go_away) => {
                tracing::info!(reason = go_away.reason, "the server asks to connect elsewhere");
                let wait = duration_of(go_away.reconnect_after.as_ref()).unwrap_or_default();
                self.course().move_at = Some(Instant::now() + wait);
                self.poke();
            }
            Frame::Goodbye(_) => {
                if !state.draining {
                    let over = Error::new(Code::Unavailable, "the server has ended the session");
                    state.broken(&over, false);
                }
                self.end_session(&mut state);
                // Or a server that always says so would be asked without a pause.
                let mut course = self.course();
                course.move_at = Some(Instant::now() + course.waits.next());
            }
            frame => state.handle(frame),
        }
    }
}
