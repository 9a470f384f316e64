"""What an attempt came to, as values."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from ..jobs import NewJob

Ending = Literal["succeeded", "failed", "discarded", "snoozed", "cancelled", "released"]


@dataclass(frozen=True, slots=True)
class Report:
    """One call of `ctx.progress`.

    Attributes:
        fraction: The share of the work that is done, 0..1. None: it did not say.
        message: What it said. Empty: nothing.
    """

    fraction: float | None
    message: str


@dataclass(frozen=True, slots=True)
class Performed:
    """What an attempt came to: what the worker would have told the server.

    Attributes:
        outcome: `succeeded`; `failed`: it counts against max_attempts; `discarded`: no later attempt; `snoozed`: back,
            for later; `cancelled`: the handler stopped since it was asked to; `released`: back, uncharged.
        output: What it returned, after JSON; of a typed kind, of the type. None: nothing.
        output_json: The same as JSON text. None: nothing.
        error: What went wrong, as `last_error` would have it. Empty: nothing.
        error_type: The name of the exception's class. Empty: nothing went wrong.
        stack: Where, as text.
        retry_after: What `Retry(after=...)` asked for.
        delay: What `Snooze` asked for.
        pause_key: How long no job of the key starts, by `Retry(pause_key=True)`. None: the key goes on.
        progress: The calls of `ctx.progress`, in order. A server is told the newest one each 100 ms.
        checkpoints: What was saved, in order.
        follow_ups: The jobs given to `ctx.follow_up`. They are enqueued if the attempt has succeeded.
        attempt: Its number.
        failures: How many failures there had been before.
    """

    outcome: Ending
    output: Any
    output_json: bytes | None
    error: str
    error_type: str
    stack: str
    retry_after: timedelta | None
    delay: timedelta | None
    pause_key: timedelta | None
    progress: Sequence[Report]
    checkpoints: Sequence[bytes]
    follow_ups: Sequence[NewJob]
    attempt: int
    failures: int
    _next: Callable[[Performed, dict[str, Any]], Awaitable[Performed]] = field(repr=False, compare=False)
    _checkpoint: bytes = b""

    @property
    def checkpoint(self) -> bytes:
        """What the next attempt would read: the newest one that was saved, or that of before. Empty: none."""
        return self.checkpoints[-1] if self.checkpoints else self._checkpoint

    async def again(self, **changes: Any) -> Performed:
        """Performs the next attempt of the same job, with its checkpoint, and its failures as they would be.

        Args:
            changes: As the arguments of `perform`, where they are to be others.
        """
        return await self._next(self, changes)
