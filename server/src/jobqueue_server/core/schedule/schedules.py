"""Schedules as callers make, read, change and fire them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from functools import partial
from typing import Any

from ...errors import (
    EtagMismatch,
    FieldInvalid,
    FieldViolation,
    PageTokenInvalid,
    ScheduleExists,
    ScheduleNotFound,
    SchedulesFull,
)
from ...grants import Permission
from ...model import NewJob
from ...scope import Scope
from ...store.schedule.schedules import MOST_SCHEDULES, ScheduleFilter, ScheduleRevisionDiffers, ScheduleStore
from ...store.schedule.values import CatchUp, Overlap, Policy, Run, Schedule, Spec
from .. import tokens
from ..access.checks import not_allowed
from ..access.principals import Principals
from ..catalog.etags import etag_of, revision_of
from ..names import page_name
from ..pages import page_position, page_size, page_token
from ..upkeep.clock import Clock
from . import zones
from .jobs import JobMaker
from .ticks import SpecInvalid, Tick, check, next_tick, upcoming

#: So many ticks a schedule shows.
SHOWN_TICKS = 5
_NEVER = 1 << 62
#: So often what is due is decided before a change goes ahead. With ALL each time fires 100 ticks that were missed.
_TRIES = 12
_NO_PAYLOAD = (
    "must be set where the job of the schedule has a payload or headers, to `null` if it is to have none: "
    "ListSchedules, and answers to callers that may not see payloads, leave both out, and a job that was read so would "
    "lose them"
)
_OF_POLICY = frozenset(each.name for each in fields(Policy))


class _TickIsDue(Exception):
    """A schedule can't be changed yet: a tick that is due has not been decided."""

    def __init__(self, schedule_id: int) -> None:
        super().__init__(schedule_id)
        self.schedule_id = schedule_id


@dataclass(frozen=True, slots=True)
class Shown:
    """A schedule, its next ticks, and whether the caller may see the payload of its job."""

    schedule: Schedule
    upcoming: list[Tick]
    payload: bool


class ScheduleService:
    """What callers do with schedules, but for firing them.

    Args:
        store: Where they are.
        jobs: Checks their jobs.
        principals: Knows who of those that made them has ended.
        clock: The database's.
        wake: Called when a tick may have come that no server knows of.
        fire: Fires a schedule, by its number, whose tick is due.
        leave_out: Leaves out its ticks that are due, and writes down why.

    Raises (every method): DatabaseAway, DatabaseFull.
    """

    def __init__(
        self,
        store: ScheduleStore,
        jobs: JobMaker,
        principals: Principals,
        clock: Clock,
        wake: Callable[[], None],
        fire: Callable[[int], Awaitable[object]],
        leave_out: Callable[[int, str], Awaitable[None]],
    ) -> None:
        self._store = store
        self._jobs = jobs
        self._principals = principals
        self._clock = clock
        self._wake = wake
        self._fire = fire
        self._leave_out = leave_out

    async def create(self, scope: Scope, schedule: Schedule, action: str = "CreateSchedule") -> Shown:
        """Makes a schedule, of all that callers set in it.

        Raises:
            NotAllowed: The principal may not operate or enqueue such jobs.
            FieldInvalid: Its spec has no ticks, or its policies contradict each other.
            PayloadInvalid, KindUnknown, ServersDiffer: Its job does not fit.
            ScheduleExists: There is one of its name.
            SchedulesFull: The namespace has as many as it may have.
        """
        await _check_job(self._jobs, scope, schedule.job)
        await self.check_spec(schedule.spec, "schedule.spec")
        _check_policy(schedule.policy)
        first = next_tick(schedule.spec, self._clock.now())
        made, room = await self._store.create(scope, replace(schedule, next_at=first), zones.VERSION, action)
        if not made:
            if room:
                raise ScheduleExists(
                    f"schedule.name: there is a schedule {schedule.name!r}; choose another name, or change that one "
                    "with UpdateSchedule",
                    metadata={"schedule": schedule.name},
                )
            raise SchedulesFull(f"the namespace has {MOST_SCHEDULES} schedules; delete some of them first")
        self._wake()
        return await self._read(scope, schedule.name, "schedule.name")

    async def get(self, scope: Scope, name: str) -> Shown:
        """The schedule as it is now.

        Raises:
            ScheduleNotFound: There is none, or the principal may not read its jobs.
        """
        found = await self.find(scope, name, Permission.READ, "read the schedule")
        return _shown(scope, found, self._clock.now())

    async def list_schedules(
        self, scope: Scope, wanted: ScheduleFilter, asked_size: int, token: str
    ) -> tuple[list[Schedule], str]:
        """A page of schedules by name, without payloads, and the token of the next one; empty: there is none.

        Raises:
            FieldInvalid: The page size is negative.
            PageTokenInvalid: The token is not one of this list.
        """
        size = page_size(asked_size)
        labels = sorted((wanted.labels or {}).items())
        text = tokens.within(scope, f"schedules {wanted.kind} {wanted.queue} {wanted.paused} {labels}")
        found = await self._store.page(scope, wanted, page_name(text, token), size + 1)
        following = page_token(text, found[size - 1].name.encode()) if len(found) > size else ""
        return found[:size], following

    async def update(
        self,
        scope: Scope,
        name: str,
        changes: Mapping[str, Any],
        *,
        etag: str,
        make: Schedule | None,
        has_payload: bool = True,
    ) -> Shown:
        """Changes a schedule, as a whole or not at all.

        Args:
            scope: Who asks.
            name: Its name.
            changes: New values of `spec`, `job`, `labels` and of attributes of its policy; the others stay.
            etag: The one that it must have; empty: any.
            make: What is made where there is none of this name; None: nothing is.
            has_payload: Whether the new job was given a payload.

        Raises:
            ScheduleNotFound: There is none, or the principal may neither do this nor read its jobs.
            NotAllowed: The principal may not do this.
            FieldInvalid: A new spec has no ticks, policies contradict each other, or a payload would be lost.
            PayloadInvalid, KindUnknown, ServersDiffer: A new job does not fit.
            EtagMismatch: It has another etag.
            SchedulesFull: It would be made, and there are too many.
        """
        if await self._store.get(scope, name) is None and make is not None:
            if etag:
                raise _mismatch(name, 0)
            return await self.create(scope, make, "UpdateSchedule")
        # Who may not change it learns nothing else of it.
        known = await self.find(scope, name, Permission.OPERATE, "change the schedule", "schedule.name")
        if "job" in changes:
            _check_payload(known, has_payload)
            await _check_job(self._jobs, scope, changes["job"])
        if "spec" in changes:
            await self.check_spec(changes["spec"], "schedule.spec")
        for left in reversed(range(_TRIES)):
            change = partial(_changed, scope, changes, has_payload=has_payload, ahead=not left)
            try:
                revision = revision_of(etag)
                if not await self._store.update(scope, name, change, zones.VERSION, revision=revision):
                    raise ScheduleNotFound.of(name, "schedule.name")
                break
            except _TickIsDue as due:
                # By the new spec it would be none, and would be lost without a run.
                if left > 1:
                    await self._fire(due.schedule_id)
                else:
                    await self._leave_out(due.schedule_id, "the schedule was changed before it came to them")
            except ScheduleRevisionDiffers as differs:
                raise _mismatch(name, differs.revision) from None
        self._wake()
        return await self._read(scope, name, "schedule.name")

    async def delete(self, scope: Scope, name: str, etag: str) -> None:
        """Takes away a schedule with its runs; its jobs stay.

        Raises:
            ScheduleNotFound: There is none, or the principal may neither do this nor read its jobs.
            NotAllowed: The principal may read its jobs, and not do this.
            EtagMismatch: It has another etag.
        """
        await self.find(scope, name, Permission.OPERATE, "delete the schedule")
        try:
            gone = await self._store.delete(scope, name, revision=revision_of(etag))
        except ScheduleRevisionDiffers as differs:
            raise _mismatch(name, differs.revision, "etag") from None
        if not gone:
            raise ScheduleNotFound.of(name)

    async def set_paused(self, scope: Scope, name: str, note: str | None) -> Shown:
        """Pauses a schedule with a note, or resumes it where there is None: it goes on with the first tick after now.

        What was due when it is paused is left out, and a run says so. A schedule whose principal has ended is taken
        over by who resumes it.

        Raises:
            ScheduleNotFound: There is none, or the principal may neither do this nor read its jobs.
            NotAllowed: The principal may read its jobs, and not do this, or not enqueue the job that it takes over.
        """
        doing = "resume the schedule" if note is None else "pause the schedule"
        found = await self.find(scope, name, Permission.OPERATE, doing)
        taken_over = note is None and found.paused and bool(await self._principals.ended([found.maker]))

        for left in reversed(range(_TRIES)):
            following = partial(
                _following, scope, pausing=note is not None, taken_over=taken_over, ahead=not left
            )
            try:
                if not await self._store.set_paused(
                    scope, name, note=note, taken_over=taken_over, next_at=following
                ):
                    raise ScheduleNotFound.of(name)
                break
            except _TickIsDue as due:
                await self._leave_out(due.schedule_id, "the schedule was paused before it came to them")
        self._wake()
        return await self._read(scope, name)

    async def list_runs(self, scope: Scope, name: str, asked_size: int, token: str) -> tuple[list[Run], str]:
        """A page of the runs of a schedule, the newest first, and the token of the next one; empty: there is none.

        Raises:
            FieldInvalid: The page size is negative.
            PageTokenInvalid: The token is not one of this list.
            ScheduleNotFound: There is none, or the principal may not read its jobs.
        """
        schedule = await self.find(scope, name, Permission.READ, "read the schedule")
        size = page_size(asked_size)
        # One that was made anew has other runs.
        text = tokens.within(scope, f"runs {name} {schedule.id}")
        position = page_position(text, token)
        try:
            below = _NEVER if position is None else int(position)
        except ValueError:
            raise PageTokenInvalid(
                "page_token: not a token that this server gave; start again without it"
            ) from None
        found = await self._store.list_runs(schedule, below, size + 1)
        following = page_token(text, str(found[size - 1].number).encode()) if len(found) > size else ""
        return found[:size], following

    async def preview(self, spec: Spec, since: datetime | None, count: int) -> list[Tick]:
        """The ticks of a spec, of which no schedule is made.

        Raises:
            FieldInvalid: It has none.
        """
        await self.check_spec(spec, "spec", since)
        after = since or self._clock.now()
        return await asyncio.to_thread(upcoming, spec, after, count)

    async def find(
        self, scope: Scope, name: str, permission: Permission, doing: str, field: str = "name"
    ) -> Schedule:
        """The schedule, for a principal that has one of these permissions on the queue and kind of its job.

        Raises:
            ScheduleNotFound: There is none, or the principal may not read its jobs either.
            NotAllowed: The principal may read its jobs, and not do this.
        """
        found = await self._store.get(scope, name)
        if found is None:
            raise ScheduleNotFound.of(name, field)
        _require(scope, permission, found, doing, field)
        return found

    async def check_spec(self, spec: Spec, at: str, since: datetime | None = None) -> None:
        """Returns if a spec has ticks.

        Raises:
            FieldInvalid: It has not. `at` is its path in the request.
        """
        try:
            await asyncio.to_thread(check, spec, since or self._clock.now())
        except SpecInvalid as error:
            raise FieldInvalid.of(f"{at}.{error.field}", error.description) from None

    async def _read(self, scope: Scope, name: str, field: str = "name") -> Shown:
        found = await self._store.get(scope, name)
        if found is None:
            raise ScheduleNotFound.of(name, field)
        return _shown(scope, found, self._clock.now())


async def _check_job(jobs: JobMaker, scope: Scope, job: NewJob) -> None:
    """As a schedule is made or gets another job."""
    if not scope.grants.may(Permission.OPERATE, job.queue, job.kind):
        raise not_allowed("OPERATE", "schedule such jobs", queue=job.queue, kind=job.kind)
    await jobs.check(scope, job, "schedule.job")


def _shown(scope: Scope, schedule: Schedule, now: datetime) -> Shown:
    """A schedule as a caller may see it."""
    try:
        ticks = upcoming(schedule.spec, max(now, schedule.last_tick or now), SHOWN_TICKS)
    except zones.ZoneUnknown:
        # A server with newer time zones made it.
        ticks = []
    return Shown(
        schedule if not schedule.paused else replace(schedule, next_at=None),
        ticks,
        scope.grants.may(Permission.READ | Permission.PAYLOADS, schedule.job.queue, schedule.job.kind),
    )


def _changed(
    scope: Scope,
    changes: Mapping[str, Any],
    now_is: Schedule,
    at: datetime,
    *,
    has_payload: bool,
    ahead: bool,
) -> Schedule:
    """A schedule as it is to be. `ahead`: also where a tick is lost by that.

    Raises:
        ScheduleNotFound, NotAllowed: The principal may not change it.
        FieldInvalid: Its policies would contradict each other, or a payload would be lost.
        _TickIsDue: A tick that is due has not been decided.
    """
    _require(scope, Permission.OPERATE, now_is, "change the schedule", "schedule.name")
    if "job" in changes:
        _check_payload(now_is, has_payload)
    policy = replace(now_is.policy, **{key: changes[key] for key in changes if key in _OF_POLICY})
    _check_policy(policy)
    changed = replace(
        now_is,
        spec=changes.get("spec", now_is.spec),
        job=changes.get("job", now_is.job),
        labels=changes.get("labels", now_is.labels),
        policy=policy,
    )
    if changed.job != now_is.job:
        maker = scope.maker
        changed = replace(changed, principal=maker.principal, credential=maker.credential)
    if changed.spec == now_is.spec:
        return changed
    if _is_due(now_is, at) and not ahead:
        raise _TickIsDue(now_is.id)
    return replace(changed, next_at=next_tick(changed.spec, max(at, now_is.last_tick or at)))


def _following(
    scope: Scope, schedule: Schedule, at: datetime, *, pausing: bool, taken_over: bool, ahead: bool
) -> datetime | None:
    """The next tick of a schedule that is paused or resumed. `ahead`: also where a tick is lost by that.

    Raises:
        ScheduleNotFound, NotAllowed: The principal may not take it over.
        _TickIsDue: It is to be paused, and a tick that is due has not been decided.
    """
    if taken_over:
        # As who makes one: its job is enqueued in this principal's name from now on.
        _require(scope, Permission.OPERATE, schedule, "take the schedule over", "name")
        _require(scope, Permission.ENQUEUE, schedule, "take the schedule over", "name")
    if not pausing:
        return next_tick(schedule.spec, max(at, schedule.last_tick or at))
    if _is_due(schedule, at) and not ahead:
        raise _TickIsDue(schedule.id)
    return schedule.next_at


def _is_due(schedule: Schedule, at: datetime) -> bool:
    return schedule.next_at is not None and schedule.next_at <= at and not schedule.paused


def _check_payload(now_is: Schedule, has_payload: bool) -> None:
    """A job that was listed must not be written back without what the list leaves out.

    Raises:
        FieldInvalid: It would lose a payload or headers.
    """
    if not has_payload and (now_is.job.payload != b"null" or now_is.job.headers):
        raise FieldInvalid.of("schedule.job.payload", _NO_PAYLOAD)


def _require(scope: Scope, permission: Permission, schedule: Schedule, doing: str, field: str) -> None:
    """Lets a principal pass that has one of these permissions on the queue and kind of the schedule's job.

    Raises:
        ScheduleNotFound: It may not read its jobs either.
        NotAllowed: It may.
    """
    queue, kind = schedule.job.queue, schedule.job.kind
    if any(scope.grants.may(each, queue, kind) for each in permission):
        return
    if not scope.grants.may(Permission.READ, queue, kind):
        raise ScheduleNotFound.of(schedule.name, field)
    names = " or ".join(str(each.name) for each in permission)
    raise not_allowed(names, doing, queue=queue, kind=kind)


def _mismatch(name: str, revision: int, field: str = "schedule.etag") -> EtagMismatch:
    return EtagMismatch(
        f"{field}: the schedule {name!r} has another etag, since it was changed: read it again",
        metadata={"schedule": name, "etag": etag_of(revision)},
    )


def _check_policy(policy: Policy) -> None:
    """Two policies that would undo each other.

    Raises:
        FieldInvalid: They do.
    """
    if policy.catch_up is CatchUp.ALL and policy.overlap is Overlap.SKIP:
        what = (
            "can't be ALL where `overlap` is SKIP: of the ticks that are caught up all but the first would be skipped; "
            "use LATEST, or BUFFER_ONE or ALLOW as `overlap`"
        )
        raise FieldInvalid(
            f"schedule.policy.catch_up {what}",
            violations=[FieldViolation("schedule.policy.catch_up", what)],
        )
