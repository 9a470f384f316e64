"""The parts that turn requests into rows, put together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ...ids import IdMint
from ...metrics import Metrics
from ...store.intake.intake import IntakeStore
from ...store.query.reads import ReadStore
from ..catalog.catalog import Catalog
from ..claim.load import Load
from ..claim.room import ClaimRoom
from ..tuning import Tuning
from ..upkeep.clock import Clock
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
        store: IntakeStore,
        reads: ReadStore,
        catalog: Catalog,
        clock: Clock,
        mint: IdMint,
        claim: ClaimRoom,
        load: Load,
        metrics: Metrics,
        tuning: Tuning,
        *,
        most_waiting: int,
    ) -> None:
        self.waiting = waiting = Waiting(most_waiting)
        self.intake = intake = Intake(catalog, mint)
        self.placement = placement = Placement(claim.hand_off, clock, metrics)
        window = BatchingWindow(load, waiting, tuning)
        self.plain, self.keyed = (
            Batcher(store, claim.hand_off, placement, waiting, window, load, metrics, tuning)
            for _ in range(2)
        )
        keyed_jobs = KeyedJobs(intake, self.keyed, store, reads, waiting, tuning)
        self.keyed_batches = KeyedBatches(store, placement, waiting, tuning)
        self.enqueuer = Enqueuer(intake, self.plain, keyed_jobs, self.keyed_batches, waiting)

    def background(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """What runs all the time."""
        return {"enqueue": self.plain.run, "enqueue keyed": self.keyed.run}
