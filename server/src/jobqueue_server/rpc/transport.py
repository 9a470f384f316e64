"""What `rpc` needs of a transport: a server, and calls as handlers know them. Each engine has it (`rpc.engines`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import grpc

# What engines share with the code above them. All of it is imported from here.
from grpc_http2 import (
    Cancellable,
    Limits,
    MessageTooLarge,
    MessageUnreadable,
    Metadata,
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
    "PeerGone",
    "Server",
    "TooLarge",
    "raw",
]


class Context(Protocol):
    """A call, as every handler knows it. It has what is used here of `grpc.aio.ServicerContext`."""

    def invocation_metadata(self) -> Metadata:
        """What came with the call."""

    def time_remaining(self) -> float | None:
        """Seconds until the caller's deadline, not below 0; None without one."""

    def peer(self) -> str:
        """Who called, as gRPC names them."""

    def set_trailing_metadata(self, metadata: Metadata) -> None:
        """Sets what goes with the status."""

    async def send_initial_metadata(self, metadata: Metadata) -> None:
        """Sends the answer's fields before its first message."""

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Metadata = ()) -> None:
        """Ends the call with a status.

        Raises:
            grpc.aio.AbortError: Always; the handler is to let it pass.
        """

    async def write(self, message: Any) -> None:
        """Sends a message, and waits while the caller takes no more.

        Raises:
            PeerGone: The caller has gone.
        """


class FrameStream(Context, Protocol):
    """A call whose handler reads and writes messages in any order."""

    async def read(self) -> Any:
        """The next message; `grpc.aio.EOF` when the caller has said all. One read at a time."""

    async def receive(self, handle: Callable[[Any], None], ready: Callable[[], bool]) -> None:
        """Has each message handled as it comes, until the caller has said all.

        Args:
            handle: Gets each message.
            ready: Whether `handle` takes the next one now. Where it does not, `resume` goes on.

        Raises:
            Exception: What `handle` raised; no message is handled after that.
        """

    def resume(self) -> None:
        """Handles what has come, as long as it may be handled."""

    def writable(self) -> bool:
        """Whether there is room to send."""

    def send(self, message: Any) -> None:
        """Sends a message, in order, without waiting; look at `writable` before. Once the caller has gone: nothing."""

    def when_writable(self, call: Callable[[], None]) -> None:
        """Calls it once, as soon as there is room again or the caller has gone."""


class ImmediateContext(Context, Protocol):
    """A unary call that is handled without a task: by the engine `http2` alone.

    Attributes:
        task: What stands for the handler's task; it is cancelled when the caller goes.
    """

    task: Cancellable | None

    def answer(self, response: bytes) -> None:
        """Sends the response, and ends the call well."""

    def finish(self, code: int, details: str = "", trailing: Metadata = ()) -> None:
        """Ends the call with a status."""


class Server(Protocol):
    """Serves handlers as they are made for `grpc.aio.Server`, before it listens."""

    def add_generic_rpc_handlers(self, handlers: Iterable[Any]) -> None:
        """Serves these."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Serves these methods of a service."""

    async def listen(self, host: str, port: int, tls: Tls | None) -> int:
        """Takes calls there, and answers the port.

        Raises:
            OSError: Another program has the address, or it is not this machine's.
        """

    async def stop(self, grace: float) -> None:
        """Takes no new calls, and cuts off those that are not done after the grace, in seconds."""
