"""Whether the server takes work: what balancers are told over both transports."""

from __future__ import annotations

from collections.abc import Mapping

from .chain import Chain
from .core.events.database_state import DatabaseChange, DatabaseState
from .core.upkeep.standstill import REMEDY, Standstill
from .rpc.server import GrpcServer


class Serving:
    """It does while the database can be reached, from its start until it leaves."""

    def __init__(
        self, grpc: GrpcServer, chain: Chain, database: DatabaseState, standstill: Standstill
    ) -> None:
        self._grpc = grpc
        self._chain = chain
        self._database = database
        self._standstill = standstill
        self._not_ready = "starting"
        database.subscribe(self._database_changed)

    def not_ready(self) -> str:
        """Why it takes no work now; empty where it does."""
        return self._not_ready

    def noted(self) -> Mapping[str, str]:
        """What is to be known although it takes work: in a standstill it takes jobs, and hands out none."""
        since = self._standstill.since
        if since is None:
            return {}
        return {"standstill": f"nothing is handed out since {since.isoformat(timespec='seconds')}: {REMEDY}"}

    @property
    def began(self) -> bool:
        """Whether it ever took work."""
        return self._not_ready != "starting"

    async def serve_if(self, not_ready: str) -> None:
        """It takes work from now on, or does not, for this reason."""
        self._not_ready = not_ready
        await self._grpc.set_serving(not not_ready)

    async def _database_changed(self, change: DatabaseChange) -> None:
        if change is not DatabaseChange.LONG_AWAY and not self._chain.draining:
            await self.serve_if(self._database.away)
