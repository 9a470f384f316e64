"""The ASGI application: a request becomes a call of a servicer's method through the chain, its answer a response."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Mapping, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from .. import logs
from ..chain import Call, Chain, Handler
from ..errors import Draining, FieldInvalid, JobQueueError, NotBuilt
from ..model import MAX_MESSAGE_BYTES
from . import compression, contract, headers, ops
from .answer import Answer, Headers, Receive, Send
from .errors import ErrorForm, Refused, allowed, refused_by_transcoder
from .transcoding.binding import Binding
from .transcoding.errors import TranscodingError
from .transcoding.transcoder import Transcoder

_HTTP_CODE = "x-http-code"
_READS = ("GET", "HEAD")
# What a method that nothing has gives away of a path: the methods that it has.
_PROBE = "OPTIONS"

_log = logs.get(__name__)


class ClientGone(Exception):
    """The caller hung up; there is nobody to answer."""


class HttpApp:
    """Serves the annotated methods of servicers over HTTP, beside the operational paths.

    It does not ask who calls: `Cors` and `Hosts` stand before it.

    Args:
        chain: What every call passes.
        services: Each service's descriptor and its servicer, as gRPC has them.
        operations: Answers the operational paths.
        errors: How errors are written.
    """

    def __init__(
        self,
        chain: Chain,
        services: Sequence[tuple[ServiceDescriptor, object]],
        operations: ops.Operations,
        errors: ErrorForm | None = None,
    ) -> None:
        self._chain = chain
        self._operations = operations
        self._errors = errors or ErrorForm()
        self._transcoder = Transcoder([service for service, _ in services], contract.OPTIONS)
        self._handlers: dict[str, Handler] = {
            method.full_name: _handler(method, servicer)
            for service, servicer in services
            for method in service.methods
        }
        self._calls: set[asyncio.Task[Any]] = set()
        self._leaving = False

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """ASGI's entry.

        Raises:
            ValueError: The scope is not `http`, the only one that this serves.
        """
        if scope["type"] != "http":
            raise ValueError(f"this application serves http, not {scope['type']}")
        metadata = headers.metadata(scope["headers"])
        call = Call("", "http", metadata, peer=_peer(scope))
        logs.bind(request_id=call.request_id)
        try:
            answer = await self._answer(scope, metadata, call, receive)
        except ClientGone:
            return
        except (Refused, JobQueueError) as error:
            answer = self._errors.answer(error)
        answer = await compression.compressed(answer.with_headers(_sent(call)), metadata)
        await answer.send(send, head=scope["method"] == "HEAD")

    async def leave(self, grace: timedelta) -> None:
        """Waits until no call is left; those that are not done after the grace are answered DRAINING."""
        self._leaving = True
        if self._calls:
            await asyncio.wait(self._calls, timeout=grace.total_seconds())
        for task in self._calls:
            task.cancel()

    async def _answer(
        self, scope: Mapping[str, Any], metadata: dict[str, str], call: Call, receive: Receive
    ) -> Answer:
        method, path = scope["method"], scope["path"]
        if path in ops.PATHS:
            return self._operate(method, path, metadata)
        if method == "OPTIONS":
            return self._options(scope)
        seconds = headers.seconds_allowed(metadata)
        if seconds is not None:
            call.deadline = time.monotonic() + seconds
        body = await _read(metadata, receive)
        binding, request = self._prepare(scope, metadata, body)
        contract.readable(request)
        call.method = _full_name(binding.method)
        return await self._until_gone(self._run(binding, request, call), receive)

    def _operate(self, method: str, path: str, metadata: dict[str, str]) -> Answer:
        allow = (("Allow", allowed(["GET"])),)
        if method == "OPTIONS":
            return Answer(204, headers=allow)
        answer = self._operations.answer(path, metadata) if method in _READS else None
        if answer is None:
            message = f"{method} is not allowed on {path}; use GET"
            raise Refused(405, "UNIMPLEMENTED", message, allow)
        return answer

    def _options(self, scope: Mapping[str, Any]) -> Answer:
        """What a path takes: found by asking for a method that it has not."""
        try:
            self._transcoder.match(_PROBE, _raw_path(scope))
        except TranscodingError as error:
            if error.allow:
                return Answer(204, headers=(("Allow", allowed(error.allow)),))
            raise refused_by_transcoder(error) from None
        return Answer(204, headers=(("Allow", _PROBE),))

    def _prepare(
        self, scope: Mapping[str, Any], metadata: dict[str, str], body: bytes
    ) -> tuple[Binding, Any]:
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        try:
            match = self._transcoder.match(method, _raw_path(scope))
            return match.route, self._transcoder.fill(match, scope["query_string"], metadata, body)
        except TranscodingError as error:
            refused = refused_by_transcoder(error)
        if isinstance(refused, FieldInvalid):
            refused = contract.paging_refused(refused, scope["path"])
        raise refused

    async def _run(self, binding: Binding, filled: Any, call: Call) -> Answer:
        handler = self._handlers[binding.method.full_name]

        async def rendered(request: Any, call: Call) -> Answer:
            # Inside of the chain, so that what can't be rendered is a fault of ours like others.
            response = await handler(request, call)
            made = self._transcoder.render(binding, response)
            status = int(call.answer_metadata.get(_HTTP_CODE, "200"))
            location: Headers = ()
            if status == 201 and call.method in contract.LOCATIONS:
                location = (("Location", contract.LOCATIONS[call.method](response)),)
            return Answer(status, made.body, location, made.content_type)

        answer: Answer = await self._chain.unary(call.method, rendered)(filled, call)
        return answer

    async def _until_gone(self, run: Awaitable[Answer], receive: Receive) -> Answer:
        """The call's answer; the call ends with its caller."""
        task = asyncio.current_task()
        assert task is not None
        gone = False

        async def watch() -> None:
            nonlocal gone
            while (await receive())["type"] != "http.disconnect":
                pass
            gone = True
            task.cancel()

        watcher = asyncio.create_task(watch())
        self._calls.add(task)
        try:
            return await run
        except asyncio.CancelledError:
            if gone:
                task.uncancel()
                raise ClientGone from None
            if self._leaving:
                task.uncancel()
                raise Draining(
                    "this server has left before the call was done; call again",
                    retry_after=timedelta(seconds=1),
                ) from None
            raise
        finally:
            self._calls.discard(task)
            # Before anything is sent: the end of the answer looks to it like a caller that hung up.
            watcher.cancel()


def _handler(method: MethodDescriptor, servicer: object) -> Handler:
    implementation: Handler | None = getattr(servicer, method.name, None)
    if implementation is not None and not (method.server_streaming or method.client_streaming):
        return implementation

    async def not_built(request: Any, call: Call) -> Any:
        raise NotBuilt(f"{method.name} is not built in this server's HTTP side yet")

    return not_built


def _full_name(method: MethodDescriptor) -> str:
    return f"/{method.containing_service.full_name}/{method.name}"


def _raw_path(scope: Mapping[str, Any]) -> bytes:
    """The path as it was sent, in which %2F is no slash; ASGI servers need not tell it."""
    raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    return raw


def _peer(scope: Mapping[str, Any]) -> str:
    """The caller's address, in the form in which gRPC names it."""
    client = scope.get("client")
    if not client:
        return ""
    host, port = client[0], client[1]
    return f"ipv6:[{host}]:{port}" if ":" in host else f"ipv4:{host}:{port}"


async def _read(metadata: Mapping[str, str], receive: Receive) -> bytes:
    """The whole body, inflated, of which no more is ever held than a message may have."""
    inflater = compression.inflater(metadata)
    too_large = Refused(
        413,
        "INVALID_ARGUMENT",
        f"the body is over {MAX_MESSAGE_BYTES} bytes{' once inflated' if inflater else ''}, the most that is taken",
    )
    if headers.content_length(metadata) > MAX_MESSAGE_BYTES:
        raise too_large
    parts: list[bytes] = []
    # What has come, and what it has become.
    received = size = 0
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise ClientGone
        part = event.get("body", b"")
        received += len(part)
        if inflater is not None:
            part = inflater.feed(part, MAX_MESSAGE_BYTES + 1 - size)
        size += len(part)
        if max(size, received) > MAX_MESSAGE_BYTES:
            raise too_large
        parts.append(part)
        if not event.get("more_body", False):
            if inflater is not None:
                inflater.finish()
            return parts[0] if len(parts) == 1 else b"".join(parts)


def _sent(call: Call) -> Headers:
    """The metadata beside the answer, as headers; the HTTP status is none."""
    return tuple(
        ("-".join(part.capitalize() for part in name.split("-")), value)
        for name, value in call.answer_metadata.items()
        if name != _HTTP_CODE
    )
