"""The header `traceparent` of a call, as W3C Trace Context has it."""

from __future__ import annotations

import re

#: The name of the header.
TRACEPARENT = "traceparent"

_is_traceparent = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-[!-~]{0,200})?").fullmatch
# The last bit of the flags says it, which stand behind version, trace and span.
_LAST_OF_FLAGS, _SAMPLED = slice(54, 55), frozenset("13579bdf")


def is_traceparent(text: str) -> bool:
    """Whether it has the form of one."""
    return _is_traceparent(text) is not None


def is_sampled(value: str | bytes) -> bool:
    """Whether a caller that sends this is sampled: a look at one character, for each call of a server with traces.

    Bytes never are: metadata has them for what is no text.
    """
    return value[_LAST_OF_FLAGS] in _SAMPLED


def ids_of(text: str) -> tuple[int, int] | None:
    """The ids of trace and span; None where it is malformed, or where one of them is zero, which stands for none."""
    if not is_traceparent(text) or text.startswith("ff"):
        return None
    trace, span = int(text[3:35], 16), int(text[36:52], 16)
    return (trace, span) if trace and span else None
