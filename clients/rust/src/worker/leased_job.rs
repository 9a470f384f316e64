//! What a handler is given, and does with it; what it reads of its job is in `job.rs`.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use prost::Message;
use tokio_util::sync::CancellationToken;

use super::coding::{Begun, FollowUp, Opened};
use super::ending::start_of;
use crate::errors::Error;
use crate::job::{NewJob, new_job_message};
use crate::jobs::EncodingRule;
use crate::json::{IntoCheckpoint, JsonText};
use crate::outcomes::Stop;
use crate::v1;

const MESSAGE_BYTES: usize = 1024;
const CHECKPOINT_BYTES: usize = 64 * 1024;
const FOLLOW_UPS: usize = 100;
/// With an output of 1 MiB the outcome still fits into a message of 4 MiB.
const FOLLOW_UPS_BYTES: usize = 2 * 1024 * 1024;
/// One id from the first caller to the last handler.
const INHERITED: [&str; 2] = ["x-request-id", "traceparent"];

pub(crate) type Report = Box<dyn Fn(v1::Progress) + Send + Sync>;

/// One attempt of a job, as its handler sees it. Clones are the same attempt.
#[derive(Clone)]
pub struct LeasedJob {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) message: v1::LeasedJob,
    pub(crate) payload: JsonText,
    token: CancellationToken,
    stop: OnceLock<Stop>,
    report: Report,
    follow_ups: Mutex<FollowUps>,
    /// What its worker's encodings have made of it. Empty: the worker has none.
    begun: OnceLock<Begun>,
    /// That of its handler's span, which follow-ups carry.
    #[cfg(feature = "otel")]
    traceparent: OnceLock<String>,
}

#[derive(Default)]
struct FollowUps {
    jobs: Vec<FollowUp>,
    bytes: usize,
    /// The handler has ended.
    closed: bool,
}

impl Inner {
    /// Its payload and checkpoint, decoded. `None`: they are as they came.
    pub(crate) fn opened(&self) -> Option<&Opened> {
        self.begun.get().and_then(Begun::opened)
    }
}

impl LeasedJob {
    pub(crate) fn new(mut message: v1::LeasedJob, report: Report) -> Self {
        let payload = match message.content.take() {
            Some(v1::leased_job::Content::PayloadJson(text)) => text,
            _ => Bytes::from_static(b"null"),
        };
        let inner = Inner {
            message,
            payload: JsonText::read(payload),
            token: CancellationToken::new(),
            stop: OnceLock::new(),
            report,
            follow_ups: Mutex::default(),
            begun: OnceLock::new(),
            #[cfg(feature = "otel")]
            traceparent: OnceLock::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Is cancelled when the handler should stop; [`stop_reason`](Self::stop_reason) says why.
    pub fn cancellation(&self) -> &CancellationToken {
        &self.inner.token
    }

    /// Why the handler should stop. `None`: it should not.
    pub fn stop_reason(&self) -> Option<&Stop> {
        self.inner.stop.get()
    }

    /// Waits until the handler should stop, and says why. A handler that stops for it returns that, or
    /// [`cancelled`](crate::cancelled).
    pub async fn stopped(&self) -> Stop {
        self.inner.token.cancelled().await;
        self.inner.stop.get().cloned().unwrap_or(Stop::Shutdown)
    }

    /// Says how far the attempt is: a fraction of the whole, 0..1, and what the attempt does, for people, cut at 1 KiB.
    /// Returns at once. What follows within 100 ms replaces it; the last one before a broken connection may be lost.
    ///
    /// # Errors
    ///
    /// `InvalidRequest`: the fraction is not within 0..1.
    pub fn progress(&self, fraction: f64, message: &str) -> Result<(), Error> {
        if !(0.0..=1.0).contains(&fraction) {
            return Err(Error::invalid("fraction", format!("is {fraction}; it is 0..1, of the whole")));
        }
        (self.inner.report)(v1::Progress {
            fraction: Some(fraction),
            message: start_of(message, MESSAGE_BYTES).to_owned(),
            ..v1::Progress::default()
        });
        Ok(())
    }

    /// Says what the attempt does, for people, cut at 1 KiB; how far it is stays as it was said last. Returns at once.
    pub fn progress_message(&self, message: &str) {
        let message = start_of(message, MESSAGE_BYTES).to_owned();
        (self.inner.report)(v1::Progress { message, ..v1::Progress::default() });
    }

    /// Stores something for the job's next attempt: bytes in any form, which that one reads as
    /// [`checkpoint`](Self::checkpoint), or a value as `Json(value)`, which it reads by
    /// [`checkpoint_as`](Self::checkpoint_as). At most 64 KiB; empty: takes back what was left. Returns at once. The newest
    /// one counts. It is there for sure once the attempt ends by an outcome of this worker; where the worker is lost, the
    /// last tenths of a second may be lost with it.
    ///
    /// # Errors
    ///
    /// `InvalidRequest`: it is too large, as it is or encoded, or JSON has no form for it. What an encoding of the worker
    /// fails with.
    pub fn save_checkpoint(&self, value: impl IntoCheckpoint) -> Result<(), Error> {
        let mut data =
            value.into_checkpoint().map_err(|error| Error::invalid("checkpoint", format!("is no JSON: {error}")))?;
        check_checkpoint(&data)?;
        if let Some(begun) = self.inner.begun.get() {
            data = begun.checkpoint(data, self)?;
            check_checkpoint(&data)?;
        }
        (self.inner.report)(v1::Progress { checkpoint: Some(data), ..v1::Progress::default() });
        Ok(())
    }

    /// Enqueues a job in the transaction that settles this one as succeeded, or not at all; at most 100, of 2 MiB in all.
    /// It gets the request id and the trace of this job, unless it has headers of these names.
    ///
    /// # Errors
    ///
    /// `InvalidRequest`: they are too many or too large, or the handler has ended. `EncodingRequired`: its kind takes encrypted
    /// payloads alone, and the worker has no encodings. `Encoded`: its payload was read and not decoded, and the worker has
    /// encodings.
    pub fn follow_up(&self, mut job: NewJob) -> Result<(), Error> {
        #[cfg(feature = "otel")]
        if let Some(value) = self.inner.traceparent.get() {
            job.headers.entry(INHERITED[1].to_owned()).or_insert_with(|| value.clone());
        }
        for name in INHERITED {
            if let Some(value) = self.headers().get(name) {
                job.headers.entry(name.to_owned()).or_insert_with(|| value.clone());
            }
        }
        let mut rule = EncodingRule::Unsaid;
        if self.inner.begun.get().is_some() {
            // It is encoded after the handler, as the middleware has left it.
            rule = std::mem::take(&mut job.encodings).0;
            if let Some(encoded) = job.payload.as_ref().and_then(JsonText::encoded) {
                // Encoded once more it would be decoded to an envelope.
                return Err(encoded.into());
            }
        }
        let message = new_job_message(job)?;
        let mut follow_ups = self.lock();
        if follow_ups.closed {
            return Err(Error::invalid("follow_up", "was called after the handler's end: call it before"));
        }
        let bytes = follow_ups.bytes + message.encoded_len();
        if follow_ups.jobs.len() == FOLLOW_UPS || bytes > FOLLOW_UPS_BYTES {
            return Err(too_many());
        }
        follow_ups.bytes = bytes;
        follow_ups.jobs.push(FollowUp { message, rule });
        Ok(())
    }

    pub(super) fn take_follow_ups(&self) -> Vec<FollowUp> {
        std::mem::take(&mut self.lock().jobs)
    }

    /// The same, and no other is added by the handler or by what it has spawned.
    pub(super) fn close_follow_ups(&self) -> Vec<FollowUp> {
        let mut follow_ups = self.lock();
        follow_ups.closed = true;
        std::mem::take(&mut follow_ups.jobs)
    }

    pub(super) fn follow_up_count(&self) -> usize {
        self.lock().jobs.len()
    }

    /// Follow-ups that were taken, with other headers and labels, or encoded.
    pub(super) fn put_follow_ups(&self, jobs: Vec<FollowUp>) -> Result<(), Error> {
        let bytes = jobs.iter().map(|each| each.message.encoded_len()).sum();
        if bytes > FOLLOW_UPS_BYTES {
            return Err(too_many());
        }
        let mut follow_ups = self.lock();
        follow_ups.bytes = bytes;
        follow_ups.jobs.splice(0..0, jobs);
        Ok(())
    }

    /// Notes what its worker's encodings have made of it.
    pub(super) fn begin(&self, begun: Begun) {
        let _ = self.inner.begun.set(begun);
    }

    pub(super) fn message(&self) -> &v1::LeasedJob {
        &self.inner.message
    }

    pub(super) fn request_id(&self) -> &str {
        self.headers().get(INHERITED[0]).map_or("", String::as_str)
    }

    pub(crate) fn stop(&self, why: Stop) {
        let _ = self.inner.stop.set(why);
        self.inner.token.cancel();
    }

    #[cfg(feature = "otel")]
    pub(crate) fn follow(&self, traceparent: String) {
        let _ = self.inner.traceparent.set(traceparent);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, FollowUps> {
        self.inner.follow_ups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check_checkpoint(data: &Bytes) -> Result<(), Error> {
    if data.len() <= CHECKPOINT_BYTES {
        return Ok(());
    }
    let what = format!(
        "has {} bytes; at most {CHECKPOINT_BYTES} are taken: store it elsewhere and leave its address",
        data.len()
    );
    Err(Error::invalid("checkpoint", what))
}

fn too_many() -> Error {
    let what = format!("a job has at most {FOLLOW_UPS} follow-ups, of {FOLLOW_UPS_BYTES} bytes in all");
    Error::invalid("follow_up", what)
}

impl fmt::Debug for LeasedJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeasedJob")
            .field("id", &self.id())
            .field("attempt", &self.attempt())
            .field("kind", &self.kind())
            .finish_non_exhaustive()
    }
}
