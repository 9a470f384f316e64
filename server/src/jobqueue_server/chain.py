"""The chain of steps that every call passes, over gRPC and over HTTP.

The steps are, in this order: deadline, request id, access, limits, metrics, errors. A transport makes a `Call` of a
request, and runs the chain's wrapper of a servicer's method. The wrapper raises only `JobQueueError`,
`asyncio.CancelledError` and `PeerGone`.
"""

from __future__ import annotations

import asyncio
import random
import re
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta
from types import TracebackType
from typing import Any, Protocol

from grpc_http2 import PeerCertificate, PeerGone

from . import logs
from .errors import (
    DeadlineExceeded,
    Draining,
    Internal,
    JobQueueError,
    NamespaceDisabled,
    RateLimited,
    TooManyCalls,
)
from .fair.owner import CALLER, OWNER
from .fair.share import Share
from .model import DEFAULT_NAMESPACE, DEFAULT_WAIT, MAX_WAIT
from .scope import Scope, Source
from .traces.calls import CallSpan, Traces

#: The method of a call for which the transport found no method.
NO_METHOD = "/-/-"
#: What stands for the method of a call that reads documents of the contract, and of one that reads metrics.
DOCUMENTS, METRICS = "/-/documents", "/-/metrics"
#: The deadline of a unary call that came without one, in seconds.
UNARY_SECONDS = 30.0
#: How many seconds a call that asked to wait gets in addition to its wait, for the answer.
BEYOND_WAIT_SECONDS = 5.0
MAX_REQUEST_ID_CHARS = 128
#: The name in an answer of how near the server is to refusing jobs, and above what it is told.
PRESSURE, NOTABLE_PRESSURE = "jobqueue-pressure", 0.5
#: The scope of every call to a server without credentials.
ANONYMOUS = Scope(DEFAULT_NAMESPACE, "anonymous")

# The fields of requests that say how long the call wants to wait.
_WAIT_FIELDS = {"WaitJob": "timeout", "ClaimJobs": "wait", "WaitOperation": "timeout"}
# These methods finish work. The server accepts them while it drains and while it is overloaded.
_FINISHING = frozenset({"SettleJobs", "HeartbeatSession", "CloseSession"})

# The codes of refused calls. At methods that are audited NOT_FOUND is one: what is forbidden and what is missing look
# the same by id.
_REFUSED = frozenset({"UNAUTHENTICATED", "PERMISSION_DENIED"})
_REFUSED_WHERE_AUDITED = _REFUSED | {"NOT_FOUND"}

_address = re.compile(r"ipv4:([0-9.]+)(?::\d+)?|ipv6:\[([^\]%]+)(?:%[^\]]*)?\](?::\d+)?").fullmatch

_TIME_IS_UP = "the call's time ended before its answer"

_log = logs.get(__name__)


class Call:
    """One call, whatever its transport.

    Attributes:
        method: The full name, such as `/jobqueue.v1.JobQueue/EnqueueJob`; NO_METHOD while it is not known.
        transport: `grpc` or `http`.
        metadata: The call's metadata, names in lower case; of a repeated name the last value.
        deadline: The time at which the call must end, of `time.monotonic()`; None while it has no deadline.
        peer: The caller's address, as gRPC writes it.
        certificate: The caller's certificate; None if it showed none.
        request_id: The caller's `x-request-id` if that is 1 to 128 printable ASCII characters, otherwise a new one.
        scope: On whose behalf the call is made. The access step sets it.
        span: Its span; None: it is not sampled, as nearly all are not. The metrics step sets it.
        share: Of which it takes a place; None while it has none.
        answer_metadata: Sent with the answer. `x-http-code` is for the HTTP transport, and is never sent.
    """

    __slots__ = (
        "answer_metadata",
        "certificate",
        "deadline",
        "metadata",
        "method",
        "peer",
        "request_id",
        "scope",
        "share",
        "span",
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
        certificate: PeerCertificate | None = None,
    ) -> None:
        self.method = method
        self.transport = transport
        self.metadata = metadata
        self.deadline = deadline
        self.peer = peer
        self.certificate = certificate
        self.span: CallSpan | None = None
        self.share: Share | None = None
        given = metadata.get("x-request-id")
        if (
            isinstance(given, str)
            and 0 < len(given) <= MAX_REQUEST_ID_CHARS
            and given.isascii()
            and given.isprintable()
        ):
            self.request_id = given
        else:
            self.request_id = f"{random.getrandbits(80):020x}"
        self.answer_metadata = {"x-request-id": self.request_id}

    def text(self, name: str) -> str:
        """The metadata of this name as text; empty if the call has none of this name, or if it is bytes."""
        value = self.metadata.get(name, "")
        return value if isinstance(value, str) else ""

    @property
    def address(self) -> str:
        """The IP address of `peer`, such as 127.0.0.1 of `ipv4:127.0.0.1:5000`; empty where there is none."""
        found = _address(self.peer)
        return "" if found is None else found.group(1) or found.group(2)

    @property
    def source(self) -> Source:
        """Whence it came, for the audit log."""
        return Source(self.address, self.transport, self.request_id)

    def tell_pressure(self, pressure: float) -> None:
        """Tells the caller how near the server is to refusing jobs, from 0 to 1, if it is near."""
        if pressure > NOTABLE_PRESSURE:
            self.answer_metadata[PRESSURE] = f"{pressure:.2f}"

    def remaining(self) -> float | None:
        """Seconds until the deadline, negative after it; None if the call has no deadline."""
        return None if self.deadline is None else self.deadline - time.monotonic()


class CallObserver(Protocol):
    """The metrics step reports to this."""

    def call_handled(
        self, method: str, transport: str, code: str, seconds: float, ids: Mapping[str, str] | None = None
    ) -> None:
        """Counts a call that ended with `code`, the name of its google.rpc.Code, after so many seconds.

        Args:
            method: Its full name.
            transport: `grpc` or `http`.
            code: OK, or that of its error.
            seconds: From its begin to its answer.
            ids: `trace_id` and `span_id` of its span; None: it is not sampled.
        """

    def rate_limited(self) -> None:
        """Counts a call that was refused since its caller calls too often."""


class Denials(Protocol):
    """Refused calls are told to this."""

    def note(self, scope: Scope | None, source: Source, action: str, error: JobQueueError) -> None:
        """A call of this method was refused; `scope` None: who called is not known."""


Parse = Callable[[Any], Awaitable[Any]]
Handler = Callable[[Any, Call], Awaitable[Any]]
StreamHandler = Callable[[Any, Call], AsyncGenerator[Any, None]]
Send = Callable[[Any], Awaitable[object]]


class Access(Protocol):
    """Decides in which scope a call is made, and whether it is allowed."""

    def verdict(self, call: Call) -> Scope | None:
        """The scope of a call, if memory is enough to allow it; otherwise None, and `decide` must be asked."""

    async def decide(self, call: Call) -> Scope:
        """The scope of a call for which `verdict` was None.

        Raises:
            JobQueueError: The call is not allowed.
        """

    def ended(self, scope: Scope) -> JobQueueError | None:
        """Why a call of this scope that was let in may not go on; None: it may."""

    def hear_change(self, listener: Callable[[], object]) -> None:
        """What calls may do has changed: `ended` may answer otherwise."""


class Anybody:
    """The access of a server without credentials: it allows all calls, in one scope, and reads no header."""

    def verdict(self, call: Call) -> Scope | None:
        """The scope of all calls."""
        return ANONYMOUS

    async def decide(self, call: Call) -> Scope:
        """The same."""
        return ANONYMOUS

    def ended(self, scope: Scope) -> JobQueueError | None:
        """It never ends."""
        return None

    def hear_change(self, listener: Callable[[], object]) -> None:
        """Nothing changes."""


async def _unchanged(raw: Any) -> Any:
    return raw


class Chain:
    """Wraps the methods of servicers.

    Args:
        observer: Hears of every call.
        access: Decides who may call; None: everybody.
        audited: The full names of the methods that write into the audit log: they know whence they were called.
        denials: Hears of refused calls; None: they are told to none.
        traces: Makes the spans of sampled unary calls; None: no call has one.
        max_in_flight: Unary calls that are handled at once, and as many that wait for what they asked for. Principals
            share both.

    Attributes:
        draining: Whether the server drains. New calls are then refused, except those that finish work.
        in_flight: The number of unary calls being handled, those that wait included.
        open_streams: The number of streams being handled.
    """

    def __init__(
        self,
        observer: CallObserver,
        *,
        access: Access | None = None,
        audited: Collection[str] = (),
        denials: Denials | None = None,
        traces: Traces | None = None,
        max_in_flight: int = 10_000,
    ) -> None:
        self._observer = observer
        self._access = access or Anybody()
        self._audited = frozenset(audited)
        self._denials = denials
        self._traces = traces
        self._calls = Share(max_in_flight)
        self._waits = Share(max_in_flight)
        self._long: set[_LongCall] = set()
        self._access.hear_change(self._access_changed)
        self.draining = False
        self.in_flight = 0
        self.open_streams = 0

    def drain(self) -> None:
        """Makes the chain refuse new calls, except those that finish work."""
        self.draining = True

    def unary(
        self, method: str, handler: Handler, parse: Parse = _unchanged
    ) -> Callable[[Any, Call], Awaitable[Any]]:
        """The wrapper of a unary method, `await wrapper(raw, call)`.

        Args:
            method: The full name.
            handler: The servicer's method, `(request, call)`.
            parse: Makes the request from what the transport has received or still receives. It runs after the access
                step; an error that it raises is the call's answer.
        """
        name = method.rpartition("/")[2]
        if method in self._audited:
            handler = _with_source(handler)
        wait_field = _WAIT_FIELDS.get(name)
        share = self._waits if wait_field is not None else self._calls
        finishing = name in _FINISHING

        async def run(raw: Any, call: Call) -> Any:
            with _Watch(self, call, streams=False):
                unset = call.deadline is None
                if unset:
                    call.deadline = time.monotonic() + UNARY_SECONDS
                try:
                    async with asyncio.timeout(call.remaining()) as limit:
                        await self._admit(call, share, finishing)
                        request = await parse(raw)
                        if unset and wait_field is not None:
                            call.deadline = (
                                time.monotonic() + _wait(request, wait_field) + BEYOND_WAIT_SECONDS
                            )
                            limit.reschedule(asyncio.get_running_loop().time() + (call.remaining() or 0))
                        if wait_field is not None:
                            with self._long_call(call):
                                return await handler(request, call)
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
        """The wrapper of a server stream, `await wrapper(raw, call, send)`. A stream gets no default deadline."""

        async def run(raw: Any, call: Call, send: Send) -> None:
            with _Watch(self, call, streams=True):
                try:
                    async with asyncio.timeout(call.remaining()) as limit:
                        await self._admit(call)
                        # Closed here, also if `send` fails, and not later by the garbage collector.
                        with self._long_call(call):
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
        """The wrapper of a method that itself reads and writes its stream, `await wrapper(stream, call)`."""

        async def run(stream: Any, call: Call) -> None:
            with _Watch(self, call, streams=True):
                await self._admit(call)
                await handler(stream, call)

        return run

    def _long_call(self, call: Call) -> _LongCall:
        """Around a call that may go on for long.

        Raises:
            JobQueueError: What it may do has changed since it was let in, while its request was read.
        """
        error = self._access.ended(call.scope)
        if error is not None:
            raise error
        return _LongCall(self._long, call)

    def _access_changed(self) -> None:
        """Ends what may not go on. The sessions of `duplex` end by what they hold (core/session/credentials.py)."""
        for long in list(self._long):
            error = self._access.ended(long.call.scope)
            if error is not None:
                long.cut(error)

    def begin(self, call: Call) -> Begun | None:
        """Admits a call that is handled without its own task, for the fast path.

        The steps are the same as in `unary`. None if one of them must wait or refuses: the call then takes `unary`.
        """
        scope = self._access.verdict(call)
        if scope is None or self.draining or not self._calls.try_take(scope.owner):
            return None
        call.scope = scope
        call.share = self._calls
        if call.deadline is None:
            call.deadline = time.monotonic() + UNARY_SECONDS
        return Begun(self, call)

    async def authorize(self, call: Call) -> None:
        """The access step alone, for what is answered without the others, such as documents.

        Raises:
            JobQueueError: The call may not be made.
        """
        try:
            await self._authorize(call)
        except JobQueueError as error:
            self._denied(call, error)
            _release(error)
            raise

    async def _authorize(self, call: Call) -> None:
        scope = self._access.verdict(call)
        call.scope = scope = await self._access.decide(call) if scope is None else scope
        OWNER.set(scope.owner)

    def _denied(self, call: Call, error: JobQueueError) -> None:
        """Tells of a call that was refused, if this error says that it was."""
        if error.reason == RateLimited.reason:
            self._observer.rate_limited()
        if self._denials is None:
            return
        codes = _REFUSED_WHERE_AUDITED if call.method in self._audited else _REFUSED
        if error.code in codes or error.reason == NamespaceDisabled.reason:
            self._denials.note(
                getattr(call, "scope", None), call.source, call.method.rpartition("/")[2], error
            )

    def refused(self, call: Call, error: JobQueueError) -> None:
        """Counts a call that its transport refused before the chain, for example because its path has no method."""
        self._handled(call, error.code, 0.0)

    def _handled(self, call: Call, code: str, seconds: float) -> None:
        span = call.span
        self._observer.call_handled(
            call.method, call.transport, code, seconds, None if span is None else span.ids
        )
        if _log.says_debug:
            _log.debug(
                "call handled",
                method=call.method,
                transport=call.transport,
                code=code,
                seconds=seconds,
                **_trace(call),
            )

    def _succeeded(self, call: Call, started: float) -> None:
        """What `_Watch` does at the end of a call that went well and has no task."""
        self.in_flight -= 1
        self._calls.give_back(call.scope.owner)
        call.share = None
        self._handled(call, "OK", time.perf_counter() - started)
        if call.span is not None:
            call.span.ended("OK", "")

    async def _admit(self, call: Call, share: Share | None = None, finishing: bool = False) -> None:
        await self._authorize(call)
        if self.draining and not finishing:
            raise Draining(
                "this server is shutting down; connect to another server, or call again",
                retry_after=timedelta(seconds=1),
            )
        if share is None:
            return
        owner = call.scope.owner
        if finishing:
            share.take(owner)
        elif not share.try_take(owner):
            what = "waiting calls" if share is self._waits else "calls under way"
            raise TooManyCalls(
                f"{share.full(owner, what)}; call again later", retry_after=timedelta(seconds=1)
            )
        call.share = share


def _gives_back(call: Call) -> None:
    share, call.share = call.share, None
    if share is not None:
        share.give_back(call.scope.owner)


def _with_source(handler: Handler) -> Handler:
    """Gives the scope of a call its source. Other calls of a principal go on sharing theirs."""

    async def run(request: Any, call: Call) -> Any:
        call.scope = replace(call.scope, source=call.source)
        return await handler(request, call)

    return run


class Begun:
    """A call that `Chain.begin` admitted. Its handler ends it, once."""

    __slots__ = ("_chain", "_started", "call")

    def __init__(self, chain: Chain, call: Call) -> None:
        self.call = call
        self._chain = chain
        self._started = time.perf_counter()
        chain.in_flight += 1
        if chain._traces is not None:
            call.span = chain._traces.begin(call)

    def cancel(self) -> None:
        """Takes back the count: the call takes `Chain.unary`, which counts it."""
        self._chain.in_flight -= 1
        _gives_back(self.call)
        if self.call.span is not None:
            self.call.span.dropped()

    def end(self, error: BaseException | None = None) -> JobQueueError | None:
        """Counts the call and its time. Returns the error for the caller; None without an error or without a caller."""
        if error is None:
            self._chain._succeeded(self.call, self._started)
            return None
        watch = _Watch(self._chain, self.call, streams=False, started=self._started)
        code = watch.over(error)
        if isinstance(error, JobQueueError):
            return error
        return watch.internal(error) if code == Internal.code else None


class _LongCall:
    """Around a call that may go on for long, so that it can be ended with an error from outside."""

    __slots__ = ("_all", "_error", "_task", "call")

    def __init__(self, all_of_them: set[_LongCall], call: Call) -> None:
        self.call = call
        self._all = all_of_them
        self._error: JobQueueError | None = None
        self._task = asyncio.current_task()

    def cut(self, error: JobQueueError) -> None:
        """The call ends with this error."""
        if self._error is None and self._task is not None:
            self._error = error
            self._task.cancel()

    def __enter__(self) -> None:
        self._all.add(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._all.discard(self)
        task, self._task = self._task, None
        if self._error is None or task is None or not isinstance(error, asyncio.CancelledError):
            return
        # The caller may have hung up meanwhile: then there is another cancel, and that is what counts.
        if not task.uncancel():
            raise self._error from None


def time_is_up() -> DeadlineExceeded:
    """The error of a call whose time ended."""
    return DeadlineExceeded(_TIME_IS_UP)


class _Watch:
    """Surrounds one call: names it in the log, counts it and its time, turns unexpected exceptions into Internal."""

    __slots__ = ("_call", "_chain", "_started", "_streams")

    def __init__(self, chain: Chain, call: Call, *, streams: bool, started: float = 0.0) -> None:
        self._chain = chain
        self._call = call
        self._started = started
        self._streams = streams

    def __enter__(self) -> None:
        logs.bind(request_id=self._call.request_id)
        CALLER.set(self._call.peer)
        self._started = time.perf_counter()
        if self._streams:
            self._chain.open_streams += 1
        else:
            self._chain.in_flight += 1
            # A stream has none: it goes on for hours.
            if self._chain._traces is not None:
                self._call.span = self._chain._traces.begin(self._call)
        if self._call.span is not None:
            logs.bind(**self._call.span.ids)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        code = self.over(error)
        if code == Internal.code and error is not None and not isinstance(error, JobQueueError):
            raise self.internal(error) from error

    def over(self, error: BaseException | None) -> str:
        """Counts the call and its time. Answers the code that it ended with; Internal's also for a fault."""
        if self._streams:
            self._chain.open_streams -= 1
        else:
            self._chain.in_flight -= 1
        _gives_back(self._call)
        if error is None:
            code = "OK"
        elif isinstance(error, JobQueueError):
            code = error.code
            self._chain._denied(self._call, error)
            _release(error)
        elif isinstance(error, Exception) and not isinstance(error, PeerGone):
            code = Internal.code
        else:
            code = "CANCELLED"
        self._chain._handled(self._call, code, time.perf_counter() - self._started)
        if self._call.span is not None:
            self._call.span.ended(code, error.reason if isinstance(error, JobQueueError) else "")
        return code

    def internal(self, fault: BaseException) -> Internal:
        """Logs an unexpected exception, and makes the error for the caller, with the id of the log line."""
        error_id = secrets.token_hex(8)
        _log.exception(
            "a call failed by a fault of the server",
            fault,
            method=self._call.method,
            error_id=error_id,
            **_trace(self._call),
        )
        _release(fault)
        return Internal(
            f"the server failed to handle the call; its log has it under the error id {error_id}",
            metadata={"error_id": error_id},
        )


def _release(error: BaseException) -> None:
    """Drops the frames that an error came through. They name futures and batches, which hold the error."""
    error.__traceback__ = None


def _trace(call: Call) -> Mapping[str, str]:
    """The ids of its span, for log lines; a call on the fast path has no task that has them."""
    return {} if call.span is None else call.span.ids


def _wait(request: Any, field: str) -> float:
    """How many seconds the request wants to wait, within its bounds."""
    if not request.HasField(field):
        return DEFAULT_WAIT.total_seconds()
    wait = getattr(request, field)
    return float(min(max(wait.seconds + wait.nanos / 1e9, 0.0), MAX_WAIT.total_seconds()))
