"""The interface of a transport for `rpc`: a server, and the calls that handlers get. Each engine implements it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import grpc

# The types that engines share with the code above them, which imports them from here.
from grpc_http2 import (
    Cancellable,
    Limits,
    MessageTooLarge,
    MessageUnreadable,
    Metadata,
    PeerCertificate,
    PeerGone,
    TooLarge,
    raw,
)

from ..tls import Tls

__all__ = [
    "Cancellable",
    "Context",
    "FrameStream",
    "ImmediateContext",
    "Limits",
    "MessageTooLarge",
    "MessageUnreadable",
    "Metadata",
    "PeerCertificate",
    "PeerGone",
    "Server",
    "TooLarge",
    "raw",
]


class Context(Protocol):
    """A call as every handler gets it: the part of `grpc.aio.ServicerContext` that is used here."""

    def invocation_metadata(self) -> Metadata:
        """The metadata of the call."""

    def time_remaining(self) -> float | None:
        """Seconds until the caller's deadline, at least 0; None without a deadline."""

    def peer(self) -> str:
        """The caller's address, as gRPC writes it."""

    def certificate(self) -> PeerCertificate | None:
        """The caller's certificate; None: it showed none."""

    def set_trailing_metadata(self, metadata: Metadata) -> None:
        """Sets the trailers."""

    async def send_initial_metadata(self, metadata: Metadata) -> None:
        """Sends the initial metadata."""

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Metadata = ()) -> None:
        """Ends the call with a status.

        Raises:
            grpc.aio.AbortError: Always. The handler must not catch it.
        """

    async def write(self, message: Any) -> None:
        """Sends a message, and waits while the caller reads too slowly.

        Raises:
            PeerGone: The caller has gone.
        """


class FrameStream(Context, Protocol):
    """A call whose handler reads and writes messages in any order."""

    async def read(self) -> Any:
        """The next message; `grpc.aio.EOF` after the caller closed its side. One read at a time."""

    async def receive(self, handle: Callable[[Any], None], ready: Callable[[], bool]) -> None:
        """Passes each message to `handle`, until the caller closes its side.

        Args:
            handle: Gets each message.
            ready: Whether `handle` can get the next message now. After False, `resume` must be called.

        Raises:
            Exception: What `handle` raised; no message is handled after that.
        """

    def resume(self) -> None:
        """Continues to pass messages to `handle`, while `ready` allows it."""

    def writable(self) -> bool:
        """Whether there is room to send a message."""

    def send(self, message: Any) -> None:
        """Sends a message, in order, without waiting: check `writable` before. Does nothing if the caller has gone."""

    def when_writable(self, call: Callable[[], None]) -> None:
        """Calls the function once, when there is room again or the caller has gone."""


class ImmediateContext(Context, Protocol):
    """A unary call that is handled without a task. Only the engine `http2` has it.

    Attributes:
        task: Stands for the handler's task; it is cancelled when the caller goes.
    """

    task: Cancellable | None

    def answer(self, response: bytes) -> None:
        """Sends the response, and ends the call with OK."""

    def finish(self, code: int, details: str = "", trailing: Metadata = ()) -> None:
        """Ends the call with a status."""


class Server(Protocol):
    """A server. Its interface is the one of `grpc.aio.Server`, as far as it is used here."""

    def add_generic_rpc_handlers(self, handlers: Iterable[Any]) -> None:
        """Adds generic handlers, before the start."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Adds handlers of a service's methods, before the start."""

    async def listen(self, host: str, port: int, tls: Tls | None) -> int:
        """Listens on the address, and answers the port.

        Raises:
            OSError: Another program has the address, or it is not this machine's.
        """

    async def stop(self, grace: float) -> None:
        """Accepts no new calls, and ends the calls that are not done after the grace, in seconds."""
