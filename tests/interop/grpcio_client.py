"""The named interop cases of gRPC by grpcio, one a run; exit code 0 if it holds.

python -m tests.interop.grpcio_client --server_host=HOST --server_port=PORT --test_case=CASE
"""

from __future__ import annotations

import argparse
import queue
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc

from . import messages
from .service import ECHO_INITIAL, ECHO_TRAILING

SERVICE = f"/{messages.PACKAGE}.TestService"
REQUEST_SIZE, RESPONSE_SIZE = 271_828, 314_159
REQUEST_SIZES = (27_182, 8, 1_828, 45_904)
RESPONSE_SIZES = (31_415, 9, 2_653, 58_979)
SPECIAL = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n"
METADATA = ((ECHO_INITIAL, "test_initial_metadata_value"), (ECHO_TRAILING, b"\xab\xab\xab"))
SOAK = 20
SECONDS = 20.0


class Failed(Exception):
    """The case does not hold."""


def check(holds: bool, said: str) -> None:
    if not holds:
        raise Failed(said)


class Client:
    """The methods of the test service on one channel."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.empty_call = _unary(channel, "EmptyCall", messages.Empty, messages.Empty)
        self.unary_call = _unary(channel, "UnaryCall", messages.SimpleRequest, messages.SimpleResponse)
        self.unimplemented_call = _unary(channel, "UnimplementedCall", messages.Empty, messages.Empty)
        self.unimplemented_service = _unary(
            channel,
            "UnimplementedCall",
            messages.Empty,
            messages.Empty,
            service=f"/{messages.PACKAGE}.UnimplementedService",
        )
        self.streaming_input_call = channel.stream_unary(
            f"{SERVICE}/StreamingInputCall",
            messages.StreamingInputCallRequest.SerializeToString,
            messages.StreamingInputCallResponse.FromString,
        )
        both = (
            messages.StreamingOutputCallRequest.SerializeToString,
            messages.StreamingOutputCallResponse.FromString,
        )
        self.streaming_output_call = channel.unary_stream(f"{SERVICE}/StreamingOutputCall", *both)
        self.full_duplex_call = channel.stream_stream(f"{SERVICE}/FullDuplexCall", *both)


def _unary(channel: grpc.Channel, name: str, request: Any, response: Any, service: str = SERVICE) -> Any:
    return channel.unary_unary(f"{service}/{name}", request.SerializeToString, response.FromString)


class Requests:
    """What a stream sends: as it is said, until `end`."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def say(self, request: Any) -> None:
        self._waiting.put(request)

    def end(self) -> None:
        self._waiting.put(None)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._waiting.get, None)


def payload(size: int) -> Any:
    return messages.Payload(body=bytes(size))


def large(**more: Any) -> Any:
    return messages.SimpleRequest(response_size=RESPONSE_SIZE, payload=payload(REQUEST_SIZE), **more)


def asks(size: int, answer: int) -> Any:
    return messages.StreamingOutputCallRequest(response_parameters=[{"size": answer}], payload=payload(size))


def is_large(response: Any) -> None:
    check(response.payload.body == bytes(RESPONSE_SIZE), f"{len(response.payload.body)} bytes came")


def sizes(responses: Any) -> list[int]:
    return [len(response.payload.body) for response in responses]


def fails(call: Callable[[], object], code: grpc.StatusCode, text: str | None = None) -> None:
    try:
        call()
    except grpc.RpcError as error:
        status: Any = error
        check(status.code() is code, f"the call ended with {status.code()} ({status.details()}), not {code}")
        check(text is None or status.details() == text, f"the message is {status.details()!r}, not {text!r}")
    else:
        raise Failed(f"the call succeeded instead of ending with {code}")


def empty_unary(client: Client) -> None:
    client.empty_call(messages.Empty(), timeout=SECONDS)


def large_unary(client: Client) -> None:
    is_large(client.unary_call(large(), timeout=SECONDS))


def client_streaming(client: Client) -> None:
    requests = [messages.StreamingInputCallRequest(payload=payload(size)) for size in REQUEST_SIZES]
    total = client.streaming_input_call(iter(requests), timeout=SECONDS).aggregated_payload_size
    check(total == 74_922, f"the total is {total}")


def server_streaming(client: Client) -> None:
    asked = [{"size": size} for size in RESPONSE_SIZES]
    request = messages.StreamingOutputCallRequest(response_parameters=asked)
    came = sizes(client.streaming_output_call(request, timeout=SECONDS))
    check(came == list(RESPONSE_SIZES), f"answers of {came} bytes came")


def ping_pong(client: Client) -> None:
    requests = Requests()
    responses = client.full_duplex_call(iter(requests), timeout=SECONDS)
    try:
        for size, answer in zip(REQUEST_SIZES, RESPONSE_SIZES, strict=True):
            requests.say(asks(size, answer))
            came = len(next(responses).payload.body)
            check(came == answer, f"{came} bytes came instead of {answer}")
    finally:
        requests.end()
    check(not list(responses), "there is an answer too many")


def empty_stream(client: Client) -> None:
    check(not list(client.full_duplex_call(iter(()), timeout=SECONDS)), "there is an answer")


def custom_metadata(client: Client) -> None:
    _, unary = client.unary_call.with_call(large(), metadata=METADATA, timeout=SECONDS)
    streamed = client.full_duplex_call(
        iter([asks(REQUEST_SIZE, RESPONSE_SIZE)]), metadata=METADATA, timeout=SECONDS
    )
    check(sizes(streamed) == [RESPONSE_SIZE], "the answer has another size")
    for call in (unary, streamed):
        for found, (name, value) in zip(
            (call.initial_metadata(), call.trailing_metadata()), METADATA, strict=True
        ):
            check(dict(found).get(name) == value, f"{name} is not in {found}")


def status_code_and_message(client: Client) -> None:
    text = "test status message"
    status = {"code": 2, "message": text}
    unary = messages.SimpleRequest(response_status=status)
    fails(lambda: client.unary_call(unary, timeout=SECONDS), grpc.StatusCode.UNKNOWN, text)
    streamed = messages.StreamingOutputCallRequest(response_status=status)
    call = client.full_duplex_call(iter([streamed]), timeout=SECONDS)
    fails(lambda: list(call), grpc.StatusCode.UNKNOWN, text)


def special_status_message(client: Client) -> None:
    request = messages.SimpleRequest(response_status={"code": 2, "message": SPECIAL})
    fails(lambda: client.unary_call(request, timeout=SECONDS), grpc.StatusCode.UNKNOWN, SPECIAL)


def unimplemented_method(client: Client) -> None:
    call = client.unimplemented_call
    fails(lambda: call(messages.Empty(), timeout=SECONDS), grpc.StatusCode.UNIMPLEMENTED)


def unimplemented_service(client: Client) -> None:
    call = client.unimplemented_service
    fails(lambda: call(messages.Empty(), timeout=SECONDS), grpc.StatusCode.UNIMPLEMENTED)


def cancel_after_begin(client: Client) -> None:
    requests = Requests()
    try:
        call = client.streaming_input_call.future(iter(requests), timeout=SECONDS)
        call.cancel()
        check(call.cancelled(), "the call is not cancelled")
        check(call.code() is grpc.StatusCode.CANCELLED, f"the call ended with {call.code()}")
    finally:
        requests.end()


def cancel_after_first_response(client: Client) -> None:
    requests = Requests()
    try:
        call = client.full_duplex_call(iter(requests), timeout=SECONDS)
        requests.say(asks(REQUEST_SIZES[0], RESPONSE_SIZES[0]))
        next(call)
        call.cancel()
        fails(lambda: next(call), grpc.StatusCode.CANCELLED)
    finally:
        requests.end()


def timeout_on_sleeping_server(client: Client) -> None:
    requests = Requests()
    requests.say(messages.StreamingOutputCallRequest(payload=payload(REQUEST_SIZES[0])))
    try:
        call = client.full_duplex_call(iter(requests), timeout=0.001)
        fails(lambda: next(call), grpc.StatusCode.DEADLINE_EXCEEDED)
    finally:
        requests.end()


def client_compressed_unary(client: Client) -> None:
    def call(expected: bool, compression: grpc.Compression) -> Any:
        request = large(expect_compressed={"value": expected})
        return client.unary_call(request, compression=compression, timeout=SECONDS)

    plain, gzip = grpc.Compression.NoCompression, grpc.Compression.Gzip
    fails(lambda: call(True, plain), grpc.StatusCode.INVALID_ARGUMENT)
    is_large(call(True, gzip))
    is_large(call(False, plain))


def server_compressed_unary(client: Client) -> None:
    for value in (True, False):
        is_large(client.unary_call(large(response_compressed={"value": value}), timeout=SECONDS))


def server_compressed_streaming(client: Client) -> None:
    asked = ((True, 31_415), (False, 92_653))
    request = messages.StreamingOutputCallRequest(
        response_parameters=[{"size": size, "compressed": {"value": value}} for value, size in asked]
    )
    came = sizes(client.streaming_output_call(request, timeout=SECONDS))
    check(came == [size for _, size in asked], f"answers of {came} bytes came")


CASES: dict[str, Callable[[Client], None]] = {
    case.__name__: case
    for case in (
        empty_unary,
        large_unary,
        client_streaming,
        server_streaming,
        ping_pong,
        empty_stream,
        custom_metadata,
        status_code_and_message,
        special_status_message,
        unimplemented_method,
        unimplemented_service,
        cancel_after_begin,
        cancel_after_first_response,
        timeout_on_sleeping_server,
        client_compressed_unary,
        server_compressed_unary,
        server_compressed_streaming,
    )
}


def run(case: str, connect: Callable[[], grpc.Channel]) -> None:
    """Raises where the case does not hold.

    Raises:
        Failed: An answer is wrong.
        grpc.RpcError: A call failed.
    """
    if case == "channel_soak":
        for _ in range(SOAK):
            with connect() as channel:
                large_unary(Client(channel))
        return
    with connect() as channel:
        client = Client(channel)
        if case == "rpc_soak":
            for _ in range(SOAK):
                large_unary(client)
        else:
            CASES[case](client)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.interop.grpcio_client")
    parser.add_argument("--server_host", default="127.0.0.1")
    parser.add_argument("--server_port", type=int, required=True)
    parser.add_argument("--test_case", choices=[*CASES, "rpc_soak", "channel_soak"], required=True)
    parser.add_argument("--use_tls", choices=["true", "false"], default="false")
    parser.add_argument("--ca_file", type=Path, help="who signs the server's certificate, as PEM")
    options = parser.parse_args()
    address = f"{options.server_host}:{options.server_port}"

    def connect() -> grpc.Channel:
        # A channel of its own each time, with a connection of its own.
        settings = [("grpc.use_local_subchannel_pool", 1)]
        if options.use_tls == "false":
            return grpc.insecure_channel(address, settings)
        credentials = grpc.ssl_channel_credentials(options.ca_file.read_bytes())
        return grpc.secure_channel(address, credentials, settings)

    try:
        run(options.test_case, connect)
    except (Failed, grpc.RpcError) as error:
        sys.exit(f"{options.test_case}: {error}")


if __name__ == "__main__":
    main()
