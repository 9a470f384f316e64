//! Calls that are made again while that is safe and there is time.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Code, Request, Response, Status};

use crate::access::Access;
use crate::adaptive::Window;
use crate::backoff::Backoff;
use crate::errors::{Error, ErrorKind, reached};

/// As long as a clock holds.
const LONGEST: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// Whether a client has found a server; the first call that finds none says what to do about it.
#[derive(Debug)]
pub(crate) struct FirstUse {
    target: String,
    /// The target is that of the environment.
    of_environment: bool,
    /// A server has answered, or it was said what to do where none does.
    known: AtomicBool,
}

impl FirstUse {
    pub(crate) fn new(target: String, of_environment: bool) -> Self {
        Self { target, of_environment, known: AtomicBool::new(false) }
    }

    fn answered(&self) {
        if !self.known.load(Ordering::Relaxed) {
            self.known.store(true, Ordering::Relaxed);
        }
    }

    fn hinted(&self, failure: Error) -> Error {
        if !failure.is(ErrorKind::Unavailable)
            || !failure.reason().is_empty()
            || reached(&failure)
            || self.known.swap(true, Ordering::Relaxed)
        {
            return failure;
        }
        let (target, or) = (&self.target, if self.of_environment { ", or set JOBQUEUE_SERVER" } else { "" });
        failure.noted(format!("nothing answers at {target}; start a server by \"make run\" or \"jobqueue-server\"{or}"))
    }
}

/// Makes a call, again and again while it may be repeated and there is time.
///
/// Repeated are UNAVAILABLE, and RESOURCE_EXHAUSTED where the server says when to come back. The limit is for all tries
/// together, and for the wait before the first: with a window the call takes a turn of it.
pub(crate) async fn make<Q, A, F, R>(
    access: &Access,
    first: &FirstUse,
    limit: Duration,
    repeat: bool,
    window: Option<&Arc<Window>>,
    request: Q,
    send: F,
) -> Result<A, Error>
where
    Q: Clone,
    F: Fn(Request<Q>) -> R,
    R: Future<Output = Result<Response<A>, Status>>,
{
    let ends = Instant::now() + limit.min(LONGEST);
    let mut turn = match window {
        Some(window) => Some(window.turn_until(ends, limit).await?),
        None => None,
    };
    let mut waits = Backoff::of_calls();
    let mut before: Option<Error> = None;
    loop {
        let mut message = Request::new(request.clone());
        access.authorize(&mut message).await?;
        message.set_timeout(ends.saturating_duration_since(Instant::now()));
        let mut failure = match timeout_at(ends, send(message)).await {
            Ok(Ok(answer)) => {
                first.answered();
                if let Some(turn) = &turn {
                    turn.answered(answer.metadata());
                }
                return Ok(answer.into_inner());
            }
            Ok(Err(status)) => Error::from(status),
            Err(_) => Error::new(Code::DeadlineExceeded, format!("no answer within {limit:?}")),
        };
        if let Some(turn) = &mut turn {
            turn.refused(&failure);
        }
        if !failure.is(ErrorKind::Unavailable) && !failure.is(ErrorKind::DeadlineExceeded) {
            first.answered();
        }
        if !repeat {
            return Err(first.hinted(failure));
        }
        let late = failure.is(ErrorKind::DeadlineExceeded);
        let wait = pause_after(&failure, &mut waits);
        match before.take() {
            // The cause says more than "deadline exceeded" would.
            Some(cause) if late => failure = cause,
            _ if wait.is_none() => return Err(first.hinted(failure)),
            _ => {}
        }
        let wait = wait.unwrap_or_default();
        if late || Instant::now() + wait > ends {
            return Err(first.hinted(failure.noted("tried again until the deadline")));
        }
        before = Some(failure);
        sleep(wait).await;
    }
}

/// Makes a call by the method of a stub.
macro_rules! call {
    ($client:ident.$stub:ident.$method:ident, $request:expr, repeat: $repeat:expr) => {
        call!($client.$stub.$method, $request, repeat: $repeat, within: $client.deadline)
    };
    ($client:ident.$stub:ident.$method:ident, $request:expr, repeat: $repeat:expr, within: $limit:expr) => {
        call!($client.$stub.$method, $request, repeat: $repeat, within: $limit, window: None)
    };
    (
        $client:ident.$stub:ident.$method:ident, $request:expr,
        repeat: $repeat:expr, within: $limit:expr, window: $window:expr
    ) => {
        $crate::calls::make(
            &$client.access,
            &$client.first,
            $limit,
            $repeat,
            $window,
            $request,
            |request: ::tonic::Request<_>| {
                let mut stub = $client.$stub.clone();
                async move { stub.$method(request).await }
            },
        )
    };
}
pub(crate) use call;

/// The same, in turn where the client is adaptive.
macro_rules! paced_call {
    ($client:ident.$stub:ident.$method:ident, $request:expr, repeat: $repeat:expr) => {
        $crate::calls::call!(
            $client.$stub.$method, $request,
            repeat: $repeat, within: $client.deadline, window: $client.window.as_ref()
        )
    };
}
pub(crate) use paced_call;

/// The longest that one call of WaitJob or WaitOperation waits; more is done by calling again.
pub(crate) const ONE_WAIT: Duration = Duration::from_secs(30);

/// Asks again and again, each time for as long as the server waits at most, until the answer is over, or the time is: then the
/// answer is as it is. `None`: for as long as it takes.
pub(crate) async fn wait_until<T, F>(
    within: Option<Duration>,
    over: impl Fn(&T) -> bool,
    ask: impl Fn(Duration) -> F,
) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    // One that no clock reaches is none.
    let ends = within.and_then(|within| Instant::now().checked_add(within));
    let left = || ends.map(|ends| ends.saturating_duration_since(Instant::now()));
    loop {
        let answer = ask(left().unwrap_or(ONE_WAIT).min(ONE_WAIT)).await?;
        if over(&answer) || left().is_some_and(|left| left.is_zero()) {
            return Ok(answer);
        }
    }
}

/// How long to wait before another try. `None`: one is of no use.
pub(crate) fn pause_after(failure: &Error, waits: &mut Backoff) -> Option<Duration> {
    // At least what the server asks for, and never all callers at the same moment.
    match failure.kind().general() {
        ErrorKind::Unavailable => Some(failure.retry_after().unwrap_or_default() + waits.next()),
        ErrorKind::Overloaded => failure.retry_after().map(|asked| asked + waits.next()),
        _ => None,
    }
}

/// As `pause_after`, of a stream: one that was cut, and not by a JobQueue server that had something to say, is opened again.
pub(crate) fn pause_of_stream(failure: &Error, waits: &mut Backoff) -> Option<Duration> {
    let cut = failure.reason().is_empty() && matches!(failure.code(), Code::Cancelled | Code::Internal | Code::Unknown);
    pause_after(failure, waits).or_else(|| cut.then(|| waits.next()))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::future::ready;

    use tonic_types::{ErrorDetails, StatusExt};

    use super::*;

    #[tokio::test]
    async fn a_wait_lasts_until_it_is_over_however_often_the_server_answers() {
        let asked = RefCell::new(Vec::new());
        let ask = |wait| {
            asked.borrow_mut().push(wait);
            ready(Ok(asked.borrow().len()))
        };
        assert_eq!(wait_until(None, |times| *times == 3, ask).await.unwrap(), 3);
        assert_eq!(*asked.borrow(), [ONE_WAIT; 3]);
    }

    #[tokio::test]
    async fn a_wait_ends_with_its_time_and_answers_what_is_there() {
        let within = Duration::from_millis(40);
        let began = Instant::now();
        let ask = |wait| async move {
            sleep(wait).await;
            Ok(wait)
        };
        let last = wait_until(Some(within), |_| false, ask).await.unwrap();
        assert!(began.elapsed() >= within && last <= within);
    }

    #[test]
    fn a_stream_that_was_cut_is_opened_again_unless_a_server_said_why() {
        for code in [Code::Cancelled, Code::Internal, Code::Unknown] {
            let cut = Error::from(Status::new(code, "reset"));
            assert!(pause_of_stream(&cut, &mut Backoff::of_calls()).is_some(), "{code:?}");
            let details = ErrorDetails::with_error_info("SAID_SO", "jobqueue", [("by".to_owned(), "it".to_owned())]);
            let said = Error::from(Status::with_error_details(code, "why", details));
            assert_eq!(pause_of_stream(&said, &mut Backoff::of_calls()), None, "{code:?}");
        }
    }

    #[test]
    fn a_full_backlog_is_tried_again_where_the_server_says_when() {
        for reason in ["QUEUE_BACKLOG_FULL", "KEY_BACKLOG_FULL", "OVERLOADED"] {
            let mut details = ErrorDetails::with_error_info(reason, "jobqueue", [("limit".to_owned(), "2".to_owned())]);
            let full = |details| Error::from(Status::with_error_details(Code::ResourceExhausted, "full", details));
            assert_eq!(pause_after(&full(details.clone()), &mut Backoff::of_calls()), None);
            details.set_retry_info(Some(Duration::from_secs(7)));
            let wait = pause_after(&full(details), &mut Backoff::of_calls());
            assert!(wait > Some(Duration::from_secs(7)) && wait < Some(Duration::from_secs(10)), "{reason} {wait:?}");
        }
    }
}
