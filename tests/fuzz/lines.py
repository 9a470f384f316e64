"""How a conversation of HTTP/1.1 is changed: line by line, and byte by byte."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

_LINES = re.compile(rb"[^\n]*\n|[^\n]+")
# What parsers have read in two ways.
_FIELDS = (
    b"Content-Length: 0", b"Content-Length: 5", b"Content-Length: +5", b"Content-Length: 5, 5", b"Content-Length: 0x5",
    b"Content-Length : 5", b"content-length:5", b"Content-Length: 99999999999999999999", b"Content-Length: -1",
    b"Transfer-Encoding: chunked", b"Transfer-Encoding: xchunked", b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: chunked, identity", b"Transfer-Encoding:\tchunked", b"transfer-encoding: CHUNKED",
    b"Transfer-Encoding : chunked", b"Transfer-Encoding:", b"Expect: 100-continue", b"Expect: other",
    b"Connection: close", b"Connection: keep-alive", b"Connection: upgrade", b"Upgrade: h2c", b"Upgrade: websocket",
    b"Host: localhost", b"Host: other", b"Host:", b"X-A: \x00", b"X-A: \xff", b"X A: b", b": b", b"X-A", b" folded",
    b"Content-Encoding: gzip", b"Content-Type: text/plain", b"Accept: text/event-stream", b"X-Timeout: 0.001",
)  # fmt: skip
_TARGETS = (
    b"/health",
    b"/v1/jobs",
    b"*",
    b"",
    b"//",
    b"http://a/health",
    b"/%zz",
    b"/\xff",
    b"/a b",
    b"/" + b"x" * 5000,
)
_METHODS = (b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"DELETE", b"CONNECT", b"PRI", b"get", b"X", b"")
_VERSIONS = (b"HTTP/1.1", b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/1.2", b"HTTP/11", b"", b"ICE/1.0")
_CHUNKS = (
    b"0",
    b"00",
    b"1",
    b"5",
    b"ffffffffffffffff",
    b"fffffffffffffffff",
    b"-1",
    b"0x1",
    b" 1",
    b"1 ",
    b"1;x",
    b"1;" + b"y" * 9000,
    b"g",
    b"",
)
_ENDS = (b"\r\n", b"\n", b"\r", b"\r\r\n", b"\n\r\n", b"", b"\0\r\n", b" \r\n")


class Changer:
    """Changes conversations, by chance that a seed decides."""

    def __init__(self, chance: random.Random, corpus: list[bytes]) -> None:
        self._chance = chance
        self._corpus = corpus
        self._ways: list[Callable[[list[bytes]], None]] = [
            self._drop, self._twice, self._swap, self._field, self._field, self._field, self._first, self._first,
            self._chunk, self._end, self._byte, self._byte, self._insert, self._splice, self._whole, self._many,
        ]  # fmt: skip

    def conversation(self) -> bytes:
        """A conversation of the corpus, changed in a few ways."""
        lines = _LINES.findall(self._chance.choice(self._corpus))
        for _ in range(self._chance.choice((0, 1, 1, 1, 2, 3, 5))):
            if lines:
                self._chance.choice(self._ways)(lines)
        return b"".join(lines)

    def _at(self, lines: list[bytes]) -> int:
        return self._chance.randrange(len(lines))

    def _drop(self, lines: list[bytes]) -> None:
        del lines[self._at(lines)]

    def _twice(self, lines: list[bytes]) -> None:
        lines.insert(self._at(lines), lines[self._at(lines)])

    def _swap(self, lines: list[bytes]) -> None:
        one, other = self._at(lines), self._at(lines)
        lines[one], lines[other] = lines[other], lines[one]

    def _field(self, lines: list[bytes]) -> None:
        lines.insert(1 + self._at(lines), self._chance.choice(_FIELDS) + b"\r\n")

    def _first(self, lines: list[bytes]) -> None:
        chance = self._chance
        places = [at for at, line in enumerate(lines) if b" HTTP/" in line]
        if places:
            at = chance.choice(places)
            words = lines[at].strip().split(b" ")[:3]
            words += [b""] * (3 - len(words))
            change = chance.randrange(3)
            words[change] = chance.choice((_METHODS, _TARGETS, _VERSIONS)[change])
            lines[at] = b" ".join(words) + b"\r\n"

    def _chunk(self, lines: list[bytes]) -> None:
        places = [at for at, line in enumerate(lines) if re.fullmatch(rb"[0-9a-f]{1,4}\r\n", line)]
        if places:
            lines[self._chance.choice(places)] = self._chance.choice(_CHUNKS) + b"\r\n"

    def _end(self, lines: list[bytes]) -> None:
        at = self._at(lines)
        lines[at] = lines[at].rstrip(b"\r\n") + self._chance.choice(_ENDS)

    def _byte(self, lines: list[bytes]) -> None:
        at = self._at(lines)
        line = bytearray(lines[at])
        if line:
            line[self._chance.randrange(len(line))] = self._chance.choice(
                (0, 9, 10, 13, 32, 58, 127, 255, self._chance.randrange(256))
            )
        lines[at] = bytes(line)

    def _insert(self, lines: list[bytes]) -> None:
        lines.insert(
            self._at(lines),
            self._chance.choice((b"\r\n", b"\n", b"0\r\n", b"0\r\n\r\n", b"x", self._chance.randbytes(9))),
        )

    def _splice(self, lines: list[bytes]) -> None:
        other = _LINES.findall(self._chance.choice(self._corpus))
        begin = self._chance.randrange(len(other))
        at = self._at(lines)
        lines[at:at] = other[begin : begin + self._chance.randint(1, 6)]

    def _whole(self, lines: list[bytes]) -> None:
        lines += _LINES.findall(self._chance.choice(self._corpus))

    def _many(self, lines: list[bytes]) -> None:
        at = self._at(lines)
        lines[at:at] = [lines[at]] * self._chance.choice((3, 100))
