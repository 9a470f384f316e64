//! What is encoded and was not decoded: how it is known, and what can be wrong with it.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt;

use memchr::memmem;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Value, json};
use tonic::Code;

use crate::errors::{Error, ErrorKind};

/// The member by which an envelope is known; its value is the version of its form.
pub(crate) const MARK: &str = "$jobqueue.encoded";
pub(crate) const FORM: u32 = 1;
const NO_ENCODINGS: &str = "this program has no encodings";

/// What a payload or an output was encoded by that was not decoded.
///
/// It stands in the [`JsonText`](crate::JsonText) that was read, and is the error of its `decode`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Encoded {
    /// The names of what it was encoded by, in that order.
    pub encodings: Vec<String>,
    /// The name of the key that it was encrypted with. Empty: it was not encrypted.
    pub key_id: String,
    /// Why it was not decoded, in words.
    pub why: String,
}

impl fmt::Display for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = self.encodings.join(" + ");
        write!(f, "encoded, {}", if how.is_empty() { "by nothing that it names" } else { &how })?;
        if !self.key_id.is_empty() {
            write!(f, ", key {}", self.key_id)?;
        }
        write!(f, ": {}", self.why)
    }
}

impl StdError for Encoded {}

impl From<Encoded> for Error {
    fn from(encoded: Encoded) -> Self {
        local(ErrorKind::Encoded, encoded.to_string()).fact("key_id", &encoded.key_id)
    }
}

/// What an encoding's `decode` answers of bytes that are damaged, or bound to something else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undecodable(String);

impl Undecodable {
    /// That, in words which have nothing of the bytes.
    pub fn new(words: impl Into<String>) -> Self {
        Self(words.into())
    }
}

impl fmt::Display for Undecodable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for Undecodable {}

impl From<Undecodable> for Error {
    fn from(error: Undecodable) -> Self {
        local(ErrorKind::Undecodable, error.0)
    }
}

pub(crate) fn undecodable(words: impl Into<String>) -> Error {
    Undecodable::new(words).into()
}

/// Nothing has the key.
#[cfg(feature = "encryption")]
pub(crate) fn key_unknown(key_id: &str) -> Error {
    let words = format!("nothing here has the key {key_id:?}: give it to the keys of AesGcm");
    local(ErrorKind::KeyUnknown, words).fact("key_id", key_id)
}

pub(crate) fn encoding_unknown(name: &str) -> Error {
    local(ErrorKind::EncodingUnknown, format!("it was encoded by {name:?}, which these encodings don't have"))
}

/// A kind takes encrypted payloads alone, and this program does not encrypt.
pub(crate) fn encoding_required(kind: &str, what: &str) -> Error {
    local(ErrorKind::EncodingRequired, format!("the kind {kind} takes encrypted payloads alone{what}"))
}

/// The same of a worker, or of a test that has none.
pub(crate) fn worker_must_encrypt(kind: &str) -> Error {
    encoding_required(kind, ": give the worker encodings that encrypt")
}

/// An error that no server said.
pub(crate) fn local(kind: ErrorKind, words: String) -> Error {
    Error::new(Code::FailedPrecondition, words).named(kind, "")
}

/// The JSON Schema of an envelope. What is encrypted has a key.
pub(crate) fn envelope_schema(encrypted: bool) -> Value {
    let mut required = vec![MARK, "content_type", "encodings", "data"];
    required.extend(encrypted.then_some("key_id"));
    json!({
        "type": "object",
        "title": "encoded payload",
        "required": required,
        "properties": {
            MARK: {"const": FORM},
            "content_type": {"type": "string"},
            "encodings": {"type": "array", "minItems": 1, "items": {"type": "string"}},
            "key_id": {"type": "string", "minLength": 1},
            "data": {"type": "string", "pattern": "^[A-Za-z0-9_-]*$"},
        },
        // A payload in plain text must not pass by having the envelope's members beside its own.
        "additionalProperties": false,
    })
}

/// The members of an envelope, by their names, as a JSON parser reads them.
#[derive(Debug, Default)]
pub(crate) struct Members(HashMap<&'static str, Member>);

const NAMES: [&str; 5] = [MARK, "content_type", "encodings", "key_id", "data"];

/// A value, no deeper than an envelope has them.
#[derive(Debug)]
pub(crate) enum Member {
    /// The number [`FORM`].
    Form,
    Text(String),
    List(Vec<Member>),
    Other,
}

impl Member {
    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl Members {
    pub(crate) fn get(&self, name: &str) -> Option<&Member> {
        self.0.get(name)
    }

    /// A member that is a text. `None`: it is none, or not there.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Member::as_text)
    }

    /// What the envelope says of itself.
    pub(crate) fn told(&self, why: impl Into<String>) -> Encoded {
        let encodings = match self.get("encodings") {
            Some(Member::List(names)) => names.iter().filter_map(Member::as_text).map(str::to_owned).collect(),
            _ => Vec::new(),
        };
        Encoded { encodings, key_id: self.text("key_id").unwrap_or_default().to_owned(), why: why.into() }
    }
}

/// What a text was encoded by, as a program without encodings reads it. `None`: it is no envelope.
pub(crate) fn encoded_in(text: &[u8]) -> Option<Encoded> {
    envelope_in(text).map(|members| members.told(NO_ENCODINGS))
}

/// The envelope that a JSON text is. `None`: it is none, or no JSON.
pub(crate) fn envelope_in(text: &[u8]) -> Option<Members> {
    // A name in JSON may be written with escapes: what reads it by its letters alone does not see what a parser sees.
    if memmem::find(text, MARK.as_bytes()).is_none() && memmem::find(text, b"\\u").is_none() {
        return None;
    }
    // One whose members can't be read is an envelope all the same.
    let found = look(text, &NAMES).or_else(|| look(text, &[]))?;
    found.0.contains_key(MARK).then_some(found)
}

fn look(text: &[u8], wanted: &[&str]) -> Option<Members> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let found = reader.deserialize_map(Look { wanted }).ok()?;
    reader.end().is_ok().then_some(found)
}

/// Reads the members of an object that are wanted, and sees the mark. How deep the rest is does not matter.
struct Look<'a> {
    wanted: &'a [&'a str],
}

impl<'de> Visitor<'de> for Look<'_> {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        let mut found = HashMap::new();
        while let Some(name) = map.next_key_seed(Name)? {
            match name {
                Some(name) if self.wanted.contains(&name) => {
                    found.insert(name, map.next_value_seed(OfMember { within: false })?);
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    if name == Some(MARK) {
                        found.insert(MARK, Member::Other);
                    }
                }
            }
        }
        Ok(Members(found))
    }
}

/// The name of a member: one of an envelope's, or `None`.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Option<&'static str>;

    fn deserialize<D: Deserializer<'de>>(self, name: D) -> Result<Self::Value, D::Error> {
        // As bytes: JSON may have names that are no text of Unicode.
        name.deserialize_bytes(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Option<&'static str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_bytes<E>(self, name: &[u8]) -> Result<Self::Value, E> {
        Ok(NAMES.into_iter().find(|each| each.as_bytes() == name))
    }
}

struct OfMember {
    /// Whether it is one of a list's, in which no other list is looked into.
    within: bool,
}

impl<'de> DeserializeSeed<'de> for OfMember {
    type Value = Member;

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<Member, D::Error> {
        value.deserialize_any(self)
    }
}

// The methods that are left out would be of other formats than JSON.
impl<'de> Visitor<'de> for OfMember {
    type Value = Member;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Member, E> {
        Ok(Member::Other)
    }

    fn visit_unit<E>(self) -> Result<Member, E> {
        Ok(Member::Other)
    }

    fn visit_u64<E>(self, number: u64) -> Result<Member, E> {
        Ok(if number == u64::from(FORM) { Member::Form } else { Member::Other })
    }

    fn visit_i64<E>(self, _: i64) -> Result<Member, E> {
        Ok(Member::Other)
    }

    #[allow(clippy::float_cmp)]
    fn visit_f64<E>(self, number: f64) -> Result<Member, E> {
        Ok(if number == f64::from(FORM) { Member::Form } else { Member::Other })
    }

    fn visit_str<E>(self, text: &str) -> Result<Member, E> {
        Ok(Member::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Member, A::Error> {
        if self.within {
            while list.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(Member::Other);
        }
        let mut found = Vec::new();
        while let Some(each) = list.next_element_seed(OfMember { within: true })? {
            found.push(each);
        }
        Ok(Member::List(found))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Member, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Member::Other)
    }
}
