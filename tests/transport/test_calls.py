"""Calls of each kind, over each engine: what goes in and out beside the messages, and refusals."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest

from .conftest import Served, channel


async def refused(call: Any) -> grpc.aio.AioRpcError:
    """What a call was refused with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def test_each_kind_of_call_is_answered(served: Served) -> None:
    assert await served.unary("Echo")(b"hello") == b"hello"
    assert await served.unary("Echo")(b"") == b""
    assert [each async for each in served.answers("Repeat")(b"3 xyz")] == [b"xyz"] * 3
    assert [each async for each in served.answers("Repeat")(b"0 ")] == []
    said = [b"", b"a", b"hello"]
    assert [each async for each in served.both("Chat")(iter(said))] == said
    assert await served.requests("Total")(iter(said)) == b"6"


async def test_many_calls_on_one_connection_do_not_mix(served: Served) -> None:
    async def chat(number: int) -> None:
        said = [b"%d-%d" % (number, each) for each in range(5)]
        assert [each async for each in served.both("Chat")(iter(said))] == said

    contents = [b"%d" % number for number in range(200)]
    answers = asyncio.gather(*(served.unary("Echo")(content) for content in contents))
    await asyncio.gather(*map(chat, range(100)))
    assert await answers == contents


@pytest.mark.parametrize("text", ["there is no such thing", "100 % näher \N{SNOWMAN}", "a\nb", ""])
async def test_a_refusal_says_code_text_and_metadata(served: Served, text: str) -> None:
    error = await refused(served.unary("Refuse")(text.encode()))
    assert (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, text)
    trailing: Any = tuple(error.trailing_metadata() or ())
    assert {("why", "so"), ("more-bin", b"\0\xff")} <= set(trailing)


async def test_a_return_ends_the_call_with_the_status_that_was_set(served: Served) -> None:
    async def drive(stream: Any) -> None:
        stream.set_code(grpc.StatusCode.NOT_FOUND)
        stream.set_details("no such thing")

    error = await refused(served.unary("Coded")(b"no such thing"))
    assert (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, "no such thing")
    served.handlers.drive = drive
    error = await refused(served.both("Drive")(iter(())).read())
    assert (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, "no such thing")


@pytest.mark.parametrize("method", ["Fail", "FailStream"])
async def test_a_handler_s_failure_is_unknown_and_its_text_stays_here(
    served: Served, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    if method == "Fail":
        error = await refused(served.unary(method)(b""))
    else:
        stream = served.answers(method)(b"")
        assert await stream.read() == b"first"
        error = await refused(stream.read())
    assert (error.code(), error.details()) == (
        grpc.StatusCode.UNKNOWN,
        "the server failed to handle the call",
    )
    assert "hunter2" in caplog.text, "the log has it"


async def test_a_handler_that_is_cancelled_by_what_it_waits_for_ends_its_call(served: Served) -> None:
    error = await refused(served.unary("CancelItself")(b"", timeout=10))
    assert (error.code(), error.details()) == (grpc.StatusCode.CANCELLED, "the call was cancelled")


async def test_metadata_goes_before_and_behind_the_answer(served: Served) -> None:
    call = served.answers("Dressed")(b"x")
    first: Any = tuple(await call.initial_metadata())
    assert {("first", "1"), ("raw-bin", b"\1\2\3")} <= set(first)
    assert [each async for each in call] == [b"x"]
    last: Any = tuple(await call.trailing_metadata())
    assert {("last", "2"), ("raw-bin", bytes(range(256)))} <= set(last)


async def test_the_handler_is_told_the_caller_and_its_metadata(served: Served) -> None:
    said = (("name", "value"), ("raw-bin", bytes(range(256))), ("twice", "1"), ("twice", "2"))
    await served.unary("Echo")(b"", metadata=said)
    context = await served.begun()
    assert [pair for pair in context.invocation_metadata() if pair[0] in dict(said)] == list(said)
    assert context.peer().startswith("ipv4:127.0.0.1:")


async def test_a_caller_by_ipv6_is_named_alike_by_each_engine(serve: Any) -> None:
    served = await serve("::1")
    async with channel(f"[::1]:{served.port}") as by_ipv6:
        echo: Any = by_ipv6.unary_unary("/t.T/Echo")
        await echo(b"")
    assert (await served.begun()).peer().startswith("ipv6:[::1]:")


async def test_a_method_that_is_not_there_is_unimplemented(served: Served) -> None:
    error = await refused(served.unary("Nothing")(b""))
    assert (error.code(), error.details()) == (
        grpc.StatusCode.UNIMPLEMENTED,
        "there is no method /t.T/Nothing",
    )


async def test_metadata_that_is_too_large_is_refused(served: Served) -> None:
    error = await refused(served.unary("Echo")(b"", metadata=(("name", "x" * (17 << 10)),)))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await served.unary("Echo")(b"", metadata=(("name", "x" * (15 << 10)),)) == b""
