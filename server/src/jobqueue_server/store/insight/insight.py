"""What holds jobs back, as it is stored, and what workers take, as servers and sessions wrote it."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from ...scope import Scope
from ..database import Reads, Record


class InsightStore:
    """Reads alone, each of them bounded.

    Raises (every method): DatabaseAway.
    """

    def __init__(self, database: Reads) -> None:
        self._database = database

    async def explain_job(
        self, scope: Scope, job_id: UUID, lanes: Sequence[int], *, most: int
    ) -> Record | None:
        """A job with all that can hold it back, workers aside; None: there is none in the namespace.

        Args:
            scope: Whose job it is.
            job_id: The job.
            lanes: Those whose jobs go before it too, if they are of its queue.
            most: How many of these to count.
        """
        return await self._database.fetchrow("explain_job", job_id, scope.namespace, lanes, most)

    async def explain_key(self, job_id: UUID, *, most_holders: int, most: int) -> Record | None:
        """What holds back a job that waits for its key; None: its key holds it back no longer."""
        return await self._database.fetchrow("explain_key", job_id, most_holders, most)

    async def server_loads(self, server_id: int) -> list[Record]:
        """The servers: id, name, version, level, started_at, heartbeat_at, now, own (whether it is this one), silent.

        With load, of the others, as `core/session/load.py` wrote it; None: it never did.
        """
        return await self._database.fetch("server_loads", server_id)

    async def calling_sessions(self) -> list[Record]:
        """The sessions without a stream: namespace_id, greeting, held (how many jobs)."""
        return await self._database.fetch("calling_sessions")

    async def overview_state(self) -> Record:
        """now, silent_of, silent (namespaces, and how many sessions of each are silent), snapshot_age."""
        row = await self._database.fetchrow("overview_state")
        assert row is not None
        return row

    async def paused_queues(self) -> dict[int, Record]:
        """The paused queues: paused_at, paused_by, pause_reason."""
        return {row["id"]: row for row in await self._database.fetch("paused_queues")}

    async def queue_starts(self, queues: Sequence[int]) -> dict[int, int]:
        """How many jobs may start now, by queue, of those of these that have a rate."""
        rows = await self._database.fetch("queue_starts", queues)
        return {row["id"]: row["jobs"] for row in rows}

    async def kind_starts(self, kinds: Sequence[int]) -> dict[int, int]:
        """How many jobs may start now, by kind, of those of these that have a rate."""
        rows = await self._database.fetch("kind_starts", kinds)
        return {row["id"]: row["jobs"] for row in rows}

    async def queue_demand(self, lanes: Sequence[int], *, most: int, most_waiting: int) -> list[Record]:
        """A row for each lane: due (jobs, at most `most` of a state), due_since, later, held, held_by_key, now."""
        return await self._database.fetch("queue_demand", lanes, most, most_waiting)

    async def queue_demand_few(self, lanes: Sequence[int]) -> list[Record]:
        """As `queue_demand`, of those of these lanes that have 100 jobs at most, and none held back or that runs alone.

        No bound of `queue_demand` may be below that. It takes half the time of that, or less.
        """
        return await self._database.fetch("queue_demand_few", lanes)

    async def running(self, most: int) -> dict[int, int]:
        """How many jobs run, by lane; at most `most` in all."""
        return {row["lane_id"]: row["jobs"] for row in await self._database.fetch("running_depths", most)}
