"""Header fields: of requests as HPACK (RFC 7541) has them, and of answers, which leave the other side's table alone."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote

from hpack import HPACKError, OversizedHeaderListError

from .frames import ConnectionBroken, ErrorCode
from .header import METADATA, SHARED, TIMEOUT, Header
from .header_decoder import Beginning, HeaderDecoder

Metadata = tuple[tuple[str, str | bytes], ...]

# Beyond it a call is refused, and told so; its block has to be read all the same, for the table. Beyond the larger
# bound the connection ends.
MAX_METADATA_BYTES = 16 << 10
MAX_BLOCK_BYTES = 64 << 10

# Blocks that are remembered, and bytes of the fields that they say: a block of 500 bytes may say 16 KiB.
_KNOWN_BLOCKS = 32
_KNOWN_BYTES = 16 << 10
_PSEUDO = frozenset((b":method", b":scheme", b":path", b":authority"))


@dataclass(frozen=True, slots=True)
class SharedFields:
    """What the fields of a request say that are the same in all calls of a method.

    Attributes:
        method: HTTP's; gRPC has POST alone.
        path: Such as `/jobqueue.v1.JobQueue/EnqueueJob`.
        content_type: As sent.
        encoding: How messages may be compressed.
        accepts: How answers may be compressed.
        length: Bytes that follow, where it says so.
        trailers: Whether the fields are what ends a request, instead of what begins one.
        wrong: Why they can't be a call's, where they can't.
        unreadable: What of them gRPC can't read, where HTTP can.
    """

    method: str = ""
    path: str = ""
    content_type: str = ""
    encoding: str = "identity"
    accepts: frozenset[str] = frozenset()
    length: int | None = None
    trailers: bool = False
    wrong: str = ""
    unreadable: str = ""


@dataclass(slots=True)
class RequestHead:
    """What a call's fields say.

    Attributes:
        shared: That of all calls of the method.
        metadata: The caller's, names in lower case; those that end in `-bin` as bytes.
        timeout: Seconds that the caller gives it; None for no bound.
        wrong: Why it can't be a call, where it can't.
        unreadable: What of it gRPC can't read, where HTTP can: the call is refused with this text.
        too_large: Whether its fields are more than MAX_METADATA_BYTES; the rest is then not known.
    """

    shared: SharedFields
    # It may hold credentials.
    metadata: Metadata = dataclasses.field(default=(), repr=False)
    timeout: float | None = None
    wrong: str = ""
    unreadable: str = ""
    too_large: bool = False


class RequestFields:
    """Reads the requests of one connection, in the order in which they come.

    Calls of one method mostly come as the same bytes, once the table knows their fields. What such bytes say is
    remembered for as long as the table stays what it is: 1 us instead of 10. Other blocks differ in a few fields, as a
    trace or a time limit: of them is remembered what the rest says.
    """

    __slots__ = ("_decoder", "_known", "_known_bytes", "_shared")

    def __init__(self) -> None:
        self._decoder = HeaderDecoder(MAX_BLOCK_BYTES)
        self._known: dict[bytes, RequestHead] = {}
        self._known_bytes = 0
        self._shared: dict[tuple[Header, ...], SharedFields] = {}

    def read(self, block: bytes) -> RequestHead:
        """What a block of fields says.

        Raises:
            ConnectionBroken: It is no such block; the table is then not known any more.
        """
        found = self._known.get(block)
        if found is not None:
            return found
        decoder = self._decoder
        changes = decoder.changes
        try:
            beginning, headers, size = decoder.read(block)
        except OversizedHeaderListError:
            message = f"a call's fields are over {MAX_BLOCK_BYTES} bytes; the most is {MAX_METADATA_BYTES}"
            raise ConnectionBroken(ErrorCode.ENHANCE_YOUR_CALM, message) from None
        except HPACKError as error:
            raise ConnectionBroken(
                ErrorCode.COMPRESSION_ERROR, f"a block of fields can't be read: {error}"
            ) from None
        request = (
            RequestHead(_NONE, too_large=True)
            if size > MAX_METADATA_BYTES
            else self._request(beginning, headers)
        )
        if decoder.changes != changes:
            if self._known:
                self._forget()
        elif decoder.repeats:
            self._remember(block, request, len(block) + size)
        return request

    def _remember(self, block: bytes, request: RequestHead, size: int) -> None:
        if len(self._known) >= _KNOWN_BLOCKS or self._known_bytes + size > _KNOWN_BYTES:
            self._forget()
        if size <= _KNOWN_BYTES:
            self._known[block] = request
            self._known_bytes += size

    def _forget(self) -> None:
        self._known.clear()
        self._known_bytes = 0

    def _request(self, beginning: Beginning | None, headers: list[Header]) -> RequestHead:
        """What decoded fields say."""
        if beginning is None:
            meaning = _Meaning()
        else:
            begun: _Meaning | None = beginning.meaning
            if begun is None:
                begun = beginning.meaning = _Meaning()
                begun.add(beginning.headers)
                begun.said = self._said(begun.shared)
            meaning = begun.copy()
        meaning.add(headers)
        said = meaning.said
        if said is None:
            said = self._said(meaning.shared)
        return RequestHead(
            said,
            tuple(meaning.metadata),
            meaning.timeout,
            meaning.wrong or said.wrong,
            said.unreadable or meaning.unreadable,
        )

    def _said(self, shared: list[Header]) -> SharedFields:
        key = tuple(shared)
        said = self._shared.get(key)
        if said is None:
            said = _shared_fields(key)
            if sum(header.size for header in key) <= _KNOWN_BYTES // _KNOWN_BLOCKS:
                if len(self._shared) >= _KNOWN_BLOCKS:
                    self._shared.clear()
                self._shared[key] = said
        return said


class _Meaning:
    """What the fields say that were added.

    Attributes:
        shared: Those that are neither metadata nor a time limit.
        said: What these say; None where that was not looked at.
        metadata, timeout, wrong, unreadable: As a request has them.
    """

    __slots__ = ("metadata", "said", "shared", "timeout", "unreadable", "wrong")

    shared: list[Header]
    said: SharedFields | None
    metadata: list[tuple[str, str | bytes]]
    timeout: float | None
    unreadable: str
    wrong: str

    def __init__(self) -> None:
        self.shared, self.metadata = [], []
        self.said = self.timeout = None
        self.unreadable = self.wrong = ""

    def copy(self) -> _Meaning:
        """Another that says the same."""
        copy = _Meaning.__new__(_Meaning)
        copy.shared, copy.metadata = self.shared, self.metadata.copy()
        copy.said, copy.timeout, copy.unreadable, copy.wrong = (
            self.said,
            self.timeout,
            self.unreadable,
            self.wrong,
        )
        return copy

    def add(self, headers: list[Header]) -> None:
        """Has it say what they say, behind what was said."""
        metadata = self.metadata
        shared: list[Header] = []
        for header in headers:
            kind = header.kind
            if kind == METADATA:
                metadata += header.pairs
            elif kind == SHARED:
                if metadata and header.name.startswith(b":"):
                    self.wrong = self.wrong or f"the field {header.name[:64]!r} comes late"
                shared.append(header)
            elif kind == TIMEOUT:
                self.timeout = header.timeout
                shared.append(_TIMEOUT)
            else:
                self.wrong = self.wrong or f"the field {header.name[:64]!r} is none that HTTP/2 has"
            if header.unreadable:
                self.unreadable = header.unreadable
        if shared:
            # What there was may be shared with a copy.
            self.shared = self.shared + shared
            self.said = None


# Stands for the one of a call, which is another in each.
_TIMEOUT = Header(b"grpc-timeout", b"0S")
_NONE = SharedFields()


def _shared_fields(headers: Iterable[Header]) -> SharedFields:
    """What the fields say that are neither metadata nor a time limit."""
    pseudo: dict[bytes, str] = {}
    own: dict[bytes, str] = {}
    unreadable = ""
    for header in headers:
        name, value = header.name, header.value.decode("latin-1")
        if name.startswith(b":"):
            if own or name in pseudo or name not in _PSEUDO:
                return SharedFields(wrong=f"the field {name[:64]!r} is unknown, comes twice, or comes late")
            pseudo[name] = value
        else:
            if header is _TIMEOUT and name in own:
                unreadable = "grpc-timeout comes twice"
            own[name] = value
    wrong = ""
    length = own.get(b"content-length")
    if own.get(b"te", "trailers") != "trailers":
        wrong = "te is trailers, or not there"
    elif pseudo and not all(pseudo.get(name) for name in (b":method", b":scheme", b":path")):
        wrong = "a request has :method, :scheme and :path"
    elif length is not None and not (length.isascii() and length.isdecimal() and len(length) < 20):
        wrong = f"content-length is {length[:64]!r}"
    return SharedFields(
        pseudo.get(b":method", ""),
        pseudo.get(b":path", ""),
        own.get(b"content-type", ""),
        own.get(b"grpc-encoding", "identity"),
        frozenset(name.strip() for name in own.get(b"grpc-accept-encoding", "").split(",")),
        None if length is None or wrong else int(length),
        not pseudo,
        wrong,
        unreadable,
    )


_SHORT_LENGTHS = [bytes((count,)) for count in range(127)]


def _length(count: int) -> bytes:
    """A length, as HPACK writes it with seven bits in the first byte."""
    if count < 127:
        return _SHORT_LENGTHS[count]
    rest, out = count - 127, bytearray((127,))
    while rest >= 128:
        out.append(rest & 127 | 128)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def field(name: bytes, value: bytes) -> bytes:
    """A field that is not to be remembered, so that the answers of a connection may be written in any order."""
    return b"\0" + _length(len(name)) + name + _length(len(value)) + value


@lru_cache(maxsize=256)
def _named(name: str) -> bytes:
    """What a field begins with whose name the server has chosen."""
    octets = name.encode()
    return b"\0" + _length(len(octets)) + octets


def metadata_block(metadata: Iterable[tuple[str, str | bytes]]) -> bytes:
    """Metadata as a block. gRPC has printable ASCII in values of text; what else there is is left out."""
    block = b""
    for name, value in metadata:
        if name.endswith("-bin"):
            raw = value if isinstance(value, bytes) else value.encode()
            octets = base64.b64encode(raw).rstrip(b"=")
        else:
            text = value.decode("ascii", "replace") if isinstance(value, bytes) else value
            if not (text.isascii() and text.isprintable()):
                text = "".join(c for c in text if " " <= c <= "~")
            octets = text.encode()
        block += _named(name) + _length(len(octets)) + octets
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
