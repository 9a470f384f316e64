"""Calls of each kind from their fields to their status."""

from __future__ import annotations

import base64
import logging

import pytest

from .conftest import Served
from .wire import DATA, END_STREAM, Caller, Wire, call_fields, frame, message

OK, UNKNOWN, NOT_FOUND, UNIMPLEMENTED, INTERNAL, UNAUTHENTICATED = 0, 2, 5, 12, 13, 16


async def test_a_unary_call_gets_its_message_and_its_status(served: Served) -> None:
    async with await Caller.greet(served.port) as caller:
        for content in (b"", b"hello", bytes(range(256)) * 40):
            answer = await caller.ask("/t.T/Echo", content)
            assert answer.fields[":status"] == "200"
            assert answer.fields["content-type"] == "application/grpc"
            assert answer.messages == [content]
            assert (answer.status, answer.text, answer.reset) == (OK, "", None)


async def test_a_stream_of_answers_comes_in_order(served: Served) -> None:
    async with await Caller.greet(served.port) as caller:
        answer = await caller.ask("/t.T/Repeat", b"1000 again")
        assert answer.messages == [b"again"] * 1000
        assert answer.status == OK
        none = await caller.ask("/t.T/Repeat", b"0 ")
        assert (none.messages, none.status) == ([], OK)


async def test_both_sides_of_a_call_talk_in_turn(served: Served) -> None:
    async with await Caller.greet(served.port) as caller:
        stream = await caller.begin("/t.T/Chat")
        said = []
        for number in range(20):
            said.append(b"%d" % number)
            await caller.say(stream, message(said[-1]))
            await caller.until(lambda: stream in caller.answers and caller.answers[stream].messages == said)
        await caller.say(stream, b"", end=True)
        answer = await caller.answer(stream)
        assert (answer.messages, answer.status, answer.reset) == (said, OK, None)


async def test_a_stream_of_requests_gets_one_answer(served: Served) -> None:
    async with await Caller.greet(served.port) as caller:
        stream = await caller.begin("/t.T/Total")
        await caller.say(stream, message(b"one") + message(b"three"), end=True)
        answer = await caller.answer(stream)
        assert (answer.messages, answer.status) == ([b"8"], OK)


async def test_many_calls_on_one_connection_do_not_mix(served: Served) -> None:
    async with await Caller.greet(served.port) as caller:
        streams = [await caller.begin("/t.T/Echo" if number % 2 else "/t.T/Chat") for number in range(300)]
        for stream in reversed(streams):
            await caller.say(stream, message(b"of %d" % stream), end=True)
        for stream in streams:
            answer = await caller.answer(stream)
            assert (answer.messages, answer.status) == ([b"of %d" % stream], OK)


@pytest.mark.parametrize(
    ("text", "there"),
    [
        ("no job 7", "no job 7"),
        (
            "100% of ünïcödé, 漢字 and 🙂",
            "100%25 of %C3%BCn%C3%AFc%C3%B6d%C3%A9, %E6%BC%A2%E5%AD%97 and %F0%9F%99%82",
        ),
        ("two\nlines\ttab\x7f~", "two%0Alines%09tab%7F~"),
        ("", ""),
    ],
)
async def test_a_refusal_says_code_text_and_metadata(served: Served, text: str, there: str) -> None:
    async with await Caller.greet(served.port) as caller:
        answer = await caller.ask("/t.T/Refuse", text.encode())
        said = dict(answer.trailers)
        assert (answer.status, answer.text, answer.messages) == (NOT_FOUND, text, [])
        assert said.get("grpc-message", "") == there
        assert said["why"] == "so"
        assert base64.b64decode(said["more-bin"] + "==") == b"\0\xff"


async def test_a_handler_s_failure_is_unknown_and_its_text_stays_here(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    async with await Caller.greet(served.port) as caller:
        with caplog.at_level(logging.ERROR):
            answer = await caller.ask("/t.T/Fail", b"")
        assert answer.status == UNKNOWN
        assert "hunter2" not in str(answer)
        assert "hunter2" in caplog.text
        assert (await caller.ask("/t.T/Echo", b"still")).messages == [b"still"]


async def test_metadata_goes_before_and_behind_the_answer(served: Served) -> None:
    async with await Caller.greet(served.port) as caller:
        answer = await caller.ask("/t.T/Dressed", b"x")
        assert answer.fields["first"] == "1"
        assert base64.b64decode(answer.fields["raw-bin"]) == b"\1\2\3"
        said = dict(answer.trailers)
        assert said["last"] == "2"
        assert base64.b64decode(said["raw-bin"] + "==") == bytes(range(256))
        assert (answer.messages, answer.status) == ([b"x"], OK)


async def test_a_method_that_is_not_there_is_unimplemented(served: Served) -> None:
    async with await Caller.greet(served.port) as caller:
        answer = await caller.ask("/t.T/Nothing", b"x")
        assert (answer.status, answer.text) == (UNIMPLEMENTED, "there is no method /t.T/Nothing")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "the call has 0 messages instead of one"),
        (message(b"a") + message(b"b"), "the call has 2 messages instead of one"),
        (message(b"abc")[:-1], "the call ended within a message"),
        (message(b"abc") + b"\0\0", "the call ended within a message"),
    ],
)
@pytest.mark.parametrize("path", ["/t.T/Echo", "/t.T/Repeat"])
async def test_a_call_of_one_message_has_one(served: Served, path: str, content: bytes, why: str) -> None:
    async with await Caller.greet(served.port) as caller:
        stream = await caller.begin(path)
        await caller.say(stream, content, end=True)
        answer = await caller.answer(stream)
        assert (answer.status, answer.text) == (INTERNAL, why)
    assert not served.handlers.contexts


async def test_a_call_without_any_data_is_answered_at_once(served: Served) -> None:
    async with await Caller.greet(served.port) as caller:
        assert (await caller.answer(await caller.begin("/t.T/Echo", end=True))).status == INTERNAL
        assert (await caller.answer(await caller.begin("/t.T/Nothing", end=True))).status == UNIMPLEMENTED
        assert (await caller.answer(await caller.begin("/t.T/Chat", end=True))).status == OK
        assert not [answer for answer in caller.answers.values() if answer.reset]


async def test_a_streaming_call_that_ends_within_a_message_ends_its_handler(served: Served) -> None:
    async with await Caller.greet(served.port) as caller:
        stream = await caller.begin("/t.T/Hold")
        await served.handlers.began.get()
        await caller.say(stream, message(b"abc")[:-1], end=True)
        answer = await caller.answer(stream)
        assert (answer.status, answer.text) == (INTERNAL, "the call ended within a message")
        assert await served.handlers.cancelled.get() == "Hold"


@pytest.mark.parametrize("length", [0, 7, 9])
async def test_content_length_is_what_comes(served: Served, length: int) -> None:
    async with await Wire.open(served.port) as wire:
        stream = wire.next()
        fields = wire.headers(stream, call_fields(content_length=str(length)))
        await wire.send(fields + frame(DATA, END_STREAM, stream, message(b"abc")))
        assert (await wire.answer(stream)).reset == 1
        right = wire.next()
        fields = wire.headers(right, call_fields(content_length="8"))
        await wire.send(fields + frame(DATA, END_STREAM, right, message(b"abc")))
        assert (await wire.answer(right)).messages == [b"abc"]
