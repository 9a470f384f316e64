"""gRPC's messages within a stream's bytes: a flag, four bytes of length, the message."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc

from .errors import MessageTooLarge, MessageUnreadable

HEAD_BYTES = 5
ENCODINGS = ("identity", "deflate", "gzip")
# Of zlib's two forms, by the window's bits.
_WINDOW_BITS = {"deflate": zlib.MAX_WBITS, "gzip": zlib.MAX_WBITS | 16}
ENCODING_OF = {
    grpc.Compression.NoCompression: "identity",
    grpc.Compression.Deflate: "deflate",
    grpc.Compression.Gzip: "gzip",
}


class MessageRefused(Exception):
    """A message can't be taken: the code and the text of the call's status."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class TooLarge:
    """Stands where a message was that is over the limit. Nothing of it is held; its reader tells the caller."""

    text: str


class Decompressed(bytes):
    """A message that came compressed, as it was before."""


def raw(message: bytes | TooLarge) -> bytes | TooLarge:
    """The deserializer of a handler that reads its request by itself, and minds `TooLarge`."""
    return message


def deserialized(message: bytes | TooLarge, deserialize: Callable[[bytes], Any] | None) -> Any:
    """A message as its handler takes it.

    Raises:
        MessageTooLarge: It is.
        MessageUnreadable: It is none.
    """
    if deserialize is raw:
        return message
    if type(message) is TooLarge:
        raise MessageTooLarge(message.text)
    assert isinstance(message, bytes), "there is nothing else"
    if deserialize is None:
        return message
    try:
        return deserialize(message)
    except Exception as error:
        raise MessageUnreadable(error) from None


class Messages:
    """Puts the messages of one stream together.

    Args:
        encoding: How those are compressed whose flag says so.
        most: The most bytes of one, compressed or not.
        take: Gets each message that is whole, and `TooLarge` for one that may not be, as soon as its length is known.

    Attributes:
        over: Whether one was too large. Nothing is taken of what follows.
        held: What came of a message that is not whole yet.
        grown: Bytes that messages had more once they were decompressed, since it was last set to 0.
    """

    __slots__ = ("_encoding", "_most", "_take", "grown", "held", "over")

    def __init__(self, encoding: str, most: int, take: Callable[[Any], None]) -> None:
        self._encoding = encoding
        self._most = most
        self._take = take
        self.held = bytearray()
        self.grown = 0
        self.over = False

    def feed(self, data: bytes) -> None:
        """Takes the next bytes of the stream.

        Raises:
            MessageRefused: A message is compressed in a way that it may not be.
        """
        held = self.held
        if not held:
            # Nearly always a frame is a message.
            size = len(data) - HEAD_BYTES
            if size >= 0 and data[0] == 0 and int.from_bytes(data[1:5], "big") == size <= self._most:
                self._take(data[HEAD_BYTES:])
                return
        held += data
        start = 0
        while len(held) - start >= HEAD_BYTES:
            size = int.from_bytes(held[start + 1 : start + HEAD_BYTES], "big")
            if size > self._most:
                self._refuse(f"the message has {size} bytes; the most is {self._most}")
                return
            end = start + HEAD_BYTES + size
            if len(held) < end:
                break
            message = bytes(held[start + HEAD_BYTES : end])
            whole = message if held[start] == 0 else self._whole(held[start], message)
            if whole is None:
                self._refuse(f"the message has over {self._most} bytes once decompressed; that is the most")
                return
            self._take(whole)
            start = end
        del held[:start]

    def _refuse(self, text: str) -> None:
        self.over = True
        self.held.clear()
        self._take(TooLarge(text))

    def _whole(self, flag: int, message: bytes) -> bytes | None:
        """A compressed message as it was; None: it is too large."""
        bits = _WINDOW_BITS.get(self._encoding)
        if flag != 1 or bits is None:
            raise MessageRefused(
                grpc.StatusCode.INTERNAL,
                "a message's flag says compressed, and the call's grpc-encoding does not",
            )
        reader = zlib.decompressobj(bits)
        try:
            # One byte more shows that there is more.
            whole = reader.decompress(message, self._most + 1)
        except zlib.error as error:
            raise MessageRefused(
                grpc.StatusCode.INTERNAL, f"a message can't be decompressed: {error}"
            ) from None
        if len(whole) > self._most:
            return None
        if not reader.eof:
            raise MessageRefused(
                grpc.StatusCode.INTERNAL, "a message can't be decompressed: its end is missing"
            )
        self.grown += max(len(whole) - len(message), 0)
        return Decompressed(whole)


def framed(message: bytes) -> bytes:
    """A message as it goes into a stream."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def compressed(message: bytes, encoding: str) -> bytes:
    """A message as it goes into a stream whose `grpc-encoding` is `deflate` or `gzip`."""
    packer = zlib.compressobj(wbits=_WINDOW_BITS[encoding])
    packed = packer.compress(message) + packer.flush()
    return b"\1" + len(packed).to_bytes(4, "big") + packed
