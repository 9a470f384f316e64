"""The kinds of cases."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from random import Random
from typing import Protocol

from . import http1, http2


class Fuzzed(Protocol):
    """What cases run on."""

    async def case(self, chance: Random) -> list[str]:
        """Runs one; what is wrong."""


KINDS: dict[str, Callable[[], AbstractAsyncContextManager[Fuzzed]]] = {
    "http1": http1.fuzzed,
    "http2": http2.fuzzed,
}
