//! What a server is told of typed kinds.

use super::{JobKind, has_none, schema_with};
use crate::admin::Kind;
use crate::jobs::EncodingRule;
use crate::json::JsonText;

/// What [`Client::sync_kinds`](crate::Client::sync_kinds) says of a typed kind; the server leaves the rest as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KindDeclaration {
    pub(crate) kind: Kind,
    /// The names of what it says.
    pub(crate) fields: Vec<&'static str>,
    /// The schema that a client with encodings says instead.
    pub(crate) encoded: Option<JsonText>,
}

impl KindDeclaration {
    /// That of a kind: its version, the schemas that it has, and of [`JobKind::MAX_ATTEMPTS`], [`JobKind::TIMEOUT`],
    /// [`JobKind::RETRY_POLICY`] and [`JobKind::SLOT_WEIGHT`] those that are set. A client with encodings says as
    /// well that payloads may be encoded, unless [`JobKind::ENCODINGS`] says something else.
    pub fn of<K: JobKind>() -> Self {
        let kind = Kind {
            schema: K::schema(),
            output_schema: K::output_schema().map(Into::into),
            version: K::VERSION,
            max_attempts: K::MAX_ATTEMPTS,
            timeout: K::TIMEOUT,
            retry_policy: K::RETRY_POLICY,
            slot_weight: K::SLOT_WEIGHT,
            ..Kind::new(K::NAME)
        };
        let said = [
            ("schema", kind.schema.is_some()),
            // A kind without outputs has no schema of them.
            ("output_schema", kind.output_schema.is_some() || has_none::<K>()),
            ("version", true),
            ("max_attempts", kind.max_attempts.is_some()),
            ("timeout", kind.timeout.is_some()),
            ("retry_policy", kind.retry_policy.is_some()),
            ("slot_weight", kind.slot_weight.is_some()),
        ];
        let fields = said.into_iter().filter(|(_, said)| *said).map(|(name, _)| name).collect();
        let encoded = kind.schema.as_ref().filter(|_| K::ENCODINGS == EncodingRule::Unsaid);
        let encoded = encoded.and_then(|_| schema_with::<K>(true));
        Self { kind, fields, encoded }
    }

    /// The kind's name.
    pub fn name(&self) -> &str {
        &self.kind.name
    }
}

/// What [`Client::sync_kinds`](crate::Client::sync_kinds) did with one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SyncedKind {
    /// The kind as the server has it now.
    pub kind: Kind,
    /// Whether it was changed.
    pub changed: bool,
    /// Whether the server has a higher version of it, declared by a newer program, and so nothing was changed.
    pub newer: bool,
}
