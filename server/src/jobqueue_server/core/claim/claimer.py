"""The claimer: turns credit into leases of what waits.

A claim is made for a group: the sessions with the same subscriptions, so that any row of it fits any of its slots.
Rows are claimed only against credit that exists. While a claim is under way its slots are reserved.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress

from ...errors import JobQueueError
from ...store.claim.claims import Allowed, ClaimStore
from ...store.database import Record
from ..catalog.catalog import Lane
from ..lease.session import Session
from ..tuning import Tuning
from .activity import Activity
from .deal import deal
from .delivery import Delivery
from .full import FullLimits
from .lines import Lines
from .load import Load
from .plan import Plan, fitting
from .takers import Takers
from .taking import Taking
from .targets import Group
from .weigher import Weigher

_log = logging.getLogger(__name__)


class Claimer:
    """Claims while there is both credit and work."""

    def __init__(
        self,
        store: ClaimStore,
        takers: Takers,
        lines: Lines,
        delivery: Delivery,
        activity: Activity,
        load: Load,
        full: FullLimits,
        weigher: Weigher,
        taking: Taking,
        tuning: Tuning | None = None,
    ) -> None:
        self._store = store
        self._takers = takers
        self._lines = lines
        self._delivery = delivery
        self._activity = activity
        self._load = load
        self._full = full
        self._weigher = weigher
        self._taking = taking
        self._tuning = tuning or Tuning()
        # A group whose last claim was a whole one, for the second claimer.
        self._saturated: Group | None = None
        # Whether the last claim was of several lines.
        self._last_claim_multi_lane = False
        self._second_may_claim = asyncio.Event()

    async def run(self) -> None:
        """Claims until cancelled."""
        second = asyncio.ensure_future(self._claim_more())
        try:
            await self._run()
        finally:
            tasks = [second, *self._taking.tasks]
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _run(self) -> None:
        away = False
        # After a crash there may be work for which no wake-up comes again.
        self._activity.wake()
        while True:
            await self._activity.work()
            try:
                while await self._round():
                    pass
                away = False
            except JobQueueError as error:
                if not away:
                    _log.warning("claims stop: %s", error)
                away = True
                self._lines.forget()
                await asyncio.sleep(self._tuning.claim_again_after)
                self._activity.wake()
            finally:
                self._activity.progressed()

    async def _claim_more(self) -> None:
        """A second claimer, for whole claims: the database makes one while the rows of the other are handled."""
        while True:
            await self._second_may_claim.wait()
            self._second_may_claim.clear()
            with suppress(JobQueueError):
                while self._saturated is not None and await self._claim(self._saturated):
                    pass

    async def _round(self) -> bool:
        """One claim for each group that can have one. Returns whether another round may bring something."""
        again = False
        self._taking.raise_failed()
        await self._delivery.return_orphans()
        if self._activity.paused:
            return False
        for group in self._takers.turns():
            again |= await self._claim_isolated(group)
            again |= await self._claim(group)
        for group in self._takers.asking():
            for lanes in list(group.counted(self._lines, self._full)):
                again |= await self._claim_counted(group, lanes)
            group.asked()
        self._weigher.round_ended()
        self._activity.round_ended()
        return again

    async def _claim(self, group: Group) -> bool:
        plan = await self._plan(group)
        if plan is None:
            return False
        if self._saturated is group:
            self._second_may_claim.set()
        slots, targets, ids = plan.slots, plan.targets, [session.id for session in plan.slots]
        self._last_claim_multi_lane = len(targets) > 1
        rows = await self._taking.take(
            slots, self._store.claim(targets, ids, _epochs(slots)), weight=plan.weight
        )
        group.turned()
        whole = len(rows) == self._tuning.most_claimed and len(targets) == 1 and not slots[0].bounded
        self._saturated = group if whole else None
        plan.note(rows)
        # A claim stops at the first saturated priority. If that was just used up, it found nothing and did not read the
        # priorities below: without another round they would wait for the next sweep, a second for each priority.
        return bool(rows) or group.waiting(self._lines)

    async def _claim_counted(self, group: Group, lanes: list[Lane]) -> bool:
        """One claim of these lanes, whose queue or kind limits how many jobs run or start."""
        plan = None if self._full.holds(lanes[0]) else await self._plan(group, lanes)
        if plan is None:
            return False
        slots, allowed, ids = plan.slots, Allowed(0), [session.id for session in plan.slots]
        self._full.asks(lanes[0], group.kinds_beside(lanes[0]))

        async def claim() -> list[Record]:
            nonlocal allowed
            allowed, rows = await self._store.claim_counted(
                lanes[0].queue_id, plan.targets, ids, _epochs(slots), _kind(lanes)
            )
            return rows

        rows = await self._taking.take(slots, claim(), weight=plan.weight)
        plan.note(rows, allowed.room)
        if len(rows) >= allowed.room:
            self._full.add(lanes[0], allowed)
            return False
        return bool(rows) or group.waiting(self._lines, lanes)

    async def _plan(self, group: Group, counted: list[Lane] | None = None) -> Plan | None:
        """The next claim of a group, once it may be made; None without a job to claim or a session to take it.

        With `counted`, the next one there: lanes of a claim that asks for limits.
        """
        waited = False
        while True:
            if self._activity.paused or not group.waiting(self._lines, counted):
                return None
            if counted is None and group.weighs(self._lines):
                return await self._weigher.plan(group)
            slots = await self._deal(group, counted)
            if not slots:
                return None
            targets, lines = group.targets(self._lines, len(slots), counted)
            if not targets:
                return None
            if self._activity.settling and not waited and len(slots) < self._tuning.few_claimed:
                waited = True
                until = asyncio.get_running_loop().time() + self._tuning.admission_patience
                await self._activity.progress_until(until)
                continue
            if slots[0].capacity.bytes:
                sizes = await self._store.peek(targets, len(slots))
                # Without any size the claim finds no job either, and notes that these lines are used up.
                slots = slots[: fitting(slots[0], sizes) if sizes else 1]
                if not slots:
                    return None
            # A claim of several lines locks more than it takes. Another claim passes over these rows, and they are then
            # behind its floor. So only claims of one and the same line are made at the same time.
            if not self._activity.claims or (len(targets) == 1 and not self._last_claim_multi_lane):
                return Plan.of(slots, targets, lines, 1 if counted is None else counted[0].weight)
            await self._activity.progress()

    async def _deal(self, group: Group, counted: list[Lane] | None) -> list[Session]:
        most = self._tuning.most_claimed
        if counted is not None and counted[0].weight > 1:
            return await self._weigher.slots(group, counted, most)
        return deal(group.by_room(), most, whole=self._load.cpu_overcommitted)

    async def _claim_isolated(self, group: Group) -> bool:
        again = False
        for lanes in group.isolated(self._lines):
            again |= await self._claim_isolated_in(group, lanes)
        for lanes in group.counted_isolated(self._lines, self._full):
            if not self._full.holds(lanes[0]):
                again |= await self._claim_isolated_in(group, lanes, counted=True)
        return again

    async def _claim_isolated_in(self, group: Group, lanes: list[Lane], *, counted: bool = False) -> bool:
        weight = lanes[0].weight
        alone = [session for session in group.sessions if session.isolated == 0]
        if weight == 1:
            slots = [session for session in alone if session.free > 0]
        else:
            slots = await self._weigher.each(group, lanes, alone)
        if slots and any(session.capacity.by_kind for session in group.sessions):
            lanes = [lane for lane in lanes if any(session.free_for(lane.kind) > 0 for session in slots)]
        if not slots or not lanes or not await self._isolated_fits(slots[0], lanes):
            return False
        marks = {lane.id: self._lines.isolated[lane.id] for lane in lanes}
        allowed = Allowed(len(slots))
        if counted:
            self._full.asks(lanes[0], group.kinds_beside(lanes[0]))

        async def claim() -> list[Record]:
            nonlocal allowed
            ids = [lane.id for lane in lanes]
            if not counted:
                return await self._store.claim_isolated(ids, _epochs(slots))
            allowed, rows = await self._store.claim_isolated_counted(
                lanes[0].queue_id, ids, _epochs(slots), _kind(lanes)
            )
            return rows

        rows = await self._taking.take(slots, claim(), isolated=True, weight=weight)
        if counted and len(rows) >= allowed.room:
            self._full.add(lanes[0], allowed)
        elif len(rows) < len(slots):
            self._lines.none_isolated(marks)
        return bool(rows)

    async def _isolated_fits(self, session: Session, lanes: Sequence[Lane]) -> bool:
        if not session.capacity.bytes:
            return True
        return session.fits(await self._store.peek_isolated([lane.id for lane in lanes]))


def _epochs(slots: Sequence[Session]) -> dict[int, int]:
    return {session.id: session.epoch for session in slots}


def _kind(lanes: Sequence[Lane]) -> int | None:
    """The kind that a claim asks."""
    return lanes[0].kind_id if lanes[0].kind_limited else None
