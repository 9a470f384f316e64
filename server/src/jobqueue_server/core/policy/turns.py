"""Queues whose keys take turns: how many jobs of one key may stand in line."""

from __future__ import annotations

import math
from collections.abc import Collection

from ..claim.takers import Takers
from ..tuning import Tuning


class _Round:
    """The keys of the jobs that started last."""

    def __init__(self) -> None:
        self._before = 0
        self._keys: set[str] = set()
        self._starts = 0

    def started(self, keys: Collection[str], slots: int) -> int:
        """Takes in the key of each job that has started: how many keys share the slots, as far as can be seen.

        Keys that stand in line are met in turn. So among twice as many starts as there are slots all keys are met, or
        at least as many as there are slots; where there are more, none may have a second place in any case.
        """
        self._keys.update(keys)
        self._starts += len(keys)
        seen = max(self._before, len(self._keys))
        if self._starts >= 2 * slots:
            self._before, self._keys, self._starts = len(self._keys), set(), 0
        return seen


class Turns:
    """Shares the places in the line of a queue among its keys.

    Each key with jobs has one. There are as many more as the workers here have slots, so that each slot finds a job in
    line when it gets free. What it says is of this server alone. A wrong guess makes a round longer, or a line shorter.
    """

    def __init__(self, takers: Takers, tuning: Tuning) -> None:
        self._takers = takers
        self._most_claimed = tuning.most_claimed
        self._rounds: dict[int, _Round] = {}

    def places(self, queue_id: int, keys: Collection[str]) -> int:
        """How many jobs of one key may stand in line, once a job of each of these keys has started."""
        slots = self._slots(queue_id)
        seen = self._rounds.setdefault(queue_id, _Round()).started(keys, slots)
        return max(math.ceil(slots / max(seen, 1)), 1)

    def _slots(self, queue_id: int) -> int:
        """The slots of the sessions that take jobs of a queue, as many as one claim fills at most."""
        groups = {
            group for lane_id in self._takers.lanes_of(queue_id) for group in self._takers.of_lane(lane_id)
        }
        slots = 0
        for group in groups:
            slots += group.slots(self._most_claimed - slots)
            if slots >= self._most_claimed:
                break
        return min(slots, self._most_claimed)
