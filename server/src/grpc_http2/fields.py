"""Header fields: of requests as HPACK (RFC 7541) has them, and of answers, which leave the other side's table alone."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote

from hpack import Decoder, HPACKError, OversizedHeaderListError
from hpack.table import HeaderTable

from .frames import ConnectionBroken, Reason

Metadata = tuple[tuple[str, str | bytes], ...]

# Beyond it a call is refused, and told so; its block has to be read all the same, for the table. Beyond the larger
# bound the connection ends.
MAX_METADATA_BYTES = 16 << 10
MAX_BLOCK_BYTES = 64 << 10

# Blocks that are remembered, and bytes of the fields that they say: a block of 500 bytes may say 16 KiB.
_KNOWN_BLOCKS = 32
_KNOWN_BYTES = 16 << 10
_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
# Any more is no bound.
_MOST_SECONDS = 366 * 86400.0
_timeout = re.compile(r"([0-9]{1,8})([HMSmun])").fullmatch
_name_is_sane = re.compile(rb":?[0-9a-z_.!#$%&'*+^`|~-]+").fullmatch
_ends_a_line = re.compile(rb"[\0\r\n]").search
# HTTP/2 has no such fields (RFC 9113, section 8.2.2).
_OF_HTTP_1 = frozenset((b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"))
_PSEUDO = frozenset((b":method", b":scheme", b":path", b":authority"))
# The transport's own, which no handler is told.
_OWN = frozenset(
    (b"te", b"content-type", b"content-length", b"grpc-timeout", b"grpc-encoding", b"grpc-accept-encoding")
)


@dataclass(frozen=True, slots=True)
class Request:
    """What a call's fields say.

    Attributes:
        method: HTTP's; gRPC has POST alone.
        path: Such as `/jobqueue.v1.JobQueue/EnqueueJob`.
        content_type: As sent.
        metadata: The caller's, names in lower case; those that end in `-bin` as bytes.
        timeout: Seconds that the caller gives it; None for no bound.
        encoding: How messages may be compressed.
        accepts: How answers may be compressed.
        length: Bytes that follow, where it says so.
        trailers: Whether it is what ends a request, instead of what begins one.
        wrong: Why it can't be a call, where it can't.
        unreadable: What of it gRPC can't read, where HTTP can: the call is refused with this text.
        too_large: Whether its fields are more than MAX_METADATA_BYTES; the rest is then not known.
    """

    method: str = ""
    path: str = ""
    content_type: str = ""
    metadata: Metadata = ()
    timeout: float | None = None
    encoding: str = "identity"
    accepts: frozenset[str] = frozenset()
    length: int | None = None
    trailers: bool = False
    wrong: str = ""
    unreadable: str = ""
    too_large: bool = False


class _Table(HeaderTable):
    """Counts its changes."""

    changes = 0

    def add(self, name: bytes, value: bytes) -> None:
        self.changes += 1
        super().add(name, value)


class RequestFields:
    """Reads the requests of one connection, in the order in which they come.

    Calls of one method mostly come as the same bytes, once the table knows their fields. What such bytes say is
    remembered for as long as the table stays what it is: 1 us instead of 60.
    """

    __slots__ = ("_decoder", "_known", "_known_bytes", "_table")

    def __init__(self) -> None:
        self._table = _Table()
        self._decoder = Decoder(max_header_list_size=MAX_BLOCK_BYTES)
        self._decoder.header_table = self._table
        self._known: dict[bytes, Request] = {}
        self._known_bytes = 0

    def read(self, block: bytes) -> Request:
        """What a block of fields says.

        Raises:
            ConnectionBroken: It is no such block; the table is then not known any more.
        """
        found = self._known.get(block)
        if found is not None:
            return found
        changes = self._table.changes
        try:
            fields = self._decoder.decode(block, raw=True)
        except OversizedHeaderListError:
            message = f"a call's fields are over {MAX_BLOCK_BYTES} bytes; the most is {MAX_METADATA_BYTES}"
            raise ConnectionBroken(Reason.ENHANCE_YOUR_CALM, message) from None
        except HPACKError as error:
            raise ConnectionBroken(
                Reason.COMPRESSION_ERROR, f"a block of fields can't be read: {error}"
            ) from None
        request = _request(fields)
        resized = bool(block) and block[0] & 0xE0 == 0x20
        size = len(block) + sum(len(name) + len(value) + 32 for name, value in fields)
        if (
            resized
            or self._table.changes != changes
            or len(self._known) >= _KNOWN_BLOCKS
            or self._known_bytes + size > _KNOWN_BYTES
        ):
            self._known.clear()
            self._known_bytes = 0
        if not resized and self._table.changes == changes and size <= _KNOWN_BYTES:
            self._known[block] = request
            self._known_bytes += size
        return request


def _request(fields: Iterable[tuple[bytes, bytes]]) -> Request:
    """What decoded fields say."""
    size = 0
    pseudo: dict[bytes, bytes] = {}
    own: dict[bytes, str] = {}
    metadata: list[tuple[str, str | bytes]] = []
    unreadable = ""
    for name, value in fields:
        size += len(name) + len(value) + 32
        if size > MAX_METADATA_BYTES:
            return Request(too_large=True)
        if name.startswith(b":"):
            if own or metadata or name in pseudo or name not in _PSEUDO:
                return Request(wrong=f"the field {name[:64]!r} is unknown, comes twice, or comes late")
            pseudo[name] = value
        elif not _name_is_sane(name) or name in _OF_HTTP_1 or _ends_a_line(value):
            return Request(wrong=f"the field {name[:64]!r} is none that HTTP/2 has")
        elif name in _OWN:
            if name == b"grpc-timeout" and name in own:
                unreadable = "grpc-timeout comes twice"
            own[name] = value.decode("latin-1")
        elif name.endswith(b"-bin"):
            try:
                # Several values may come as one, and padded or not.
                pieces = [_unpadded_base64(piece) for piece in value.split(b",")]
            except binascii.Error:
                unreadable = (
                    f"the metadata {name[:64].decode()} is not base64: {value[:64].decode('latin-1')!r}"
                )
                continue
            metadata.extend((name.decode(), piece) for piece in pieces)
        else:
            metadata.append((name.decode(), value.decode("latin-1")))
    trailers = not pseudo
    if own.get(b"te", "trailers") != "trailers":
        return Request(wrong="te is trailers, or not there")
    if not trailers and not all(pseudo.get(name) for name in (b":method", b":scheme", b":path")):
        return Request(wrong="a request has :method, :scheme and :path")
    length = own.get(b"content-length")
    if length is not None and not (length.isascii() and length.isdecimal() and len(length) < 20):
        return Request(wrong=f"content-length is {length[:64]!r}")
    timeout = None
    if b"grpc-timeout" in own:
        found = _timeout(own[b"grpc-timeout"])
        if found is None:
            said = own[b"grpc-timeout"][:64]
            unreadable = f"grpc-timeout is {said!r}; it is 1 to 8 digits and one of HMSmun, as in 30S"
        else:
            timeout = min(int(found[1]) * _UNITS[found[2]], _MOST_SECONDS)
    return Request(
        pseudo.get(b":method", b"").decode("latin-1"),
        pseudo.get(b":path", b"").decode("latin-1"),
        own.get(b"content-type", ""),
        tuple(metadata),
        timeout,
        own.get(b"grpc-encoding", "identity"),
        frozenset(name.strip() for name in own.get(b"grpc-accept-encoding", "").split(",")),
        None if length is None else int(length),
        trailers,
        unreadable=unreadable,
    )


def _unpadded_base64(text: bytes) -> bytes:
    text = text.strip().rstrip(b"=")
    return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)


def _length(count: int) -> bytes:
    """A length, as HPACK writes it with seven bits in the first byte."""
    if count < 127:
        return bytes((count,))
    rest, out = count - 127, bytearray((127,))
    while rest >= 128:
        out.append(rest & 127 | 128)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def field(name: bytes, value: bytes) -> bytes:
    """A field that is not to be remembered, so that the answers of a connection may be written in any order."""
    return b"\0" + _length(len(name)) + name + _length(len(value)) + value


def metadata_block(metadata: Iterable[tuple[str, str | bytes]]) -> bytes:
    """Metadata as a block. gRPC has printable ASCII in values of text; what else there is is left out."""
    block = b""
    for name, value in metadata:
        if name.endswith("-bin"):
            raw = value if isinstance(value, bytes) else value.encode()
            block += field(name.encode(), base64.b64encode(raw).rstrip(b"="))
        else:
            text = value.decode("ascii", "replace") if isinstance(value, bytes) else value
            if not (text.isascii() and text.isprintable()):
                text = "".join(c for c in text if " " <= c <= "~")
            block += field(name.encode(), text.encode())
    return block


# 0x88: `:status: 200`, of the static table.
ANSWER_BLOCK = (
    b"\x88"
    + field(b"content-type", b"application/grpc")
    + field(b"grpc-accept-encoding", b"identity,deflate,gzip")
)
OK_BLOCK = field(b"grpc-status", b"0")


def encoding_block(encoding: str) -> bytes:
    """How the messages of an answer are compressed whose flag says so."""
    return field(b"grpc-encoding", encoding.encode())


def status_block(code: int, message: str) -> bytes:
    """A status: of the call, and its text as gRPC escapes it."""
    if code == 0:
        return OK_BLOCK
    block = field(b"grpc-status", b"%d" % code)
    if message:
        # Printable ASCII but the percent sign stays.
        text = quote(message, safe=" !\"#$&'()*+,/:;<=>?@[\\]^`{|}", errors="replace")
        block += field(b"grpc-message", text.encode())
    return block


def http_status_block(status: int) -> bytes:
    """What a request gets that is no gRPC."""
    return field(b":status", b"%d" % status)
