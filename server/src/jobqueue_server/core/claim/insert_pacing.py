"""When an insert may go, and how much it may bring. New work waits for finished work."""

from __future__ import annotations

import asyncio

from ..tuning import Tuning
from .activity import Activity
from .full import FullLimits
from .lines import Lines
from .load import Load
from .takers import Takers
from .targets import Group


class InsertPacing:
    """Holds inserts back. Without it the queue slows down as soon as producers outrun workers, and stays slow.

    Measured: 10,000 to 14,000 jobs ended per second instead of 55,000.
    """

    def __init__(
        self,
        takers: Takers,
        lines: Lines,
        activity: Activity,
        load: Load,
        full: FullLimits,
        tuning: Tuning | None = None,
    ) -> None:
        self._takers = takers
        self._lines = lines
        self._activity = activity
        self._load = load
        self._full = full
        self._tuning = tuning or Tuning()
        # How many jobs inserts may bring because others have ended.
        self._allowance = 0.0

    async def room(self) -> int:
        """Waits, while there is a backlog that credit could take, until claims and settlements had their turn.

        A job that goes through the backlog costs half as much again. So where there is more to do than can be done, an
        insert brings no more than what can be handed off. Over a backlog it brings less than what has ended since the
        last one.

        Returns:
            How many jobs the next insert may have, as far as units allow.
        """
        activity, most = self._activity, self._tuning.most_claimed
        if activity.paused:
            return most
        give_up = asyncio.get_running_loop().time() + self._tuning.admission_patience
        outrun = self._load.cpu_overcommitted and self._load.workers_keep_up and self._takers.any_lane
        if self._backlog():
            wanted = activity.rounds + 1 if self._claimable() else activity.rounds
            while (
                activity.claims
                or activity.settlements_wait
                or (activity.rounds < wanted and self._claimable())
            ):
                if not await activity.progress_until(give_up):
                    break
            room = int(self._allowance) if outrun else most
        elif outrun:
            while (activity.settling or activity.settlements_wait) and not self._takers.credit(1):
                if not await activity.progress_until(give_up):
                    break
            room = self._takers.credit(most)
        else:
            room = most
        return max(room, self._tuning.least_inserted)

    def brought(self, jobs: int) -> None:
        """An insert brought jobs."""
        self._allowance = max(self._allowance - jobs, 0.0)
        self._load.brought(jobs)

    def ended(self, jobs: int) -> None:
        """Jobs have ended."""
        more = jobs * self._tuning.drained_part
        self._allowance = min(self._allowance + more, self._tuning.most_claimed)
        self._load.have_ended(jobs)

    def _backlog(self) -> bool:
        return any(group.waiting(self._lines) or self._counted_waits(group) for group in self._takers.groups)

    def _claimable(self) -> bool:
        return any(
            group.has_credit() and (group.targets(self._lines, 1)[0] or self._counted_waits(group))
            for group in self._takers.groups
        )

    def _counted_waits(self, group: Group) -> bool:
        return any(True for _ in group.counted(self._lines, self._full))
