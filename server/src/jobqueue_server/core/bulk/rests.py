"""Lets the operations and schedules of principals rest that are there no more."""

from __future__ import annotations

import asyncio
from collections import Counter

from ... import logs
from ...errors import DatabaseAway, DatabaseFull
from ...store.bulk.operations import OperationStore
from ..access.principals import Principals

_log = logs.get(__name__)

#: Why an operation has no steps until a principal resumes it.
PRINCIPAL_ENDED = "PRINCIPAL_ENDED"
GRANTS_NARROWED = "GRANTS_NARROWED"
NOTE = (
    f"{PRINCIPAL_ENDED}: the credentials of who made it are not good any more; who resumes it takes it over"
)
#: So many of each are let rest by one transaction.
_TOGETHER = 500
#: How soon it looks again for what a step or a fire had locked, in seconds.
_AGAIN_AFTER = 0.05
_TRY_AGAIN_AFTER = 0.5
#: How often it looks if nothing is heard, in seconds: the end of a key may fall into an outage of the database.
_LOOK_EVERY = 10.0


class Rests:
    """Looks who has ended whenever a credential is changed, or ends by the clock.

    Any server does, the first that knows. That something rests is written in its own row, which each step and each fire
    locks: none comes after it.

    Args:
        store: Where operations and schedules are.
        principals: Knows who has ended.
    """

    def __init__(self, store: OperationStore, principals: Principals) -> None:
        self._store = store
        self._principals = principals
        self._changed = asyncio.Event()
        principals.hear_change(self._changed.set)

    async def run(self) -> None:
        """Looks until cancelled."""
        while True:
            self._changed.clear()
            try:
                left = await self.look()
            except (DatabaseAway, DatabaseFull):
                left = _TRY_AGAIN_AFTER
            try:
                async with asyncio.timeout(left):
                    await self._changed.wait()
            except TimeoutError:
                pass

    async def look(self) -> float:
        """Lets rest what is found. Seconds until it is to look again.

        Raises:
            DatabaseAway, DatabaseFull: It can't.
        """
        ended = await self._principals.ended(await self._store.makers())
        if not ended:
            return _LOOK_EVERY
        rested = await self._store.rest_all(ended, PRINCIPAL_ENDED, NOTE, _TOGETHER)
        for maker, count in Counter(each.maker for each in rested).items():
            _log.warning(
                "what a principal left running rests",
                principal=maker.principal,
                reason=PRINCIPAL_ENDED,
                operations_and_schedules=count,
            )
        # What a step has locked, and what the next server is told of.
        return _AGAIN_AFTER
