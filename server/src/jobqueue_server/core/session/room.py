"""The parts that know who is connected, put together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

from ...metrics import Metrics
from ...store.stores import Stores
from ...store.upkeep.levels import LevelTooLow
from ..access.room import AccessRoom
from ..attempt.room import AttemptRoom
from ..catalog.room import CatalogRoom
from ..claim.room import ClaimRoom
from ..events.room import EventsRoom
from ..lease.room import LeaseRoom
from ..tuning import Tuning
from ..upkeep.room import UpkeepRoom
from .audit import Audit
from .cancels import Cancels
from .credentials import Credentials
from .drains import Drains
from .losses import Losses
from .own_load import OwnLoads
from .reaper import Reaper
from .registry import Sessions
from .resumption import Resumption
from .revocations import Revocations
from .server_heartbeat import ServerHeartbeat
from .silences import Silences
from .streams import Streams
from .unary import UnarySessions


class SessionRoom:
    """Its parts are its attributes."""

    def __init__(
        self,
        stores: Stores,
        upkeep: UpkeepRoom,
        access: AccessRoom,
        catalog: CatalogRoom,
        events: EventsRoom,
        lease: LeaseRoom,
        claim: ClaimRoom,
        attempt: AttemptRoom,
        metrics: Metrics,
        tuning: Tuning,
        *,
        server_name: str,
        on_outdated: Callable[[LevelTooLow], None],
        most: int,
        max_age: timedelta,
        cancel_grace: timedelta,
    ) -> None:
        peers, server, database, store = events.peers, events.server, events.database, stores.sessions
        attempts, early = lease.attempts, lease.early_cancels
        silences = Silences(store)
        self.sessions = Sessions(
            store, claim.takers, Resumption(store, catalog.catalog, attempts), silences, early, attempts, peers, server,
            metrics, most=most, max_age=max_age, tuning=tuning,
        )  # fmt: skip
        self.streams = Streams(self.sessions, silences, claim.takers, database, tuning)
        self.cancels = Cancels(
            store, self.sessions, peers, server, early=early, grace=cancel_grace, tuning=tuning
        )
        losses = Losses(store, self.sessions, silences, attempts, peers, metrics, tuning)
        revocations = Revocations(self.sessions, peers)
        self.drains = Drains(store, self.sessions, claim.takers, peers)
        self.audit = Audit(store, self.sessions, revocations, self.drains, attempts, server, metrics, tuning)
        self.reaper = Reaper(store, revocations, losses, self.audit, attempts, server, tuning)
        self.credentials = Credentials(
            store, self.sessions, claim.takers, attempts, access.access, peers, metrics, tuning
        )
        self.unary = UnarySessions(
            store, self.sessions, claim.takers, claim.delivery, attempt.settler, attempts,
            catalog.catalog, self.drains, server,
        )  # fmt: skip
        self.loads = OwnLoads(self.sessions, claim.takers, events.flows, catalog.catalog)
        self.heartbeat = ServerHeartbeat(
            store,
            server,
            server_name,
            database,
            on_outdated,
            upkeep.expected,
            upkeep.levels,
            upkeep.standstill,
            self.loads.text,
            metrics,
        )

    def background(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """What runs all the time."""
        return {
            "sessions": self.streams.run,
            "cancels": self.cancels.run,
            "reaper": self.reaper.run,
            "credentials": self.credentials.run,
            "heartbeat": self.heartbeat.run,
        }
