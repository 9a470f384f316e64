"""Rates of queues and kinds, as columns have them and as the audit log tells them."""

from __future__ import annotations

from datetime import timedelta

from ...model import Rate
from ..database import Record


def told_rate(rate: Rate | None, of: str = "") -> dict[str, int | timedelta | None]:
    """What the audit log has of a rate."""
    return {
        f"{of}rate_count": rate.count if rate else None,
        f"{of}rate_period": rate.period if rate else None,
        f"{of}rate_burst": rate.burst if rate else None,
    }


def rate_of(row: Record, of: str = "") -> Rate | None:
    """The rate of a row; `of` begins the names of its columns."""
    if row[f"{of}rate_count"] is None:
        return None
    period = timedelta(milliseconds=row[f"{of}rate_period_ms"])
    return Rate(row[f"{of}rate_count"], period, row[f"{of}rate_burst"])


def stored_rate(rate: Rate | None) -> tuple[int | None, ...]:
    """The columns of a rate: count, period in ms, burst."""
    return (rate.count, milliseconds(rate.period), rate.burst) if rate else (None, None, None)


def milliseconds(duration: timedelta) -> int:
    """A time as columns have it."""
    return duration // timedelta(milliseconds=1)
