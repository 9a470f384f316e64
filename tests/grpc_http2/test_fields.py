"""Header fields: as HPACK has them, as gRPC means them, and as they must not be."""

from __future__ import annotations

import base64
import tracemalloc

import pytest
from hpack import Decoder, Encoder

from grpc_http2.fields import RequestFields, field, status_block

from .conftest import Served
from .wire import (
    COMPRESSION_ERROR,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    HEADERS,
    PADDED,
    PROTOCOL_ERROR,
    WITH_PRIORITY,
    Answer,
    Fields,
    Wire,
    call_fields,
    frame,
    message,
)

OK, INVALID_ARGUMENT, RESOURCE_EXHAUSTED = 0, 3, 8


def literal(name: bytes, value: bytes, first: int = 0x40) -> bytes:
    """A field with its name; 0x40: it is added to the table."""
    return bytes((first, len(name))) + name + bytes((len(value),)) + value


async def asked(wire: Wire, block: bytes) -> Answer:
    """What a call gets whose fields are these bytes."""
    stream = wire.next()
    head = frame(HEADERS, END_HEADERS, stream, block)
    await wire.send(head + frame(DATA, END_STREAM, stream, message(b"x")))
    return await wire.answer(stream)


BASE = b"".join(
    literal(name, value, 0) for name, value in call_fields() if name not in (b":path", b"content-type", b"te")
)
# They follow what the table has newest, by its index (62).
NEWEST = b"\xbe"


async def test_the_same_bytes_mean_what_the_table_says_at_that_time(served: Served) -> None:
    rest = literal(b":path", b"/t.T/Echo", 0) + literal(b"content-type", b"application/grpc", 0)
    same = BASE + rest + NEWEST
    async with await Wire.open(served.port) as wire:
        await asked(wire, BASE + rest + literal(b"who", b"ada"))
        for _ in range(3):
            await asked(wire, same)
        await asked(wire, BASE + rest + literal(b"who", b"bob"))
        for _ in range(3):
            await asked(wire, same)
        # The table is emptied and filled again: a block of the same bytes as before, after a change of its size.
        await asked(wire, b"\x20\x3f\xe1\x1f" + BASE + rest + literal(b"who", b"eve"))
        for _ in range(2):
            await asked(wire, same)
        # What fills is larger than the table, and empties it.
        await asked(wire, b"\x3f\x09" + BASE + rest + literal(b"who", b"much longer than forty bytes"))
        stream = wire.next()
        await wire.send(frame(HEADERS, END_HEADERS, stream, same))
        assert (await wire.end())[0] == COMPRESSION_ERROR
    said = [dict(context.invocation_metadata()).get("who") for context in served.handlers.contexts]
    assert said == ["ada"] * 4 + ["bob"] * 4 + ["eve"] * 3 + ["much longer than forty bytes"]


async def test_the_path_of_the_same_bytes_is_that_of_the_table(served: Served) -> None:
    rest = BASE + literal(b"content-type", b"application/grpc", 0)
    async with await Wire.open(served.port) as wire:
        await asked(
            wire, BASE + literal(b":path", b"/t.T/Echo") + literal(b"content-type", b"application/grpc", 0)
        )
        first = b"".join((BASE, NEWEST, literal(b"content-type", b"application/grpc", 0)))
        assert (await asked(wire, first)).messages == [b"x"]
        assert (await asked(wire, first)).messages == [b"x"]
        await asked(
            wire, BASE + literal(b":path", b"/t.T/Size") + literal(b"content-type", b"application/grpc", 0)
        )
        assert (await asked(wire, first)).messages == [b"1"]
        assert rest


def test_little_memory_is_kept_for_what_callers_said_before() -> None:
    """A block of 450 bytes says 16 KiB of fields, in 75 kB of objects; thousands of connections may do so."""
    call = b"\x82\x86" + literal(b":path", b"/", first=0)
    tracemalloc.start()
    try:
        fields = RequestFields()
        fields.read(call + literal(b"aa", b"bb"))
        for number in range(32):
            for _ in range(2):
                # Fields that came twice are remembered.
                said = fields.read(call + literal(b"n", b"%d" % number, first=0) + b"\xbe" * 430)
            assert len(said.metadata) == 431
        large = b"".join(field(b"a%d" % each, b"x" * 450) for each in range(16))
        for number in range(32):
            for _ in range(2):
                fields.read(call + large + literal(b"n", b"%d" % number, first=0))
        assert tracemalloc.get_traced_memory()[0] < 150_000
    finally:
        tracemalloc.stop()


def test_blocks_read_the_same_as_a_decoder_that_remembers_nothing() -> None:
    """A thousand blocks of calls that share much, over a table that changes all the time."""
    encoder, plain, ours = Encoder(), Decoder(), RequestFields()
    for number in range(1000):
        if number % 97 == 0:
            encoder.header_table_size = (4096, 100, 300)[number // 97 % 3]
        fields = call_fields(f"/t.T/{number % 3}", ("a", str(number // 10 % 7)), ("b", "x" * (number // 50)))
        block = encoder.encode(fields, huffman=number % 2 == 0)
        request = ours.read(block)
        assert plain.decode(block, raw=True) == fields
        assert request.shared.path == f"/t.T/{number % 3}"
        assert dict(request.metadata) == {"a": str(number // 10 % 7), "b": "x" * (number // 50)}


async def test_a_table_may_shrink_and_not_grow_beyond_what_was_agreed(served: Served) -> None:
    async with await Wire.open(served.port) as wire:
        for size in (4096, 0, 64, 4096):
            wire.encoder.header_table_size = size
            assert (await wire.answer(await wire.call())).status == OK
        stream = wire.next()
        await wire.send(
            frame(HEADERS, END_HEADERS, stream, b"\x3f\xe2\x1f" + wire.encoder.encode(call_fields()))
        )
        assert (await wire.end())[0] == COMPRESSION_ERROR


@pytest.mark.parametrize("huffman", [True, False])
async def test_fields_come_in_pieces_padded_and_with_a_priority(served: Served, huffman: bool) -> None:
    async with await Wire.open(served.port) as wire:
        for number in (0, 1, 20):
            stream = wire.next()
            block = wire.encoder.encode(call_fields("/t.T/Echo", ("piece", str(number))), huffman=huffman)
            at = min(number, len(block) - 1)
            padded = b"\4" + b"\x80\0\0\1\7" + block[:at] + bytes(4)
            sent = frame(HEADERS, PADDED | WITH_PRIORITY, stream, padded)
            sent += b"".join(
                frame(CONTINUATION, 0, stream, block[i : i + 1]) for i in range(at, len(block) - 1)
            )
            await wire.send(sent + frame(CONTINUATION, END_HEADERS, stream, block[-1:]))
            await wire.send(frame(DATA, PADDED | END_STREAM, stream, b"\x0a" + message(b"hi") + bytes(10)))
            assert (await wire.answer(stream)).messages == [b"hi"]
    assert [dict(one.invocation_metadata())["piece"] for one in served.handlers.contexts] == ["0", "1", "20"]


async def test_nothing_comes_between_the_pieces_of_a_block(served: Served) -> None:
    async with await Wire.open(served.port) as wire:
        block = wire.encoder.encode(call_fields())
        await wire.send(frame(HEADERS, 0, 1, block[:5]) + frame(DATA, 0, 1, b""))
        assert await wire.end() == (
            PROTOCOL_ERROR,
            "a header block must be followed by CONTINUATION until it ends",
        )
    for wrong in (
        frame(CONTINUATION, END_HEADERS, 1, b""),
        frame(HEADERS, 0, 1, b"\x82") + frame(CONTINUATION, 4, 3),
    ):
        async with await Wire.open(served.port) as wire:
            await wire.send(wrong)
            assert await wire.end() == (PROTOCOL_ERROR, "CONTINUATION must follow HEADERS of the same stream")


@pytest.mark.parametrize(
    "block", [b"\x80", b"\xff\xff\xff", b"\x40\x85\xff", b"\xbe", b"\x00\x01", b"\x82\x3f\xe1\x1f"]
)
async def test_a_block_that_is_none_ends_the_connection(served: Served, block: bytes) -> None:
    async with await Wire.open(served.port) as wire:
        await wire.send(frame(HEADERS, END_HEADERS, 1, block))
        code, text = await wire.end()
        assert code == COMPRESSION_ERROR
        assert text.startswith("a block of fields can't be read")


async def test_metadata_reaches_the_handler_as_it_was_meant(served: Served) -> None:
    raw = bytes(range(256))
    padded, unpadded = base64.b64encode(raw).decode(), base64.b64encode(b"\xfb\xff").decode().rstrip("=")
    more = (
        ("x-one", "1"),
        ("many", "a"),
        ("many", "b"),
        ("raw-bin", padded),
        ("two-bin", f"{unpadded},{padded}"),
    )
    async with await Wire.open(served.port) as wire:
        await wire.answer(await wire.call("/t.T/Echo", b"", *more, ("empty", ""), ("grpc-timeout", "10S")))
    [context] = served.handlers.contexts
    assert context.invocation_metadata() == (
        ("x-one", "1"),
        ("many", "a"),
        ("many", "b"),
        ("raw-bin", raw),
        ("two-bin", b"\xfb\xff"),
        ("two-bin", raw),
        ("empty", ""),
    )
    assert context.peer().startswith("ipv4:127.0.0.1:")


async def test_metadata_beyond_16_kib_is_refused_and_the_connection_goes_on(served: Served) -> None:
    async with await Wire.open(served.port) as wire:
        for huffman in (True, False):
            stream = wire.next()
            block = wire.encoder.encode(call_fields("/t.T/Echo", ("large", "x" * 16_384)), huffman=huffman)
            sent = frame(HEADERS, 0, stream, block[:9000]) + frame(
                CONTINUATION, END_HEADERS, stream, block[9000:]
            )
            await wire.send(sent + frame(DATA, END_STREAM, stream, message(b"x")))
            answer = await wire.answer(stream)
            assert (answer.status, answer.text) == (
                RESOURCE_EXHAUSTED,
                "the call's metadata is over 16384 bytes",
            )
            assert (await wire.answer(await wire.call())).status == OK
    assert len(served.handlers.contexts) == 2


async def test_fields_beyond_64_kib_end_the_connection_however_small_they_are_sent(served: Served) -> None:
    why = "a call's fields are over 65536 bytes; the most is 16384"
    large = literal(b"large", bytes([65]) * 120)
    pieces = frame(HEADERS, 0, 1, b"\x83") + frame(CONTINUATION, 0, 1, large * 120) * 5
    # An entry of the table, and a byte for each time that it is meant.
    small = frame(HEADERS, END_HEADERS, 1, large + NEWEST * 1000)
    for sent in (pieces, small):
        async with await Wire.open(served.port) as wire:
            await wire.send(sent)
            assert await wire.end() == (ENHANCE_YOUR_CALM, why)


MALFORMED: list[Fields] = [
    [(b":path", b"/t.T/Echo"), (b":method", b"POST")],
    [(b":path", b"/t.T/Echo"), (b":scheme", b"http")],
    [(b":scheme", b"http"), (b":method", b"POST")],
    call_fields(path=""),
    [*call_fields(), (b":path", b"/t.T/Echo")],
    [(b":path", b"/t.T/Echo"), *call_fields()],
    [(b":status", b"200"), *call_fields()],
    [(b"early", b"1"), *call_fields()],
    call_fields("/t.T/Echo", ("Upper", "1")),
    call_fields("/t.T/Echo", ("with space", "1")),
    call_fields("/t.T/Echo", ("", "1")),
    call_fields("/t.T/Echo", ("connection", "close")),
    call_fields("/t.T/Echo", ("transfer-encoding", "chunked")),
    call_fields("/t.T/Echo", ("upgrade", "h2c")),
    call_fields("/t.T/Echo", ("keep-alive", "1")),
    call_fields("/t.T/Echo", ("line", "a\r\nb: c")),
    call_fields("/t.T/Echo", ("zero", "a\0b")),
    call_fields(te="gzip"),
    call_fields(content_length="-1"),
    call_fields(content_length="five"),
    [(b"grpc-timeout", b"1S")],
]


@pytest.mark.parametrize("fields", MALFORMED, ids=lambda fields: repr(fields[-1]))
async def test_malformed_fields_end_the_stream_and_nothing_else(served: Served, fields: Fields) -> None:
    async with await Wire.open(served.port) as wire:
        under_way = await wire.call("/t.T/Wait", b"still")
        stream = wire.next()
        # What the caller sent before it could know is passed over, trailers too.
        sent = wire.headers(stream, fields) + frame(DATA, 0, stream, message(b"x"))
        await wire.send(sent + wire.headers(stream, [(b"trailer", b"1")], True))
        assert (await wire.answer(stream)).reset == PROTOCOL_ERROR
        await wire.echo()
        served.handlers.go.set()
        assert (await wire.answer(under_way)).messages == [b"still"]
        assert [number for kind, _, number, _ in wire.frames if kind == 3] == [stream]


UNREADABLE = [
    *(
        (
            call_fields(grpc_timeout=text),
            f"grpc-timeout is {text!r}; it is 1 to 8 digits and one of HMSmun, as in 30S",
        )
        for text in ("", "S", "1", "1s", "-1S", "1.5S", "123456789S", "1 S", "0x1S")
    ),
    (call_fields("/t.T/Echo", ("grpc-timeout", "1S"), ("grpc-timeout", "2S")), "grpc-timeout comes twice"),
    *(
        (call_fields("/t.T/Echo", ("raw-bin", text)), f"the metadata raw-bin is not base64: {text!r}")
        for text in ("*", "A", "AAAA,A", "QUJD\xe4", "-_-_")
    ),
]


@pytest.mark.parametrize(("fields", "why"), UNREADABLE, ids=[why for _, why in UNREADABLE])
async def test_fields_that_grpc_can_not_read_are_refused_in_words(
    served: Served, fields: Fields, why: str
) -> None:
    async with await Wire.open(served.port) as wire:
        stream = wire.next()
        await wire.send(wire.headers(stream, fields) + frame(DATA, END_STREAM, stream, message(b"x")))
        answer = await wire.answer(stream)
        assert (answer.status, answer.text) == (INVALID_ARGUMENT, why)
        assert (await wire.answer(await wire.call())).status == OK
    assert len(served.handlers.contexts) == 1


def test_a_text_is_escaped_as_grpc_has_it() -> None:
    text = "".join(map(chr, range(0x20, 0x7F)))
    [_, (_, said)] = Decoder().decode(status_block(3, text), raw=True)
    assert said == text.replace("%", "%25").encode()
    [_, (_, said)] = Decoder().decode(status_block(3, "\ud800 " + "x" * 20_000), raw=True)
    assert said == b"? " + b"x" * 20_000
