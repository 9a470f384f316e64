"""The parts that turn requests into rows, put together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ...ids import IdMint
from ...metrics import Metrics
from ...store.stores import Stores
from ...store.upkeep.clock import uuid_of
from ..catalog.room import CatalogRoom
from ..claim.room import ClaimRoom
from ..tuning import Tuning
from ..upkeep.room import UpkeepRoom
from .batcher import Batcher
from .enqueuer import Enqueuer
from .intake import Intake
from .keyed import KeyedBatches, KeyedJobs
from .placement import Placement
from .waiting import Waiting
from .window import BatchingWindow


class IntakeRoom:
    """Its parts are its attributes."""

    def __init__(
        self,
        stores: Stores,
        upkeep: UpkeepRoom,
        catalog: CatalogRoom,
        claim: ClaimRoom,
        metrics: Metrics,
        tuning: Tuning,
        *,
        most_waiting: int,
    ) -> None:
        store, clock, load = stores.intake, upkeep.clock, claim.load
        self.waiting = waiting = Waiting(most_waiting)
        self.intake = intake = Intake(catalog.catalog, IdMint(clock, uuid_of), upkeep.levels)
        self.placement = placement = Placement(claim.hand_off, clock, metrics)
        window = BatchingWindow(load, waiting, tuning)
        self.plain, self.keyed = (
            Batcher(store, claim.hand_off, placement, waiting, window, load, metrics, tuning)
            for _ in range(2)
        )
        keyed_jobs = KeyedJobs(intake, self.keyed, store, stores.reads, waiting, tuning)
        self.keyed_batches = KeyedBatches(store, placement, waiting, tuning)
        self.enqueuer = Enqueuer(intake, self.plain, keyed_jobs, self.keyed_batches, waiting)

    def background(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """What runs all the time."""
        return {"enqueue": self.plain.run, "enqueue keyed": self.keyed.run}
