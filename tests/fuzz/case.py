"""What one case of the fuzzer found."""

from __future__ import annotations

import asyncio
import logging
from types import TracebackType
from typing import Any, Self


class Failures(logging.Handler):
    """Collects what must never be: lines of ERROR, and what the loop was told of.

    Attributes:
        texts: What there was.
    """

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def __enter__(self) -> Self:
        logging.getLogger().addHandler(self)
        asyncio.get_running_loop().set_exception_handler(self._told)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        logging.getLogger().removeHandler(self)
        asyncio.get_running_loop().set_exception_handler(None)

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(self.format(record))

    def _told(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.texts.append(f"the loop was told: {context['message']}: {context.get('exception')!r}")

    def take(self) -> list[str]:
        """What there was, once."""
        found, self.texts = self.texts, []
        return found
