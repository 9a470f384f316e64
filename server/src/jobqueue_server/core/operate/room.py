"""The parts that change jobs for callers, put together."""

from __future__ import annotations

from ...store.stores import Stores
from ..claim.room import ClaimRoom
from ..events.room import EventsRoom
from ..session.room import SessionRoom
from .changes import JobChanges


class OperateRoom:
    """Its parts are its attributes."""

    def __init__(self, stores: Stores, events: EventsRoom, claim: ClaimRoom, session: SessionRoom) -> None:
        self.changes = JobChanges(
            stores.changes, stores.reads, session.cancels, claim.lines, events.ends, events.key_calls
        )
