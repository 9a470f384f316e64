"""How busy the thread of the event loop is, and how dense the calls are: how long inserts wait, how jobs are dealt."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

_WINDOW = 0.05
# Of the time.
_MOST = 0.75
_LITTLE = 0.5
# Workers of which each job takes its time end much less than what a flood of calls brings.
_KEEPS_UP = 4


class Load:
    """Measures the thread that asks: what it tells is of the last whole twentieth of a second.

    Args:
        monotonic: The time.
        times: For how many seconds the thread ran and waited for a core; None: asks the system.

    Attributes:
        arrived: Calls that came.
        stored, ended: Jobs that were stored and that have ended.
    """

    def __init__(
        self,
        monotonic: Callable[[], float] = time.monotonic,
        times: Callable[[], tuple[float, float]] | None = None,
    ) -> None:
        self.arrived = self.stored = self.ended = 0
        self._monotonic = monotonic
        self._times = times or _times()
        self._at = monotonic()
        self._ran, self._waited = self._times()
        self._busy = self._overcommitted = False
        self._underused = True
        self._calls = 0.0
        self._keep_up = False

    def call_arrived(self) -> None:
        """A call brought jobs."""
        self.arrived += 1

    def brought(self, jobs: int) -> None:
        """So many were stored."""
        self.stored += jobs

    def have_ended(self, jobs: int) -> None:
        """So many have ended."""
        self.ended += jobs

    @property
    def busy(self) -> bool:
        """Whether the thread ran most of the time."""
        self._look()
        return self._busy

    @property
    def cpu_overcommitted(self) -> bool:
        """Whether it ran, or waited for a core that others had, most of the time: more is to be done than can be."""
        self._look()
        return self._overcommitted

    @property
    def cpu_underused(self) -> bool:
        """Whether it had as much time to spare as it ran or waited for a core: what costs more is no matter yet."""
        self._look()
        return self._underused

    @property
    def workers_keep_up(self) -> bool:
        """Whether jobs end about as fast as they come: those that work are not what all waits for."""
        self._look()
        return self._keep_up

    @property
    def calls(self) -> float:
        """How many calls came in a second."""
        self._look()
        return self._calls

    def _look(self) -> None:
        now = self._monotonic()
        took = now - self._at
        if took < _WINDOW:
            return
        ran, waited = self._times()
        self._busy = ran - self._ran >= _MOST * took
        wanted = ran - self._ran + waited - self._waited
        self._overcommitted = wanted >= _MOST * took
        self._underused = wanted < _LITTLE * took
        self._calls = self.arrived / took
        self._keep_up = self.ended * _KEEPS_UP >= self.stored
        self._at, self._ran, self._waited = now, ran, waited
        self.arrived = self.stored = self.ended = 0


def _times() -> Callable[[], tuple[float, float]]:
    """Tells for how many seconds this thread ran and waited for a core; 0 where the system does not tell of waiting.

    https://docs.kernel.org/scheduler/sched-stats.html#proc-pid-schedstat
    """
    try:
        stat = Path("/proc/thread-self/schedstat").open("rb", buffering=0)  # noqa: SIM115
    except OSError:
        return lambda: (time.thread_time(), 0.0)

    def read() -> tuple[float, float]:
        stat.seek(0)
        return time.thread_time(), int(stat.read(100).split()[1]) / 1e9

    return read
