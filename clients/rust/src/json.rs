//! JSON text, and what a handler may return as its output.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use serde::de::Error as _;
use serde::{Deserialize, Serialize};

use crate::encoded::{Encoded, encoded_in};

/// JSON as text, for payloads and outputs: what is given goes byte for byte, 20-digit integers and spaces included.
///
/// A `serde_json::Value` becomes one by `into()`.
#[derive(Clone)]
pub struct JsonText(Bytes, Origin);

/// Where a text comes from.
#[derive(Clone)]
enum Origin {
    /// This program, which may write what looks like an envelope.
    Own,
    /// A server: it may be encoded.
    Read,
    /// A server, and it can't be decoded.
    Undecoded(Arc<Encoded>),
}

impl JsonText {
    /// The text as it is. The server refuses what is no JSON.
    pub fn new(text: impl Into<Bytes>) -> Self {
        Self(text.into(), Origin::Own)
    }

    /// One that a server has sent.
    pub(crate) fn read(text: Bytes) -> Self {
        Self(text, Origin::Read)
    }

    /// The same, which can't be decoded.
    pub(crate) fn undecoded(text: Bytes, encoded: Encoded) -> Self {
        Self(text, Origin::Undecoded(Arc::new(encoded)))
    }

    /// What it was encoded by, where it was read and not decoded: the text is its envelope. `None`: it is what it says.
    pub fn encoded(&self) -> Option<Encoded> {
        match &self.1 {
            Origin::Own => None,
            Origin::Read => encoded_in(&self.0),
            Origin::Undecoded(encoded) => Some(Encoded::clone(encoded)),
        }
    }

    /// A value as serde writes it.
    ///
    /// # Errors
    ///
    /// Where JSON has no form for it, for example a map whose keys are no strings.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        Ok(Self::new(serde_json::to_vec(value)?))
    }

    /// Reads the text into a value.
    ///
    /// # Errors
    ///
    /// Where it does not fit, or was read and is [`encoded`](Self::encoded).
    pub fn decode<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        match self.encoded() {
            Some(encoded) => Err(serde_json::Error::custom(encoded)),
            None => serde_json::from_slice(&self.0),
        }
    }

    /// The text's bytes, in UTF-8.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text's bytes, without a copy.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

impl From<serde_json::Value> for JsonText {
    fn from(value: serde_json::Value) -> Self {
        Self::new(value.to_string())
    }
}

// Texts compare by their bytes.
impl PartialEq for JsonText {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for JsonText {}

impl Hash for JsonText {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Display for JsonText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for JsonText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a handler may return: `()` and `None` are a success without output.
///
/// A type of your own goes in a [`Json`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no output of a handler",
    label = "wrap it in `Json(..)`",
    note = "a handler answers `()`, a `serde_json::Value`, a `JsonText`, or a type of your own as `Ok(Json(value))`"
)]
pub trait IntoOutput {
    /// The output's text, if there is one.
    ///
    /// # Errors
    ///
    /// Where JSON has no form for it: the attempt has failed.
    fn into_output(self) -> Result<Option<JsonText>, serde_json::Error>;
}

/// A value of a type of your own as a handler's output, `Ok(Json(value))`, or as a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Json<T>(pub T);

/// What may be a checkpoint: bytes in any form, or a value in a [`Json`], stored as its text.
#[diagnostic::on_unimplemented(message = "`{Self}` is no checkpoint", label = "wrap it in `Json(..)`")]
pub trait IntoCheckpoint {
    /// What is stored.
    ///
    /// # Errors
    ///
    /// Where JSON has no form for it.
    fn into_checkpoint(self) -> Result<Bytes, serde_json::Error>;
}

impl<T: Into<Bytes>> IntoCheckpoint for T {
    fn into_checkpoint(self) -> Result<Bytes, serde_json::Error> {
        Ok(self.into())
    }
}

impl<T: Serialize> IntoCheckpoint for Json<T> {
    fn into_checkpoint(self) -> Result<Bytes, serde_json::Error> {
        serde_json::to_vec(&self.0).map(Bytes::from)
    }
}

impl<T: Serialize> IntoOutput for Json<T> {
    fn into_output(self) -> Result<Option<JsonText>, serde_json::Error> {
        JsonText::of(&self.0).map(Some)
    }
}

impl IntoOutput for () {
    fn into_output(self) -> Result<Option<JsonText>, serde_json::Error> {
        Ok(None)
    }
}

impl IntoOutput for JsonText {
    fn into_output(self) -> Result<Option<JsonText>, serde_json::Error> {
        Ok(Some(self))
    }
}

impl IntoOutput for serde_json::Value {
    fn into_output(self) -> Result<Option<JsonText>, serde_json::Error> {
        Ok(Some(self.into()))
    }
}

impl<T: IntoOutput> IntoOutput for Option<T> {
    fn into_output(self) -> Result<Option<JsonText>, serde_json::Error> {
        self.map_or(Ok(None), T::into_output)
    }
}
