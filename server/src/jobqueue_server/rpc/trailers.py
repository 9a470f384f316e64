"""The trailers of a gRPC call: the metadata at its end."""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache

import grpc

from ..chain import Call
from ..errors import JobQueueError
from .errors import DETAILS_KEY, code_of, message_of, status_of
from .transport import Metadata

# For the HTTP transport alone.
_INTERNAL_METADATA = "x-http-code"


def trailing(call: Call) -> Metadata:
    """The trailers of a successful call."""
    if _INTERNAL_METADATA not in call.answer_metadata:
        return tuple(call.answer_metadata.items())
    return tuple(pair for pair in call.answer_metadata.items() if pair[0] != _INTERNAL_METADATA)


def refusal(call: Call, error: JobQueueError) -> tuple[grpc.StatusCode, str, Metadata]:
    """The status, the text and the trailers of a failed call."""
    details: bytes
    if error.violations or (error.metadata and error.retry_after is None):
        details = status_of(error).SerializeToString()
    else:
        metadata = tuple(error.metadata.items())
        details = _details(error.code, error.reason, error.message, error.retry_after, metadata)
    return code_of(error), message_of(error), (*trailing(call), (DETAILS_KEY, details))


@lru_cache(maxsize=256)
def _details(
    code: str, reason: str, message: str, retry_after: timedelta | None, metadata: tuple[tuple[str, str], ...]
) -> bytes:
    """The same for an error that says little. It is cached: under overload many calls get the same error."""
    error = JobQueueError(message, metadata=dict(metadata), retry_after=retry_after)
    error.code, error.reason = code, reason
    details: bytes = status_of(error).SerializeToString()
    return details
