"""How a claim is made: its slots are reserved, its rows are delivered while the next claims run."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Sequence

from ...metrics import Metrics
from ...store.database import Record
from ..lease.session import Session
from ..tuning import Tuning
from .activity import Activity
from .delivery import Delivery


class Taking:
    """Runs claims, and delivers what they bring in the order in which they were made."""

    def __init__(self, delivery: Delivery, activity: Activity, metrics: Metrics, tuning: Tuning) -> None:
        self._delivery = delivery
        self._activity = activity
        self._metrics = metrics
        self._tuning = tuning
        # The last delivery that began; those before it end before it does.
        self._delivering: asyncio.Task[None] | None = None
        self._failed: Exception | None = None

    def raise_failed(self) -> None:
        """Raises what a delivery failed with, once."""
        if self._failed is not None:
            failed, self._failed = self._failed, None
            raise failed

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """What is under way."""
        return [] if self._delivering is None else [self._delivering]

    async def take(
        self,
        slots: Sequence[Session],
        claim: Awaitable[list[Record]],
        *,
        isolated: bool = False,
        weight: int = 1,
    ) -> list[Record]:
        """Runs a claim with its slots reserved, and delivers what it brought."""
        for session, count in Counter(slots).items():
            session.claim_begins(count * weight)
        started = asyncio.get_running_loop().time()
        delivers = False
        with self._activity.claiming():
            try:
                rows = await claim
                if not rows:
                    return rows
                self._metrics.observe_batch("claim", asyncio.get_running_loop().time() - started, len(rows))
                by_id = {session.id: session for session in slots}
                if isolated or slots[0].bounded:
                    # What the next claim may take is known when this one's jobs are.
                    await self._delivery.deliver(rows, by_id, isolated=isolated)
                    return rows
                # While it is on its way the next claims are made.
                before, delivers = self._delivering, True
                self._activity.delivery_begins()
                self._delivering = asyncio.ensure_future(self._deliver(before, rows, slots, by_id, weight))
                while self._activity.deliveries > self._tuning.deliveries:
                    await self._activity.progress()
                return rows
            finally:
                if not delivers:
                    _give_back(slots, weight)

    async def _deliver(
        self,
        before: asyncio.Task[None] | None,
        rows: list[Record],
        slots: Sequence[Session],
        sessions: dict[int, Session],
        weight: int,
    ) -> None:
        """Delivers once the delivery before has ended, and gives the slots back. The next round raises what failed."""
        try:
            await self._delivery.deliver(rows, sessions, isolated=False, after=before)
        except Exception as error:
            self._failed = error
        finally:
            _give_back(slots, weight)
            self._activity.delivery_ended()


def _give_back(slots: Sequence[Session], weight: int) -> None:
    for session, count in Counter(slots).items():
        session.claim_ended(count * weight)
