"""HPACK (RFC 7541): the fields of every block, and the table after it, are those that the hpack library finds."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Iterator

import pytest
from hpack import Decoder, Encoder, HPACKError

from grpc_http2.fields import MAX_BLOCK_BYTES, RequestFields, RequestHead, field
from grpc_http2.frames import ConnectionBroken
from grpc_http2.header_decoder import HeaderDecoder

from .wire import call_fields

pytestmark = pytest.mark.unit

Pairs = list[tuple[bytes, bytes]]


class Both:
    """Our decoder and the referee, of one connection."""

    def __init__(self) -> None:
        self._ours = HeaderDecoder(MAX_BLOCK_BYTES)
        self._referee = Decoder(max_header_list_size=MAX_BLOCK_BYTES)

    def read(self, block: bytes) -> Pairs | None:
        """The fields of a block, on which both agree; None where both refuse it."""
        wanted: Pairs | None
        try:
            wanted = [(bytes(name), bytes(value)) for name, value in self._referee.decode(block, raw=True)]
        except HPACKError:
            wanted = None
        try:
            beginning, rest, size = self._ours.read(block)
        except HPACKError:
            assert wanted is None, block
            return None
        headers = [*(beginning.headers if beginning is not None else ()), *rest]
        assert [(header.name, header.value) for header in headers] == wanted, block
        assert size == sum(32 + len(name) + len(value) for name, value in wanted)
        table = [(header.name, header.value) for header in reversed(self._ours._table)]
        assert table == list(self._referee.header_table.dynamic_entries), block
        return wanted


def traceparent() -> bytes:
    return b"00-%b-%b-01" % (secrets.token_hex(16).encode(), secrets.token_hex(8).encode())


def indexed(huffman: bool) -> Callable[[int], Iterator[bytes]]:
    """As grpc-go and grpc-java write them: every new field is added to the table."""

    def blocks(count: int) -> Iterator[bytes]:
        encoder = Encoder()
        for number in range(count):
            fields = [*call_fields(f"/t.T/{number // 100}"), (b"authorization", b"Bearer x")]
            yield encoder.encode([*fields, (b"traceparent", traceparent())], huffman=huffman)

    return blocks


def not_indexed(count: int) -> Iterator[bytes]:
    """As grpc-core writes them: metadata are not added to the table."""
    encoder = Encoder()
    for number in range(count):
        yield encoder.encode(call_fields(f"/t.T/{number // 100}")) + field(b"traceparent", traceparent())


def secret(count: int) -> Iterator[bytes]:
    """As tonic and grpc-js write them: credentials are never added, and the time limit is another in each call."""
    encoder = Encoder()
    for number in range(count):
        more = (b"grpc-timeout", b"%dm" % (9000 + number)), (b"x-request-id", traceparent())
        yield encoder.encode([*call_fields(), (b"authorization", b"Bearer x", True), *more], huffman=True)


@pytest.mark.parametrize("blocks", [indexed(False), indexed(True), not_indexed, secret])
def test_a_trace_that_is_new_in_each_call_leaves_the_fields_and_the_table_right(
    blocks: Callable[[int], Iterator[bytes]],
) -> None:
    both, known = Both(), 0
    for block in blocks(400):
        assert both.read(block)
        known += both._ours._beginning is not None
    assert known > 300, "most blocks begin as the one before"


def random_blocks(chance: random.Random) -> Iterator[bytes]:
    """Blocks that share much, over a table whose size changes."""
    encoder = Encoder()
    names = [b":path", b":method", b"a", b"traceparent", b"grpc-timeout", b"x-bin", b"te"]
    for number in range(chance.randrange(1, 80)):
        if chance.random() < 0.05:
            encoder.header_table_size = chance.choice([4096, 0, 64, 300, 1000])
        fields = [
            (b":method", b"POST"), (b":path", chance.choice([b"/a", b"/b"])), (b"te", b"trailers"),
        ]  # fmt: skip
        for _ in range(chance.randrange(4)):
            value = chance.choice([b"x", b"y", b"%d" % number, b"q" * chance.choice([5, 40, 500])])
            fields.append((chance.choice(names), value))
        written = [each if chance.random() < 0.8 else (*each, True) for each in fields]
        yield encoder.encode(written, huffman=chance.random() < 0.5)


@pytest.mark.parametrize("seed", range(200))
def test_blocks_of_any_encoder_are_read_as_the_referee_reads_them(seed: int) -> None:
    both = Both()
    for block in random_blocks(random.Random(seed)):
        assert both.read(block) is not None


@pytest.mark.parametrize("seed", range(400))
def test_damaged_blocks_are_refused_where_the_referee_refuses_them(seed: int) -> None:
    chance, both = random.Random(seed), Both()
    for block in random_blocks(chance):
        sent = bytearray(block)
        for _ in range(chance.choice([0, 0, 0, 1, 2])):
            sent[chance.randrange(len(sent))] = chance.choice([0, 0x20, 0x3F, 0x7F, 0x80, 0xBE, 0xFF, 0x41])
        if both.read(bytes(sent[: chance.choice([len(sent), len(sent), len(sent) - 1])])) is None:
            return


POST, NEWEST = b"\x83", 0xBE


def added(name: bytes, size: int) -> bytes:
    """A literal that is added to the table, with a value that is new."""
    return b"\x40" + field(name, secrets.token_hex(size).encode()[:size])[1:]


def test_a_block_may_not_begin_with_a_field_that_has_left_the_table() -> None:
    both = Both()
    both.read(POST + added(b"a", 1000))
    for age in range(3):
        assert both.read(POST + bytes((NEWEST + age,)) + added(b"b", 1000))
    assert both.read(POST + bytes((NEWEST + 3,)) + added(b"b", 1)) is None


@pytest.mark.parametrize(
    "resized", [b"\x20", b"\x20\x3f\xe1\x1f", b"\x3f\xe1\x1f"], ids=["to 0", "twice", "not"]
)
@pytest.mark.parametrize("index", range(NEWEST, NEWEST + 3))
def test_a_block_may_not_begin_with_what_was_there_before_a_new_size_of_the_table(
    resized: bytes, index: int
) -> None:
    both = Both()
    both.read(POST + added(b"a", 10))
    both.read(POST + bytes((NEWEST,)) + field(b"n", b"1"))
    assert both.read(resized + POST)
    both.read(POST + bytes((index,)) + field(b"n", b"2"))


def described(fields: RequestFields, block: bytes) -> RequestHead | str:
    try:
        return fields.read(block)
    except ConnectionBroken as error:
        return str(error)


@pytest.mark.parametrize("seed", range(200))
def test_what_a_request_says_does_not_depend_on_those_before_it(seed: int) -> None:
    chance, ours, referee = random.Random(seed), RequestFields(), Decoder()
    for block in random_blocks(chance):
        plain = b"".join(field(bytes(name), bytes(value)) for name, value in referee.decode(block, raw=True))
        assert described(ours, block) == described(RequestFields(), plain)
