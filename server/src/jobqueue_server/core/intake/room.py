"""The parts that turn requests into rows, put together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ...ids import IdMint
from ...metrics import Metrics
from ...store.stores import Stores
from ...store.upkeep.clock import uuid_of
from ...traces.calls import Traces
from ..catalog.room import CatalogRoom
from ..claim.room import ClaimRoom
from ..events.room import EventsRoom
from ..query.room import QueryRoom
from ..tuning import Tuning
from ..upkeep.room import UpkeepRoom
from .batcher import Batcher, Batchers
from .beside import Beside
from .enqueuer import Enqueuer
from .inserter import Inserter
from .intake import Intake
from .keyed import KeyedBatches
from .names import UniqueNames
from .placement import Placement
from .singles import SingleJobs
from .slow_lane import SlowLane
from .waiting import Waiting
from .window import BatchingWindow

#: The lines of `Batchers`, in its order.
_LINES = (
    "enqueue",
    "enqueue keyed",
    "enqueue limited",
    "enqueue asking",
    "enqueue keyed and asking",
    "enqueue unique",
)


class IntakeRoom:
    """Its parts are its attributes."""

    def __init__(
        self,
        stores: Stores,
        upkeep: UpkeepRoom,
        catalog: CatalogRoom,
        events: EventsRoom,
        claim: ClaimRoom,
        query: QueryRoom,
        metrics: Metrics,
        tuning: Tuning,
        *,
        most_waiting: int,
        traces: Traces | None = None,
    ) -> None:
        store, clock, load = stores.intake, upkeep.clock, claim.load
        self.waiting = waiting = Waiting(most_waiting, metrics)
        self.mint = IdMint(clock, uuid_of)
        self.intake = intake = Intake(catalog.catalog, self.mint)
        self.placement = placement = Placement(claim.hand_off, clock, events.wakes, metrics, events.flows)
        metrics.watch_pressure(lambda: waiting.pressure)
        metrics.watch_waiting(lambda: waiting.jobs)
        window = BatchingWindow(load, waiting, tuning)
        names = UniqueNames(store)
        self._slow_lane = slow_lane = SlowLane(Beside(tuning), tuning)
        self._lines = {
            name: Batcher(
                Inserter(
                    store,
                    catalog.catalog,
                    claim.hand_off,
                    placement,
                    waiting,
                    metrics,
                    names=names if "unique" in name else None,
                    asks="asking" in name,
                    traces=traces,
                ),
                claim.hand_off,
                waiting,
                window,
                load,
                None if name == "enqueue" else slow_lane,
                tuning,
            )
            for name in _LINES
        }
        batchers = Batchers(*self._lines.values())
        singles = SingleJobs(
            intake, batchers, store, stores.reads, query.shared_reads, waiting, metrics, tuning
        )
        self.keyed_batches = KeyedBatches(store, names, placement, waiting, metrics, tuning)
        self.enqueuer = Enqueuer(intake, batchers, singles, self.keyed_batches, waiting)

    def background(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """What runs all the time."""
        return {
            **{name: line.run for name, line in self._lines.items()},
            "enqueue behind a lock": self._slow_lane.run,
        }
