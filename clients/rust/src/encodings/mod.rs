//! Encodings: compression and encryption of payloads, outputs and checkpoints, between JSON and the wire.

#[cfg(feature = "encryption")]
mod aesgcm;
mod envelope;
#[cfg(feature = "encryption")]
mod keys;
#[cfg(all(test, feature = "encryption", feature = "testing", feature = "zstd"))]
mod tests;
mod whole;
#[cfg(feature = "zstd")]
mod zstd;

use std::error::Error as StdError;
use std::future::ready;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::encoded::Undecodable;
use crate::errors::Error;

#[cfg(feature = "encryption")]
pub use self::aesgcm::AesGcm;
pub(crate) use self::whole::Sealer;
pub use self::whole::{Encodings, EncodingsBuilder};
#[cfg(feature = "zstd")]
pub use self::zstd::Zstd;

type Boxed = Box<dyn StdError + Send + Sync>;

/// The first of what is authenticated: another form of it gets another name.
const DOMAIN: &[u8] = b"jobqueue.encoded/1";

/// Bytes to bytes and back, for one of your own.
///
/// ```
/// use jobqueue::{Encoding, Undecodable};
///
/// struct Reversed;
///
/// impl Encoding for Reversed {
///     fn name(&self) -> &str {
///         "reversed"
///     }
///
///     fn encode(
///         &self,
///         data: &[u8],
///         _key: &[u8],
///         _authenticated: &[u8],
///         _idempotency_key: Option<&str>,
///     ) -> Result<Option<Vec<u8>>, Box<dyn std::error::Error + Send + Sync>> {
///         Ok(Some(data.iter().rev().copied().collect()))
///     }
///
///     fn decode(&self, data: &[u8], _key: &[u8], _authenticated: &[u8]) -> Result<Vec<u8>, Undecodable> {
///         Ok(data.iter().rev().copied().collect())
///     }
/// }
/// ```
pub trait Encoding: Send + Sync + 'static {
    /// What envelopes call it. Another form of its bytes is another name.
    fn name(&self) -> &str;

    /// The name of the key with which it encrypts; such a one is the last of a list. Default: empty, it does not encrypt.
    #[allow(clippy::unnecessary_literal_bound)]
    fn key_id(&self) -> &str {
        ""
    }

    /// A key by its name. Of those that encrypt.
    ///
    /// # Errors
    ///
    /// `KeyUnknown`: nothing has it.
    fn key<'a>(&'a self, key_id: &'a str) -> BoxFuture<'a, Result<Bytes, Error>> {
        let _ = key_id;
        ready(Ok(Bytes::new())).boxed()
    }

    /// Encodes. `None`: it leaves these bytes as they are.
    ///
    /// `key` is that of [`key_id`](Self::key_id), and `authenticated` what the result is bound to. With an idempotency key
    /// the same bytes must become the same bytes.
    ///
    /// # Errors
    ///
    /// What fails the enqueue, or the attempt; nothing is sent.
    fn encode(
        &self,
        data: &[u8],
        key: &[u8],
        authenticated: &[u8],
        idempotency_key: Option<&str>,
    ) -> Result<Option<Vec<u8>>, Box<dyn StdError + Send + Sync>>;

    /// The bytes that were encoded.
    ///
    /// # Errors
    ///
    /// They are damaged, or bound to something else.
    fn decode(&self, data: &[u8], key: &[u8], authenticated: &[u8]) -> Result<Vec<u8>, Undecodable>;
}

/// What is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Payload,
    Output,
    Checkpoint,
}

impl Purpose {
    fn name(self) -> &'static str {
        match self {
            Self::Payload => "payload",
            Self::Output => "output",
            Self::Checkpoint => "checkpoint",
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Payload | Self::Output => "application/json",
            Self::Checkpoint => "application/octet-stream",
        }
    }
}

/// Where something encoded belongs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    purpose: Purpose,
    kind: &'a str,
    /// Empty for payloads: theirs is not known when they are encoded.
    job_id: &'a str,
}

impl<'a> Place<'a> {
    pub(crate) fn payload(kind: &'a str) -> Self {
        Self { purpose: Purpose::Payload, kind, job_id: "" }
    }

    pub(crate) fn output(kind: &'a str, job_id: &'a str) -> Self {
        Self { purpose: Purpose::Output, kind, job_id }
    }

    pub(crate) fn checkpoint(kind: &'a str, job_id: &'a str) -> Self {
        Self { purpose: Purpose::Checkpoint, kind, job_id }
    }

    /// All that an envelope is bound to, as bytes: no two places have the same.
    fn authenticated(&self, encodings: &[&str], key_id: &str) -> Vec<u8> {
        let texts = [self.purpose.name(), self.kind, self.job_id, self.purpose.content_type(), key_id];
        let texts = texts.iter().chain(encodings).map(|text| text.as_bytes());
        framed(std::iter::once(DOMAIN).chain(texts))
    }
}

/// The parts, each with its length before it: 4 bytes, big-endian.
fn framed<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut whole = Vec::new();
    for part in parts {
        // A message holds 4 MiB at most.
        whole.extend(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        whole.extend(part);
    }
    whole
}
