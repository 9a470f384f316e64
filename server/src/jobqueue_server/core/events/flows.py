"""How the jobs of each lane came, began and ended, as far as this server stored, leased or settled them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from .ends import Ended, Ends
from .tallies import Tallies

#: Seconds that are counted together.
SPAN = 60


@dataclass(slots=True)
class Flow:
    """Jobs that were enqueued, and jobs that ended with an attempt."""

    arrived: int = 0
    ended: int = 0

    def add(self, arrived: int = 0, ended: int = 0) -> None:
        """So many more of each; less where it is negative."""
        self.arrived += arrived
        self.ended += ended


class Flows:
    """Counts what came and ended by whole seconds, and keeps the sum of the last SPAN of them.

    What happens now counts a second later. For the statistics it counts all that happened, until they take it. A
    count costs a look-up or two for many jobs that came, began or ended alike. Lanes without jobs cost nothing.

    Args:
        ends: Tells of ends.
        clock: Seconds that only grow.

    Attributes:
        tallies: For the statistics, which take them.
    """

    def __init__(self, ends: Ends, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # Of seconds in which anything happened, the oldest first; the last one may still go on.
        self._seconds: deque[tuple[int, dict[int, Flow]]] = deque()
        self._summed: dict[int, Flow] = {}
        self.tallies = Tallies()
        ends.subscribe(self._ended)

    def arrived(self, lane_id: int, jobs: int) -> None:
        """Jobs of a lane were stored."""
        self._of(lane_id).add(arrived=jobs)
        self.tallies[lane_id].came(jobs)

    def started(self, lane_id: int, seconds: Sequence[float]) -> None:
        """Jobs of a lane were leased, which had been due for so long each, in ascending order."""
        self.tallies[lane_id].waited(seconds)

    def handed_off(self, lane_id: int, jobs: int) -> None:
        """Jobs of a lane were leased in the statement that stored them."""
        self.tallies[lane_id].waited_not(jobs)

    def leased_in_vain(self, lane_id: int, jobs: int = 1) -> None:
        """Jobs of a lane were leased, and go back before a worker hears of them."""
        self.tallies[lane_id].leased_in_vain(jobs)

    def last_minute(self) -> Iterator[tuple[int, Flow]]:
        """Each lane with jobs in it, with their number."""
        self._catch_up()
        return iter(self._summed.items())

    def of(self, lane_id: int) -> Flow | None:
        """The jobs of one lane in the last minute; None: there were none. It may change until it is asked for again."""
        self._catch_up()
        return self._summed.get(lane_id)

    def _catch_up(self) -> None:
        now = int(self._clock())
        if self._seconds and self._seconds[-1][0] < now:
            self._begin(now)

    def _ended(self, ended: Sequence[Ended]) -> None:
        for each in ended:
            if each.lane_id is None:
                continue
            if each.waits is None and each.ran is not None:
                self._of(each.lane_id).add(ended=len(each.job_ids))
            self.tallies[each.lane_id].ended(each)

    def _of(self, lane_id: int) -> Flow:
        now = int(self._clock())
        if not self._seconds or self._seconds[-1][0] < now:
            self._begin(now)
        flows = self._seconds[-1][1]
        flow = flows.get(lane_id)
        if flow is None:
            flow = flows[lane_id] = Flow()
        return flow

    def _begin(self, now: int) -> None:
        """The second before is over, and counts."""
        if self._seconds:
            for lane_id, flow in self._seconds[-1][1].items():
                self._summed.setdefault(lane_id, Flow()).add(flow.arrived, flow.ended)
        self._seconds.append((now, {}))
        while self._seconds[0][0] < now - SPAN:
            self._forget(self._seconds.popleft()[1])

    def _forget(self, flows: dict[int, Flow]) -> None:
        for lane_id, flow in flows.items():
            summed = self._summed[lane_id]
            summed.add(-flow.arrived, -flow.ended)
            if not summed.arrived and not summed.ended:
                del self._summed[lane_id]
