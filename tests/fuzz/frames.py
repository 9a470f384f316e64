"""A conversation of HTTP/2 as its frames, and how it is changed."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from hpack import Encoder

from tests.grpc_http2.wire import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    call_fields,
    message,
)
from tests.grpc_http2.wire import packed as compressed

KINDS = (
    DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION, 10, 99,
)  # fmt: skip
STREAMS = (0, 1, 1, 1, 3, 3, 5, 7, 2, 4, 1001, (1 << 31) - 1, 1 << 31)
NUMBERS = (0, 1, 2, 100, 16_384, 65_535, 65_536, 1 << 20, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)
PATHS = (
    "/t.T/Echo", "/t.T/Chat", "/t.T/Repeat", "/t.T/Hold", "/t.T/Wait", "/t.T/Fail", "/t.T/Refuse", "/t.T/Total",
    "/t.T/Dressed", "/t.T/RefuseChat", "/none", "", "*",
)  # fmt: skip
VALUES = (
    "",
    "0",
    "1S",
    "0n",
    "99999999H",
    "gzip",
    "deflate",
    "identity",
    "application/grpc+proto",
    "text/plain",
    "\xff",
    "AAE",
    "=",
    "x" * 5000,
)
NAMES = (
    "te",
    "content-type",
    "grpc-timeout",
    "grpc-encoding",
    "content-length",
    "x-bin",
    "x",
    "Upper",
    "connection",
    "",
)


@dataclass(frozen=True)
class Frame:
    """One frame; `length` is what its head says, where that is not how long it is."""

    kind: int
    flags: int
    stream: int
    payload: bytes
    length: int | None = None

    @property
    def raw(self) -> bytes:
        length = len(self.payload) if self.length is None else self.length
        head = (length & 0xFFFFFF).to_bytes(3, "big") + bytes((self.kind & 255, self.flags & 255))
        return head + (self.stream & 0xFFFFFFFF).to_bytes(4, "big") + self.payload


Frames = list[Frame]


def split(conversation: bytes) -> Frames:
    """The frames behind the preface; what is not whole at the end is left out."""
    frames, at = [], len(PREFACE) if conversation.startswith(PREFACE) else 0
    while len(conversation) >= at + 9:
        size = int.from_bytes(conversation[at : at + 3], "big")
        payload = conversation[at + 9 : at + 9 + size]
        if len(payload) < size:
            break
        stream = int.from_bytes(conversation[at + 5 : at + 9], "big")
        frames.append(Frame(conversation[at + 3], conversation[at + 4], stream, payload))
        at += 9 + size
    return frames


class Mutator:
    """Changes conversations, by chance that a seed decides."""

    def __init__(self, chance: random.Random, corpus: list[Frames]) -> None:
        self._chance = chance
        self._corpus = corpus
        self._ways: list[Callable[[Frames], None]] = [
            self._drop, self._twice, self._swap, self._many, self._splice, self._invent, self._invent, self._call,
            self._call, self._kind, self._flags, self._stream, self._length, self._bits, self._cut, self._settings,
            self._message, self._grow,
        ]  # fmt: skip

    def frames(self) -> Frames:
        """A conversation of the corpus, changed in a few ways."""
        frames = list(self._chance.choice(self._corpus))
        for _ in range(self._chance.choice((0, 1, 1, 2, 3, 5, 9, 20))):
            self._chance.choice(self._ways)(frames)
        return frames

    def _at(self, frames: Frames) -> int | None:
        return self._chance.randrange(len(frames)) if frames else None

    def _change(self, frames: Frames, change: Callable[[Frame], Frame]) -> None:
        at = self._at(frames)
        if at is not None:
            frames[at] = change(frames[at])

    def _insert(self, frames: Frames, *more: Frame) -> None:
        at = self._chance.randint(0, len(frames))
        frames[at:at] = more

    def _drop(self, frames: Frames) -> None:
        at = self._at(frames)
        if at is not None:
            del frames[at]

    def _twice(self, frames: Frames) -> None:
        at = self._at(frames)
        if at is not None:
            self._insert(frames, frames[at])

    def _swap(self, frames: Frames) -> None:
        if len(frames) > 1:
            one, other = self._chance.sample(range(len(frames)), 2)
            frames[one], frames[other] = frames[other], frames[one]

    def _many(self, frames: Frames) -> None:
        at = self._at(frames)
        if at is not None:
            frames[at:at] = [frames[at]] * self._chance.choice((3, 30, 300))

    def _splice(self, frames: Frames) -> None:
        other = self._chance.choice(self._corpus)
        begin = self._chance.randint(0, len(other))
        self._insert(frames, *other[begin : begin + self._chance.randint(0, 10)])

    def _invent(self, frames: Frames) -> None:
        chance = self._chance
        payload = chance.choice(
            (
                b"",
                bytes(4),
                bytes(8),
                chance.choice(NUMBERS).to_bytes(4, "big"),
                chance.randbytes(chance.randint(0, 40)),
                b"leaving\0",
            )
        )
        self._insert(
            frames,
            Frame(
                chance.choice(KINDS),
                chance.choice((0, 0, 1, 4, 5, 8, 32, 255)),
                chance.choice(STREAMS),
                payload,
            ),
        )

    def _call(self, frames: Frames) -> None:
        """A call that the table of fields has nothing to do with, so that it is understood wherever it stands."""
        chance = self._chance
        stream = 2 * chance.randint(0, 40) + 1
        fields = call_fields(chance.choice(PATHS))
        for _ in range(chance.choice((0, 0, 1, 2))):
            fields.append((chance.choice(NAMES).encode(), chance.choice(VALUES).encode("latin-1")))
        if chance.random() < 0.1:
            chance.shuffle(fields)
        encoder = Encoder()
        encoder.header_table_size = 0
        block = encoder.encode(fields, huffman=chance.random() < 0.5)
        flags = END_HEADERS | chance.choice((0, 0, 0, END_STREAM))
        more: Frames = [Frame(HEADERS, flags, stream, block)]
        if chance.random() < 0.2 and block:
            cut = chance.randrange(len(block))
            more = [
                Frame(HEADERS, flags & ~END_HEADERS, stream, block[:cut]),
                Frame(CONTINUATION, END_HEADERS, stream, block[cut:]),
            ]
        content = chance.choice((b"", b"x", b"300 ab", b"50 " + bytes(9000), chance.randbytes(60)))
        body = compressed("gzip", content) if chance.random() < 0.1 else message(content)
        more += [Frame(DATA, chance.choice((0, END_STREAM, END_STREAM)), stream, body)] * chance.choice(
            (0, 1, 1, 2)
        )
        self._insert(frames, *more)

    def _kind(self, frames: Frames) -> None:
        self._change(frames, lambda frame: replace(frame, kind=self._chance.choice(KINDS)))

    def _flags(self, frames: Frames) -> None:
        self._change(
            frames, lambda frame: replace(frame, flags=frame.flags ^ (1 << self._chance.randrange(8)))
        )

    def _stream(self, frames: Frames) -> None:
        self._change(frames, lambda frame: replace(frame, stream=self._chance.choice(STREAMS)))

    def _length(self, frames: Frames) -> None:
        more = self._chance.choice((-9, -1, 1, 9, 70_000))
        self._change(frames, lambda frame: replace(frame, length=max(len(frame.payload) + more, 0)))

    def _bits(self, frames: Frames) -> None:
        def flip(frame: Frame) -> Frame:
            payload = bytearray(frame.payload)
            for _ in range(self._chance.choice((1, 1, 3))):
                if payload:
                    payload[self._chance.randrange(len(payload))] ^= 1 << self._chance.randrange(8)
            return replace(frame, payload=bytes(payload))

        self._change(frames, flip)

    def _cut(self, frames: Frames) -> None:
        self._change(
            frames,
            lambda frame: replace(
                frame, payload=frame.payload[: self._chance.randint(0, len(frame.payload))]
            ),
        )

    def _grow(self, frames: Frames) -> None:
        self._change(
            frames,
            lambda frame: replace(
                frame,
                payload=frame.payload + self._chance.randbytes(self._chance.choice((1, 9, 300, 60_000))),
            ),
        )

    def _settings(self, frames: Frames) -> None:
        chance = self._chance
        values = [(chance.randint(1, 7), chance.choice(NUMBERS)) for _ in range(chance.randint(0, 4))]
        payload = b"".join(name.to_bytes(2, "big") + value.to_bytes(4, "big") for name, value in values)
        self._insert(frames, Frame(SETTINGS, chance.choice((0, 0, 0, 1)), 0, payload))

    def _message(self, frames: Frames) -> None:
        """The head of a message of another size, or another flag."""
        size = self._chance.choice((0, 1, 5, 1000, (4 << 20) - 1, (4 << 20) + 1, (1 << 32) - 1))

        def head(frame: Frame) -> Frame:
            flag = self._chance.choice((0, 0, 1, 2))
            return replace(frame, payload=bytes((flag,)) + size.to_bytes(4, "big") + frame.payload[5:])

        self._change(frames, head)
