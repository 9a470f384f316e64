"""Handlers that only take time and sometimes fail: the four kinds as `jobqueue-worker --simulate` runs them.

The outcome of a step is drawn from the job's id, the attempt and the step, so that a run can be repeated on
any worker with the same result. Only first attempts fail: a simulated job always ends well when tried twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from hashlib import blake2b
from typing import Any

from .handlers.context import Context, Handler


@dataclass(frozen=True, slots=True)
class Step:
    """One stretch of pretended work.

    Attributes:
        duration: How long it takes.
        failure_rate: How likely it fails on a job's first attempt, 0 to 1.
    """

    duration: timedelta
    failure_rate: float


def _steps(*milliseconds_and_rates: tuple[int, float]) -> tuple[Step, ...]:
    return tuple(Step(timedelta(milliseconds=ms), rate) for ms, rate in milliseconds_and_rates)


PLAN: Mapping[str, tuple[Step, ...]] = {
    "send_email": _steps((50, 0.0), (50, 0.45), (50, 0.0)),
    "resize_image": _steps((100, 0.25), (200, 0.0)),
    "summarize_text": _steps((150, 0.15)),
    "webhook_delivery": _steps((80, 0.35), (80, 0.15)),
}


class SimulatedFailure(Exception):
    """A step failed because the draw said so."""


def draw(job_id: str, attempt: int, step: int) -> float:
    """A number in [0, 1) that depends on nothing but its arguments: the same in every process and version."""
    digest = blake2b(f"{job_id}/{attempt}/{step}".encode(), digest_size=8).digest()
    # 53 bits are what a double holds exactly; all 64 could round up to 1.0.
    return (int.from_bytes(digest, "big") >> 11) / (1 << 53)


def simulated(plan: Mapping[str, Sequence[Step]] = PLAN) -> dict[str, Handler]:
    """A handler for each kind in `plan`."""
    return {kind: _simulate(steps) for kind, steps in plan.items()}


def _simulate(steps: Sequence[Step]) -> Handler:
    async def handler(ctx: Context) -> dict[str, Any]:
        for number, step in enumerate(steps, start=1):
            ctx.raise_if_cancelled()
            await asyncio.sleep(step.duration.total_seconds())
            if ctx.job.attempt == 1 and draw(ctx.job.id, ctx.job.attempt, number) < step.failure_rate:
                raise SimulatedFailure(f"step {number} of {len(steps)} failed, as the simulator drew")
        return {"simulated": True, "steps": len(steps)}

    return handler
