"""When a schedule is due. Pure: of a spec and a time alone, in the time zones of the package tzdata.

cronsim says when a line of cron is due. It keeps to Debian's cron when clocks are changed: a line with a fixed hour and
minute that falls into the time that is left out is due right after it, and one in the time that comes twice is due the
first time; a line with `*` as its hour or minute goes by the clock on the wall.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from functools import lru_cache
from hashlib import sha256
from heapq import merge
from itertools import islice, pairwise

from cronsim import CronSim, CronSimError

from ...store.schedule.values import Spec
from .zones import ZoneUnknown, zone

#: A line must have a tick within this time.
HORIZON = timedelta(days=3653)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Ticks are told from here on and up to there. Times end with the year 9999: beyond it would lie the horizon of later
#: ones, and the end of a search for their ticks.
FIRST_MOMENT = _EPOCH
LAST_MOMENT = datetime(9899, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
_LAST = datetime(9990, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
#: Of so many ticks the gaps are compared with the jitter.
_LOOKED_AT = 50
_SHORT = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}
_RANGES = {
    "second": "0 to 59",
    "minute": "0 to 59",
    "hour": "0 to 23",
    "day-of-month": "1 to 31, or L for the last one, of a month that has that day",
    "month": "1 to 12, or JAN to DEC",
    "day-of-week": "0 to 7 (0 and 7 are Sunday), or SUN to SAT",
}
_EXAMPLE = "such as 30 2 * * * (minute, hour, day of the month, month, day of the week)"


class Rule(IntEnum):
    """What clocks that are changed mean for a tick. The contract has these numbers."""

    NONE = 0
    AFTER_GAP = 1
    FIRST_OF_TWO = 2
    SECOND_OF_TWO = 3


@dataclass(frozen=True, slots=True)
class Tick:
    """A time at which a schedule is due: in UTC, and in its time zone."""

    at: datetime
    local: datetime
    rule: Rule


class SpecInvalid(Exception):
    """A spec has no meaning. `field` is its path in the spec, `description` says what would be right."""

    def __init__(self, field: str, description: str) -> None:
        super().__init__(f"{field}: {description}")
        self.field = field
        self.description = description


def check(spec: Spec, now: datetime) -> None:
    """Returns if a spec has ticks and all of its parts do. It takes up to 50 ms a line, of one that is never due.

    Raises:
        SpecInvalid: It has not.
    """
    try:
        zone(spec.time_zone)
    except ZoneUnknown:
        raise SpecInvalid(
            "time_zone",
            "must be the name of a time zone of the IANA database, such as Europe/Berlin or Etc/UTC",
        ) from None
    after = max(now, spec.starts_at or now) - _MICROSECOND
    for index, line in enumerate(spec.cron):
        field = f"cron[{index}]"
        _check_line(line, field)
        first = next(_of_line(line, spec.time_zone, after), None)
        if first is None or first > after + HORIZON:
            raise SpecInvalid(field, "is not due within 10 years: there is no such date")
    if spec.ends_at is not None and next_tick(spec, now) is None:
        raise SpecInvalid("ends_at", "must be later than the first tick after now")
    if spec.jitter:
        some = list(islice(ticks(spec, after), _LOOKED_AT))
        gaps = [later - earlier for earlier, later in pairwise(some)]
        if gaps and spec.jitter >= min(gaps):
            raise SpecInvalid("jitter", f"must be less than the time between two ticks, {min(gaps)}")


def _check_line(line: str, field: str) -> None:
    """Says what to write instead of what other crons know.

    Raises:
        SpecInvalid: It is no line of cron.
    """
    text = line.strip()
    if text.startswith("@"):
        if text not in _SHORT:
            raise SpecInvalid(field, f"must be one of {', '.join(_SHORT)}, or a line {_EXAMPLE}")
        return
    parts = text.upper().split()
    if len(parts) not in (5, 6):
        raise SpecInvalid(
            field, f"has {len(parts)} fields, and must have 5, or 6 with seconds first, {_EXAMPLE}"
        )
    for part in parts:
        if "?" in part:
            raise SpecInvalid(field, "has a ?, which is not known here: write * instead")
        if re.search(r"[0-9]W", part):
            raise SpecInvalid(
                field,
                f"has {part}, the weekday nearest to a day, which is not known here: write a range of days and of "
                "weekdays, or LW for the last weekday of the month",
            )
        if re.fullmatch(r"H(\(.*\))?(/.*)?", part):
            raise SpecInvalid(
                field,
                "has an H, which stands for a number that is drawn: write a number such as 17, and set `jitter` to "
                "spread starts",
            )
    try:
        CronSim(text, _EPOCH)
    except CronSimError as error:
        name = str(error).removeprefix("Bad ")
        said = f"its {name} must be {_RANGES[name]}" if name in _RANGES else f"must be a line {_EXAMPLE}"
        raise SpecInvalid(field, said) from None
    except (AssertionError, TypeError, ValueError):
        raise SpecInvalid(field, f"must be a line {_EXAMPLE}") from None


def ticks(spec: Spec, after: datetime) -> Iterator[datetime]:
    """All ticks after a time, in UTC and in order, each once."""
    if spec.starts_at is not None:
        after = max(after, spec.starts_at - _MICROSECOND)
    found: Iterator[datetime]
    if spec.every is not None:
        found = _each(spec.every, spec.phase, after)
    else:
        found = merge(*(_of_line(line, spec.time_zone, after) for line in spec.cron))
    last = None
    for tick in found:
        if tick >= (spec.ends_at or _LAST):
            return
        if tick != last:
            yield tick
        last = tick


def next_tick(spec: Spec, after: datetime) -> datetime | None:
    """The first tick after a time; None: there is none within 10 years."""
    tick = next(ticks(spec, after), None)
    begin = max(after, spec.starts_at or after)
    return tick if tick is not None and tick <= begin + HORIZON else None


def told(spec: Spec, tick: datetime) -> Tick:
    """A tick with its local time, and what a change of clocks meant for it."""
    local = tick.astimezone(zone(spec.time_zone))
    rule = Rule.NONE
    if spec.cron:
        if local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset():
            rule = Rule.SECOND_OF_TWO if local.fold else Rule.FIRST_OF_TWO
        elif _ends_gap(tick, local) and not any(_is_named(line, local) for line in spec.cron):
            rule = Rule.AFTER_GAP
    return Tick(tick, local, rule)


def upcoming(spec: Spec, after: datetime, count: int) -> list[Tick]:
    """The next ticks, at most so many, those within 10 years."""
    begin = max(after, spec.starts_at or after)
    some = (tick for tick in islice(ticks(spec, after), count) if tick <= begin + HORIZON)
    return [told(spec, tick) for tick in some]


def spread(schedule_id: int, tick: datetime, jitter: timedelta) -> timedelta:
    """How long after its tick a job starts: drawn from the jitter, and for the same tick the same on each server."""
    drawn = sha256(f"{schedule_id} {tick.astimezone(UTC).isoformat()}".encode()).digest()
    return (jitter // _MICROSECOND * int.from_bytes(drawn[:8], "big") >> 64) * _MICROSECOND


def _each(every: timedelta, phase: timedelta, after: datetime) -> Iterator[datetime]:
    tick = _EPOCH + phase + ((after - _EPOCH - phase) // every + 1) * every
    while True:
        yield tick
        if tick > _LAST:
            return
        tick += every


def _of_line(line: str, time_zone: str, after: datetime) -> Iterator[datetime]:
    """The ticks of a line after a time."""
    text = line.strip()
    try:
        for tick in CronSim(_SHORT.get(text, text), _start(time_zone, after)):
            at = tick.astimezone(UTC)
            # In the hour that comes twice cronsim begins with the first of the two.
            if at > after:
                yield at
    except OverflowError:
        # After the year 9999.
        return


def _start(time_zone: str, after: datetime) -> datetime:
    # cronsim is faster and needs no rules where there are none.
    return after.astimezone(UTC if time_zone in ("Etc/UTC", "UTC") else zone(time_zone))


def _ends_gap(tick: datetime, local: datetime) -> bool:
    """Whether clocks were set forward to this very time."""
    before = (tick - timedelta(seconds=1)).astimezone(local.tzinfo).utcoffset()
    offset = local.utcoffset()
    return before is not None and offset is not None and before < offset


@lru_cache(maxsize=1024)
def _parsed(line: str) -> CronSim:
    text = line.strip()
    return CronSim(_SHORT.get(text, text), _EPOCH)


def _is_named(line: str, local: datetime) -> bool:
    """Whether the line names this very time of day and day."""
    parsed = _parsed(line)
    return (
        local.second in parsed.seconds
        and local.minute in parsed.minutes
        and local.hour in parsed.hours
        and local.month in parsed.months
        and parsed.match_day(local.date())
    )
