//! JSON Schema of Rust types, by schemars.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

/// The JSON Schema (2020-12) of what serde reads into a type, for
/// [`JobKind::payload_schema`](crate::JobKind::payload_schema). Fields that are not known are taken, unless the type denies
/// them.
pub fn schema_of<T: JsonSchema + ?Sized>() -> Value {
    let mut settings = SchemaSettings::draft2020_12().for_deserialize();
    settings.meta_schema = None;
    settings.into_generator().into_root_schema_for::<T>().to_value()
}
