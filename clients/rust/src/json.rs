//! JSON text, and what a handler may return as its output.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// JSON as text, for payloads and outputs: what is given goes byte for byte, 20-digit integers and spaces included.
///
/// A `serde_json::Value` becomes one by `into()`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct JsonText(Bytes);

impl JsonText {
    /// The text as it is. The server refuses what is no JSON.
    pub fn new(text: impl Into<Bytes>) -> Self {
        Self(text.into())
    }

    /// A value as serde writes it.
    ///
    /// # Errors
    ///
    /// Where JSON has no form for it, for example a map whose keys are no strings.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        Ok(Self(serde_json::to_vec(value)?.into()))
    }

    /// Reads the text into a value.
    ///
    /// # Errors
    ///
    /// Where it does not fit.
    pub fn decode<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.0)
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
        Self(value.to_string().into())
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
/// For a type of your own return [`JsonText::of`].
pub trait IntoOutput {
    /// The output's text, if there is one.
    fn into_output(self) -> Option<JsonText>;
}

impl IntoOutput for () {
    fn into_output(self) -> Option<JsonText> {
        None
    }
}

impl IntoOutput for JsonText {
    fn into_output(self) -> Option<JsonText> {
        Some(self)
    }
}

impl IntoOutput for serde_json::Value {
    fn into_output(self) -> Option<JsonText> {
        Some(self.into())
    }
}

impl<T: IntoOutput> IntoOutput for Option<T> {
    fn into_output(self) -> Option<JsonText> {
        self.and_then(T::into_output)
    }
}
