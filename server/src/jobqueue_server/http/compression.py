"""gzip: inflates bodies of requests within a limit, and compresses answers for callers that accept it."""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from ..errors import FieldInvalid
from .answer import JSON, Answer
from .errors import Refused

# Below this size, in bytes, the headers and the 30 us of the setup cost more than the saved bytes.
LEAST_BYTES = 1024
# Measured on lists of jobs: level 1 leaves 16 % in 5 us/kB, level 6 14 % in 10 us/kB.
_LEVEL = 1
# Above this size, in bytes, a thread compresses: on the loop it would delay other calls by 1.3 ms. A thread costs
# 0.12 ms.
_MOST_ON_LOOP_BYTES = 256 << 10
# zlib's value for a window of 32 KiB in the framing of gzip.
_GZIP = 31

# The meanings of Accept-Encoding headers are cached, so their length is bounded.
_LONGEST_LIST = 500

#: Tells caches that an answer depends on what the caller accepts.
VARIES = ("Vary", "Accept-Encoding")

_GZIP_NAMES = ("gzip", "x-gzip")
_weight = re.compile(r"q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)").fullmatch


class Inflater:
    """Inflates a body piece by piece, and holds no more of it than asked for.

    It runs on the loop: 4 MiB take 5 ms. A bomb of 4 kB that becomes 4 MiB takes 13 ms, less than reading the JSON.
    """

    def __init__(self) -> None:
        self._inflating = zlib.decompressobj(_GZIP)
        self._empty = True

    def feed(self, part: bytes, most: int) -> bytes:
        """The inflated piece, cut at `most` bytes: a result of this length may be incomplete.

        Raises:
            FieldInvalid: The piece is not gzip, or continues after the end.
        """
        self._empty = self._empty and not part
        try:
            inflated = self._inflating.decompress(part, most)
        except zlib.error as error:
            raise FieldInvalid(
                f"the body is declared as gzip, but can't be inflated: {_why(error)}"
            ) from None
        if self._inflating.unused_data:
            raise FieldInvalid("the body continues after the end of its gzip stream; send one stream alone")
        return inflated

    def finish(self) -> None:
        """Ends the body. A request without a body may name an encoding.

        Raises:
            FieldInvalid: The end of the stream, with its checksum, is missing.
        """
        if not (self._empty or self._inflating.eof):
            raise FieldInvalid("the body ends in the middle of its gzip stream; send all of it")


def inflater(metadata: Mapping[str, str]) -> Inflater | None:
    """The inflater for the body; None if the body has no encoding.

    Raises:
        Refused: The body has another encoding.
    """
    encoding = metadata.get("content-encoding", "").lower()
    if encoding in ("", "identity"):
        return None
    if encoding in _GZIP_NAMES:
        return Inflater()
    raise Refused(
        415,
        "INVALID_ARGUMENT",
        f"the body is encoded as {encoding[:60]}; send it as gzip, or without an encoding",
        (("Accept-Encoding", "gzip, identity"),),
    )


async def compressed(answer: Answer, metadata: Mapping[str, str]) -> Answer:
    """The answer, compressed if the caller prefers gzip and the answer is JSON or text of a sufficient size."""
    if len(answer.body) > _MOST_ON_LOOP_BYTES:
        return await asyncio.to_thread(compressed_here, answer, metadata)
    return compressed_here(answer, metadata)


def compressed_here(answer: Answer, metadata: Mapping[str, str]) -> Answer:
    """The same, for a small answer: without a thread."""
    if VARIES in answer.headers or not answer.body or not _is_text(answer.content_type):
        # Files of the dashboard are compressed already, for who wants that.
        return answer
    plain, gzip = _weights(metadata.get("accept-encoding", "")[:_LONGEST_LIST])
    if len(answer.body) < LEAST_BYTES and plain:
        return answer
    answer = answer.with_headers([VARIES])
    if not gzip or gzip < plain:
        # Also if the caller accepts neither: an uncompressed answer is better than none.
        return answer
    return replace(answer, body=_deflate(answer.body)).with_headers([("Content-Encoding", "gzip")])


def prefers_gzip(metadata: Mapping[str, str]) -> bool:
    """Whether a caller prefers gzip to a body without an encoding."""
    plain, gzip = _weights(metadata.get("accept-encoding", "")[:_LONGEST_LIST])
    return bool(gzip) and gzip >= plain


def _deflate(body: bytes) -> bytes:
    return zlib.compress(body, _LEVEL, _GZIP)


def _is_text(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return kind == JSON or kind.startswith("text/") or kind.endswith("+json")


@lru_cache(maxsize=256)
def _weights(accepted: str) -> tuple[float, float]:
    """The weights of an uncompressed body and of gzip, by RFC 9110, 12.5.3. 0: the caller does not accept it."""
    given: dict[str, float] = {}
    for item in accepted.split(","):
        name, *parameters = (part.strip().lower() for part in item.split(";"))
        weight = _weight(parameters[0]) if parameters else None
        # A malformed entry is ignored.
        if name and (weight or not parameters):
            given[name] = float(weight[1]) if weight else 1.0
    others = given.get("*", 0.0)
    gzip = max((given[name] for name in _GZIP_NAMES if name in given), default=others)
    # An uncompressed body is accepted unless it is ruled out. A caller that names gzip prefers it.
    plain = given.get("identity", 0.0 if given.get("*") == 0 else min(gzip, 0.001) or 1.0)
    return plain, gzip


def _why(error: zlib.error) -> str:
    """The reason of zlib without its number, such as `incorrect header check`."""
    return str(error).rpartition(": ")[2]
