//! Kinds that are declared once, as the type of their payload.

mod declaration;
mod mismatch;
#[cfg(doctest)]
mod refused;
#[cfg(feature = "schema")]
mod schema;
#[cfg(test)]
mod tests;

use std::any::{TypeId, type_name};
use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tonic::Code;

use crate::admin::Kind;
use crate::backoff::random_fraction;
use crate::encoded::{Encoded, envelope_schema, local};
use crate::errors::{Error, ErrorKind};
use crate::job::{Job, NewJob};
use crate::jobs::{EncodingRule, OwnRule, RetryPolicy, Status};
use crate::json::JsonText;
use crate::outcomes::{HandlerError, snooze};
use crate::worker::LeasedJob;
pub use declaration::{KindDeclaration, SyncedKind};
use mismatch::{Mismatch, read};
#[cfg(feature = "schema")]
pub use schema::schema_of;

/// By this header a payload says of which version it is. Without it: 1.
pub(crate) const VERSION_HEADER: &str = "x-payload-version";
/// A payload that is newer than the worker waits so often, for about half an hour in all.
const MOST_SNOOZES: u32 = 20;
const SNOOZE: Duration = Duration::from_secs(15);
const LONGEST_SNOOZES: u32 = 8;

/// A kind, declared once for its producers, workers and readers: the type of its payload implements it.
///
/// ```
/// use jobqueue::{JobKind, NewJob};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Mail {
///     to: String,
///     #[serde(default)]
///     subject: String,
/// }
///
/// #[derive(Serialize, Deserialize)]
/// struct Sent {
///     message_id: String,
/// }
///
/// impl JobKind for Mail {
///     const NAME: &'static str = "send-mail";
///     type Output = Sent;
///
///     fn settings(&self, job: NewJob) -> NewJob {
///         job.max_attempts(5).key(&self.to)
///     }
/// }
/// ```
///
/// It knows no server. A producer makes its jobs by [`NewJob::of`], a worker gets a handler of it by
/// [`WorkerBuilder::handle_kind`](crate::WorkerBuilder::handle_kind), a reader has [`payload_of`](Self::payload_of) and
/// [`output_of`](Self::output_of). Serde decides what is read: fields that are not known are passed over, unless the type
/// says `#[serde(deny_unknown_fields)]`; a field with `#[serde(default)]` may be missing.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is the payload of no kind",
    label = "implement `JobKind` for it",
    note = "a handler of `handle_kind` takes the payload and then the job; one of the job alone goes to `handle`"
)]
pub trait JobKind: Serialize + DeserializeOwned + Send + 'static {
    /// The kind's name, `[a-z0-9][a-z0-9_.-]{0,127}`.
    const NAME: &'static str;

    /// What its handler answers. `()`: no output.
    type Output: Serialize + DeserializeOwned + Send + 'static;

    /// Of the payload, from 1: one more with each change that makes older payloads unreadable.
    const VERSION: u32 = 1;

    /// The oldest version that [`upcast`](Self::upcast) takes, 1..=VERSION.
    const OLDEST: u32 = 1;

    /// Older names of the kind, whose jobs its handler gets as well.
    const ALIASES: &'static [&'static str] = &[];

    /// After how many failures its jobs end, 1..1000. With [`TIMEOUT`](Self::TIMEOUT) and
    /// [`RETRY_POLICY`](Self::RETRY_POLICY) it is what [`Client::sync_kinds`](crate::Client::sync_kinds) tells the server, for
    /// jobs of every program; [`settings`](Self::settings) may say another one. `None`: it is not said.
    const MAX_ATTEMPTS: Option<u32> = None;

    /// How long an attempt of its jobs may run, 1 s to 7 days. `None`: it is not said.
    const TIMEOUT: Option<Duration> = None;

    /// The wait between attempts of its jobs. `None`: it is not said.
    const RETRY_POLICY: Option<RetryPolicy> = None;

    /// How many slots of a worker each of its jobs takes, 1..1000; `sync_kinds` tells the server. `None`: it is not said.
    const SLOT_WEIGHT: Option<u32> = None;

    /// Whether its payloads, outputs and checkpoints are encoded where a program has [`Encodings`](crate::Encodings). Of one
    /// that requires it the server is told to take encrypted payloads alone, and so do its workers.
    const ENCODINGS: EncodingRule = EncodingRule::Unsaid;

    /// Makes of a payload of an older version one of the next, `from` and 1. It is called for each version on the way, and
    /// changes nothing else.
    ///
    /// ```
    /// # use jobqueue::{JsonText, UpcastError};
    /// # #[derive(serde::Deserialize)]
    /// # struct MailV1 { address: String }
    /// # #[derive(serde::Serialize)]
    /// # struct Mail { to: String }
    /// fn upcast(from: u32, payload: JsonText) -> Result<JsonText, UpcastError> {
    ///     match from {
    ///         1 => {
    ///             let MailV1 { address } = payload.decode()?;
    ///             Ok(JsonText::of(&Mail { to: address })?)
    ///         }
    ///         _ => Err(UpcastError::none()),
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// What keeps the payload from being read: its job ends with `PayloadUnreadable`, which tells the error's type and not
    /// its words. Default: there is none, [`UpcastError::none`].
    fn upcast(from: u32, payload: JsonText) -> Result<JsonText, UpcastError> {
        let _ = (from, payload);
        Err(UpcastError::none())
    }

    /// Sets what the kind says of its jobs: queue, priority, attempts, timeout, retry policy, key, unique name, labels.
    /// What is set on the job later wins. Kind and payload stay as they are. Default: nothing.
    #[must_use]
    fn settings(&self, job: NewJob) -> NewJob {
        job
    }

    /// The JSON Schema (2020-12) of payloads of this version: `Some(schema_of::<Self>())` with the feature `schema`, or
    /// one written by hand. Default: none.
    fn payload_schema() -> Option<Value> {
        None
    }

    /// The JSON Schema of payloads of an older version. Default: that of any object.
    fn older_schema(version: u32) -> Value {
        let _ = version;
        json!({"type": "object"})
    }

    /// The JSON Schema of outputs. Default: none.
    fn output_schema() -> Option<Value> {
        None
    }

    /// The JSON Schema of its payloads: of this version, or of an older one from [`OLDEST`](Self::OLDEST) on. So producers
    /// of an older version are not refused while programs of both run. What is encoded is one of them too, as
    /// [`ENCODINGS`](Self::ENCODINGS) says it; of a kind that requires it, there is no other. `None`: there is no
    /// [`payload_schema`](Self::payload_schema).
    fn schema() -> Option<JsonText> {
        schema_with::<Self>(false)
    }

    /// The payload of a job that was read.
    ///
    /// # Errors
    ///
    /// `PayloadUnreadable`: it is not of this type. `PayloadTooNew`: it is of a version that this program does not know.
    /// `Encoded`: the client has not decoded it. `InvalidRequest`: the job is of another kind, or was read without its payload.
    fn payload_of(job: &Job) -> Result<Self, Error> {
        check_kind::<Self>(job)?;
        let text = job.payload.as_ref().ok_or_else(|| not_read(job, "payload"))?;
        check_decoded(text)?;
        Ok(payload::<Self>(text, &job.headers)?)
    }

    /// The output of a job that has succeeded.
    ///
    /// # Errors
    ///
    /// `JobNotSucceeded`: it ended otherwise, or has not ended. `PayloadUnreadable`: the output is not of its type.
    /// `Encoded`: the client has not decoded it. `InvalidRequest`: the job is of another kind, or was read without its output.
    fn output_of(job: &Job) -> Result<Self::Output, Error> {
        check_kind::<Self>(job)?;
        if job.status != Status::Succeeded {
            return Err(not_succeeded(job));
        }
        if job.output.is_none() && !has_none::<Self>() {
            return Err(not_read(job, "output"));
        }
        job.output.as_ref().map_or(Ok(()), check_decoded)?;
        output(job.output.as_ref())
    }
}

/// Why a payload of an older version does not become one of the next. Every error becomes one by `?`.
#[derive(Debug)]
pub struct UpcastError {
    /// `None`: there is no upcaster.
    error_type: Option<&'static str>,
}

impl UpcastError {
    /// There is no upcaster from this version on.
    pub fn none() -> Self {
        Self { error_type: None }
    }
}

impl<E: StdError> From<E> for UpcastError {
    fn from(_: E) -> Self {
        Self { error_type: Some(type_name::<E>()) }
    }
}

impl NewJob {
    /// A job of a typed kind, with what the kind says of its jobs. What is set on it later wins.
    ///
    /// ```
    /// # fn make() -> Result<(), jobqueue::Error> {
    /// # use jobqueue::{JobKind, NewJob};
    /// # use std::time::Duration;
    /// # #[derive(serde::Serialize, serde::Deserialize)]
    /// # struct Mail { to: String }
    /// # impl JobKind for Mail { const NAME: &'static str = "send-mail"; type Output = (); }
    /// let job = NewJob::of(&Mail { to: "ada@example.org".into() })?.delay(Duration::from_secs(60));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `PayloadInvalid`: JSON has no form for the payload, or one that the type itself does not read, as of NaN. It is the
    /// error with which a server refuses what does not satisfy the schema.
    pub fn of<K: JobKind>(payload: &K) -> Result<Self, Error> {
        const { assert!(K::OLDEST >= 1 && K::OLDEST <= K::VERSION, "OLDEST is a version, from 1 to VERSION") };
        let text = written(payload, "payload").map_err(|(place, words)| {
            Error::invalid(place, words).named(ErrorKind::PayloadInvalid, "PAYLOAD_INVALID")
        })?;
        let said = Self {
            max_attempts: K::MAX_ATTEMPTS,
            timeout: K::TIMEOUT,
            retry_policy: K::RETRY_POLICY,
            encodings: OwnRule(K::ENCODINGS),
            ..Self::new(K::NAME)
        };
        let mut job = payload.settings(said);
        K::NAME.clone_into(&mut job.kind);
        job.payload = Some(text);
        if matches!(K::ENCODINGS, EncodingRule::Never | EncodingRule::Required) {
            // Settings that begin with a job of their own must not lose it: the worker goes by the kind.
            job.encodings = OwnRule(K::ENCODINGS);
        }
        Ok(if K::VERSION > 1 { job.header(VERSION_HEADER, K::VERSION.to_string()) } else { job })
    }
}

impl Kind {
    /// A typed kind, with the schema of its payloads, to be put.
    pub fn of<K: JobKind>() -> Self {
        Self { schema: K::schema(), ..Self::new(K::NAME) }
    }
}

/// What a payload or an output could not be read for.
#[derive(Debug)]
enum Unread {
    Unreadable(String),
    TooNew(String),
}

impl Unread {
    fn of(mismatch: &Mismatch, root: &str) -> Self {
        Self::Unreadable(format!("{}: {}", mismatch.place(root), mismatch.words()))
    }
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Unreadable(words) | Self::TooNew(words)) = self;
        f.write_str(words)
    }
}

impl StdError for Unread {}

impl From<Unread> for Error {
    fn from(unread: Unread) -> Self {
        let kind = match unread {
            Unread::Unreadable(_) => ErrorKind::PayloadUnreadable,
            Unread::TooNew(_) => ErrorKind::PayloadTooNew,
        };
        Self::new(Code::FailedPrecondition, unread.to_string()).named(kind, "")
    }
}

/// The payload of an attempt, or how the attempt ends without it.
pub(crate) fn payload_in<K: JobKind>(job: &LeasedJob) -> Result<K, HandlerError> {
    const { assert!(K::OLDEST >= 1 && K::OLDEST <= K::VERSION, "OLDEST is a version, from 1 to VERSION") };
    payload(job.payload(), job.headers()).map_err(|unread| match unread {
        // Another attempt would read the same. The job keeps its payload.
        Unread::Unreadable(_) => HandlerError::failing(unread, "PayloadUnreadable", true),
        // A worker that knows the version may come.
        Unread::TooNew(_) => later(job).unwrap_or_else(|| HandlerError::failing(unread, "PayloadTooNew", false)),
    })
}

/// A wait for a worker that can read the job, or for what this one has not. `None`: it has been waited for long.
pub(crate) fn later(job: &LeasedJob) -> Option<HandlerError> {
    let waited = job.attempt().saturating_sub(job.failures());
    let spread = 0.75 + random_fraction() / 2.0;
    (waited <= MOST_SNOOZES).then(|| snooze((SNOOZE * waited.min(LONGEST_SNOOZES)).mul_f64(spread)))
}

/// What a handler has answered, as JSON.
pub(crate) fn output_text<K: JobKind>(output: &K::Output) -> Result<Option<JsonText>, HandlerError> {
    if has_none::<K>() {
        return Ok(None);
    }
    written(output, "output").map(Some).map_err(|(place, words)| {
        let words = format!("the handler of {} returned what it may not: {place}: {words}", K::NAME);
        HandlerError::failing(words, "OutputError", false)
    })
}

/// An output as a type; one that is not there reads as `null`.
pub(crate) fn output<T: DeserializeOwned>(text: Option<&JsonText>) -> Result<T, Error> {
    let text = text.map_or(b"null".as_slice(), JsonText::as_bytes);
    Ok(read(text).map_err(|mismatch| Unread::of(&mismatch, "output"))?)
}

/// A checkpoint as a type.
pub(crate) fn checkpoint<T: DeserializeOwned>(text: &[u8]) -> Result<T, Error> {
    read(text).map_err(|mismatch| {
        local(ErrorKind::CheckpointUnreadable, format!("{}: {}", mismatch.place("checkpoint"), mismatch.words()))
    })
}

fn has_none<K: JobKind>() -> bool {
    TypeId::of::<K::Output>() == TypeId::of::<()>()
}

/// A value as text that its type reads again; or where it is not, and what would be right.
fn written<T: Serialize + DeserializeOwned>(value: &T, root: &str) -> Result<JsonText, (String, String)> {
    // Serde's own words may have the value in them.
    let text = JsonText::of(value).map_err(|_| (root.to_owned(), "must be what JSON has a form for".to_owned()))?;
    read::<T>(text.as_bytes()).map_err(|mismatch| (mismatch.place(root), mismatch.words()))?;
    Ok(text)
}

fn payload<K: JobKind>(text: &JsonText, headers: &HashMap<String, String>) -> Result<K, Unread> {
    let version = match headers.get(VERSION_HEADER) {
        None => 1,
        Some(said) => version_of(said).ok_or_else(|| {
            Unread::Unreadable(format!("headers.{VERSION_HEADER}: must be the number of a version, from 1"))
        })?,
    };
    if version > K::VERSION {
        let words = format!("the payload has version {version}; this program knows {}", K::VERSION);
        return Err(Unread::TooNew(words));
    }
    if let Some(encoded) = text.encoded() {
        // A type that takes any object, or has a default for each field, would take it for a payload.
        let encoded = Encoded { why: "the worker does not decode this kind".to_owned(), ..encoded };
        return Err(Unread::Unreadable(format!("payload: {encoded}")));
    }
    let mut text = text.clone();
    for older in version..K::VERSION {
        let failed = UpcastError::none();
        let upcast = if older < K::OLDEST { Err(failed) } else { K::upcast(older, text) };
        text = upcast.map_err(|error| {
            let why = match error.error_type {
                None => format!("the kind has no upcaster from {older} on"),
                Some(name) => format!("its upcaster from {older} on failed with {name}"),
            };
            Unread::Unreadable(format!("the payload has version {version}, and {why}"))
        })?;
    }
    read(text.as_bytes()).map_err(|mismatch| Unread::of(&mismatch, "payload"))
}

fn version_of(said: &str) -> Option<u32> {
    let digits = said.len() < 10 && said.bytes().all(|each| each.is_ascii_digit());
    said.parse().ok().filter(|version| digits && *version > 0)
}

fn check_kind<K: JobKind>(job: &Job) -> Result<(), Error> {
    if job.kind == K::NAME || K::ALIASES.contains(&job.kind.as_str()) {
        return Ok(());
    }
    Err(Error::invalid("job", format!("the job {} is of the kind {}, not {}", job.id, job.kind, K::NAME)))
}

fn check_decoded(text: &JsonText) -> Result<(), Error> {
    text.encoded().map_or(Ok(()), |encoded| Err(encoded.into()))
}

fn not_read(job: &Job, what: &str) -> Error {
    Error::invalid("job", format!("the job {} was read without its {what}: use get, or the filter's full", job.id))
}

fn not_succeeded(job: &Job) -> Error {
    let why: Vec<&str> = [&*job.reason, &*job.last_error].into_iter().filter(|each| !each.is_empty()).collect();
    let why = if why.is_empty() { String::new() } else { format!(" ({})", why.join(": ")) };
    let words = format!("the job {} is {}{why}", job.id, job.status);
    Error::new(Code::FailedPrecondition, words)
        .named(ErrorKind::JobNotSucceeded, "")
        .fact("job_id", &job.id)
        .fact("status", &job.status.to_string())
}

/// The schema of a kind's payloads, as a program tells it that has encodings, or has none.
pub(crate) fn schema_with<K: JobKind>(encodes: bool) -> Option<JsonText> {
    if K::ENCODINGS == EncodingRule::Required {
        return Some(versioned(envelope_schema(true), K::VERSION).into());
    }
    let current = versioned(K::payload_schema()?, K::VERSION);
    let older = (K::OLDEST..K::VERSION).rev().map(|version| versioned(K::older_schema(version), version));
    let mut branches: Vec<Value> = std::iter::once(current).chain(older).collect();
    if K::ENCODINGS == EncodingRule::Allowed || (encodes && K::ENCODINGS == EncodingRule::Unsaid) {
        // Behind the others: the first of a version is the one by which a server says what is wrong.
        branches.push(versioned(envelope_schema(false), K::VERSION));
    }
    if branches.len() == 1 {
        return branches.pop().map(JsonText::from);
    }
    let mut definitions = serde_json::Map::new();
    for (number, branch) in branches.iter_mut().enumerate() {
        lift(branch, &mut definitions, number);
    }
    Some(json!({"anyOf": branches, "$defs": definitions}).into())
}

fn versioned(mut schema: Value, version: u32) -> Value {
    if let Value::Object(fields) = &mut schema {
        fields.insert(VERSION_HEADER.into(), version.into());
    }
    schema
}

/// Takes a branch's definitions out, which go to the whole under names of their own.
fn lift(branch: &mut Value, definitions: &mut serde_json::Map<String, Value>, number: usize) {
    rename(branch, number);
    if let Some(Value::Object(own)) = branch.as_object_mut().and_then(|fields| fields.remove("$defs")) {
        definitions.extend(own.into_iter().map(|(name, each)| (format!("{name}.{number}"), each)));
    }
}

fn rename(schema: &mut Value, number: usize) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(|each| rename(each, number)),
        Value::Object(fields) => {
            for (name, each) in fields {
                match each {
                    Value::String(to) if name == "$ref" => to.extend([".", &number.to_string()]),
                    each => rename(each, number),
                }
            }
        }
        _ => {}
    }
}
