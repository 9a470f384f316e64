"""All floods, in their order."""

from __future__ import annotations

from . import http1, http2  # noqa: F401 - so that all of them are known
from .flood import FLOODS, MEMORY_MIB, Flood, Target

__all__ = ["FLOODS", "MEMORY_MIB", "Flood", "Target"]
