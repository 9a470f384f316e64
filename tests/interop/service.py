"""The test service. What it does is specified by gRPC's interop test descriptions, section "Server"."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, NoReturn

import grpc
import grpc.aio

from . import messages

# Each way, as much as the largest message of an official client.
MOST_BYTES = 16 << 20
ECHO_INITIAL = "x-grpc-test-echo-initial"
ECHO_TRAILING = "x-grpc-test-echo-trailing-bin"
_CODES = {code.value[0]: code for code in grpc.StatusCode}


class TestService:
    """Handlers for either engine."""

    __test__ = False

    async def empty_call(self, request: Any, context: Any) -> Any:
        """Answers nothing with nothing."""
        await _begin(context)
        return messages.Empty()

    async def unary_call(self, request: Any, context: Any) -> Any:
        """Answers with a payload."""
        await self._check_compression(request, context)
        await _begin(context, request.response_compressed.value)
        await _echo_status(request, context)
        payload = await _payload(request.response_type, request.response_size, context)
        return messages.SimpleResponse(payload=payload)

    async def streaming_output_call(self, request: Any, context: Any) -> AsyncIterator[Any]:
        """Answers with as many payloads as are asked for."""
        await _begin(context, any(each.compressed.value for each in request.response_parameters))
        await _echo_status(request, context)
        async for response in _responses(request, context):
            yield response

    async def streaming_input_call(self, requests: AsyncIterator[Any], context: Any) -> Any:
        """Adds sizes up."""
        await _begin(context)
        total = 0
        async for request in requests:
            await self._check_compression(request, context)
            total += len(request.payload.body)
        return messages.StreamingInputCallResponse(aggregated_payload_size=total)

    async def full_duplex_call(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        """Answers each message with as many payloads as it asks for."""
        await _begin(context)
        async for request in requests:
            await _echo_status(request, context)
            async for response in _responses(request, context):
                yield response

    async def _check_compression(self, request: Any, context: Any) -> None:
        # None where an engine does not say.
        compressed = context.compressed
        if compressed is None or not request.HasField("expect_compressed"):
            return
        if compressed != request.expect_compressed.value:
            said = "compressed" if request.expect_compressed.value else "uncompressed"
            await _refuse(context, f"the message says that it is {said}, and it is not")

    def handlers(self) -> grpc.GenericRpcHandler:
        """What an engine serves."""
        unary, streamed = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
        collected, both = grpc.stream_unary_rpc_method_handler, grpc.stream_stream_rpc_method_handler
        output = messages.StreamingOutputCallRequest, messages.StreamingOutputCallResponse
        rows: tuple[tuple[str, Any, Any, Any, Any], ...] = (
            ("EmptyCall", unary, self.empty_call, messages.Empty, messages.Empty),
            ("UnaryCall", unary, self.unary_call, messages.SimpleRequest, messages.SimpleResponse),
            ("StreamingOutputCall", streamed, self.streaming_output_call, *output),
            (
                "StreamingInputCall",
                collected,
                self.streaming_input_call,
                messages.StreamingInputCallRequest,
                messages.StreamingInputCallResponse,
            ),
            ("FullDuplexCall", both, self.full_duplex_call, *output),
        )
        methods = {
            name: make(handler, request.FromString, response.SerializeToString)
            for name, make, handler, request, response in rows
        }
        return grpc.method_handlers_generic_handler(f"{messages.PACKAGE}.TestService", methods)


async def _begin(context: Any, compressed: bool = False) -> None:
    """Says how answers are compressed, and gives back the metadata that is to be given back."""
    metadata = dict(context.invocation_metadata())
    if compressed:
        context.set_compression(grpc.Compression.Gzip)
    if ECHO_TRAILING in metadata:
        context.set_trailing_metadata(((ECHO_TRAILING, metadata[ECHO_TRAILING]),))
    if ECHO_INITIAL in metadata:
        await context.send_initial_metadata(((ECHO_INITIAL, metadata[ECHO_INITIAL]),))


async def _echo_status(request: Any, context: Any) -> None:
    status = request.response_status
    if status.code not in _CODES:
        await _refuse(context, f"response_status.code is {status.code}; a status of gRPC is 0 to 16")
    if status.code:
        await context.abort(_CODES[status.code], status.message)


async def _responses(request: Any, context: Any) -> AsyncIterator[Any]:
    for parameters in request.response_parameters:
        if parameters.interval_us > 0:
            await asyncio.sleep(parameters.interval_us / 1e6)
        if not parameters.compressed.value:
            context.disable_next_message_compression()
        payload = await _payload(request.response_type, parameters.size, context)
        yield messages.StreamingOutputCallResponse(payload=payload)


async def _payload(kind: int, size: int, context: Any) -> Any:
    if kind != 0:
        await _refuse(context, f"response_type is {kind}; COMPRESSABLE (0) is the only one")
    if not 0 <= size <= MOST_BYTES:
        await _refuse(context, f"a payload of {size} bytes is asked for; it may have 0 to {MOST_BYTES}")
    return messages.Payload(body=bytes(size))


async def _refuse(context: Any, why: str) -> NoReturn:
    await context.abort(grpc.StatusCode.INVALID_ARGUMENT, why)
    raise AssertionError("abort raises")
