"""The endpoint of one binding: a unary method or a server stream, called through the chain."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from google.protobuf.message import Message

from ..chain import Call, Chain, StreamHandler
from ..dealt import Dealt
from ..errors import FieldInvalid, JobQueueError, MethodNotImplemented
from . import contract, headers
from .answer import Answer, Send, json_text
from .contract import Contract
from .errors import ErrorForm, Refused, refused_by_transcoder
from .in_flight import InFlightRequests
from .large_bodies import LargeBodies
from .request import Request
from .streams import StreamAnswer
from .transcoding.binding import Binding
from .transcoding.errors import TranscodingError
from .transcoding.framing import Framing, framing_for
from .transcoding.router import Match
from .transcoding.transcoder import Rendered, Transcoder


class Endpoint(Protocol):
    """Answers the calls of one binding."""

    async def answer(self, request: Request, match: Match[Binding], call: Call, send: Send) -> Answer | None:
        """The answer; None if the endpoint has sent it itself.

        Raises:
            JobQueueError: The call failed, and nothing has been sent.
            PeerGone: The caller has gone.
        """


@dataclass(frozen=True, slots=True)
class EndpointContext:
    """What all endpoints of an application share."""

    chain: Chain
    transcoder: Transcoder
    contract: Contract
    in_flight: InFlightRequests
    errors: ErrorForm
    large: LargeBodies = field(default_factory=LargeBodies)


# What the chain gets as the request: the message is read after the access step.
_Raw = tuple[Request, Match[Binding], StreamAnswer | None]


# How many renderings of a method that deals its messages are kept: of a stream one for each set of permissions that
# its callers have, of statistics each kind of chart.
_MOST_DEALT = 8


def _renderer(context: EndpointContext, binding: Binding) -> Callable[[Any], Rendered]:
    """Renders the messages of a method."""

    def render(message: Any) -> Rendered:
        return context.transcoder.render(binding, message)

    if full_name(binding) not in context.contract.dealt:
        return render
    dealt: Dealt[Any, Rendered] = Dealt(_MOST_DEALT)
    return lambda message: dealt.get(message, render)


def endpoint(context: EndpointContext, binding: Binding, servicer: object) -> Endpoint:
    """The endpoint of a binding. A method that the servicer does not have is answered NOT_IMPLEMENTED."""
    implementation = getattr(servicer, binding.method.name, None)
    if implementation is None:
        return UnaryEndpoint(context, binding, _not_implemented(binding.method.name))
    if binding.method.server_streaming:
        return Stream(context, binding, implementation)
    return UnaryEndpoint(context, binding, implementation)


class UnaryEndpoint:
    """The endpoint of a unary method."""

    def __init__(
        self, context: EndpointContext, binding: Binding, handler: Callable[[Any, Call], Awaitable[Any]]
    ) -> None:
        self._context = context
        self._handler = handler
        self._location = context.contract.locations.get(full_name(binding))
        self._render = _renderer(context, binding)
        self._run = context.chain.unary(full_name(binding), self._rendered, self._read)

    async def answer(self, request: Request, match: Match[Binding], call: Call, send: Send) -> Answer | None:
        """As `Endpoint` says."""
        run = self._run((request, match, None), call)
        answer, location = await self._context.in_flight.hold(run, request, streams=False)
        made: Answer = answer
        return made.with_headers([("Location", request.root + location)]) if location else made

    async def _read(self, raw: _Raw) -> Message:
        request, match, _ = raw
        return await _filled(self._context, request, match)

    async def _rendered(self, request: Any, call: Call) -> tuple[Answer, str]:
        """The rendered answer, and its Location. Inside of the chain, so that a failure to render is Internal."""
        response = await self._handler(request, call)
        made = self._render(response)
        status = int(call.answer_metadata.get(headers.HTTP_CODE, "200"))
        location = self._location(response) if status == 201 and self._location is not None else ""
        return Answer(status, made.body, content_type=made.content_type), location


class Stream:
    """The endpoint of a server stream, in the framing that the caller asks for."""

    def __init__(self, context: EndpointContext, binding: Binding, handler: StreamHandler) -> None:
        self._context = context
        self._render = _renderer(context, binding)
        self._resume = context.contract.resumes.get(full_name(binding))
        self._run = context.chain.stream(full_name(binding), handler, self._begun)
        self._head = context.chain.unary(full_name(binding), self._promised, self._read)

    async def answer(self, request: Request, match: Match[Binding], call: Call, send: Send) -> Answer | None:
        """As `Endpoint` says."""
        stream = StreamAnswer(send, headers.sent(call.answer_metadata))
        hold = self._context.in_flight.hold
        if request.method == "HEAD":
            await stream.head(await hold(self._head((request, match, stream), call), request, streams=False))
            return None

        async def send_message(response: Any) -> None:
            made = self._render(response)
            await stream.message(made.body, getattr(response, self._resume.token) if self._resume else "")

        try:
            await hold(self._run((request, match, stream), call, send_message), request, streams=True)
            await stream.end()
        except JobQueueError as error:
            await stream.stop()
            if not stream.started:
                raise
            status = json_text(self._context.errors.status(error))
            await stream.fail(status, error.retry_after)
        finally:
            await stream.stop()
        return None

    async def _read(self, raw: _Raw) -> tuple[Framing, Message]:
        request, match, _ = raw
        try:
            framing = framing_for(request.metadata.get("accept", ""))
        except TranscodingError as error:
            raise refused_by_transcoder(error) from None
        message = await _filled(self._context, request, match)
        seen = request.metadata.get("last-event-id", "")
        if seen and self._resume is not None:
            # Newer than the token in the URL, which a browser keeps when it reconnects.
            setattr(message, self._resume.into, seen)
        return framing, message

    async def _begun(self, raw: _Raw) -> Message:
        framing, message = await self._read(raw)
        stream = raw[2]
        assert stream is not None
        stream.begin(framing)
        return message

    async def _promised(self, read: tuple[Framing, Message], call: Call) -> Framing:
        return read[0]


async def _filled(context: EndpointContext, request: Request, match: Match[Binding]) -> Message:
    body = await request.body()
    request.watch()
    await context.large.wait(len(body))
    try:
        message = context.transcoder.fill(match, request.query, request.metadata, body)
    except TranscodingError as error:
        raise _refused(error, match) from None
    contract.readable(message)
    return message


def _refused(error: TranscodingError, match: Match[Binding]) -> Refused | FieldInvalid:
    """The error to raise. The caller must not name it: the error would keep the frame, and with it the body."""
    refused = refused_by_transcoder(error)
    if isinstance(refused, FieldInvalid):
        return contract.paging_refused(refused, match.route.template.text)
    return refused


def full_name(binding: Binding) -> str:
    """The full name of a binding's method, as gRPC writes it."""
    return f"/{binding.method.containing_service.full_name}/{binding.method.name}"


def _not_implemented(name: str) -> Callable[[Any, Call], Awaitable[Any]]:
    async def not_implemented(request: Any, call: Call) -> Any:
        raise MethodNotImplemented(f"this server does not have the method {name} over HTTP")

    return not_implemented
