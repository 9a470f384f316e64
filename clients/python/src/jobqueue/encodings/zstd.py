"""Compression by Zstandard."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable
from typing import Any

from ..encoded import Undecodable
from .base import Encoding


class Zstd(Encoding):
    """Compresses what is long enough. It needs Python 3.14 or `jobqueue[zstd]`.

    What others may choose a part of should not be compressed and then encrypted: its length tells of the rest.

    Args:
        over: What has as many bytes or fewer is left as it is.
        level: 1 (fast) to 19 (small).
        most: The most bytes that something may have decompressed, 4 MiB unless given. More is refused on both sides.

    Raises:
        ImportError: Nothing here compresses by Zstandard.
        ValueError: A number is out of its range.
    """

    name = "zstd"

    def __init__(self, *, over: int = 2048, level: int = 3, most: int = 4 * 1024 * 1024) -> None:
        if over < 0:
            raise ValueError(f"over={over}: it is 0 or more bytes")
        if not 1 <= level <= 19:
            raise ValueError(f"level={level}: it is 1 to 19")
        self._over = over
        self._most = most
        self._library = _library(level)

    def encode(
        self, data: bytes, key: bytes, authenticated: bytes, idempotency_key: str | None
    ) -> bytes | None:
        """As `Encoding.encode`. What does not become shorter is left as it is.

        Raises:
            ValueError: It is longer than `most`.
        """
        if len(data) > self._most:
            raise ValueError(f"{len(data)} bytes are more than Zstd(most={self._most}) takes")
        if len(data) <= self._over:
            return None
        packed = self._library.compress(data)
        return packed if len(packed) < len(data) else None

    def decode(self, data: bytes, key: bytes, authenticated: bytes) -> bytes:
        """As `Encoding.decode`: one frame, which says how long its content is."""
        try:
            size = self._library.size(data)
            if not size or size > self._most:
                raise Undecodable(
                    f"zstd: the content's length must be said, be above 0 and at most {self._most}"
                )
            return self._library.decompress(data, size)
        except Undecodable:
            raise
        except Exception as error:
            raise Undecodable(f"zstd: {type(error).__name__}: {error}") from None


class _OfPython:
    """`compression.zstd`, of Python 3.14 and later."""

    def __init__(self, module: Any, level: int) -> None:
        self._module = module
        self._level = level

    def compress(self, data: bytes) -> bytes:
        packed: bytes = self._module.compress(data, self._level)
        return packed

    def size(self, data: bytes) -> int | None:
        size: int | None = self._module.get_frame_info(data).decompressed_size
        return size

    def decompress(self, data: bytes, size: int) -> bytes:
        one = self._module.ZstdDecompressor()
        found: bytes = one.decompress(data, size + 1)
        if not one.eof or one.unused_data or len(found) != size:
            raise Undecodable("zstd: it is no whole frame alone")
        return found


class _Idle:
    """Objects that serve one thread at a time. To make one takes as long as to compress 1 kB.

    Args:
        make: Makes one.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        # Each keeps the memory of the longest that it had: those of a thousand threads would be gigabytes.
        self._kept: deque[Any] = deque(maxlen=4)

    def take(self) -> Any:
        """One that nothing else uses until it is given back."""
        try:
            return self._kept.pop()
        except IndexError:
            return self._make()

    def give_back(self, taken: Any) -> None:
        """Keeps one for others."""
        self._kept.append(taken)


class _OfPackage:
    """The package zstandard."""

    def __init__(self, module: Any, level: int) -> None:
        self._module = module
        self._decompressors = _Idle(module.ZstdDecompressor)
        self._compressors = _Idle(functools.partial(module.ZstdCompressor, level=level))

    def compress(self, data: bytes) -> bytes:
        compressor = self._compressors.take()
        packed: bytes = compressor.compress(data)
        self._compressors.give_back(compressor)
        return packed

    def size(self, data: bytes) -> int | None:
        size: int = self._module.frame_content_size(data)
        return size if size >= 0 else None

    def decompress(self, data: bytes, size: int) -> bytes:
        # Into one buffer of the size that the frame says. Piece by piece it would go on past that: 4 kB can say 1 MiB
        # and have blocks for 125 MiB.
        decompressor = self._decompressors.take()
        found: bytes = decompressor.decompress(data, allow_extra_data=False)
        self._decompressors.give_back(decompressor)
        if len(found) != size:
            raise Undecodable("zstd: it is no whole frame alone")
        return found


def _library(level: int) -> _OfPython | _OfPackage:
    try:
        from compression import zstd  # type: ignore[import-not-found, unused-ignore]

        return _OfPython(zstd, level)
    except ImportError:
        pass
    try:
        import zstandard
    except ImportError:
        raise ImportError("Zstd needs Python 3.14, or the package: pip install 'jobqueue[zstd]'") from None
    return _OfPackage(zstandard, level)
