"""When a job may start, from how many go before it and how many ended in the last minute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import sqrt

from ..events.flows import SPAN
from .reasons import Code, Reason

# A job with other reasons waits for something that ends of jobs do not bring.
_IN_TURN = {Code.NO_CREDIT, Code.BEHIND, Code.QUEUE_AT_LIMIT, Code.QUEUE_RATE}


@dataclass(frozen=True, slots=True)
class Estimate:
    """When a job may start. The fields are those of the contract."""

    ahead: int
    capped: bool
    ends_per_second: float
    earliest_at: datetime
    latest_at: datetime | None


def estimate_of(
    reasons: Sequence[Reason], ahead: int, most_ahead: int, ended: int, now: datetime
) -> Estimate | None:
    """The estimate of a job whose turn comes when `ahead` others and one more have ended; None: there is none.

    The number of jobs that end in a minute varies by its square root. So the rate lies within two of these around
    what was counted, nineteen times of twenty.

    Args:
        reasons: Why the job waits.
        ahead: The jobs before it.
        most_ahead: How many of these are counted at most.
        ended: The jobs that ended in the last minute.
        now: When that was.
    """
    if not ended or not _IN_TURN.issuperset(reason.code for reason in reasons):
        return None
    capped = ahead >= most_ahead
    spread = 2 * sqrt(ended)

    def after(rate: float) -> datetime:
        return now + timedelta(seconds=(ahead + 1) * SPAN / rate)

    latest = after(ended - spread) if ended > spread and not capped else None
    return Estimate(ahead, capped, ended / SPAN, after(ended + spread), latest)
