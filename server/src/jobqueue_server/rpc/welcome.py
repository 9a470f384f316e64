"""The Welcome of a session, for a stream and for the answer to OpenSession."""

from __future__ import annotations

from collections.abc import Sequence

from jobqueue.v1 import lease_pb2

from .. import __version__
from ..core.session.registry import Opened
from ..model import (
    MAX_BATCH_JOBS,
    MAX_CHECKPOINT_BYTES,
    MAX_ERROR_CHARS,
    MAX_FOLLOW_UPS,
    MAX_HEADERS_BYTES,
    MAX_MESSAGE_BYTES,
    MAX_OUTPUT_BYTES,
    MAX_PAYLOAD_BYTES,
    MAX_SETTLE_OUTCOMES,
    MAX_STACK_CHARS,
)
from .convert import set_span
from .hello import MAX_SLOTS, held_lease

_LIMITS = lease_pb2.ServerLimits(
    payload_bytes=MAX_PAYLOAD_BYTES,
    output_bytes=MAX_OUTPUT_BYTES,
    header_bytes=MAX_HEADERS_BYTES,
    error_bytes=MAX_ERROR_CHARS,
    stack_bytes=MAX_STACK_CHARS,
    checkpoint_bytes=MAX_CHECKPOINT_BYTES,
    message_bytes=MAX_MESSAGE_BYTES,
    batch_jobs=MAX_BATCH_JOBS,
    settle_outcomes=MAX_SETTLE_OUTCOMES,
    follow_ups=MAX_FOLLOW_UPS,
    slots=MAX_SLOTS,
)


def welcome(opened: Opened, undeclared: Sequence[str], server_name: str) -> lease_pb2.Welcome:
    """The Welcome: the session, its token, which of the named leases the worker keeps, and what is not declared."""
    session = opened.session
    message = lease_pb2.Welcome(
        session_id=session.id,
        session_token=opened.token,
        server=f"{server_name} {__version__}",
        limits=_LIMITS,
        kept=[held_lease(lease) for lease in opened.kept],
        revoked=[held_lease(lease) for lease in opened.revoked],
        unknown_kinds=undeclared,
    )
    set_span(message.heartbeat_interval, session.heartbeat_interval)
    set_span(message.session_ttl, session.ttl)
    return message
