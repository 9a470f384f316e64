//! Keeps the session on a stream: connects, reconnects for ever, and moves when it is asked to.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tonic::Code;

use super::session::{Session, State};
use super::stream::Stream;
use crate::backoff::Backoff;
use crate::errors::{Error, ErrorKind};

const WELCOME_WITHIN: Duration = Duration::from_secs(10);
/// How long a server is left alone that does not take the credentials: an administrator mends it, or a new token does.
const UNAUTHENTICATED_WAIT: Duration = Duration::from_secs(30);
/// How often that is said.
const SAY_UNAUTHENTICATED_EVERY: Duration = Duration::from_secs(60);
/// What no other try will mend. Only before the first Welcome: later it is a fault of one server among several, or of a
/// token that is renewed.
pub(super) const HOPELESS: [ErrorKind; 3] = [ErrorKind::InvalidRequest, ErrorKind::NotAllowed, ErrorKind::NotSupported];

/// The session's connection.
pub(super) struct Link {
    pub(super) session: Arc<Session>,
    wake: Notify,
    course: Mutex<Course>,
}

/// Where the link is going. Its lock is taken after the session's, never before.
pub(super) struct Course {
    /// A move is asked for, and not before this moment.
    pub(super) move_at: Option<Instant>,
    pub(super) waits: Backoff,
    /// How many targets were tried.
    tried: usize,
    welcomed: bool,
    said_lost: bool,
    /// When it was last said that the credentials are not taken.
    said_unauthenticated: Option<Instant>,
}

impl Link {
    pub(super) fn new(session: Arc<Session>) -> Arc<Self> {
        Arc::new(Self {
            session,
            wake: Notify::new(),
            course: Mutex::new(Course {
                move_at: None,
                waits: Backoff::of_worker(),
                tried: 0,
                welcomed: false,
                said_lost: false,
                said_unauthenticated: None,
            }),
        })
    }

    pub(super) fn course(&self) -> MutexGuard<'_, Course> {
        self.course.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds the session until the token is cancelled and the drain is through.
    pub(super) async fn run(self: Arc<Self>, shutdown: CancellationToken) -> Result<(), Error> {
        let leave = async {
            shutdown.cancelled().await;
            self.drain().await;
        };
        tokio::select! {
            () = leave => Ok(()),
            refused = self.keep() => Err(refused),
        }
    }

    /// Ends with what no other try will mend.
    async fn keep(self: &Arc<Self>) -> Error {
        loop {
            if self.wanted() {
                if let Err(hopeless) = self.connect().await {
                    return hopeless;
                }
            } else {
                self.wake.notified().await;
            }
        }
    }

    /// A session that has drained and ended is not opened again, though handlers of it may run on.
    fn wanted(&self) -> bool {
        let state = self.session.lock();
        (state.stream.is_none() || self.course().move_at.is_some()) && !state.finished()
    }

    /// Looks again whether another stream is wanted.
    pub(super) fn poke(&self) {
        self.wake.notify_one();
    }

    /// One try to open a stream. What fails is followed by a wait; an error is what no other try will mend.
    async fn connect(self: &Arc<Self>) -> Result<(), Error> {
        let move_at = self.course().move_at;
        if let Some(moment) = move_at {
            sleep_until(moment).await;
        }
        let hello = {
            let mut state = self.session.lock();
            if state.finished() {
                return Ok(());
            }
            state.hello()
        };
        let target = self.next_target();
        let opening = Stream::open(&self.session.settings.access, &target, hello);
        let opened = timeout(WELCOME_WITHIN, opening).await.unwrap_or_else(|_| {
            let words = format!("no Welcome within {WELCOME_WITHIN:?}");
            Err(Error::new(Code::Unavailable, words))
        });
        let (stream, incoming, welcome) = match opened {
            Ok(opened) => opened,
            Err(error) => return self.refused(&target, error).await,
        };
        let mut state = self.session.lock();
        let what = if state.is_open() { "session resumed" } else { "session opened" };
        let (session, server) = (welcome.session_id, welcome.server.clone());
        state.welcome(welcome, stream);
        tracing::info!(session, target, server, "{what}");
        let mut course = self.course();
        course.welcomed = true;
        course.said_lost = false;
        course.move_at = None;
        tokio::spawn(self.clone().pump(incoming, state.beat));
        Ok(())
    }

    fn next_target(&self) -> String {
        let targets = &self.session.settings.targets;
        let mut course = self.course();
        let target = &targets[course.tried % targets.len()];
        course.tried += 1;
        target.clone()
    }

    /// Decides what a failed try means.
    async fn refused(&self, target: &str, error: Error) -> Result<(), Error> {
        let wait = {
            let mut state = self.session.lock();
            if error.is(ErrorKind::SessionUnknown) {
                self.session_gone(&mut state, &error);
                return Ok(());
            }
            state.stay();
            let mut course = self.course();
            let hopeless = HOPELESS.iter().any(|kind| error.is(*kind));
            if !course.welcomed && hopeless {
                return Err(error);
            }
            if state.stream.is_none() {
                state.broken(&error, hopeless);
            }
            if state.stream.is_some() {
                // It goes on there, and soon tries again: a new token may be on its way.
                course.waits.next()
            } else if error.is(ErrorKind::Unauthenticated) {
                course.say_unauthenticated(target, &error);
                UNAUTHENTICATED_WAIT
            } else {
                course.say_lost(&format!("can't reach {target}"), &error, &state);
                course.waits.next()
            }
        };
        sleep(wait).await;
        Ok(())
    }

    /// The session's stream has ended, or does not answer: another one is wanted.
    pub(super) fn ended(&self, state: &mut State, error: &Error) {
        if error.is(ErrorKind::SessionUnknown) {
            self.session_gone(state, error);
            // Or a server that always says so would be asked without a pause.
            let mut course = self.course();
            course.move_at = Some(Instant::now() + course.waits.next());
            return;
        }
        state.lost();
        state.broken(error, false);
        let mut course = self.course();
        if course.move_at.take().is_some() {
            tracing::info!(%error, "the stream that was to be left has ended");
        } else {
            course.say_lost("the stream was lost", error, state);
        }
        drop(course);
        if error.is(ErrorKind::TooLarge) {
            state.too_large_frame(error);
        }
    }

    fn session_gone(&self, state: &mut State, error: &Error) {
        tracing::warn!(%error, "the server has no such session any more");
        state.broken(error, false);
        self.end_session(state);
    }

    /// The server has ended the session; its stream goes with it. The next one opens another, unless it drains.
    pub(super) fn end_session(&self, state: &mut State) {
        self.course().move_at = None;
        state.over();
        self.poke();
    }
}

impl Course {
    fn say_unauthenticated(&mut self, target: &str, error: &Error) {
        if self.said_unauthenticated.is_none_or(|said| said.elapsed() >= SAY_UNAUTHENTICATED_EVERY) {
            self.said_unauthenticated = Some(Instant::now());
            let every = UNAUTHENTICATED_WAIT;
            tracing::warn!(%error, target, ?every, "the server does not take the credentials; trying again");
        }
    }

    /// Says so once until there is a stream again: an hour's outage is one line, not a thousand.
    fn say_lost(&mut self, what: &str, error: &Error, state: &State) {
        if !std::mem::replace(&mut self.said_lost, true) {
            let running = state.alive().count();
            tracing::warn!(%error, running, "{what}; trying again until a server answers");
        }
    }
}
