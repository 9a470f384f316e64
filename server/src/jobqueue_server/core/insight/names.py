"""The name of a unique job: which job holds it, and what that means. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from ...model import Until

_UNTIL = {Until.STARTS: "until a worker gets it", Until.ENDS: "until it has ended"}


@dataclass(frozen=True, slots=True)
class NameOf:
    """The name of a job. The fields are those of the contract; what is not there is None."""

    key: str | None
    held_by: UUID | None
    until: Until | None
    period_ends_at: datetime | None
    message: str


def name_of(row: Mapping[str, Any], *, shows_holder: bool) -> NameOf | None:
    """The name of the job in a row of explain_job.sql; None: it is not unique.

    `shows_holder`: whether the caller may read the job that holds it; else that one is not named.
    """
    if row["unique_name"] is None:
        return None
    key, holder, period = row["name_key"], row["name_holder"], row["name_period"]
    name = "the name that its payload makes" if key is None else f"its name {key}"
    if holder is None:
        return NameOf(
            key, None, None, None, f"no job holds {name} now, so the next one of the name is stored"
        )
    until = Until(row["name_until"])
    ends = [_UNTIL[until]] if until in _UNTIL else []
    if period is not None:
        ends.append(f"until {period:%Y-%m-%dT%H:%M:%SZ}{' at least' if ends else ''}")
    held = f"{name} {', and '.join(ends)}"
    if holder == row["id"]:
        message = f"it holds {held}; other jobs of the name are not stored meanwhile"
        return NameOf(key, holder, until, period, message)
    other = f"job {holder}" if shows_holder else "another job"
    if row["ended"] is not None:
        message = f"{other} holds {held}; RetryJob refuses this one meanwhile only with respect_unique"
    else:
        message = f"{other} has taken {held}; this one goes on beside it"
    return NameOf(key, holder if shows_holder else None, until, period, message)
