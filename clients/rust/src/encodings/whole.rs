//! A list of encodings, as clients and workers take it.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::de::IgnoredAny;
use tokio::task::yield_now;

use super::envelope::{self, Envelope};
use super::{Boxed, Encoding, Place, Purpose};
use crate::encoded::{Members, encoding_required, encoding_unknown, envelope_in, local, undecodable};
use crate::errors::{Error, ErrorKind};
use crate::job::{Job, NewJob, job_of};
use crate::jobs::EncodingRule;
use crate::json::JsonText;
use crate::v1;

/// After so many jobs of a call the runtime goes on with what else it has.
const AT_ONCE: usize = 100;

/// What payloads, outputs and checkpoints go through before they are sent, and back when they are read. Clones are the
/// same.
///
/// It may be given to clients and workers. What is there in plain text is read as it is.
///
/// ```
/// # #[cfg(all(feature = "encryption", feature = "zstd"))]
/// # fn make(key: [u8; 32]) -> Result<jobqueue::Encodings, jobqueue::Error> {
/// use jobqueue::{AesGcm, Encodings, Zstd};
///
/// let encrypts = AesGcm::new([("2026-11", key)], "2026-11")?;
/// Encodings::builder().add(Zstd::new().over(2048)).add(encrypts).build()
/// # }
/// ```
#[derive(Clone)]
pub struct Encodings {
    steps: Arc<[Box<dyn Encoding>]>,
    keyed_compression: bool,
}

/// The list of an [`Encodings`].
#[derive(Default)]
#[must_use]
pub struct EncodingsBuilder {
    steps: Vec<Box<dyn Encoding>>,
    keyed_compression: bool,
}

impl EncodingsBuilder {
    /// Adds one. They are applied in the order in which they are added; one that encrypts is the last.
    #[allow(clippy::should_implement_trait)]
    pub fn add(mut self, encoding: impl Encoding) -> Self {
        self.steps.push(Box::new(encoding));
        self
    }

    /// Whether jobs with an idempotency key are compressed too. The same call again is then another request
    /// (`IdempotencyKeyReused`) as soon as another version of the library makes other bytes. Default: false.
    pub fn keyed_compression(mut self, compress: bool) -> Self {
        self.keyed_compression = compress;
        self
    }

    /// Makes the list.
    ///
    /// # Errors
    ///
    /// `InvalidRequest`: there is none, two have the same name, one has none, or something comes after one that encrypts.
    pub fn build(self) -> Result<Encodings, Error> {
        let names: HashSet<&str> = self.steps.iter().map(|each| each.name()).collect();
        let wrong = if names.contains("") {
            "must have names"
        } else if names.is_empty() || names.len() != self.steps.len() {
            "must be different ones, and one at least"
        } else if self.steps.iter().rev().skip(1).any(|each| !each.key_id().is_empty()) {
            "what encrypts is the last one, since nothing compresses its output"
        } else {
            return Ok(Encodings { steps: self.steps.into(), keyed_compression: self.keyed_compression });
        };
        Err(Error::invalid("encodings", wrong))
    }
}

impl fmt::Debug for EncodingsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.steps.iter().map(|each| each.name())).finish()
    }
}

impl fmt::Debug for Encodings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.steps.iter().map(|each| each.name())).finish()
    }
}

impl Encodings {
    /// A list of them, to be added to.
    pub fn builder() -> EncodingsBuilder {
        EncodingsBuilder::default()
    }

    /// Whether one of them encrypts.
    pub fn encrypts(&self) -> bool {
        self.steps.last().is_some_and(|last| !last.key_id().is_empty())
    }

    fn by_name(&self, name: &str) -> Result<&dyn Encoding, Error> {
        let found = self.steps.iter().find(|each| each.name() == name);
        found.map(|each| &**each).ok_or_else(|| encoding_unknown(name))
    }

    /// What encodes with the key that is the primary one now. It waits for nothing more.
    pub(crate) async fn sealer(&self) -> Result<Sealer, Error> {
        let key = match self.steps.last() {
            Some(last) if !last.key_id().is_empty() => last.key(last.key_id()).await?,
            _ => Bytes::new(),
        };
        Ok(Sealer { encodings: self.clone(), key })
    }

    /// Jobs to enqueue, with their payloads encoded, but for those of kinds that are never.
    pub(crate) async fn jobs(&self, jobs: impl IntoIterator<Item = NewJob>) -> Result<Vec<NewJob>, Error> {
        let sealer = self.sealer().await?;
        let mut made = Vec::new();
        for job in jobs {
            made.push(sealer.job(job, "")?);
            if made.len() % AT_ONCE == 0 {
                yield_now().await;
            }
        }
        Ok(made)
    }

    /// One of them.
    pub(crate) async fn job(&self, job: NewJob) -> Result<NewJob, Error> {
        self.sealer().await?.job(job, "")
    }

    /// The job of a schedule. The same job has the same bytes, so that one that is applied again is no change.
    pub(crate) async fn template(&self, job: NewJob, schedule: &str) -> Result<NewJob, Error> {
        self.sealer().await?.job(job, &format!("schedule {schedule}"))
    }

    /// What was encoded; a text that is no envelope, as it is. An error: it is damaged, was made for another place, is not
    /// encrypted and must be, or was encoded by a key or an encoding that is not here.
    pub(crate) async fn opened(&self, text: Bytes, place: Place<'_>, encrypted: bool) -> Result<Bytes, Error> {
        let found = envelope_at(&text, place)?;
        // That what has a key's name is encrypted is looked at below.
        if encrypted && found.as_ref().and_then(|found| found.text("key_id")).is_none_or(str::is_empty) {
            return Err(undecodable("the kind takes encrypted payloads alone"));
        }
        match found {
            None => Ok(text),
            Some(found) => self.open(&found, place).await,
        }
    }

    async fn open(&self, members: &Members, place: Place<'_>) -> Result<Bytes, Error> {
        let found = Envelope::read(members)?;
        let content_type = place.purpose.content_type();
        if found.content_type != content_type {
            return Err(undecodable(format!("the envelope's content_type must be {content_type}")));
        }
        let steps = found.encodings.iter().map(|name| self.by_name(name)).collect::<Result<Vec<_>, _>>()?;
        let encrypts = |step: &&dyn Encoding| !step.key_id().is_empty();
        let (last, before) = steps.split_last().expect("an envelope that was read names one at least");
        if before.iter().any(encrypts) {
            return Err(undecodable("what encrypts must be the last of the envelope's encodings"));
        }
        if found.key_id.is_empty() == encrypts(last) {
            return Err(undecodable("the envelope must have a key_id if it is encrypted, and none else"));
        }
        let key = if encrypts(last) { last.key(&found.key_id).await? } else { Bytes::new() };
        let names: Vec<&str> = found.encodings.iter().map(String::as_str).collect();
        let authenticated = place.authenticated(&names, &found.key_id);
        let mut data = found.data;
        for step in steps.iter().rev() {
            data = step.decode(&data, &key, &authenticated)?;
        }
        if !place.takes(&data) {
            return Err(undecodable("what was encoded is no JSON"));
        }
        Ok(data.into())
    }

    /// The job in an answer, decoded. What can't be decoded stays as it is, and says why.
    pub(crate) async fn read(&self, message: v1::Job) -> Job {
        let mut job = job_of(message);
        job.payload = self.read_payload(job.payload, &job.kind).await;
        job.output = self.shown(job.output, Place::output(&job.kind, &job.id)).await;
        job
    }

    /// The payload of a job or of a schedule, as `read` does it.
    pub(crate) async fn read_payload(&self, payload: Option<JsonText>, kind: &str) -> Option<JsonText> {
        self.shown(payload, Place::payload(kind)).await
    }

    async fn shown(&self, text: Option<JsonText>, place: Place<'_>) -> Option<JsonText> {
        let text = text?;
        let Some(members) = envelope_in(text.as_bytes()) else { return Some(text) };
        // What a producer has put into an envelope may itself look like one, and is not.
        Some(match self.open(&members, place).await {
            Ok(opened) => JsonText::new(opened),
            Err(error) => {
                let why = format!("{:?}: {}", error.kind(), error.message());
                JsonText::undecoded(text.into_bytes(), members.told(why))
            }
        })
    }
}

/// Encodes, with one key. It has no form for people, since it holds that.
#[derive(Clone)]
pub(crate) struct Sealer {
    encodings: Encodings,
    key: Bytes,
}

impl Sealer {
    /// A job with its payload encoded, unless its kind says never. `keyed_by` stands for the idempotency key of one without.
    pub(crate) fn job(&self, mut job: NewJob, keyed_by: &str) -> Result<NewJob, Error> {
        if let Some(encoded) = job.payload.as_ref().and_then(JsonText::encoded) {
            // Of a job that was read: encoded once more it would be decoded to an envelope.
            return Err(encoded.into());
        }
        match job.encodings.0 {
            EncodingRule::Never => return Ok(job),
            EncodingRule::Required if !self.encodings.encrypts() => {
                return Err(encoding_required(&job.kind, "; these encodings don't encrypt"));
            }
            _ => {}
        }
        if job.unique.as_ref().is_some_and(|unique| unique.key.is_empty()) {
            let what = format!(
                "is not given: the payload makes the job of kind {} unique, and the server can't look into one that is \
                 encoded; the kind's settings may compute a key",
                job.kind
            );
            return Err(Error::invalid("unique.key", what));
        }
        let text = job.payload.map_or(Bytes::from_static(b"null"), JsonText::into_bytes);
        let keyed = [&*job.idempotency_key, keyed_by].into_iter().find(|key| !key.is_empty());
        job.payload = Some(JsonText::new(self.sealed(text, Place::payload(&job.kind), keyed)?));
        job.encodings.0 = EncodingRule::Unsaid;
        Ok(job)
    }

    /// The envelope of some data; the data itself, where no encoding has anything to do with it.
    ///
    /// An error: it is no JSON, and must be. It looks like an envelope, and no encoding has anything to do with it: what reads
    /// it would take it for one of this side. Or what an encoding failed with. Then nothing may be sent.
    pub(crate) fn sealed(&self, data: Bytes, place: Place<'_>, idempotency_key: Option<&str>) -> Result<Bytes, Error> {
        if !place.takes(&data) {
            // Once it is encoded, a server does not see it.
            return Err(Error::invalid(place.purpose.name(), "is no JSON"));
        }
        let mut names = Vec::new();
        let mut key_id = "";
        let mut made: Option<Vec<u8>> = None;
        for step in self.encodings.steps.iter() {
            let encrypts = !step.key_id().is_empty();
            if idempotency_key.is_some() && !encrypts && !self.encodings.keyed_compression {
                continue;
            }
            names.push(step.name());
            // The one that encrypts is the last, so these are all the names of the envelope.
            let authenticated = if encrypts { place.authenticated(&names, step.key_id()) } else { Vec::new() };
            let done = step
                .encode(made.as_deref().unwrap_or(&data), &self.key, &authenticated, idempotency_key)
                .map_err(|error| raised(step.name(), error))?;
            match done {
                Some(done) => (made, key_id) = (Some(done), step.key_id()),
                None if encrypts => {
                    let what = format!("{} has left something unencrypted", step.name());
                    return Err(Error::invalid("encodings", what));
                }
                None => drop(names.pop()),
            }
        }
        if let Some(made) = made {
            return Ok(envelope::written(&names, key_id, &made, place.purpose.content_type()).into());
        }
        let looks = match place.purpose {
            Purpose::Checkpoint => data.starts_with(envelope::PREFIX),
            Purpose::Payload | Purpose::Output => envelope_in(&data).is_some(),
        };
        if looks {
            // It may be a stranger's, who has put into it what was never checked.
            let what = "looks like an envelope, and nothing here encodes it";
            return Err(Error::invalid(place.purpose.name(), what));
        }
        Ok(data)
    }

    /// A checkpoint, encoded. An empty one stays so: it takes away what is stored.
    pub(crate) fn checkpoint(&self, data: Bytes, kind: &str, job_id: &str) -> Result<Bytes, Error> {
        if data.is_empty() { Ok(data) } else { self.sealed(data, Place::checkpoint(kind, job_id), None) }
    }
}

impl Place<'_> {
    /// Whether it may hold this: a checkpoint any bytes, and all else JSON.
    fn takes(&self, data: &[u8]) -> bool {
        let is_json = |text| serde_json::from_str::<IgnoredAny>(text).is_ok();
        self.purpose == Purpose::Checkpoint || std::str::from_utf8(data).is_ok_and(is_json)
    }
}

fn raised(name: &str, error: Boxed) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => *error,
        Err(error) => local(ErrorKind::Other, format!("the encoding {name} has failed: {error}")),
    }
}

fn envelope_at(text: &[u8], place: Place<'_>) -> Result<Option<Members>, Error> {
    if place.purpose != Purpose::Checkpoint {
        return Ok(envelope_in(text));
    }
    if !text.starts_with(envelope::PREFIX) {
        return Ok(None);
    }
    match envelope_in(text) {
        None => Err(undecodable("the envelope of the checkpoint is cut off")),
        found => Ok(found),
    }
}
