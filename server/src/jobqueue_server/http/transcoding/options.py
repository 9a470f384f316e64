"""The options of the transcoder, named as in Envoy's gRPC-JSON filter. The defaults are the strict ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from google.api import http_pb2

from .percent import UnescapeSpec

# The JSON field of a message, and its bytes field.
Pair = tuple[str, str]

# Parameters that Google's client libraries and gateways add to any request: "System Parameters" in Google's API docs.
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
    """The form of answers.

    Attributes:
        preserve_proto_field_names: Whether names are the proto's; otherwise they are in lowerCamelCase (`json_name`).
        always_print_primitive_fields: Whether scalars, enums, lists and maps are written also when empty.
        always_print_enums_as_ints: Whether enums are numbers instead of names.
    """

    preserve_proto_field_names: bool = True
    always_print_primitive_fields: bool = True
    always_print_enums_as_ints: bool = False


@dataclass(frozen=True, slots=True)
class Options:
    """What a transcoder accepts, and how it answers.

    Attributes:
        raw_json: For the full name of a message: its JSON field and its `bytes` field, or several such pairs. JSON
            that a caller gives for the first field is stored in the second as text. The second field's bytes are
            written unchanged under the first field's name. So no number is read as a double.
        rules: For the full name of a method: its rule, instead of that of its .proto file, as the rules of a service's
            configuration are. For methods whose .proto file is not ours.
        ignore_unknown_query_parameters: Whether unknown query parameters are ignored instead of refused.
        ignored_query_parameters: Names of query parameters to ignore, unless the request has a field of that name.
        case_insensitive_enum_parsing: Whether names of enums may be in any case.
        query_param_unescape_plus: Whether a plus in a query is a blank, as browsers and Python's urlencode write it.
        match_unregistered_custom_verb: Whether the text after a path's last colon is always a verb. Otherwise an
            unknown verb is part of the last segment.
        url_unescape_spec: Which escapes are decoded in a variable of several segments.
        ignore_unknown_fields: Whether unknown fields of a body are ignored instead of refused.
        print_options: The form of answers.
    """

    raw_json: Mapping[str, Pair | tuple[Pair, ...]] = field(default_factory=dict)
    rules: Mapping[str, http_pb2.HttpRule] = field(default_factory=dict)
    ignore_unknown_query_parameters: bool = False
    ignored_query_parameters: frozenset[str] = SYSTEM_PARAMETERS
    case_insensitive_enum_parsing: bool = True
    query_param_unescape_plus: bool = True
    match_unregistered_custom_verb: bool = True
    url_unescape_spec: UnescapeSpec = UnescapeSpec.ALL_CHARACTERS_EXCEPT_SLASH
    ignore_unknown_fields: bool = False
    print_options: PrintOptions = PrintOptions()

    def raw_pairs(self, full_name: str) -> tuple[Pair, ...]:
        """The pairs of `raw_json` for a message."""
        found: Any = self.raw_json.get(full_name, ())
        return (found,) if found and isinstance(found[0], str) else found
