"""The heads of requests on the fast path: which are plain enough, and those that came before."""

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
    )
)
# Each call has other values of these. A head in turns with what stands before such a value, and the value.
_split = re.compile(rb"(\r\n(?i:x-request-id|traceparent): ?)([!-~]{1,128})(?=\r\n)").split
_is_value = re.compile(rb"[!-~]{1,128}").fullmatch
_VARYING = ("x-request-id", "traceparent")
_JSON_TYPES = (b"application/json", b"application/json; charset=utf-8")
_MOST_HEAD_BYTES = 2 << 10
_MOST_HEADS = 4096

Lines = list[tuple[bytes, bytes]]


class Layout:
    """The head of a connection's requests, which differ in their request ids and traces alone.

    Args:
        parts: The head in turns with what stands before a value that varies, and the value.
        metadata: What it says.
        length: The length of the body.
    """

    def __init__(self, parts: list[bytes], metadata: dict[str, str], length: int) -> None:
        befores = parts[1::3]
        self._holes = [
            (text + before, _name_in(before)) for text, before in zip(parts[:-1:3], befores, strict=True)
        ]
        self._rest = parts[-1]
        names = {name for _, name in self._holes}
        self._constant = {name: value for name, value in metadata.items() if name not in names}
        self._length = length

    def read(self, data: bytes) -> tuple[dict[str, str], bytes] | None:
        """The metadata and the body of a whole request; None where its head is another."""
        metadata, at = self._constant.copy(), 0
        for before, name in self._holes:
            if not data.startswith(before, at):
                return None
            at += len(before)
            end = data.find(b"\r\n", at)
            value = data[at:end]
            if not _is_value(value):
                return None
            metadata[name] = value.decode()
            at = end
        if not data.startswith(self._rest, at):
            return None
        at += len(self._rest)
        return (metadata, data[at:]) if len(data) - at == self._length else None


class Heads:
    """Knows the heads of requests.

    A caller mostly sends the same head again, or one that differs in its request id and trace alone. What such a head
    says is remembered, the latter by its connection: 15 us less a request.

    Args:
        host_is_ours: Whether a request for this name is to be answered here.
    """

    def __init__(self, host_is_ours: Callable[[str], bool]) -> None:
        self._host_is_ours = lru_cache(maxsize=256)(lambda host: host_is_ours(host.decode("latin-1").strip()))
        # From a request's bytes before its body to the metadata that they are, and to the length of the body.
        self._heads: dict[bytes, tuple[dict[str, str], int]] = {}

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
            and len(body) == int(metadata["content-length"])
        ):
            parts = _split(head)
            varying = {
                _name_in(before): value.decode()
                for before, value in zip(parts[1::3], parts[2::3], strict=True)
            }
            # Otherwise a value is written in a way that is not looked for.
            if varying == {name: metadata[name] for name in _VARYING if name in metadata}:
                if varying:
                    layout = Layout(parts, metadata, len(body))
                else:
                    if len(self._heads) >= _MOST_HEADS:
                        self._heads.clear()
                    self._heads[head] = metadata, len(body)
        return metadata, layout

    def known(self, data: bytes) -> tuple[dict[str, str], bytes] | None:
        """The metadata and the body of a whole request, where its headers are those of one before."""
        end = data.find(b"\r\n\r\n") + 4
        found = self._heads.get(data[:end])
        if found is None or len(data) - end != found[1]:
            return None
        return found[0], data[end:]


@lru_cache(maxsize=256)
def _name_in(before: bytes) -> str:
    return before.decode().strip("\r\n: ").lower()
