"""The parts that change jobs for callers, one or many at once, put together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ...metrics import Metrics
from ...store.stores import Stores
from ..access.room import AccessRoom
from ..catalog.room import CatalogRoom
from ..claim.room import ClaimRoom
from ..events.room import EventsRoom
from ..intake.room import IntakeRoom
from ..schedule.room import ScheduleRoom
from ..session.room import SessionRoom
from .changes import JobChanges
from .effects import Effects
from .operations import Operations
from .preview import Previews
from .rests import Rests
from .runner import Runner


class BulkRoom:
    """Its parts are its attributes."""

    def __init__(
        self,
        stores: Stores,
        access: AccessRoom,
        catalog: CatalogRoom,
        events: EventsRoom,
        claim: ClaimRoom,
        intake: IntakeRoom,
        session: SessionRoom,
        schedule: ScheduleRoom,
        metrics: Metrics,
    ) -> None:
        effects = Effects(catalog.catalog, claim.lines, session.cancels, events.ends, events.wakes)
        self.changes = JobChanges(stores.changes, stores.reads, effects)
        previews = Previews(stores.bulk)
        self.runner = runner = Runner(
            stores.operations,
            stores.bulk,
            previews,
            schedule.runs,
            access.principals,
            effects,
            events.server,
            intake.waiting.is_half_full,
            metrics,
        )
        self._principals_end = access.used
        self.rests = Rests(stores.operations, access.principals)
        self.operations = Operations(
            stores.operations,
            stores.catalog,
            previews,
            schedule.runs,
            intake.mint,
            runner.wake,
        )

    def background(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """What runs all the time."""
        running: dict[str, Callable[[], Awaitable[None]]] = {"operations": self.runner.run}
        if self._principals_end:
            running["rests"] = self.rests.run
        return running
