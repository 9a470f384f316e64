//! Handlers of a worker that has encodings.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;

use super::builder::Handler;
use super::leased_job::LeasedJob;
use crate::encodings::{Encodings, Place, Sealer};
use crate::errors::{Error, ErrorKind};
use crate::job::new_job_message;
use crate::jobs::{EncodingRule, OwnRule};
use crate::json::JsonText;
use crate::new_jobs::new_job_of;
use crate::outcomes::{HandlerError, HandlerResult};
use crate::typed::later;
use crate::v1;

/// What a worker's encodings do for the jobs of one handler.
#[derive(Clone)]
pub(crate) struct Coding {
    encodings: Encodings,
    /// Whether payloads, outputs and checkpoints of the kind are encoded; its follow-ups may be in any case.
    own: bool,
    /// Whether payloads of the kind must be encrypted, whatever a server was told of its names.
    required: bool,
}

/// An attempt whose job was decoded.
pub(crate) struct Begun {
    /// `None`: those of the kind are not encoded.
    opened: Option<Opened>,
    /// Encodes what comes of it, with the key that was the primary one at its beginning.
    sealer: Sealer,
}

pub(crate) struct Opened {
    pub(crate) payload: JsonText,
    pub(crate) checkpoint: Bytes,
}

impl Begun {
    pub(crate) fn opened(&self) -> Option<&Opened> {
        self.opened.as_ref()
    }

    /// A checkpoint as it is sent.
    pub(super) fn checkpoint(&self, data: Bytes, job: &LeasedJob) -> Result<Bytes, Error> {
        if self.opened.is_none() { Ok(data) } else { self.sealer.checkpoint(data, job.kind(), job.id()) }
    }
}

/// A follow-up, and whether it is encoded.
#[derive(Clone)]
pub(super) struct FollowUp {
    pub(super) message: v1::NewJob,
    pub(super) rule: EncodingRule,
}

/// A handler with encodings around it, and around its middleware.
pub(crate) fn coded(handler: Handler, coding: Coding) -> Handler {
    Arc::new(move |job| {
        let (handler, coding) = (handler.clone(), coding.clone());
        async move {
            // What keys come from may be slow, and the worker leaves all the same.
            let sealer = tokio::select! {
                biased;
                begun = coding.begin(&job) => begun?,
                why = job.stopped() => return Err(why.into()),
            };
            let output = handler(job.clone()).await?;
            coding.end(&sealer, &job, output).map_err(named)
        }
        .boxed()
    })
}

impl Coding {
    pub(crate) fn new(encodings: Encodings, rule: EncodingRule) -> Self {
        Self { encodings, own: rule != EncodingRule::Never, required: rule == EncodingRule::Required }
    }

    /// Decodes the job of an attempt, and lets its checkpoints and follow-ups be encoded.
    async fn begin(&self, job: &LeasedJob) -> HandlerResult<Sealer> {
        match self.opened(job).await {
            Ok(begun) => {
                let sealer = begun.sealer.clone();
                job.begin(begun);
                Ok(sealer)
            }
            // The job keeps its payload.
            Err(error) if error.is(ErrorKind::Undecodable) => {
                Err(HandlerError::failing(error.message().to_owned(), "PayloadUnreadable", true))
            }
            // It may come.
            Err(error) if error.is(ErrorKind::KeyUnknown) || error.is(ErrorKind::EncodingUnknown) => {
                Err(later(job).unwrap_or_else(|| named(error)))
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn opened(&self, job: &LeasedJob) -> Result<Begun, Error> {
        let sealer = self.encodings.sealer().await?;
        if !self.own {
            return Ok(Begun { opened: None, sealer });
        }
        let payload = job.payload().clone().into_bytes();
        let payload = self.encodings.opened(payload, Place::payload(job.kind()), self.required).await?;
        let place = Place::checkpoint(job.kind(), job.id());
        let checkpoint = self.encodings.opened(job.checkpoint().clone(), place, false).await?;
        Ok(Begun { opened: Some(Opened { payload: JsonText::new(payload), checkpoint }), sealer })
    }

    /// What a handler returned, encoded, as are its follow-ups. No other is added: it would be sent in plain text. An error:
    /// nothing of it is sent.
    fn end(&self, sealer: &Sealer, job: &LeasedJob, output: Option<JsonText>) -> Result<Option<JsonText>, Error> {
        let mut follow_ups = job.close_follow_ups();
        for each in &mut follow_ups {
            let mut whole = new_job_of(each.message.clone());
            whole.encodings = OwnRule(each.rule);
            each.message.content = new_job_message(sealer.job(whole, "")?)?.content;
        }
        job.put_follow_ups(follow_ups)?;
        let seal = |text: JsonText| {
            let place = Place::output(job.kind(), job.id());
            sealer.sealed(text.into_bytes(), place, None).map(JsonText::new)
        };
        if self.own { output.map(seal).transpose() } else { Ok(output) }
    }
}

/// For tests of users.
#[cfg(feature = "testing")]
impl Coding {
    /// Encodes the payload and the checkpoint of a job, as its producer and its attempts do.
    pub(crate) async fn seal(&self, job: &mut v1::LeasedJob) -> Result<(), Error> {
        if !self.own {
            return Ok(());
        }
        let sealer = self.encodings.sealer().await?;
        if let Some(v1::leased_job::Content::PayloadJson(text)) = &mut job.content {
            *text = sealer.sealed(std::mem::take(text), Place::payload(&job.kind), None)?;
        }
        job.checkpoint = sealer.checkpoint(std::mem::take(&mut job.checkpoint), &job.kind, &job.id)?;
        Ok(())
    }

    /// Decodes what came of it, each in its place.
    pub(crate) async fn open(
        &self,
        job: &LeasedJob,
        outcome: Option<&mut v1::Outcome>,
        checkpoints: &mut [Bytes],
    ) -> Result<(), Error> {
        if self.own {
            let place = Place::checkpoint(job.kind(), job.id());
            for each in checkpoints {
                *each = self.encodings.opened(std::mem::take(each), place, false).await?;
            }
        }
        let Some(v1::outcome::Outcome::Success(success)) = outcome.and_then(|outcome| outcome.outcome.as_mut()) else {
            return Ok(());
        };
        if let Some(v1::success::Result::OutputJson(text)) = success.result.as_mut().filter(|_| self.own) {
            let place = Place::output(job.kind(), job.id());
            *text = self.encodings.opened(std::mem::take(text), place, false).await?;
        }
        for each in &mut success.follow_ups {
            if let Some(v1::new_job::Content::PayloadJson(text)) = &mut each.content {
                let place = Place::payload(&each.kind);
                *text = self.encodings.opened(std::mem::take(text), place, false).await?;
            }
        }
        Ok(())
    }
}

/// A failure by the name that it has in all languages, where it has one.
fn named(error: Error) -> HandlerError {
    let name = match error.kind() {
        ErrorKind::KeyUnknown => "KeyUnknown",
        ErrorKind::EncodingUnknown => "EncodingUnknown",
        ErrorKind::EncodingRequired => "EncodingRequired",
        _ => return error.into(),
    };
    HandlerError::failing(error.message().to_owned(), name, false)
}
