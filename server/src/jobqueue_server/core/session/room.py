"""The parts that know who is connected, put together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

from ...store.session.sessions import SessionStore
from ..attempt.room import AttemptRoom
from ..catalog.catalog import Catalog
from ..claim.room import ClaimRoom
from ..events.database_state import DatabaseState
from ..events.notices import Peers
from ..events.this_server import ThisServer
from ..lease.attempt_ends import AttemptEnds
from ..lease.early_cancels import EarlyCancels
from ..tuning import Tuning
from .audit import Audit
from .cancels import Cancels
from .losses import Losses
from .reaper import Reaper
from .registry import Sessions
from .resumption import Resumption
from .revocations import Revocations
from .silences import Silences
from .streams import Streams
from .unary import UnarySessions


class SessionRoom:
    """Its parts are its attributes."""

    def __init__(
        self,
        store: SessionStore,
        catalog: Catalog,
        claim: ClaimRoom,
        attempt: AttemptRoom,
        attempts: AttemptEnds,
        cancels: EarlyCancels,
        peers: Peers,
        server: ThisServer,
        database: DatabaseState,
        tuning: Tuning,
        *,
        most: int,
        max_age: timedelta,
        cancel_grace: timedelta,
    ) -> None:
        silences = Silences(store)
        self.sessions = Sessions(
            store,
            claim.takers,
            Resumption(store, catalog, attempts),
            silences,
            cancels,
            attempts,
            peers,
            server,
            most=most,
            max_age=max_age,
            tuning=tuning,
        )
        self.streams = Streams(self.sessions, silences, claim.takers, database, tuning)
        self.cancels = Cancels(
            store, self.sessions, peers, server, early=cancels, grace=cancel_grace, tuning=tuning
        )
        losses = Losses(store, self.sessions, silences, attempts, peers, tuning)
        revocations = Revocations(self.sessions, peers)
        self.audit = Audit(store, self.sessions, revocations, attempts, server, tuning)
        self.reaper = Reaper(store, revocations, losses, self.audit, attempts, server, tuning)
        self.unary = UnarySessions(
            store, self.sessions, claim.takers, claim.delivery, attempt.settler, attempts, catalog, server
        )

    def background(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """What runs all the time."""
        return {"sessions": self.streams.run, "cancels": self.cancels.run, "reaper": self.reaper.run}
