"""The parts that turn leases into ends, put together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ...metrics import Metrics
from ...store.attempt.attempts import AttemptStore
from ..claim.room import ClaimRoom
from ..events.ends import Ends
from ..intake.room import IntakeRoom
from ..lease.attempt_ends import AttemptEnds
from ..tuning import Tuning
from .commits import Commits
from .follow_ups import FollowUps
from .settler import Settler


class AttemptRoom:
    """Its parts are its attributes."""

    def __init__(
        self,
        store: AttemptStore,
        claim: ClaimRoom,
        intake: IntakeRoom,
        attempts: AttemptEnds,
        ends: Ends,
        metrics: Metrics,
        tuning: Tuning,
    ) -> None:
        commits = Commits(store, attempts, ends, metrics)
        self.follow_ups = FollowUps(
            commits, store, intake.intake, intake.keyed_batches, intake.placement, tuning
        )
        self.settler = Settler(commits, self.follow_ups, claim.activity, claim.admission)

    def background(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """What runs all the time."""
        return {"settle": self.settler.run, "follow-ups": self.follow_ups.run}
