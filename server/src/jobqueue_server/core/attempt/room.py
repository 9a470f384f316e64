"""The parts that turn leases into ends, put together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ...metrics import Metrics
from ...store.attempt.attempts import AttemptStore
from ..claim.room import ClaimRoom
from ..enqueue import Enqueuer
from ..events.ends import Ends
from ..lease.attempt_ends import AttemptEnds
from .commits import Commits
from .follow_ups import FollowUps
from .settler import Settler


class AttemptRoom:
    """Its parts are its attributes."""

    def __init__(
        self,
        store: AttemptStore,
        claim: ClaimRoom,
        enqueuer: Enqueuer,
        attempts: AttemptEnds,
        ends: Ends,
        metrics: Metrics,
    ) -> None:
        commits = Commits(store, attempts, ends, metrics)
        self.follow_ups = FollowUps(commits, store, enqueuer)
        self.settler = Settler(commits, self.follow_ups, claim.activity, claim.admission)

    def background(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """What runs all the time."""
        return {"settle": self.settler.run, "follow-ups": self.follow_ups.run}
