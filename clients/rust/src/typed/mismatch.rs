//! Where JSON is not what a type takes, and what would be right. Never what is there, which may be a secret.

use std::error::Error as StdError;
use std::fmt;

use serde::de::value::{BorrowedStrDeserializer, StrDeserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error, Expected, IntoDeserializer, MapAccess,
    SeqAccess, Unexpected, VariantAccess, Visitor,
};
use serde_json::{Number, Value};

/// Of a key that is no name.
const NAME_CHARACTERS: usize = 40;

/// A text that a type does not take.
#[derive(Debug)]
pub(crate) struct Mismatch {
    /// Keys and numbers, the innermost first.
    steps: Vec<Step>,
    expected: String,
}

#[derive(Debug)]
enum Step {
    Field(String),
    Item(usize),
}

/// Reads a text into a type.
pub(crate) fn read<T: DeserializeOwned>(text: &[u8]) -> Result<T, Mismatch> {
    serde_json::from_slice(text).map_err(|_| Mismatch::find::<T>(text))
}

impl Mismatch {
    /// What serde says of an error has the value in it: the text is read once more, by a reader that leaves it out.
    fn find<T: DeserializeOwned>(text: &[u8]) -> Self {
        let Ok(value) = serde_json::from_slice::<Value>(text) else { return Self::new("JSON, nested less deeply") };
        T::deserialize(At(&value)).err().unwrap_or_else(Self::unknown)
    }

    fn new(expected: impl Into<String>) -> Self {
        Self { steps: Vec::new(), expected: expected.into() }
    }

    /// The words of a type's own errors often have the value in them.
    fn unknown() -> Self {
        Self::new("what its type takes")
    }

    fn within(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// For example `payload.cc[0]`.
    pub(crate) fn place(&self, root: &str) -> String {
        let mut place = root.to_owned();
        for step in self.steps.iter().rev() {
            match step {
                Step::Field(name) if name.chars().all(|each| each.is_alphanumeric() || each == '_') => {
                    place.extend([".", name]);
                }
                Step::Field(name) => {
                    let start: String = name.chars().take(NAME_CHARACTERS).collect();
                    place.extend(["['", &start, "']"]);
                }
                Step::Item(number) => place.extend(["[", &number.to_string(), "]"]),
            }
        }
        place
    }

    /// For example `must be a string`.
    pub(crate) fn words(&self) -> String {
        format!("must be {}", self.expected)
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words())
    }
}

impl StdError for Mismatch {}

impl Error for Mismatch {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::unknown()
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(plain(&expected.to_string()))
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(plain(&expected.to_string()))
    }

    fn invalid_length(_: usize, expected: &dyn Expected) -> Self {
        Self::new(plain(&expected.to_string()))
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::new(expected.join(" or "))
    }

    fn unknown_field(field: &str, _: &'static [&'static str]) -> Self {
        Self::new("left out: it is not known").within(Step::Field(field.to_owned()))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new("there").within(Step::Field(field.to_owned()))
    }
}

/// What serde expects, in the words of the other languages.
fn plain(expected: &str) -> String {
    match expected {
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" | "u8" | "u16" | "u32" | "u64" | "u128" | "usize" => {
            format!("a whole number ({expected})")
        }
        "f32" | "f64" => "a number".into(),
        "a sequence" => "an array".into(),
        "a map" => "an object".into(),
        _ if expected.starts_with("struct ") && !expected.contains(" with ") => "an object".into(),
        _ => expected.into(),
    }
}

/// A place in a JSON value. It takes what serde_json takes.
#[derive(Clone, Copy)]
struct At<'v>(&'v Value);

impl<'v> At<'v> {
    fn number<V: Visitor<'v>>(number: &Number, visitor: V) -> Result<V::Value, Mismatch> {
        match (number.as_u64(), number.as_i64(), number.as_f64()) {
            (Some(whole), ..) => visitor.visit_u64(whole),
            (_, Some(whole), _) => visitor.visit_i64(whole),
            (_, _, found) => visitor.visit_f64(found.unwrap_or_default()),
        }
    }
}

impl<'de> Deserializer<'de> for At<'de> {
    type Error = Mismatch;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(found) => visitor.visit_bool(*found),
            Value::Number(number) => Self::number(number, visitor),
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Array(items) => visitor.visit_seq(Items { items, next: 0 }),
            Value::Object(fields) => visitor.visit_map(Fields { fields: fields.iter(), value: None }),
        }
    }

    // Of a whole number beyond 64 bits the value has the magnitude alone, which is enough to pass it.
    fn deserialize_i128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.0.as_f64() {
            #[allow(clippy::cast_possible_truncation)]
            Some(found) if found.fract() == 0.0 => visitor.visit_i128(found as i128),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_u128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.0.as_f64() {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            Some(found) if found.fract() == 0.0 && found >= 0.0 => visitor.visit_u128(found as u128),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        match self.0 {
            Value::String(variant) => visitor.visit_enum(Variant { variant, content: None }),
            Value::Object(fields) if fields.len() == 1 => {
                let (variant, content) = fields.iter().next().expect("there is one");
                visitor.visit_enum(Variant { variant, content: Some(content) })
            }
            _ => Err(Mismatch::new(format!("one of {} ({name})", variants.join(", ")))),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

struct Items<'v> {
    items: &'v [Value],
    next: usize,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Mismatch;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Mismatch> {
        let Some(item) = self.items.get(self.next) else { return Ok(None) };
        let step = Step::Item(self.next);
        self.next += 1;
        seed.deserialize(At(item)).map(Some).map_err(|mismatch| mismatch.within(step))
    }
}

struct Fields<'v> {
    fields: serde_json::map::Iter<'v>,
    value: Option<(&'v str, &'v Value)>,
}

impl<'de> MapAccess<'de> for Fields<'de> {
    type Error = Mismatch;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Mismatch> {
        let Some((name, value)) = self.fields.next() else { return Ok(None) };
        self.value = Some((name, value));
        seed.deserialize(Name(name)).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Mismatch> {
        let (name, value) = self.value.take().ok_or_else(Mismatch::unknown)?;
        seed.deserialize(At(value)).map_err(|mismatch| mismatch.within(Step::Field(name.to_owned())))
    }
}

/// The key of an object. Keys that are numbers or booleans are read out of their text.
struct Name<'v>(&'v str);

macro_rules! read_out {
    ($($method:ident $visit:ident $of:ty,)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
            match self.0.parse::<$of>() {
                Ok(found) => visitor.$visit(found),
                Err(_) => self.deserialize_any(visitor),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Name<'de> {
    type Error = Mismatch;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        BorrowedStrDeserializer::new(self.0).deserialize_any(visitor)
    }

    read_out! {
        deserialize_bool visit_bool bool,
        deserialize_i8 visit_i8 i8,
        deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64,
        deserialize_i128 visit_i128 i128,
        deserialize_u8 visit_u8 u8,
        deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64,
        deserialize_u128 visit_u128 u128,
        deserialize_f32 visit_f32 f32,
        deserialize_f64 visit_f64 f64,
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        visitor.visit_enum(Variant { variant: self.0, content: None })
    }

    serde::forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

struct Variant<'v> {
    variant: &'v str,
    content: Option<&'v Value>,
}

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = Mismatch;
    type Variant = Self;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self), Mismatch> {
        let name: StrDeserializer<'_, Mismatch> = self.variant.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> Variant<'de> {
    fn content(&self) -> Result<At<'de>, Mismatch> {
        self.content.map(At).ok_or_else(|| Mismatch::new(format!("an object with the one field {}", self.variant)))
    }

    fn inner<T>(&self, read: Result<T, Mismatch>) -> Result<T, Mismatch> {
        read.map_err(|mismatch| mismatch.within(Step::Field(self.variant.to_owned())))
    }
}

impl<'de> VariantAccess<'de> for Variant<'de> {
    type Error = Mismatch;

    fn unit_variant(self) -> Result<(), Mismatch> {
        match self.content {
            None | Some(Value::Null) => Ok(()),
            Some(_) => self.inner(Err(Mismatch::new("null"))),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Mismatch> {
        let read = seed.deserialize(self.content()?);
        self.inner(read)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Mismatch> {
        let read = self.content()?.deserialize_any(visitor);
        self.inner(read)
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, Mismatch> {
        let read = self.content()?.deserialize_any(visitor);
        self.inner(read)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[allow(dead_code)]
    struct Mail {
        to: String,
        #[serde(default)]
        cc: Vec<String>,
        #[serde(default)]
        size: Option<u8>,
        #[serde(default)]
        by_day: BTreeMap<u32, f64>,
        #[serde(default)]
        tone: Tone,
        #[serde(default)]
        money: u128,
        #[serde(default)]
        at: Option<Box<Mail>>,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(rename_all = "snake_case")]
    #[allow(dead_code)]
    enum Tone {
        #[default]
        Plain,
        Loud(u32),
        Mixed {
            parts: Vec<bool>,
        },
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Strict {}

    fn of<T: DeserializeOwned + fmt::Debug>(text: &str) -> String {
        let mismatch = read::<T>(text.as_bytes()).unwrap_err();
        format!("{}: {}", mismatch.place("payload"), mismatch.words())
    }

    #[test]
    fn an_error_names_the_place_and_what_would_be_right_and_never_the_value() {
        for (text, wanted) in [
            (r#"{"to":"a","cc":["b",271828]}"#, "payload.cc[1]: must be a string"),
            (r#"{"cc":[]}"#, "payload.to: must be there"),
            (r#"{"to":null}"#, "payload.to: must be a string"),
            (r#"{"to":"a","size":271828}"#, "payload.size: must be a whole number (u8)"),
            (r#"{"to":"a","size":2.5}"#, "payload.size: must be a whole number (u8)"),
            (r#"{"to":"a","by_day":{"7":"271828"}}"#, "payload.by_day.7: must be a number"),
            (r#"{"to":"a","tone":"271828"}"#, "payload.tone: must be plain or loud or mixed"),
            (r#"{"to":"a","tone":{"loud":"271828"}}"#, "payload.tone.loud: must be a whole number (u32)"),
            (r#"{"to":"a","tone":{"mixed":{"parts":[true,2]}}}"#, "payload.tone.mixed.parts[1]: must be a boolean"),
            (r#"{"to":"a","tone":7}"#, "payload.tone: must be one of plain, loud, mixed (Tone)"),
            (r#"{"to":"a","tone":"loud"}"#, "payload.tone: must be an object with the one field loud"),
            (r#"{"to":"a","at":{"to":271828}}"#, "payload.at.to: must be a string"),
            (r#"{"money":271828182845904523536028747135,"to":[]}"#, "payload.to: must be a string"),
            ("271828", "payload: must be an object"),
        ] {
            let said = of::<Mail>(text);
            assert_eq!(said, wanted);
            assert!(!said.contains("271828"), "{said}");
        }
        assert_eq!(of::<Strict>(r#"{"a":1}"#), "payload.a: must be left out: it is not known");
        assert_eq!(of::<std::net::IpAddr>(r#""271828""#), "payload: must be what its type takes");
        assert_eq!(of::<Vec<u8>>(r#"{"a":1}"#), "payload: must be an array");
    }

    #[test]
    fn what_a_type_takes_is_read_with_all_its_digits() {
        let text = br#"{"to":"a","money":271828182845904523536028747135,"later":[1],"tone":{"loud":7}}"#;
        let mail: Mail = read(text).unwrap();
        assert_eq!(mail.money, 271_828_182_845_904_523_536_028_747_135);
        assert!(matches!(mail.tone, Tone::Loud(7)));
    }
}
