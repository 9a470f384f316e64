"""The ASGI application: it makes a request into a call of a servicer's method, and the answer into a response."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from google.protobuf.descriptor import ServiceDescriptor

from grpc_http2 import PeerGone

from .. import logs
from ..chain import NO_METHOD, Call, Chain
from ..errors import JobQueueError
from . import compression, headers, ops
from .answer import Answer, Headers, Receive, Scope, Send, header_lines
from .contract import JOBQUEUE, Contract
from .endpoints import Endpoint, EndpointContext, endpoint, full_name
from .errors import ErrorForm, Refused, allowed, refused_by_transcoder
from .fast.path import METHOD, PATH, HttpFastPath
from .in_flight import InFlightRequests
from .request import Request
from .transcoding.binding import Binding
from .transcoding.errors import TranscodingError
from .transcoding.router import Match
from .transcoding.transcoder import Transcoder

_READS = ("GET", "HEAD")
# No path has this method, so the error for it lists the methods that the path has.
_PROBE = "OPTIONS"


class HttpApp:
    """Serves the annotated methods of servicers over HTTP, and the operational paths.

    It can be mounted below a path of another ASGI application. It does not check origins and hosts: `Cors` and `Hosts`
    do, before it.

    Args:
        chain: The chain that every call passes.
        services: Each service's descriptor and its servicer, the same as for gRPC.
        operations: Answers the operational paths.
        errors: The form of errors.
        contract: What the services' contract says in addition to its annotations.
    """

    def __init__(
        self,
        chain: Chain,
        services: Sequence[tuple[ServiceDescriptor, object]],
        operations: ops.Operations,
        errors: ErrorForm | None = None,
        contract: Contract = JOBQUEUE,
    ) -> None:
        self._chain = chain
        self._operations = operations
        self._errors = errors or ErrorForm()
        self._transcoder = Transcoder([service for service, _ in services], contract.options)
        self._in_flight = InFlightRequests()
        context = EndpointContext(chain, self._transcoder, contract, self._in_flight, self._errors)
        servicers = {service.full_name: servicer for service, servicer in services}
        self._bound = [
            (binding, servicers[binding.method.containing_service.full_name])
            for binding in self._transcoder.bindings
        ]
        self._endpoints: dict[Binding, Endpoint] = {
            binding: endpoint(context, binding, servicer) for binding, servicer in self._bound
        }

    def fast_path(self, host_is_ours: Callable[[str], bool], marks: Headers) -> HttpFastPath | None:
        """The fast path for most enqueues, of a server whose answers carry these marks.

        None where the services are others, or it is turned off.
        """
        for binding, servicer in self._bound:
            enqueues = (binding.http_method, binding.template.text) == (METHOD.decode(), PATH.decode())
            if enqueues and hasattr(servicer, "fast_enqueue"):
                fast: Any = servicer
                return HttpFastPath(
                    self._chain, fast, self._transcoder, binding, self._in_flight, self._errors, host_is_ours,
                    header_lines(marks),
                )  # fmt: skip
        return None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI's entry.

        Raises:
            ValueError: The scope's protocol is neither http nor lifespan.
        """
        match scope["type"]:
            case "http":
                await self._serve(Request(scope, receive), send)
            case "lifespan":
                await _live(receive, send)
            case "websocket":
                await receive()
                await send({"type": "websocket.close"})
            case other:
                raise ValueError(f"this application serves http, not {other}")

    async def refuse(self, scope: Scope, send: Send, error: JobQueueError) -> None:
        """Answers a request that `Cors` or `Hosts` refused, in the form of the application's own errors."""
        call = Call(NO_METHOD, "http", headers.metadata(scope["headers"]))
        logs.bind(request_id=call.request_id)
        self._chain.refused(call, error)
        answer = self._errors.answer(error).with_headers(headers.sent(call.answer_metadata))
        with contextlib.suppress(OSError):
            await answer.send(send, head=scope["method"] == "HEAD")

    async def leave(self, grace: timedelta) -> None:
        """Ends the streams, and waits for the calls. A call that is not done after the grace is answered DRAINING."""
        await self._in_flight.leave(grace)

    async def _serve(self, request: Request, send: Send) -> None:
        call = Call(NO_METHOD, "http", request.metadata, peer=request.peer, certificate=request.certificate)
        logs.bind(request_id=call.request_id)
        try:
            answer = await self._answer(request, call, send)
        except PeerGone:
            return
        except JobQueueError as error:
            answer = self._errors.answer(error)
        if answer is not None:
            answer = answer.with_headers(headers.sent(call.answer_metadata))
            answer = await compression.compressed(answer, request.metadata)
            # ASGI raises OSError if the caller has hung up.
            with contextlib.suppress(OSError):
                await answer.send(send, head=request.method == "HEAD")

    async def _answer(self, request: Request, call: Call, send: Send) -> Answer | None:
        dashboard = self._operations.dashboard
        try:
            if dashboard.answers(request.path, request.metadata) and request.method in _READS:
                # Without the access step: a browser asks for a page without credentials, and the page has no secrets.
                return dashboard.answer(request.path, request.raw_path.decode("latin-1"), request.metadata)
            if dashboard.has(request.path):
                return _only_read(request)
            if request.path in ops.PATHS:
                if (method := ops.GUARDED.get(request.path)) is not None:
                    call.method = method
                    await self._chain.authorize(call)
                return self._operate(request)
            if request.method == "OPTIONS":
                return self._options(request)
            match = self._match(request)
            call.method = full_name(match.route)
            seconds = headers.seconds_allowed(request.metadata)
        except JobQueueError as error:
            self._chain.refused(call, error)
            raise
        if seconds is not None:
            call.deadline = time.monotonic() + seconds
        return await self._endpoints[match.route].answer(request, match, call, send)

    def _operate(self, request: Request) -> Answer:
        readable = request.method in _READS
        answer = self._operations.answer(request.path, request.metadata, request.root) if readable else None
        return _only_read(request) if answer is None else answer

    def _options(self, request: Request) -> Answer:
        """The answer to OPTIONS: the methods of a path, found by a method that no path has."""
        try:
            self._transcoder.match(_PROBE, request.raw_path)
        except TranscodingError as error:
            if error.allow:
                return Answer(204, headers=(("Allow", allowed(error.allow)),))
            raise refused_by_transcoder(error) from None
        return Answer(204, headers=(("Allow", _PROBE),))

    def _match(self, request: Request) -> Match[Binding]:
        method = "GET" if request.method == "HEAD" else request.method
        try:
            return self._transcoder.match(method, request.raw_path)
        except TranscodingError as error:
            raise refused_by_transcoder(error) from None


def _only_read(request: Request) -> Answer:
    """The answer to another method than GET, where that is the only one.

    Raises:
        Refused: The method is not OPTIONS either.
    """
    allow = (("Allow", allowed(["GET"])),)
    if request.method == "OPTIONS":
        return Answer(204, headers=allow)
    message = f"{request.method} is not allowed on {request.path[:200]}; use GET"
    raise Refused(405, "UNIMPLEMENTED", message, allow)


async def _live(receive: Receive, send: Send) -> None:
    """Answers ASGI's lifespan events. There is nothing to start: the builder of the application did it."""
    while True:
        event = await receive()
        await send({"type": f"{event['type']}.complete"})
        if event["type"] == "lifespan.shutdown":
            return
