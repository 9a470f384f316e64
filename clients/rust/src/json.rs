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
/// A type of your own goes in a [`Json`].
pub trait IntoOutput {
    /// The output's text, if there is one.
    ///
    /// # Errors
    ///
    /// Where JSON has no form for it: the attempt has failed.
    fn into_output(self) -> Result<Option<JsonText>, serde_json::Error>;
}

/// A value of a type of your own as a handler's output: `Ok(Json(value))`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Json<T>(pub T);

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
