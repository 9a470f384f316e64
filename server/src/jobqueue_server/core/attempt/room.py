"""The parts that turn leases into ends, put together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ...metrics import Metrics
from ...store.stores import Stores
from ..catalog.room import CatalogRoom
from ..claim.room import ClaimRoom
from ..events.room import EventsRoom
from ..intake.room import IntakeRoom
from ..lease.room import LeaseRoom
from ..limits.room import LimitsRoom
from ..tuning import Tuning
from ..upkeep.room import UpkeepRoom
from .commits import Commits
from .follow_ups import FollowUps
from .settler import Settler


class AttemptRoom:
    """Its parts are its attributes."""

    def __init__(
        self,
        stores: Stores,
        upkeep: UpkeepRoom,
        catalog: CatalogRoom,
        events: EventsRoom,
        lease: LeaseRoom,
        claim: ClaimRoom,
        limits: LimitsRoom,
        intake: IntakeRoom,
        metrics: Metrics,
        tuning: Tuning,
    ) -> None:
        store, ends = stores.attempts, events.ends
        commits = Commits(
            store,
            lease.attempts,
            catalog.catalog,
            ends,
            claim.offers,
            limits.promoter,
            upkeep.levels,
            metrics,
            tuning.keys_let_in,
        )
        self.follow_ups = FollowUps(
            commits, store, intake.intake, intake.keyed_batches, intake.placement, tuning
        )
        self.settler = Settler(commits, self.follow_ups, claim.activity, claim.admission)

    def background(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """What runs all the time."""
        return {
            "settle": self.settler.run,
            "follow-ups": self.follow_ups.run,
        }
