"""The parts that fire schedules, put together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ...metrics import Metrics
from ...store.stores import Stores
from ..access.room import AccessRoom
from ..events.room import EventsRoom
from ..intake.room import IntakeRoom
from ..upkeep.room import UpkeepRoom
from .apart import Apart
from .firer import Firer
from .firing import Firing
from .jobs import JobMaker
from .runs import ScheduleRuns
from .schedules import ScheduleService


class ScheduleRoom:
    """Its parts are its attributes."""

    def __init__(
        self,
        stores: Stores,
        upkeep: UpkeepRoom,
        access: AccessRoom,
        events: EventsRoom,
        intake: IntakeRoom,
        metrics: Metrics,
    ) -> None:
        jobs = JobMaker(intake.intake, intake.keyed_batches, intake.placement, access.principals, metrics)
        apart = Apart()
        firing = Firing(stores.fires, jobs, apart)
        self.firer = firer = Firer(
            stores.fires, firing, apart, upkeep.clock, upkeep.standstill, events.ends, metrics
        )
        self.schedules = ScheduleService(
            stores.schedules,
            jobs,
            access.principals,
            upkeep.clock,
            firer.wake,
            firing.alone,
            firing.leave_out,
        )
        self.runs = ScheduleRuns(self.schedules, stores.schedules, stores.fires, firing, jobs)

    def background(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """What runs all the time."""
        return {"schedules": self.firer.run, "schedules apart": self.firer.run_apart}
