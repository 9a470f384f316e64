"""The parts that turn rows into leases, put together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ...metrics import Metrics
from ...store.claim.claims import ClaimStore
from ..catalog.catalog import Catalog
from ..events.database_state import DatabaseState
from ..events.ends import Ends
from ..events.notices import Peers
from ..lease.attempt_ends import AttemptEnds
from ..lease.early_cancels import EarlyCancels
from ..tuning import Tuning
from ..upkeep.clock import Clock
from .activity import Activity
from .admission import Admission
from .claimer import Claimer
from .delivery import Delivery
from .handoff import HandOff
from .lines import Lines
from .load import Load
from .sweep import Sweep
from .takers import Takers


class ClaimRoom:
    """Its parts are its attributes."""

    def __init__(
        self,
        store: ClaimStore,
        catalog: Catalog,
        clock: Clock,
        attempts: AttemptEnds,
        cancels: EarlyCancels,
        ends: Ends,
        peers: Peers,
        database: DatabaseState,
        load: Load,
        metrics: Metrics,
        tuning: Tuning,
    ) -> None:
        self.activity = activity = Activity()
        self.takers = takers = Takers(catalog, activity, database)
        self.lines = lines = Lines(catalog, clock, activity, ends, peers, database)
        self.delivery = Delivery(store, catalog, takers, activity, attempts, cancels, metrics)
        self.admission = Admission(takers, lines, activity, load, tuning)
        self.hand_off = HandOff(takers, lines, self.admission, self.delivery, activity, load, tuning)
        self.claimer = Claimer(store, takers, lines, self.delivery, activity, load, metrics, tuning)
        self.sweep = Sweep(store, takers, lines, tuning)

    def background(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """What runs all the time."""
        return {"claims": self.claimer.run, "sweep": self.sweep.run}
