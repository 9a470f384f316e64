//! The JSON object that stands for something encoded.

use std::collections::HashSet;

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::encoded::{FORM, MARK, Member, Members, undecodable};
use crate::errors::Error;

/// So does each envelope begin that is written here; of a checkpoint, whose bytes may be anything, all do.
pub(super) const PREFIX: &[u8] = br#"{"$jobqueue.encoded":1,"#;

/// base64url without `=`; the bits that are left over at its end may be any.
const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// Something encoded.
pub(super) struct Envelope {
    /// By what, in the order in which it was done.
    pub(super) encodings: Vec<String>,
    /// The name of the key. Empty: it is not encrypted.
    pub(super) key_id: String,
    pub(super) data: Vec<u8>,
    /// Of what was encoded.
    pub(super) content_type: String,
}

/// An envelope as JSON text.
pub(super) fn written(encodings: &[&str], key_id: &str, data: &[u8], content_type: &str) -> Vec<u8> {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let names: Vec<String> = encodings.iter().map(|name| quoted(name)).collect();
    let mut text =
        format!(r#"{{"{MARK}":{FORM},"content_type":{},"encodings":[{}],"#, quoted(content_type), names.join(","));
    if !key_id.is_empty() {
        text.extend([r#""key_id":"#, &quoted(key_id), ","]);
    }
    text += r#""data":""#;
    BASE64URL.encode_string(data, &mut text);
    text += r#""}"#;
    text.into_bytes()
}

impl Envelope {
    /// The envelope that an object is. An error: it is malformed, or of a later form.
    pub(super) fn read(members: &Members) -> Result<Self, Error> {
        let Some(Member::Form) = members.get(MARK) else {
            return Err(undecodable(format!("the envelope's {MARK} must be {FORM}")));
        };
        let names = match members.get("encodings") {
            Some(Member::List(names)) => names.iter().map(|name| name.as_text().map(str::to_owned)).collect(),
            _ => None,
        };
        let Some(encodings) = names.filter(|names: &Vec<String>| !names.is_empty()) else {
            return Err(undecodable("the envelope's encodings must be a list of names"));
        };
        if encodings.iter().collect::<HashSet<_>>().len() != encodings.len() {
            return Err(undecodable("the envelope's encodings must be different ones"));
        }
        let key_id = match members.get("key_id") {
            None => Some(""),
            Some(name) => name.as_text(),
        };
        let (Some(key_id), Some(data), Some(content_type)) =
            (key_id, members.text("data"), members.text("content_type"))
        else {
            return Err(undecodable("the envelope's content_type, key_id and data must be texts"));
        };
        let Ok(data) = BASE64URL.decode(data) else {
            return Err(undecodable("the envelope's data must be base64url, without ="));
        };
        Ok(Self { encodings, key_id: key_id.to_owned(), data, content_type: content_type.to_owned() })
    }
}
