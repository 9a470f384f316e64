"""How many jobs have not ended, by lane: counted once, for metrics and the overview together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...lifecycle import Hold, Status
from .catalog import Catalog, Lane


@dataclass(frozen=True, slots=True)
class DepthsRead:
    """What was counted, as `Catalog.depths` and `Catalog.blocked_keys` answer it."""

    waiting: Sequence[tuple[Lane, Status, int, bool, float]] = ()
    held: Sequence[tuple[Lane, Hold, int]] = ()
    blocked: Sequence[tuple[Lane, int]] = ()


class Depths:
    """Keeps the depths of queues.

    Attributes:
        latest: As they were counted last. Without any lane before they were counted at all.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self.latest = DepthsRead()

    async def read(self) -> DepthsRead:
        """Counts them.

        Raises:
            DatabaseAway: What was counted last stays.
        """
        waiting, held = await self._catalog.depths()
        self.latest = DepthsRead(waiting, held, await self._catalog.blocked_keys())
        return self.latest
