"""Makes gRPC handlers from a service's descriptor and a servicer. Every method passes the chain."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from ..chain import Call, Chain
from ..errors import BodyTooLarge, FieldInvalid, JobQueueError, MethodNotImplemented
from .fast.methods import FastMethod, fast_method
from .trailers import refusal, trailing
from .transport import (
    Context,
    FrameStream,
    ImmediateContext,
    MessageTooLarge,
    MessageUnreadable,
    PeerGone,
    TooLarge,
)
from .transport import raw as as_it_came


def generic_handler(service: ServiceDescriptor, servicer: object, chain: Chain) -> grpc.GenericRpcHandler:
    """The gRPC handler of a service.

    Args:
        service: Its descriptor, such as `jobqueue_pb2.DESCRIPTOR.services_by_name["JobQueue"]`.
        servicer: Has a method for each RPC. A unary one is `async def Method(self, request, call) -> response`. A
            server stream is an async generator `Method(self, request, call)`. A method that streams both ways is
            `async def Method(self, context, call) -> None`, and awaits `context.read()` and `context.write(message)`
            itself. A method that the servicer does not have is answered UNIMPLEMENTED, NOT_IMPLEMENTED.
        chain: The chain that every call passes.
    """
    handlers = {method.name: _handler(method, servicer, chain) for method in service.methods}
    return grpc.method_handlers_generic_handler(service.full_name, handlers)


def _handler(method: MethodDescriptor, servicer: object, chain: Chain) -> Any:
    full_name = f"/{method.containing_service.full_name}/{method.name}"
    parse = _parser(GetMessageClass(method.input_type))
    # gRPC's types describe handlers with serializers. Unary handlers here serialize inside of the chain instead.
    make: Any = grpc
    implementation = getattr(servicer, method.name, None)

    async def read(raw: bytes | TooLarge) -> Message:
        if isinstance(raw, TooLarge):
            raise BodyTooLarge(raw.text)
        return parse(raw)

    if method.client_streaming:
        duplex = chain.duplex(full_name, _told(implementation or _not_implemented(method.name)))
        return make.stream_stream_rpc_method_handler(_duplex(full_name, duplex), parse, _serialize)
    if method.server_streaming:
        stream = chain.stream(full_name, implementation or _stream_not_implemented(method.name), read)
        return make.unary_stream_rpc_method_handler(_stream(full_name, stream), as_it_came, _serialize)
    unary = chain.unary(full_name, _serialized(implementation or _not_implemented(method.name)), read)
    fast = fast_method(full_name, chain, servicer)
    return make.unary_unary_rpc_method_handler(UnaryMethod(full_name, unary, fast), as_it_came)


class UnaryMethod:
    """A unary method as the transport runs it. `immediate`: the method's fast path, if it has one."""

    def __init__(
        self, method: str, run: Callable[[Any, Call], Awaitable[Any]], fast: FastMethod | None
    ) -> None:
        self._method = method
        self._run = run
        self._fast = fast
        self.immediate = None if fast is None else self._begin

    async def __call__(self, raw: bytes, context: Context) -> Any:
        """The serialized response to a serialized request."""
        call = call_of(self._method, context)
        try:
            response = await self._run(raw, call)
        except JobQueueError as error:
            await context.abort(*refusal(call, error))
        context.set_trailing_metadata(trailing(call))
        return response

    def _begin(self, raw: bytes, context: ImmediateContext) -> bool:
        assert self._fast is not None, "it is there where immediate is"
        return self._fast.begin(raw, call_of(self._method, context), context)


def _stream(method: str, run: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def handle(raw: bytes, context: Context) -> None:
        call = call_of(method, context)

        try:
            # Now, and not with the first response, which may come hours later.
            await _send_request_id(context, call)
            await run(raw, call, context.write)
        except JobQueueError as error:
            await context.abort(*refusal(call, error))
        except PeerGone:
            return
        context.set_trailing_metadata(trailing(call))

    return handle


def _duplex(method: str, run: Callable[[Any, Call], Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def handle(_requests: object, context: FrameStream) -> None:
        call = call_of(method, context)
        try:
            await _send_request_id(context, call)
            await run(context, call)
        except JobQueueError as error:
            await context.abort(*refusal(call, error))
        except PeerGone:
            return
        context.set_trailing_metadata(trailing(call))

    return handle


def call_of(method: str, context: Context) -> Call:
    """The chain's view of a call of this method."""
    remaining = context.time_remaining()
    return Call(
        method,
        "grpc",
        dict(context.invocation_metadata()),
        deadline=None if remaining is None else time.monotonic() + remaining,
        peer=context.peer(),
        certificate=context.certificate(),
    )


async def _send_request_id(context: Context, call: Call) -> None:
    await context.send_initial_metadata((("x-request-id", call.request_id),))


def _parser(message_class: type[Message]) -> Callable[[bytes], Message]:
    """Reads a request. gRPC itself would answer a malformed one with INTERNAL and the exception's text."""
    name = message_class.DESCRIPTOR.full_name

    def parse(raw: bytes) -> Message:
        try:
            return message_class.FromString(raw)
        except DecodeError:
            raise FieldInvalid(
                f"the request is not a valid {name}: it is malformed, or a string is not UTF-8"
            ) from None

    return parse


def _serialize(message: Message | bytes) -> bytes:
    """Serializes a response. Bytes, which servicers make on the hot path, stay as they are."""
    return message if type(message) is bytes else message.SerializeToString()  # type: ignore[union-attr]


def _serialized(handler: Callable[[Any, Call], Awaitable[Any]]) -> Callable[[Any, Call], Awaitable[bytes]]:
    """Serializes inside of the chain, so that a response that can't be serialized is an Internal error like others."""

    async def handle(request: Any, call: Call) -> bytes:
        response: bytes = (await handler(request, call)).SerializeToString()
        return response

    return handle


def _told(handler: Callable[[Any, Call], Awaitable[Any]]) -> Callable[[Any, Call], Awaitable[Any]]:
    """Reads inside of the chain, so that a message that the transport refuses gets an error with our reason."""

    async def handle(context: FrameStream, call: Call) -> Any:
        try:
            return await handler(context, call)
        except MessageTooLarge as error:
            raise BodyTooLarge(str(error)) from None
        except MessageUnreadable as unreadable:
            raise _taken(unreadable) from None

    return handle


def _taken(unreadable: MessageUnreadable) -> Exception:
    """Its error, which is told on. It is raised while the other is handled, so that each would hold the other."""
    error = unreadable.error
    del unreadable.error
    return error


def _not_implemented(name: str) -> Callable[[Any, Call], Awaitable[Any]]:
    async def handle(request: Any, call: Call) -> Any:
        raise MethodNotImplemented(f"this server does not have the method {name}")

    return handle


def _stream_not_implemented(name: str) -> Any:
    refuse = _not_implemented(name)

    async def handle(request: Any, call: Call) -> Any:
        yield await refuse(request, call)

    return handle
