//! Encryption by AES-256-GCM.

use std::fmt;
use std::future::Future;

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit, Nonce};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::keys::{Keys, is_name};
use super::{Boxed, Encoding, framed};
use crate::encoded::{Undecodable, key_unknown};
use crate::errors::Error;

const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
const NONCE_KEY_OF: &[u8] = b"jobqueue.encoded/1 nonce";

/// Encrypts and authenticates. It needs the feature `encryption`.
///
/// Nonces are random; with an idempotency key they are made of it and of all that is encrypted, so that the same call
/// again has the same bytes. Either way a key is good for 2^32 messages: take another one before.
pub struct AesGcm {
    keys: Keys,
    primary: String,
}

impl AesGcm {
    /// With each key by its name, 32 bytes. The primary one encrypts; all of them decrypt.
    ///
    /// # Errors
    ///
    /// `InvalidRequest`: the primary one has no name. `KeyUnknown`: it is not there.
    pub fn new<N: Into<String>>(
        keys: impl IntoIterator<Item = (N, [u8; 32])>,
        primary: impl Into<String>,
    ) -> Result<Self, Error> {
        let primary = primary.into();
        if primary.is_empty() {
            return Err(Error::invalid("primary", "is empty; it is the name of the key that encrypts"));
        }
        let keys = Keys::of(keys);
        if !keys.has(&primary) {
            return Err(key_unknown(&primary));
        }
        Ok(Self { keys, primary })
    }

    /// With a function that answers a key by its name, and `None` if there is none. It is asked once by all that wait for
    /// the same, in a task of its own, and again after five minutes, or after 15 seconds if it had no such key; 256
    /// answers are kept. It has 30 s, and has failed after them.
    ///
    /// What is asked for comes from who enqueued: look it up, and never build a path of it. Names that are not 1 to 255
    /// letters, digits and `_ . : / -` are unknown without asking. What blocks belongs into
    /// `tokio::task::spawn_blocking`.
    ///
    /// # Errors
    ///
    /// `InvalidRequest`: the name of the primary one is not as above.
    pub fn asking<F, R, E>(ask: F, primary: impl Into<String>) -> Result<Self, Error>
    where
        F: Fn(String) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Option<[u8; 32]>, E>> + Send + 'static,
        E: Into<Boxed>,
    {
        let primary = primary.into();
        if !is_name(&primary) {
            let what = format!("is {primary:?}; it is 1 to 255 letters, digits and _ . : / -");
            return Err(Error::invalid("primary", what));
        }
        Ok(Self { keys: Keys::asking(ask), primary })
    }
}

impl fmt::Debug for AesGcm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AesGcm").field("primary", &self.primary).finish_non_exhaustive()
    }
}

impl Encoding for AesGcm {
    fn name(&self) -> &'static str {
        "aes256gcm"
    }

    fn key_id(&self) -> &str {
        &self.primary
    }

    fn key<'a>(&'a self, key_id: &'a str) -> BoxFuture<'a, Result<Bytes, Error>> {
        self.keys.get(key_id).boxed()
    }

    /// The nonce, then the ciphertext with its tag.
    fn encode(
        &self,
        data: &[u8],
        key: &[u8],
        authenticated: &[u8],
        idempotency_key: Option<&str>,
    ) -> Result<Option<Vec<u8>>, Boxed> {
        let nonce = match idempotency_key {
            Some(idempotency_key) => keyed_nonce(key, authenticated, idempotency_key, data),
            None => random_nonce().map_err(|_| "the system's random numbers can't be read")?,
        };
        let sealed = cipher(key)?
            .encrypt(Nonce::from_slice(&nonce), Payload { msg: data, aad: authenticated })
            .map_err(|_| "aes256gcm: it is too long")?;
        Ok(Some([&nonce, &*sealed].concat()))
    }

    fn decode(&self, data: &[u8], key: &[u8], authenticated: &[u8]) -> Result<Vec<u8>, Undecodable> {
        if data.len() < NONCE_BYTES + TAG_BYTES {
            return Err(Undecodable::new("aes256gcm: it is cut off"));
        }
        let (nonce, sealed) = data.split_at(NONCE_BYTES);
        cipher(key)
            .map_err(Undecodable::new)?
            .decrypt(Nonce::from_slice(nonce), Payload { msg: sealed, aad: authenticated })
            .map_err(|_| {
                let words =
                    "it was changed, or encrypted for another kind, job or purpose, or with another key of this name";
                Undecodable::new(format!("aes256gcm: {words}"))
            })
    }
}

fn cipher(key: &[u8]) -> Result<Aes256Gcm, &'static str> {
    Aes256Gcm::new_from_slice(key).map_err(|_| "aes256gcm: its key must be 32 bytes")
}

fn random_nonce() -> Result<[u8; NONCE_BYTES], getrandom::Error> {
    let mut nonce = [0; NONCE_BYTES];
    getrandom::fill(&mut nonce)?;
    Ok(nonce)
}

/// A nonce that is the same for the same, and another one as soon as anything differs that the cipher is given.
///
/// Two messages with one nonce would give away the key of the tags, also if only what is authenticated differs. `data` are
/// the very bytes that go into the cipher.
fn keyed_nonce(key: &[u8], authenticated: &[u8], idempotency_key: &str, data: &[u8]) -> [u8; NONCE_BYTES] {
    // HKDF-SHA256 (RFC 5869) without salt, one block.
    let drawn = digest(&[0; 32], &[key]);
    let nonce_key = digest(&drawn, &[NONCE_KEY_OF, b"\x01"]);
    let whole = digest(&nonce_key, &[&framed([authenticated, idempotency_key.as_bytes(), data])]);
    let mut nonce = [0; NONCE_BYTES];
    nonce.copy_from_slice(&whole[..NONCE_BYTES]);
    nonce
}

/// HMAC-SHA256.
fn digest(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut made = <Hmac<Sha256> as Mac>::new_from_slice(key).expect("HMAC takes keys of each length");
    for part in parts {
        made.update(part);
    }
    made.finalize().into_bytes().into()
}
