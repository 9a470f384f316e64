"""The heads of requests on the fast path: which are plain enough, and those that came before."""

from __future__ import annotations

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
    )
)
_JSON_TYPES = (b"application/json", b"application/json; charset=utf-8")
_MOST_HEAD_BYTES = 2 << 10
_MOST_HEADS = 4096

Lines = list[tuple[bytes, bytes]]


class Heads:
    """Knows the heads of requests.

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

    def metadata(self, lines: Lines, whole: bytes, body: bytes) -> dict[str, str]:
        """The metadata of a request's headers, which were found usual.

        A caller mostly sends the same headers again. Where they and the body came at once, as `whole`, they are known
        from then on: 15 us less a request.
        """
        metadata = headers.metadata(lines)
        head = whole[: -len(body)] if body else b""
        if (
            "x-request-id" not in metadata
            and len(head) <= _MOST_HEAD_BYTES
            and head.endswith(b"\r\n\r\n")
            and head.count(b"\r\n\r\n") == 1
            and len(body) == int(metadata["content-length"])
        ):
            if len(self._heads) >= _MOST_HEADS:
                self._heads.clear()
            self._heads[head] = metadata, len(body)
        return metadata

    def known(self, data: bytes) -> tuple[dict[str, str], bytes] | None:
        """The metadata and the body of a whole request, where its headers are those of one before."""
        end = data.find(b"\r\n\r\n") + 4
        found = self._heads.get(data[:end])
        if found is None or len(data) - end != found[1]:
            return None
        return found[0], data[end:]
