//! What a handler returns when its attempt should end otherwise than by success, and why it is told to stop.

use std::any::{Any, type_name};
use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use crate::errors::{Error, ErrorKind};

type Boxed = Box<dyn StdError + Send + Sync>;

/// What a handler returns: an output (`()`: none), or how else the attempt ends.
pub type HandlerResult<T = ()> = Result<T, HandlerError>;

/// How an attempt ends otherwise than by success.
///
/// Every error becomes one by `?`: a failure that counts against the job's `max_attempts` and is tried again after a
/// backoff. Other endings are made by [`retry`], [`discard`], [`snooze`] and [`cancelled`]. A [`Stop`] that a handler
/// returns ends the attempt as it was asked to. Its `{:?}` is its words, as of `{}`; `{:#?}` shows all that it has.
pub struct HandlerError(pub(crate) Ending);

#[derive(Debug)]
pub(crate) enum Ending {
    Failed(Failed),
    Snoozed(Duration),
    Cancelled,
}

#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) error: Boxed,
    pub(crate) error_type: &'static str,
    pub(crate) permanent: bool,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) pauses_key: bool,
}

impl HandlerError {
    /// A failure by the name that it has in all languages.
    pub(crate) fn failing(error: impl Into<Boxed>, error_type: &'static str, permanent: bool) -> Self {
        Self(Ending::Failed(Failed {
            error: error.into(),
            error_type,
            permanent,
            retry_after: None,
            pauses_key: false,
        }))
    }

    /// Of a [`retry`]: no job of this one's key starts for as long as it says, 24 hours at most, as when a service answers
    /// 429 for all that is done for a customer. Without effect on other endings, and if the job has no key or its queue
    /// limits nothing by key.
    #[must_use]
    pub fn pause_key(mut self) -> Self {
        if let Ending::Failed(failed) = &mut self.0 {
            failed.pauses_key = true;
        }
        self
    }

    /// The error that the attempt failed by, if it is of this type.
    pub fn downcast_ref<E: StdError + 'static>(&self) -> Option<&E> {
        match &self.0 {
            Ending::Failed(failed) => failed.error.downcast_ref(),
            Ending::Snoozed(_) | Ending::Cancelled => None,
        }
    }
}

/// The attempt failed: for errors that have no type of their own, such as words, boxes and those of anyhow.
pub fn failed(error: impl Into<Boxed>) -> HandlerError {
    HandlerError(Ending::Failed(Failed {
        error: error.into(),
        error_type: "error",
        permanent: false,
        retry_after: None,
        pauses_key: false,
    }))
}

/// The attempt failed and should be tried again after a wait of at most 400 days, as long as the job has attempts left.
pub fn retry(error: impl Into<HandlerError>, after: Duration) -> HandlerError {
    let mut made = error.into();
    if let Ending::Failed(failed) = &mut made.0 {
        failed.retry_after = Some(after);
    }
    made
}

/// The attempt failed and no later one can succeed: the job ends FAILED_PERMANENT, NOT_RETRYABLE.
pub fn discard(error: impl Into<HandlerError>) -> HandlerError {
    let mut made = error.into();
    if let Ending::Failed(failed) = &mut made.0 {
        failed.permanent = true;
    }
    made
}

/// Not now: the job goes back and is handed out again after a delay of at most 400 days. Costs it no try.
pub fn snooze(delay: Duration) -> HandlerError {
    HandlerError(Ending::Snoozed(delay))
}

/// The job was asked to stop, and the handler stopped: the job ends CANCELLED. A handler that finds a reason of its own
/// to give the job up may return it as well.
pub fn cancelled() -> HandlerError {
    HandlerError(Ending::Cancelled)
}

impl<E: StdError + Send + Sync + 'static> From<E> for HandlerError {
    fn from(error: E) -> Self {
        if let Some(of_client) = (&error as &dyn Any).downcast_ref::<Error>()
            && of_client.kind() == ErrorKind::CheckpointUnreadable
        {
            // By the name and the words that it has in all languages.
            return Self::failing(of_client.message(), "CheckpointUnreadable", false);
        }
        Self(Ending::Failed(Failed {
            error: Box::new(error),
            error_type: type_name::<E>(),
            permanent: false,
            retry_after: None,
            pauses_key: false,
        }))
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Ending::Failed(failed) => failed.error.fmt(f),
            Ending::Snoozed(delay) => write!(f, "snoozed for {delay:?}"),
            Ending::Cancelled => f.write_str("cancelled"),
        }
    }
}

impl fmt::Debug for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() { f.debug_tuple("HandlerError").field(&self.0).finish() } else { fmt::Display::fmt(self, f) }
    }
}

/// Why a handler should stop.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stop {
    /// A caller asked to cancel the job, with these words. The handler's result decides.
    CancelRequested(String),
    /// The job is no longer this worker's, for this reason. What the handler returns is dropped.
    LeaseRevoked(String),
    /// The attempt ran longer than its job's timeout, by the server's clock. What the handler returns is dropped.
    TimedOut,
    /// The worker shuts down and its grace has ended. The job goes back, uncharged.
    Shutdown,
    /// No server was heard for the session's ttl, of a worker with `stop_when_lost`. The job may run elsewhere by now.
    Lost,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, why) = match self {
            Self::CancelRequested(why) => ("the job is to be cancelled", why.as_str()),
            Self::LeaseRevoked(why) => ("the lease was revoked", why.as_str()),
            Self::TimedOut => ("the attempt timed out", ""),
            Self::Shutdown => ("the worker is shutting down", ""),
            Self::Lost => ("the worker is cut off", ""),
        };
        f.write_str(what)?;
        if why.is_empty() {
            return Ok(());
        }
        write!(f, ": {why}")
    }
}

impl StdError for Stop {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_returns_a_handlers_error_prints_its_words() {
        assert_eq!(format!("{:?}", failed("the number is too large")), "the number is too large");
        assert_eq!(format!("{:?}", snooze(Duration::from_secs(2))), "snoozed for 2s");
        assert!(format!("{:#?}", discard(failed("no"))).contains("permanent: true"));
    }
}
