"""Limits that let no more jobs start: they are not asked until a job has ended, or their rate lets one start."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ...metrics import Metrics
from ...model import Rate
from ...store.claim.claims import Allowed
from ..catalog.catalog import Lane
from ..events.ends import Ended, Ends
from .activity import Activity

#: Jobs end on other servers too, and limits are raised: after so many seconds a limit is asked anyway.
ASK_AGAIN_AFTER = 0.1
#: Rates are raised: after so many seconds one is asked anyway.
ASK_RATE_AFTER = 1.0
#: For so many seconds what a rate lets start is gathered, so that one claim leases it all.
GATHERED = 0.01


class _Whose(NamedTuple):
    """Whose limits they are: those of a queue, or of a kind, by its number."""

    of_kind: bool
    id: int


@dataclass(frozen=True, slots=True)
class _Full:
    #: The queue or the kind.
    name: str
    #: Of its jobs that run here. An end of one lets the next one start, but where the rate lets none.
    kinds: frozenset[str]
    by_rate: bool
    #: By the clock of the event loop.
    since: float
    again: asyncio.TimerHandle


class FullLimits:
    """Remembers which queues and kinds are full, as its last claim said, to save statements. No limit rests on it."""

    def __init__(self, activity: Activity, ends: Ends, metrics: Metrics) -> None:
        self._activity = activity
        self._metrics = metrics
        # Those that are full, and of those that a claim asks now the kinds.
        self._full: dict[_Whose, _Full] = {}
        self._asked: dict[_Whose, frozenset[str]] = {}
        ends.subscribe(self._ended)

    def holds(self, lane: Lane) -> bool:
        """Whether the limits of its queue or of its kind let no more of its jobs start."""
        if not self._full:
            return False
        return _Whose(False, lane.queue_id) in self._full or _Whose(True, lane.kind_id) in self._full

    def asks(self, lane: Lane, kinds: frozenset[str]) -> None:
        """A claim begins that asks the limits of this lane. `kinds`: those of its queue that those who claim take."""
        self._asks(_Whose(False, lane.queue_id), kinds)
        if lane.kind_limited:
            self._asks(_Whose(True, lane.kind_id), frozenset([lane.kind]))

    def _asks(self, whose: _Whose, kinds: frozenset[str]) -> None:
        self._asked[whose] = self._asked.get(whose, frozenset()) | kinds

    def add(self, lane: Lane, allowed: Allowed) -> None:
        """That claim got all that was allowed. If a job has ended meanwhile, the limits are asked again at once.

        Where a rate lets no more start for a while, an end is of no use.
        """
        whose = _Whose(True, lane.kind_id) if allowed.by_kind else _Whose(False, lane.queue_id)
        name, rate = (lane.kind, lane.kind_rate) if allowed.by_kind else (lane.queue, lane.rate)
        kinds, wait = self._asked.pop(whose, None), allowed.wait
        if kinds is None and not wait:
            self._activity.wake()
            return
        loop = asyncio.get_running_loop()
        after = min(max(wait, _gathers(rate)), ASK_RATE_AFTER) if wait else ASK_AGAIN_AFTER
        again = loop.call_later(after, self._discard, whose)
        self._full[whose] = _Full(name, kinds or frozenset(), wait > 0, loop.time(), again)

    def _discard(self, whose: _Whose) -> None:
        full = self._full.pop(whose, None)
        if full is not None:
            full.again.cancel()
            seconds = asyncio.get_running_loop().time() - full.since
            limit = "rate" if full.by_rate else "max_running"
            if whose.of_kind:
                self._metrics.kind_at_limit(full.name, limit, seconds)
            else:
                self._metrics.at_limit(full.name, limit, seconds)
            self._activity.wake()

    def _ended(self, ended: Sequence[Ended]) -> None:
        """Jobs have ended. Their queues are not told: one of the same kind in another queue costs a claim in vain."""
        for whose, kinds in list(self._asked.items()):
            if _any_of(kinds, ended):
                del self._asked[whose]
        for whose, full in list(self._full.items()):
            if not full.by_rate and _any_of(full.kinds, ended):
                self._discard(whose)


def _gathers(rate: Rate | None) -> float:
    """So many seconds as may go by without a loss: what came is a quarter of the burst at most when a claim begins."""
    if rate is None:
        return 0.0
    return min(GATHERED, rate.at_once // 4 * rate.period.total_seconds() / rate.count)


def _any_of(kinds: frozenset[str], ended: Sequence[Ended]) -> bool:
    return any(each.kind is None or each.kind in kinds for each in ended)
