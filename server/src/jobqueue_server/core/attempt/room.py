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
from ..policy.room import PolicyRoom
from ..tuning import Tuning
from .commits import Commits
from .follow_ups import FollowUps
from .settlement_line import SettlementLine
from .settler import Settler


class AttemptRoom:
    """Its parts are its attributes."""

    def __init__(
        self,
        stores: Stores,
        catalog: CatalogRoom,
        events: EventsRoom,
        lease: LeaseRoom,
        claim: ClaimRoom,
        policy: PolicyRoom,
        intake: IntakeRoom,
        metrics: Metrics,
        tuning: Tuning,
    ) -> None:
        store, ends = stores.attempts, events.ends
        commits = Commits(
            store,
            lease.attempts,
            ends,
            policy.keyed_ends,
            metrics,
            tuning.keys_admitted,
        )
        self.follow_ups = FollowUps(
            commits, store, intake.intake, intake.keyed_batches, intake.placement, tuning
        )

        def line(*, keyed: bool) -> SettlementLine:
            return SettlementLine(
                commits, claim.activity, claim.insert_pacing, policy.keyed_ends if keyed else None
            )

        self._line = line(keyed=False)
        self._keyed = [line(keyed=True) for _ in range(tuning.keyed_settlement_lines)]
        self.settler = Settler(catalog.catalog, policy.keyed_ends, self._line, self._keyed, self.follow_ups)

    def background(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """What runs all the time."""
        return {
            "settle": self._line.run,
            **{f"settle keyed {number}": line.run for number, line in enumerate(self._keyed, 1)},
            "follow-ups": self.follow_ups.run,
        }
