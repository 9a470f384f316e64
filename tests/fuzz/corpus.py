"""What is mutated: what real clients said (`record.py`), and requests of HTTP/1.1 written by hand."""

from __future__ import annotations

from functools import cache
from pathlib import Path

HERE = Path(__file__).parent / "corpus"


@cache
def conversations(kind: str) -> list[bytes]:
    """The bytes of each connection: `http2` or `http1`."""
    return [path.read_bytes() for path in sorted((HERE / kind).iterdir())]
