"""What becomes of ticks that are due: which fire, which wait, which are left out and why. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import chain
from uuid import UUID

from ...lifecycle import Status
from ...store.schedule.values import CatchUp, Outcome, Overlap, Run, Schedule, Spec
from .ticks import next_tick, ticks

#: A tick that is at most so late was not missed.
ON_TIME = timedelta(seconds=10)
#: So many ticks of a schedule are decided together, and so many of them fire.
MOST_TICKS = 1000
MOST_FIRED = 100
#: The payloads of the jobs of one transaction, in bytes: each job has a copy.
MOST_BYTES = 16 << 20
#: So many jobs of a schedule are known as open.
MOST_OPEN = 100
_MICROSECOND = timedelta(microseconds=1)
#: Of a run by hand or of a backfill: the database says which one of its tick it is.
NEXT_NTH = -1


@dataclass(frozen=True, slots=True)
class Due:
    """The ticks of a schedule that are due.

    Attributes:
        ticks: Those that may fire, in order.
        old: How many before these are older than is caught up.
        last_old: The last of them.
        many: Whether there are more of the old ones than were counted.
        following: The next tick; None: there is none.
    """

    ticks: Sequence[datetime]
    old: int = 0
    last_old: datetime | None = None
    many: bool = False
    following: datetime | None = None


@dataclass(slots=True)
class Decision:
    """What is to become of a schedule.

    Attributes:
        schedule: As it is to be, but for the jobs that are enqueued now. A copy that is its own.
        runs: What became of ticks, without those that fire.
        fires: The ticks that fire, in order, each with its `Run.nth`.
        paused_for: Why it is to be paused; None: it is not.
        skipped_before: How many ticks in a row had been left out before these.
        waited: Whether a tick had been waiting before these.
    """

    schedule: Schedule
    runs: list[Run] = field(default_factory=list)
    fires: list[tuple[datetime, int]] = field(default_factory=list)
    paused_for: str | None = None
    skipped_before: int = 0
    waited: bool = False

    @classmethod
    def on(cls, schedule: Schedule) -> Decision:
        """Begins with the schedule as it is stored."""
        skipped, waits = schedule.skipped_in_a_row, schedule.buffered is not None
        return cls(schedule.copied(), skipped_before=skipped, waited=waits)

    def pause(self, why: str) -> None:
        """The schedule is to be paused."""
        self.paused_for = why

    def drop_buffered(self, waiting: tuple[datetime, int]) -> None:
        """A tick that came in this round and was to wait does not: it has one run, not two."""
        self.runs = [
            run for run in self.runs if run.outcome is not Outcome.BUFFERED or (run.tick, run.nth) != waiting
        ]


def due_ticks(
    spec: Spec, first: datetime | None, last: datetime | None, now: datetime, window: timedelta
) -> Due:
    """The ticks from the first one up to now. It takes 50 us for each of a line of cron.

    Args:
        spec: When the schedule is due.
        first: Its next tick, as it is stored.
        last: The last one that was decided: none up to it is due again.
        now: The time by the database's clock.
        window: How old a tick may be that is caught up.
    """
    if first is None or first > now:
        return Due((), following=first)
    oldest = now - max(window, ON_TIME)
    found: list[datetime] = []
    old, last_old, many = 0, None, False
    following = None
    # The first one is a tick also where its spec has others by now, as after a change of time zones.
    coming: Iterator[datetime] = chain((first,), ticks(spec, first))
    if last is not None and last >= first:
        coming = ticks(spec, last)
    for tick in coming:
        if tick >= oldest or tick > now:
            following = tick
            break
        old, last_old = old + 1, tick
        if old == MOST_TICKS:
            many = True
            following = next_tick(spec, oldest - _MICROSECOND)
            break
    if following is None or following > now:
        return Due((), old, last_old, many, following)
    for tick in chain((following,), ticks(spec, following)):
        following = tick
        if tick > now or len(found) == MOST_TICKS:
            return Due(found, old, last_old, many, following)
        found.append(tick)
    return Due(found, old, last_old, many, None)


def decide(
    schedule: Schedule,
    due: Due,
    jobs: Mapping[UUID, Status | None],
    now: datetime,
    *,
    refused: bool = False,
) -> Decision:
    """What becomes of a schedule and its ticks.

    Args:
        schedule: As it is stored.
        due: Its ticks.
        jobs: Of `schedule.open`: None for a job that has not ended, else how it did.
        now: The time by the database's clock.
        refused: Whether the jobs of all ticks that fire are going to be refused: none of them meets a later tick.
    """
    decision = Decision.on(schedule)
    _look_at(decision.schedule, jobs)
    policy = schedule.policy
    following = due.following
    firing, missed = _caught_up(schedule, due, now)
    most = fitting(schedule, MOST_FIRED)
    if policy.catch_up is CatchUp.ALL and len(firing) > most and not _fails_too_often(decision.schedule):
        # The rest in the next round.
        following = firing[most]
        firing = firing[:most]
    if due.last_old is not None:
        note = f"older than the catch-up window of {policy.catch_up_window.total_seconds():g} s"
        if due.many:
            note = f"{note}; there were more than are counted"
        decision.runs.append(Run(due.last_old, Outcome.SKIPPED_CATCH_UP, note=note, ticks=due.old))
    if missed:
        note = f"missed, and catch_up is {policy.catch_up.name}"
        decision.runs.append(Run(missed[-1], Outcome.SKIPPED_CATCH_UP, note=note, ticks=len(missed)))
    last = due.ticks[-1] if due.ticks else due.last_old
    if following is not None and last is not None and following <= last:
        last = firing[-1]
    _pass(decision, firing, refused=refused)
    left_out = sum(run.ticks for run in decision.runs if run.outcome is Outcome.SKIPPED_CATCH_UP)
    now_is = decision.schedule
    now_is.goes_on(following, last or schedule.last_tick)
    if not decision.fires:
        now_is.skips(now_is.skipped_in_a_row + left_out)
    return decision


def leave_out(schedule: Schedule, due: Due, now: datetime, why: str) -> Decision:
    """None of the ticks that are due fires: one run says why, and how many there were.

    Args:
        schedule: As it is stored.
        due: Its ticks.
        now: The time by the database's clock.
        why: Why, for people.
    """
    following, many = due.following, due.many
    if following is not None and following <= now:
        following, many = next_tick(schedule.spec, now), True
    decision = Decision.on(schedule)
    now_is = decision.schedule
    last = due.ticks[-1] if due.ticks else due.last_old
    now_is.goes_on(following, last or schedule.last_tick)
    if last is None:
        return decision
    left_out = due.old + len(due.ticks)
    note = f"{why}; there were more than are counted" if many else why
    now_is.skips(now_is.skipped_in_a_row + left_out)
    decision.runs.append(Run(last, Outcome.SKIPPED_CATCH_UP, note=note, ticks=left_out))
    return decision


def kept_open(jobs: Sequence[UUID]) -> tuple[UUID, ...]:
    """Of jobs that have not ended those that are known as such: of many the oldest and the newest.

    A backfill has more than fit. Without the oldest, a tick would not see a job that has run since before it.
    """
    if len(jobs) <= MOST_OPEN:
        return tuple(jobs)
    return (*jobs[: MOST_OPEN // 2], *jobs[-(MOST_OPEN // 2) :])


def skipped_where_refused(decision: Decision, runs: Iterable[Run]) -> int:
    """How many ticks in a row have been left out, where jobs of ticks that were to fire were refused.

    Args:
        decision: What was to become of them.
        runs: What became of them, in the order of ticks.
    """
    waits = (Outcome.BUFFERED, Outcome.SKIPPED_PAUSED_BY_FAILURES)
    skipped = decision.skipped_before
    for run in runs:
        if run.outcome is Outcome.FIRED:
            skipped = 0
        elif not run.nth and run.outcome not in waits:
            skipped += run.ticks
    return skipped


def fitting(schedule: Schedule, most: int) -> int:
    """How many jobs of a schedule one transaction stores: so many, or fewer where they are large."""
    return max(1, min(most, MOST_BYTES // max(1, len(schedule.job.payload))))


def decide_by_hand(
    schedule: Schedule,
    ticks: Iterable[datetime],
    jobs: Mapping[UUID, Status | None],
    overlap: Overlap | None,
    *,
    refused: bool = False,
) -> Decision:
    """What becomes of ticks that a caller asks for: of now, or of a backfill.

    Args:
        schedule: As it is stored. Its own ticks stay as they are.
        ticks: The ticks.
        jobs: As in `decide`.
        overlap: What becomes of them beside a job that has not ended; None: as its policy says.
        refused: As in `decide`.
    """
    decision = Decision.on(schedule)
    _look_at(decision.schedule, jobs)
    _pass(decision, ticks, NEXT_NTH, overlap, refused=refused)
    decision.schedule.skips(0 if decision.fires else schedule.skipped_in_a_row)
    return decision


def _look_at(schedule: Schedule, jobs: Mapping[UUID, Status | None]) -> None:
    """From then on it has the jobs that are open still, and says how many failed in a row."""
    failures = schedule.failures_in_a_row
    for job_id in schedule.open if schedule.policy.pause_after_failures else ():
        match jobs.get(job_id):
            case Status.FAILED_PERMANENT:
                failures += 1
            case Status.SUCCEEDED:
                failures = 0
    left = tuple([job_id for job_id in schedule.open if job_id in jobs and jobs[job_id] is None])
    schedule.sees(left, failures)


def _fails_too_often(schedule: Schedule) -> bool:
    limit = schedule.policy.pause_after_failures
    return bool(limit) and schedule.failures_in_a_row >= limit and not schedule.paused


def _caught_up(schedule: Schedule, due: Due, now: datetime) -> tuple[list[datetime], list[datetime]]:
    """The ticks that fire or meet a job that has not ended, and those that were missed and do not."""
    on_time = [tick for tick in due.ticks if tick >= now - ON_TIME]
    late = list(due.ticks[: len(due.ticks) - len(on_time)])
    match schedule.policy.catch_up:
        case CatchUp.ALL:
            return [*late, *on_time], []
        case CatchUp.LATEST if late and not on_time and (due.following is None or due.following > now):
            return late[-1:], late[:-1]
    return on_time, late


def _pass(
    decision: Decision,
    ticks: Iterable[datetime],
    nth: int = 0,
    overlap: Overlap | None = None,
    *,
    refused: bool = False,
) -> None:
    """Lets ticks fire, one after the other, as the overlap policy says; first the one that waits."""
    schedule = decision.schedule
    policy = schedule.policy
    by_hand = nth == NEXT_NTH
    overlap = overlap or policy.overlap
    busy = bool(schedule.open)
    ticks = list(ticks)
    if not by_hand and _fails_too_often(schedule):
        failures = schedule.failures_in_a_row
        why = f"{failures} of its jobs in a row have failed"
        decision.pause(why)
        if ticks:
            decision.runs.append(
                Run(ticks[-1], Outcome.SKIPPED_PAUSED_BY_FAILURES, note=why, ticks=len(ticks))
            )
        return
    waiting = None if schedule.buffered is None else (schedule.buffered, schedule.buffered_nth)
    skipped = schedule.skipped_in_a_row
    if waiting is not None and not busy and not (by_hand and schedule.paused):
        decision.fires.append(waiting)
        waiting, busy, skipped = None, not refused, 0
    for tick in ticks:
        if not busy or overlap is Overlap.ALLOW:
            decision.fires.append((tick, nth))
            busy, skipped = busy or not refused, 0
        elif overlap is Overlap.SKIP:
            decision.runs.append(Run(tick, Outcome.SKIPPED_OVERLAP, nth, note=_beside(schedule)))
            skipped += 1
        else:
            if waiting is not None:
                _replace(decision, waiting, tick)
                skipped += 1
            waiting = tick, nth
            decision.runs.append(Run(tick, Outcome.BUFFERED, nth, note=_beside(schedule)))
    schedule.buffers(*(waiting or (None, 0)))
    schedule.skips(skipped)


def _replace(decision: Decision, waiting: tuple[datetime, int], by: datetime) -> None:
    """The tick that waits gives way."""
    tick, nth = waiting
    decision.drop_buffered(waiting)
    note = f"the tick of {by.isoformat()} took its place"
    decision.runs.append(Run(tick, Outcome.REPLACED_IN_BUFFER, nth, note=note))


def _beside(schedule: Schedule) -> str:
    if schedule.open:
        return f"the job {schedule.open[-1]} had not ended"
    return "the job of the tick before had not ended"
