"""What ends a measurement early."""

from __future__ import annotations


class BenchError(Exception):
    """A measurement can't be made, or was not what it claims to be. The text says why."""
