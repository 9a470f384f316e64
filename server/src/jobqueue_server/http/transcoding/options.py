"""The switches of the transcoder, each named as in Envoy's gRPC-JSON filter; the defaults are the strict ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .percent import UnescapeSpec

# A message's field of JSON and its field of bytes.
Pair = tuple[str, str]

# What Google's client libraries and gateways add to any request, see "System Parameters" of Google's API documents.
SYSTEM_PARAMETERS = frozenset(
    {
        "access_token",
        "alt",
        "callback",
        "fields",
        "key",
        "oauth_token",
        "prettyPrint",
        "quotaUser",
        "uploadType",
    }
    | {
        "upload_protocol",
        "userIp",
        "$.xgafv",
        "$alt",
        "$apiKey",
        "$apiVersion",
        "$callback",
        "$ct",
        "$fields",
    }
    | {
        "$httpMethod",
        "$key",
        "$prettyPrint",
        "$quotaUser",
        "$req",
        "$trace",
        "$unique",
        "$userIp",
        "$userProject",
    }
)


@dataclass(frozen=True, slots=True)
class PrintOptions:
    """How answers are written.

    Attributes:
        preserve_proto_field_names: Names as in the proto; else in lowerCamelCase, as `json_name` says.
        always_print_primitive_fields: Scalars, enums, lists and maps are printed also when empty.
        always_print_enums_as_ints: Numbers instead of the enums' names.
    """

    preserve_proto_field_names: bool = True
    always_print_primitive_fields: bool = True
    always_print_enums_as_ints: bool = False


@dataclass(frozen=True, slots=True)
class Options:
    """What a transcoder lets pass and how it answers.

    Attributes:
        raw_json: Full name of a message -> (its field of JSON, its `bytes` field), or several such pairs. The JSON
            that a caller gives for the first goes into the second as the bytes of its text, and bytes of the second
            are written out, as they are, under the name of the first. So no number is ever read as a double.
        ignore_unknown_query_parameters: Unknown query parameters are dropped, not refused.
        ignored_query_parameters: These are dropped, unless the request has a field of that name.
        case_insensitive_enum_parsing: Names of enums in any case.
        query_param_unescape_plus: A plus in a query is a blank, as browsers and Python's urlencode write it.
        match_unregistered_custom_verb: What follows the last colon of a path is a verb, known or not; else an unknown
            one is a part of the last segment.
        url_unescape_spec: What is decoded in a variable of several segments.
        ignore_unknown_fields: Unknown fields of a body are dropped, not refused.
        print_options: How answers are written.
    """

    raw_json: Mapping[str, Pair | tuple[Pair, ...]] = field(default_factory=dict)
    ignore_unknown_query_parameters: bool = False
    ignored_query_parameters: frozenset[str] = SYSTEM_PARAMETERS
    case_insensitive_enum_parsing: bool = True
    query_param_unescape_plus: bool = True
    match_unregistered_custom_verb: bool = True
    url_unescape_spec: UnescapeSpec = UnescapeSpec.ALL_CHARACTERS_EXCEPT_SLASH
    ignore_unknown_fields: bool = False
    print_options: PrintOptions = PrintOptions()

    def raw_pairs(self, full_name: str) -> tuple[Pair, ...]:
        """The pairs of `raw_json` that a message has."""
        found: Any = self.raw_json.get(full_name, ())
        return (found,) if found and isinstance(found[0], str) else found
