"""How client and worker reach a server: channel options, TLS and the token."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from .errors import FieldViolation, InvalidRequest
from .traces import TRACEPARENT, Traces

#: A token, or a function that is asked for one at each call, for tokens that are renewed.
Token = str | Callable[[], str]

# The process in which gRPC has begun to work. Its threads are not in a process that is forked from that one.
_process: int | None = None

# An address of one of gRPC's own schemes, which gRPC reads itself, or one with a port.
_TARGET = re.compile(
    r"(?!https?://)(?:(?:dns|unix|unix-abstract|vsock|ipv4|ipv6):.|[^:]+://.|.*:0*([0-9]{1,5})$)", re.I
)

# What batches and pages may measure (4 MiB) and room for the frame around them.
_MESSAGE_BYTES = 5 * 1024 * 1024

# A dead connection is found 10 + 5 s after its last sign of life. All three are needed: without ping_timeout_ms its
# default of 60 s overrides keepalive_timeout_ms.
_OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_send_message_length", _MESSAGE_BYTES),
    ("grpc.max_receive_message_length", _MESSAGE_BYTES),
    # gRPC's own reconnecting; by default its pause grows to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 5_000),
)


def tls_credentials(
    roots: str | Path, *, client_cert: str | Path | None = None, client_key: str | Path | None = None
) -> grpc.ChannelCredentials:
    """TLS from PEM files, for the `credentials` of Client and Worker.

    Args:
        roots: The certificates that sign the server's; `public`: those of the public authorities.
        client_cert: The certificate that this side shows, where the server wants one.
        client_key: Its key, without a password.

    Raises:
        ValueError: A file can't be read, or one of certificate and key is missing.
    """
    if (client_cert is None) != (client_key is None):
        raise ValueError("a client's certificate and its key go together; one of them is missing")
    return grpc.ssl_channel_credentials(
        None if roots == "public" else _pem(roots),
        None if client_key is None else _pem(client_key),
        None if client_cert is None else _pem(client_cert),
    )


def _pem(path: str | Path) -> bytes:
    try:
        text = Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"{path} can't be read: {error.strerror}") from None
    if b"-----BEGIN " not in text:
        raise ValueError(f"{path} is no PEM file: it has no line -----BEGIN ...-----")
    return text


@dataclass(frozen=True, slots=True)
class Access:
    """How to speak to a server.

    Attributes:
        credentials: TLS, as of `grpc.ssl_channel_credentials()`. None: plain text.
        token: Sent as `authorization: Bearer <token>` with every call.
        traces: Says what `traceparent` calls carry; None: none.
    """

    credentials: grpc.ChannelCredentials | None = None
    token: Token | None = None
    traces: Traces | None = None

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The metadata of one call."""
        metadata: tuple[tuple[str, str], ...] = ()
        if self.token is not None:
            token = self.token if isinstance(self.token, str) else self.token()
            metadata = (("authorization", f"Bearer {token}"),)
        if self.traces is not None and (traceparent := self.traces.traceparent()):
            metadata = (*metadata, (TRACEPARENT, traceparent))
        return metadata

    def channel(self, target: str) -> grpc.Channel:
        """A channel of the blocking API, with a connection of its own.

        Without `use_local_subchannel_pool` channels to the same address share one connection, and a worker that
        leaves a server would come back to it over the very connection that it left.

        Raises:
            RuntimeError: As `async_channel`.
        """
        _check_process()
        options = [*_OPTIONS, ("grpc.use_local_subchannel_pool", 1)]
        if self.credentials is None:
            return grpc.insecure_channel(target, options=options)
        return grpc.secure_channel(target, self.credentials, options=options)

    def async_channel(self, target: str) -> grpc.aio.Channel:
        """A channel of the asyncio API, of the loop that runs.

        Raises:
            RuntimeError: The process was forked from one that had connected.
        """
        _check_process()
        if self.credentials is None:
            return grpc.aio.insecure_channel(target, options=list(_OPTIONS))
        return grpc.aio.secure_channel(target, self.credentials, options=list(_OPTIONS))


def checked_target(target: str) -> str:
    """The address of a server, as it is.

    Raises:
        InvalidRequest: It has the scheme of a URL, or no port.
    """
    found = _TARGET.match(target)
    if found and (found[1] is None or 1 <= int(found[1]) <= 65535):
        return target
    words = "must be HOST:PORT, such as 127.0.0.1:50051"
    if re.match("https?://", target, re.I):
        words += ", without http://"
    raise InvalidRequest(
        f"target: {words}",
        code="INVALID_ARGUMENT",
        reason="FIELD_INVALID",
        violations=[FieldViolation("target", words)],
    )


def _check_process() -> None:
    """GRPC can't go on in a forked process: a call would never end, whatever its deadline is."""
    global _process
    if _process is None:
        _process = os.getpid()
    elif _process != os.getpid():
        raise RuntimeError(
            "this process was forked from one that had connected to a server, and gRPC does not work in it: make the "
            "first call after the fork, or start processes by `spawn` (multiprocessing.set_start_method)"
        )
