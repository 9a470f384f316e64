"""The kind `summarize_text`: the most telling sentences of a text."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from .context import Context
from .cpu import CpuPool
from .payloads import Payload, Whole, read
from .summary import summarize

DEFAULT_MAX_WORDS = 100


class SummarizeText(Payload):
    """The payload of `summarize_text`."""

    text: str
    max_words: Whole = Field(default=DEFAULT_MAX_WORDS, ge=1)
    language: str = Field(default="en", pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*$")


class SummaryHandler:
    """Summarises texts, in a process of its own.

    Args:
        cpu: Where the work runs.
    """

    def __init__(self, cpu: CpuPool) -> None:
        self._cpu = cpu

    async def __call__(self, ctx: Context) -> dict[str, Any]:
        """Summarises one text.

        Returns:
            `summary`, and its number of `words` and `sentences`.
        """
        payload = read(SummarizeText, ctx.job)
        summary = await self._cpu.run(summarize, payload.text, payload.max_words, payload.language)
        return {"summary": summary.text, "words": summary.words, "sentences": summary.sentences}
