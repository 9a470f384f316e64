"""Shows in the metrics whether the server, its workers and its database are well, each read when it is asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable

from .core.catalog.catalog import Catalog
from .core.catalog.room import CatalogRoom
from .core.claim.room import ClaimRoom
from .core.claim.takers import Takers
from .core.events.room import EventsRoom
from .core.upkeep.room import UpkeepRoom
from .health import LaneCredit
from .labels import LaneLabels
from .loop_lag import LoopLag
from .metrics import Metrics
from .serving import Serving
from .store.stores import Stores


def show_health(
    metrics: Metrics,
    serving: Serving,
    stores: Stores,
    upkeep: UpkeepRoom,
    catalog: CatalogRoom,
    events: EventsRoom,
    claim: ClaimRoom,
) -> dict[str, Callable[[], Awaitable[None]]]:
    """The endpoint's thread reads all of it from memory: it must answer while the event loop is busy.

    Returns:
        What runs all the time for it.
    """
    lanes, takers, database = catalog.catalog, claim.takers, events.database
    metrics.watch_serving(lambda: not serving.not_ready(), lambda: not database.away)
    metrics.watch_connections(stores.database.connections)
    metrics.watch_condition(upkeep.condition.asked)
    metrics.watch_lanes(lambda: lane_credit(takers, lanes), lambda: paused_queues(lanes))
    return {"loop lag": LoopLag(metrics.loop_late).run}


def lane_credit(takers: Takers, catalog: Catalog) -> Iterable[LaneCredit]:
    """The free slots by lane; lanes beyond the bound together. A slot counts in each lane that it may be used for."""
    labels = LaneLabels(catalog)
    found: Counter[tuple[str, str, str]] = Counter()
    for group in list(takers.groups):
        free = sum(max(session.free, 0) for session in list(group.sessions))
        for lane in group.lanes:
            found[labels.of(lane)] += free
    return [LaneCredit(queue, kind, free, namespace) for (queue, kind, namespace), free in found.items()]


def paused_queues(catalog: Catalog) -> set[tuple[str, str]]:
    """Queue and namespace of those that are paused and have ever had a job."""
    labels = LaneLabels(catalog)
    return {
        (queue, namespace) for lane in list(catalog.paused()) for queue, _, namespace in [labels.of(lane)]
    }
