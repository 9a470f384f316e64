"""What happened to jobs in a time, in steps, as far as the caller may read it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum

from ...errors import FieldInvalid
from ...fair.turns import Turns
from ...grants import Permission
from ...scope import Scope
from ...store.database import Record, Session
from ...store.stats.slices import KEPT, WIDTHS, SliceStore
from ..cached import Cached
from ..catalog.catalog import Catalog
from ..events.tallies import COUNTS, quantile
from ..upkeep.clock import Clock
from .pieces import read_in_pieces
from .slices import floor, others_of

MOST_SERIES = 20
MOST_POINTS = 720
#: As many as a step makes that was not asked for.
USUAL_POINTS = 360
USUAL_TIME = timedelta(hours=1)
LONGEST = KEPT[-1]
MIN_STEP = timedelta(seconds=WIDTHS[0])
_STEPS = tuple(timedelta(seconds=s) for s in (10, 30, 60, 300, 900, 3600, 6 * 3600, 24 * 3600))
#: New slices come each 10 s.
_KEPT_FOR = 10.0
# At once, on one server, one of them for each principal: 90 days of a hundred lanes take seconds of one core of the
# database.
_AT_ONCE = 2
#: Of lanes that were too many to be counted apart.
OTHER = "(other)"


class GroupBy(IntEnum):
    """By what series are split. The numbers are those of the contract."""

    NOTHING = 0
    QUEUE = 1
    KIND = 2
    QUEUE_AND_KIND = 3


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which statistics. None: what the contract says."""

    queue: str | None = None
    kind: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    step: timedelta | None = None
    group_by: GroupBy = GroupBy.NOTHING


@dataclass(slots=True)
class Totals:
    """Counts in the order of COUNTS, and the histograms."""

    counts: list[int] = field(default_factory=lambda: [0] * len(COUNTS))
    waits: list[int] | None = None
    runs: list[int] | None = None

    def add(self, row: Record) -> None:
        """Counts these too."""
        self.counts = [mine + row[name] for mine, name in zip(self.counts, COUNTS, strict=True)]
        self.waits = summed(self.waits, row["wait_hist"])
        self.runs = summed(self.runs, row["run_hist"])

    def wait(self, share: float) -> timedelta | None:
        """How long this share of the started attempts had been due at most; None: none was counted."""
        return quantile(self.waits, share)

    def run(self, share: float) -> timedelta | None:
        """How long this share of the ended attempts had run at most, likewise."""
        return quantile(self.runs, share)


def summed(one: list[int] | None, other: list[int] | None) -> list[int] | None:
    """Two histograms as one."""
    if one is None or other is None:
        return one or other
    return [mine + theirs for mine, theirs in zip(one, other, strict=True)]


@dataclass(slots=True)
class Series:
    """Statistics of a queue, of a kind, of both or of all."""

    queue: str
    kind: str
    points: list[tuple[datetime, Totals]] = field(default_factory=list)
    totals: Totals = field(default_factory=Totals)

    def add(self, row: Record) -> None:
        """Counts these too. Rows come in the order of their times; of one step there may be several."""
        if not self.points or self.points[-1][0] != row["at"]:
            self.points.append((row["at"], Totals()))
        self.points[-1][1].add(row)
        self.totals.add(row)


@dataclass(frozen=True, slots=True)
class History:
    """What happened from `since` on, in steps."""

    since: datetime
    step: timedelta
    series: Sequence[Series]
    left_out: int
    read_at: datetime


class Histories:
    """Reads statistics for callers, at most once in 10 s for all who ask the same."""

    def __init__(self, store: SliceStore, catalog: Catalog, clock: Clock) -> None:
        self._store = store
        self._catalog = catalog
        self._clock = clock
        self._answers: Cached[History] = Cached(_KEPT_FOR, while_wanted=True)
        self._turns = Turns(_AT_ONCE)

    async def query(self, scope: Scope, wanted: Wanted) -> History:
        """What happened.

        Raises:
            FieldInvalid: `since` is not before `until`, or `step` makes too many points.
            DatabaseAway: It can't be read now.
        """
        now = self._clock.now()
        since, until, step = stretch(wanted, now)
        lanes = self._lanes(scope, wanted)
        key = (scope.namespace, frozenset(lanes), since, floor(until, MIN_STEP), step, wanted.group_by)
        return await self._answers.get(key, lambda: self._read(scope, lanes, since, until, step, now))

    def _lanes(self, scope: Scope, wanted: Wanted) -> Mapping[int, tuple[str, str]]:
        """The lanes that count, each with its series."""
        by = wanted.group_by

        def series(queue: str, kind: str) -> tuple[str, str]:
            return queue if by & GroupBy.QUEUE else "", kind if by & GroupBy.KIND else ""

        lanes = {
            lane.id: series(lane.queue, lane.kind)
            for lane in self._catalog.lanes()
            if lane.namespace == scope.namespace
            and wanted.queue in (None, lane.queue)
            and wanted.kind in (None, lane.kind)
            and scope.grants.may(Permission.READ, lane.queue, lane.kind)
        }
        if wanted.queue is None and wanted.kind is None and scope.grants.may(Permission.READ, "*", "*"):
            lanes[others_of(scope.namespace)] = series(OTHER, OTHER)
        return lanes

    async def _read(
        self,
        scope: Scope,
        lanes: Mapping[int, tuple[str, str]],
        since: datetime,
        until: datetime,
        step: timedelta,
        now: datetime,
    ) -> History:
        async with self._turns.place(scope.owner), self._store.snapshot() as session:
            left_out = 0
            if len(set(lanes.values())) > MOST_SERIES:
                lanes, left_out = await self._most(session, lanes, since, until, now)
            numbers = {series: number for number, series in enumerate(sorted(set(lanes.values())))}
            found = [Series(*series) for series in numbers]
            ids = sorted(lanes)
            series_of = [numbers[lanes[each]] for each in ids]

            async def read(begin: datetime, end: datetime) -> None:
                for row in await self._store.points(begin, end, ids, series_of, step, since, session):
                    found[row["series"]].add(row)

            if ids:
                await read_in_pieces(since, until, now, read)
        ranked = sorted(
            (series for series in found if series.points), key=lambda series: -sum(series.totals.counts)
        )
        return History(since, step, ranked, left_out, now)

    async def _most(
        self,
        session: Session,
        lanes: Mapping[int, tuple[str, str]],
        since: datetime,
        until: datetime,
        now: datetime,
    ) -> tuple[Mapping[int, tuple[str, str]], int]:
        """The lanes of the series with most jobs, and how many others have any."""
        jobs: Counter[tuple[str, str]] = Counter()
        ids = sorted(lanes)

        async def read(begin: datetime, end: datetime) -> None:
            for lane_id, count in (await self._store.sums(begin, end, ids, session)).items():
                jobs[lanes[lane_id]] += count

        await read_in_pieces(since, until, now, read)
        ranked = sorted(jobs, key=lambda series: (-jobs[series], series))
        most = set(ranked[:MOST_SERIES])
        return {lane: series for lane, series in lanes.items() if series in most}, len(ranked) - len(most)


def stretch(wanted: Wanted, now: datetime) -> tuple[datetime, datetime, timedelta]:
    """From when until when, and in which steps.

    Raises:
        FieldInvalid: `since` is not before `until`, or `step` makes too many points.
    """
    # Nothing is kept of what was before: neither is there an hour before the first moment that a time can be.
    until = now if wanted.until is None else min(max(wanted.until, now - LONGEST), now)
    since = until - USUAL_TIME if wanted.since is None else wanted.since
    if wanted.since is not None and wanted.since >= (wanted.until or now):
        raise FieldInvalid.of("since", "must be before `until`, which is now where it is not given")
    since = max(since, now - LONGEST)
    until = max(until, since)
    if wanted.step is not None and (until - since) // wanted.step > MOST_POINTS:
        least = (until - since) / MOST_POINTS
        message = f"makes more than {MOST_POINTS} points; make it {_up(least, MIN_STEP).total_seconds():g} s or longer"
        raise FieldInvalid.of("step", message)
    step = wanted.step or next(
        each for each in _STEPS if (until - since) // each <= USUAL_POINTS or each is _STEPS[-1]
    )
    # What is kept of that time is coarser than what was asked for, perhaps: a step holds whole slices.
    for width, kept in zip(WIDTHS[1:], KEPT, strict=False):
        if now - floor(since, step) > kept - timedelta(minutes=1):
            step = _up(step, timedelta(seconds=width))
    return floor(since, step), until, step


def _up(step: timedelta, width: timedelta) -> timedelta:
    """The next multiple of a width."""
    return -(-step // width) * width
