"""What goes with the end of a call over gRPC."""

from __future__ import annotations

import grpc

from ..chain import Call
from ..errors import JobQueueError
from .errors import DETAILS_KEY, code_of, message_of, status_of
from .http2.fields import Metadata

# For the HTTP transport; a gRPC client has no use for it.
_INTERNAL_METADATA = "x-http-code"


def trailing(call: Call) -> Metadata:
    """The metadata that go with its answer."""
    return tuple(pair for pair in call.answer_metadata.items() if pair[0] != _INTERNAL_METADATA)


def refusal(call: Call, error: JobQueueError) -> tuple[grpc.StatusCode, str, Metadata]:
    """The status, its text and its metadata of a call that failed."""
    details = (DETAILS_KEY, status_of(error).SerializeToString())
    return code_of(error), message_of(error), (*trailing(call), details)
