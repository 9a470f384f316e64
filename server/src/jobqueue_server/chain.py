"""The one chain that every call passes, over gRPC and HTTP alike: nothing is checked in one of them only.

In order: deadline, request id, access, limits, metrics, errors. A transport makes a `Call` of what it received and runs
the chain's wrapper of a servicer's method; the wrapper raises `JobQueueError`, `asyncio.CancelledError` and `PeerGone`,
and nothing else.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import ExitStack, aclosing
from datetime import timedelta
from types import TracebackType
from typing import Any, Protocol

from grpc_http2 import PeerGone

from . import logs
from .core.intake.callers import CALLER
from .errors import DeadlineExceeded, Draining, Internal, JobQueueError, TooManyCalls
from .model import DEFAULT_NAMESPACE, DEFAULT_WAIT, MAX_WAIT
from .scope import Scope

#: The method of a call that its transport finds none for.
NO_METHOD = "/-/-"
#: What a unary call gets that came without a deadline, in seconds.
UNARY_SECONDS = 30.0
#: What a call that waits on purpose gets beyond its wait, to answer what there is, in seconds.
BEYOND_WAIT_SECONDS = 5.0
MAX_REQUEST_ID_CHARS = 128
#: The scope of every call to a server without credentials.
ANONYMOUS = Scope(DEFAULT_NAMESPACE, "anonymous")

# The field that says how long the call means to wait.
_WAIT_FIELDS = {"WaitJob": "timeout", "ClaimJobs": "wait"}
# They finish work, and are taken while the server leaves and when it is overloaded.
_FINISHING = frozenset({"SettleJobs", "HeartbeatSession", "CloseSession"})

_TIME_IS_UP = "the call's time ended before its answer"

_log = logs.get(__name__)


class Call:
    """One call, whatever its transport.

    Attributes:
        method: The full name, such as `/jobqueue.v1.JobQueue/EnqueueJob`; NO_METHOD while it is not known.
        transport: `grpc` or `http`.
        metadata: What came with it, names in lower case; the last of a repeated name.
        deadline: When its time is up, in seconds of `time.monotonic()`; None while it has none.
        peer: Who called, as the transport names them.
        request_id: The caller's `x-request-id` if that is 1 to 128 printable ASCII characters, else new.
        scope: On whose behalf it is made. The access step sets it; before, a call has none.
        answer_metadata: Sent back beside the answer. `x-http-code` is for the HTTP transport and never sent.
    """

    __slots__ = (
        "answer_metadata",
        "deadline",
        "metadata",
        "method",
        "peer",
        "request_id",
        "scope",
        "transport",
    )

    scope: Scope

    def __init__(
        self,
        method: str,
        transport: str,
        metadata: Mapping[str, str | bytes],
        *,
        deadline: float | None = None,
        peer: str = "",
    ) -> None:
        self.method = method
        self.transport = transport
        self.metadata = metadata
        self.deadline = deadline
        self.peer = peer
        given = self.text("x-request-id")
        sane = 0 < len(given) <= MAX_REQUEST_ID_CHARS and given.isascii() and given.isprintable()
        self.request_id = given if sane else f"{random.getrandbits(80):020x}"
        self.answer_metadata = {"x-request-id": self.request_id}

    def text(self, name: str) -> str:
        """The metadata of this name as text; empty when it did not come, or came as bytes."""
        value = self.metadata.get(name, "")
        return value if isinstance(value, str) else ""

    def remaining(self) -> float | None:
        """Seconds until the deadline, negative when it has passed; None without one."""
        return None if self.deadline is None else self.deadline - time.monotonic()


class CallObserver(Protocol):
    """Where the metrics step reports to."""

    def call_handled(self, method: str, transport: str, code: str, seconds: float) -> None:
        """A call ended with `code`, the name of its google.rpc.Code."""


Parse = Callable[[Any], Awaitable[Any]]
Handler = Callable[[Any, Call], Awaitable[Any]]
StreamHandler = Callable[[Any, Call], AsyncGenerator[Any, None]]
Send = Callable[[Any], Awaitable[object]]


class Access(Protocol):
    """Decides on whose behalf a call is made, and whether it may be made."""

    def verdict(self, call: Call) -> Scope | None:
        """The scope of a call that memory alone allows; None where `decide` has to say. The fast path needs one."""

    async def decide(self, call: Call) -> Scope:
        """The scope of a call for which there was no verdict.

        Raises:
            JobQueueError: The call may not be made.
        """


class Anybody:
    """The access of a server without credentials: all calls are allowed, in the same scope. No header is read."""

    def verdict(self, call: Call) -> Scope:
        """The scope of all calls."""
        return ANONYMOUS

    async def decide(self, call: Call) -> Scope:
        """The same."""
        return ANONYMOUS


async def _unchanged(raw: Any) -> Any:
    return raw


class Chain:
    """Wraps the methods of servicers.

    Attributes:
        draining: Set when the server leaves: new calls are refused, except those that finish work.
        in_flight: Unary calls being handled. Above `max_in_flight` new ones are refused, except those that
            finish work.
        open_streams: Streams being handled.
    """

    def __init__(
        self,
        observer: CallObserver,
        *,
        access: Access | None = None,
        max_in_flight: int = 10_000,
    ) -> None:
        self._observer = observer
        self._access = access or Anybody()
        self._max_in_flight = max_in_flight
        self.draining = False
        self.in_flight = 0
        self.open_streams = 0

    def drain(self) -> None:
        """The server leaves."""
        self.draining = True

    def unary(
        self, method: str, handler: Handler, parse: Parse = _unchanged
    ) -> Callable[[Any, Call], Awaitable[Any]]:
        """The wrapper of a unary method, `await wrapper(raw, call)`.

        Args:
            method: The full name.
            handler: The servicer's method, `(request, call)`.
            parse: Makes the request of what the transport received, or still receives; runs once
                the caller was let in, and what it raises is the call's answer.
        """
        name = method.rpartition("/")[2]
        wait_field = _WAIT_FIELDS.get(name)
        finishing = name in _FINISHING

        async def run(raw: Any, call: Call) -> Any:
            with _Watch(self, call, streams=False):
                unset = call.deadline is None
                if unset:
                    call.deadline = time.monotonic() + UNARY_SECONDS
                try:
                    async with asyncio.timeout(call.remaining()) as limit:
                        await self._admit(call, finishing)
                        request = await parse(raw)
                        if unset and wait_field is not None:
                            call.deadline = (
                                time.monotonic() + _wait(request, wait_field) + BEYOND_WAIT_SECONDS
                            )
                            limit.reschedule(asyncio.get_running_loop().time() + (call.remaining() or 0))
                        return await handler(request, call)
                except TimeoutError:
                    # Any other TimeoutError is a fault of ours.
                    if limit.expired():
                        raise time_is_up() from None
                    raise

        return run

    def stream(
        self, method: str, handler: StreamHandler, parse: Parse = _unchanged
    ) -> Callable[[Any, Call, Send], Awaitable[None]]:
        """The wrapper of a server stream, `await wrapper(raw, call, send)`; without a default deadline."""

        async def run(raw: Any, call: Call, send: Send) -> None:
            with _Watch(self, call, streams=True):
                try:
                    async with asyncio.timeout(call.remaining()) as limit:
                        await self._admit(call, False)
                        # Closed here and now, also when `send` fails, and not when the collector comes by.
                        async with aclosing(handler(await parse(raw), call)) as responses:
                            async for response in responses:
                                await send(response)
                except TimeoutError:
                    # Any other TimeoutError is a fault of ours.
                    if limit.expired():
                        raise time_is_up() from None
                    raise

        return run

    def duplex(self, method: str, handler: Handler) -> Callable[[Any, Call], Awaitable[None]]:
        """The wrapper of a method that reads and writes its stream itself, `await wrapper(stream, call)`."""

        async def run(stream: Any, call: Call) -> None:
            with _Watch(self, call, streams=True):
                await self._admit(call, False)
                await handler(stream, call)

        return run

    def begin(self, call: Call) -> Begun | None:
        """Lets in a call that is handled without a task of its own, for the hot path.

        The steps are those of `unary`. None where one of them has to wait or refuses: the call then goes that way.
        """
        scope = self._access.verdict(call)
        if scope is None or self.draining or self.in_flight >= self._max_in_flight:
            return None
        call.scope = scope
        if call.deadline is None:
            call.deadline = time.monotonic() + UNARY_SECONDS
        return Begun(self, call)

    def refused(self, call: Call, error: JobQueueError) -> None:
        """Counts a call that its transport refused before it could come here, such as one whose path has no method."""
        self._handled(call, error.code, 0.0)

    def _handled(self, call: Call, code: str, seconds: float) -> None:
        self._observer.call_handled(call.method, call.transport, code, seconds)
        if _log.says_debug:
            _log.debug(
                "call handled", method=call.method, transport=call.transport, code=code, seconds=seconds
            )

    async def _admit(self, call: Call, finishing: bool) -> None:
        scope = self._access.verdict(call)
        call.scope = await self._access.decide(call) if scope is None else scope
        if finishing:
            return
        if self.draining:
            raise Draining(
                "this server is shutting down; connect to another server, or call again",
                retry_after=timedelta(seconds=1),
            )
        if self.in_flight > self._max_in_flight:
            raise TooManyCalls(
                f"this server handles {self._max_in_flight} calls, as many as it may; call again later",
                retry_after=timedelta(seconds=1),
            )


class Begun:
    """A call that `Chain.begin` let in. Its handler ends it, once."""

    __slots__ = ("_watch", "call")

    def __init__(self, chain: Chain, call: Call) -> None:
        self.call = call
        self._watch = _Watch(chain, call, streams=False)
        self._watch.begin()

    def cancel(self) -> None:
        """It goes the usual way after all, and is counted there."""
        self._watch.cancel()

    def end(self, error: BaseException | None = None) -> JobQueueError | None:
        """Counts and times it. Returns what the caller is told of the error; None if the caller has gone."""
        if error is None:
            self._watch.__exit__(None, None, None)
            return None
        if isinstance(error, JobQueueError):
            self._watch.__exit__(type(error), error, None)
            return error
        try:
            with ExitStack() as stack:
                stack.push(self._watch.__exit__)
                raise error
        except Internal as told:
            return told
        except (PeerGone, asyncio.CancelledError):
            pass
        return None


def time_is_up() -> DeadlineExceeded:
    """What a call is told that ran out of time."""
    return DeadlineExceeded(_TIME_IS_UP)


class _Watch:
    """Around one call: names it in the log, counts and times it, lets no unexpected exception out."""

    __slots__ = ("_call", "_chain", "_started", "_streams")

    def __init__(self, chain: Chain, call: Call, *, streams: bool) -> None:
        self._chain = chain
        self._call = call
        self._streams = streams

    def __enter__(self) -> None:
        logs.bind(request_id=self._call.request_id)
        CALLER.set(self._call.peer)
        self.begin()

    def begin(self) -> None:
        """Counts it as under way."""
        self._started = time.perf_counter()
        if self._streams:
            self._chain.open_streams += 1
        else:
            self._chain.in_flight += 1

    def cancel(self) -> None:
        """Takes that back."""
        self._chain.in_flight -= 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._streams:
            self._chain.open_streams -= 1
        else:
            self._chain.in_flight -= 1
        if error is None:
            code = "OK"
        elif isinstance(error, JobQueueError):
            code = error.code
        elif isinstance(error, Exception) and not isinstance(error, PeerGone):
            code = Internal.code
        else:
            code = "CANCELLED"
        self._chain._handled(self._call, code, time.perf_counter() - self._started)
        if code == Internal.code and not isinstance(error, JobQueueError):
            raise self._internal() from error

    def _internal(self) -> Internal:
        """What a caller is told of a fault of ours: an id, by which the log has the rest."""
        error_id = secrets.token_hex(8)
        _log.exception("a call failed by a fault of the server", method=self._call.method, error_id=error_id)
        return Internal(
            f"the server failed to handle the call; its log has it under the error id {error_id}",
            metadata={"error_id": error_id},
        )


def _wait(request: Any, field: str) -> float:
    """How long the request means to wait, in seconds, within its bounds."""
    if not request.HasField(field):
        return DEFAULT_WAIT.total_seconds()
    wait = getattr(request, field)
    return float(min(max(wait.seconds + wait.nanos / 1e9, 0.0), MAX_WAIT.total_seconds()))
