"""The parts that all sessions have in common, put together. Sessions themselves are made as workers come."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

from ...store.stores import Stores
from ..catalog.room import CatalogRoom
from ..events.room import EventsRoom
from ..tuning import Tuning
from .attempt_ends import AttemptEnds
from .early_cancels import EarlyCancels
from .progress import ProgressReports


class LeaseRoom:
    """Its parts are its attributes."""

    def __init__(
        self,
        stores: Stores,
        catalog: CatalogRoom,
        events: EventsRoom,
        tuning: Tuning,
        *,
        cancel_grace: timedelta,
    ) -> None:
        self.progress = ProgressReports(stores.attempts)
        self.attempts = AttemptEnds(
            stores.attempts, catalog.catalog, self.progress, events.ends, events.wakes
        )
        self.early_cancels = EarlyCancels(cancel_grace, tuning.cancels_kept)

    def background(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """What runs all the time."""
        return {"progress": self.progress.run}
