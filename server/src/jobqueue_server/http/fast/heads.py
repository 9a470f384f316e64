"""The heads of requests on the fast path: which take it, and what a connection remembers of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from .. import headers

MOST_BYTES = 64 << 10

# A request with any other header takes the general path.
_USUAL = frozenset(
    (
        b"host",
        b"content-type",
        b"content-length",
        b"user-agent",
        b"accept",
        b"accept-encoding",
        b"x-request-id",
        b"authorization",
        b"traceparent",
        b"tracestate",
        b"idempotency-key",
    )
)
# Calls have other values of these. A head in turns with what stands before such a value, and the value.
_split = re.compile(
    rb"(\r\n(?i:x-request-id|traceparent|idempotency-key|content-length): ?)([!-~]{1,128})(?=\r\n)"
).split
_is_value = re.compile(rb"[!-~]{1,128}").fullmatch
_is_length = re.compile(rb"[0-9]{1,5}").fullmatch
_LENGTH = "content-length"
_VARYING = ("x-request-id", "traceparent", "idempotency-key", _LENGTH)
_JSON_TYPES = (b"application/json", b"application/json; charset=utf-8")
_MOST_HEAD_BYTES = 2 << 10

Lines = list[tuple[bytes, bytes]]


class Layout:
    """The head of a connection's requests, which differ in their request ids, traces, keys and lengths alone.

    It may hold credentials. So it belongs to its connection, is never shown, and goes with it.

    Args:
        head: The whole head.
        parts: The head in turns with what stands before a value that varies, and the value.
        metadata: What it says.
    """

    def __init__(self, head: bytes, parts: list[bytes], metadata: dict[str, str]) -> None:
        befores = parts[1::3]
        self._holes = [
            (text + before, _name_in(before)) for text, before in zip(parts[:-1:3], befores, strict=True)
        ]
        self._rest = parts[-1]
        names = {name for _, name in self._holes}
        self._constant = {name: value for name, value in metadata.items() if name not in names}
        # Where the length alone varies, the last head, which may come again.
        self._varies = names != {_LENGTH}
        self._head, self._metadata, self._length = head, metadata, int(metadata[_LENGTH])

    def read(self, data: bytes) -> tuple[dict[str, str], bytes] | None:
        """The metadata and the body of a whole request; None where its head is another."""
        if not self._varies and data.startswith(self._head):
            at = len(self._head)
            return (self._metadata, data[at:]) if len(data) - at == self._length else None
        metadata, at = self._constant.copy(), 0
        for before, name in self._holes:
            if not data.startswith(before, at):
                return None
            at += len(before)
            end = data.find(b"\r\n", at)
            value = data[at:end]
            if not (_is_length if name is _LENGTH else _is_value)(value):
                return None
            metadata[name] = value.decode()
            at = end
        if not data.startswith(self._rest, at):
            return None
        at += len(self._rest)
        length = int(metadata[_LENGTH])
        if length > MOST_BYTES or len(data) - at != length:
            return None
        if not self._varies:
            self._head, self._metadata, self._length = data[:at], metadata, length
        return metadata, data[at:]


class Heads:
    """Knows the heads of requests.

    A caller mostly sends the same head again, or one that differs in its request id, trace, key and length alone. What
    such a head says is remembered by its connection: 15 us less a request.

    Args:
        host_is_ours: Whether a request for this name is to be answered here.
    """

    def __init__(self, host_is_ours: Callable[[str], bool]) -> None:
        self._host_is_ours = lru_cache(maxsize=256)(lambda host: host_is_ours(host.decode("latin-1").strip()))

    def usual(self, lines: Lines) -> bool:
        """Whether the headers of a request to METHOD and PATH ask for nothing but the plain thing."""
        seen = set()
        for name, value in lines:
            if name in seen:
                return False
            seen.add(name)
            if name == b"content-type":
                if value not in _JSON_TYPES:
                    return False
            elif name == b"content-length":
                if len(value) > 5 or int(value) > MOST_BYTES:
                    return False
            elif name == b"host":
                if not self._host_is_ours(value):
                    return False
            elif name == b"connection":
                if value.lower() != b"keep-alive":
                    return False
            elif name not in _USUAL:
                return False
        return b"content-length" in seen and b"host" in seen

    def metadata(self, lines: Lines, whole: bytes, body: bytes) -> tuple[dict[str, str], Layout | None]:
        """The metadata of a request's headers, which were found usual, and how its connection's next one may be read.

        Args:
            lines: The headers.
            whole: What came at once, where that is a request from its first byte on.
            body: The request's body.
        """
        metadata = headers.metadata(lines)
        head = whole[: -len(body)] if body else b""
        layout = None
        if (
            len(head) <= _MOST_HEAD_BYTES
            and head.endswith(b"\r\n\r\n")
            and head.count(b"\r\n\r\n") == 1
            and len(body) == int(metadata[_LENGTH])
        ):
            parts = _split(head)
            varying = {
                _name_in(before): value.decode()
                for before, value in zip(parts[1::3], parts[2::3], strict=True)
            }
            # Otherwise a value is written in a way that is not looked for.
            if varying == {name: metadata[name] for name in _VARYING if name in metadata}:
                layout = Layout(head, parts, metadata)
        return metadata, layout


@lru_cache(maxsize=256)
def _name_in(before: bytes) -> str:
    name = before.decode().strip("\r\n: ").lower()
    return _LENGTH if name == _LENGTH else name
