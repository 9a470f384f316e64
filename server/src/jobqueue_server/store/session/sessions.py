"""Sessions and servers in PostgreSQL: who may hold a lease, and who is alive."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from ...scope import Scope
from ..attempt.attempts import AttemptEnd, AttemptStore
from ..database import Database, Record, Session
from ..upkeep.clock import Expected
from ..upkeep.examination import undurable


@dataclass(frozen=True, slots=True)
class Told:
    """What a worker says of itself when it comes, for people.

    Attributes:
        name: Its name. A resume does not change it, nor the labels.
        labels: Its own labels.
        client: Its client library.
        address: Whence it came, as the server saw it.
        takes: JSON text of its subscriptions and its slots; None: its greeting has them.
    """

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    client: str = ""
    address: str = ""
    takes: str | None = None


#: How a lease of a session that ends leaves RUNNING: given up, lost, or never delivered.
Decide = Callable[[Record], AttemptEnd]


class SessionStore:
    """Raises (every method): DatabaseAway, DatabaseFull."""

    def __init__(self, database: Database, attempts: AttemptStore, *, expected: Expected) -> None:
        self._database = database
        self._attempts = attempts
        self._expected = expected

    async def undurable(self) -> list[str]:
        """The settings of this database, as `name = value`, with which an acknowledged job may be lost."""
        return await undurable(self._database)

    async def register_server(self, name: str, level: int, version: str = "") -> Record:
        """A row for this process: its id, when (at), and whether an amnesty was granted.

        `version` is that of its program.

        With the level that is required (min_level). The id is None where that is higher, and there is no row.
        """
        record = await self._database.fetchrow("register_server", name, level, version)
        assert record is not None
        return record

    async def server_heartbeat(self, server_id: int, load: str | None = None) -> Record | None:
        """Says that this server lives: when (at), how many others do (peers), and whether an amnesty was granted.

        With the level that is required of it (min_level). `load`: JSON text, what its workers take; None: as before.
        None: its row is gone, and it must register again.
        """
        return await self._database.fetchrow("server_heartbeat", server_id, load, vital=True)

    async def check_connections(self) -> None:
        """Raises DatabaseAway while no connection can be made, also where those that there are still serve."""
        await self._database.check_connections()

    async def retire_server(self, server_id: int) -> None:
        """Takes the server's row away; its sessions are silent from now, and may resume elsewhere."""
        await self._database.fetch("retire_server", server_id)

    async def open(
        self,
        scope: Scope,
        server_id: int,
        told: Told,
        ttl: timedelta,
        token_hash: bytes,
        greeting: str | None = None,
    ) -> tuple[int, int]:
        """A new session: (id, epoch). With `greeting`, JSON text, it is heard by its calls."""
        labels = json.dumps(dict(told.labels)) if told.labels else None
        record = await self._database.fetchrow(
            "open_session", server_id, told.name, labels, ttl, token_hash, greeting,
            scope.namespace, scope.principal, scope.credential, told.client or None, told.address or None, told.takes,
        )  # fmt: skip
        assert record is not None
        return record["id"], record["epoch"]

    async def resume(
        self, scope: Scope, told: Told, session_id: int, shown: bytes, token_hash: bytes, server_id: int
    ) -> Record | None:
        """The next epoch of a session (id, epoch, name, ttl, drains).

        None: it ended, or the token is not its own, or another principal opened it. Who showed nothing is no other.
        """
        return await self._database.fetchrow(
            "resume_session", session_id, shown, token_hash, server_id,
            scope.namespace, scope.principal, scope.credential, told.client or None, told.address or None, told.takes,
        )  # fmt: skip

    async def find(self, scope: Scope, session_id: int, shown: bytes | None) -> Record | None:
        """What became of a session (ended, own: whether it is the principal's and the token its own), or None."""
        return await self._database.fetchrow(
            "find_session", session_id, shown, scope.namespace, scope.principal
        )

    async def greet(self, session_id: int, epoch: int, greeting: str) -> bool:
        """From now on it is heard by its calls. False: another epoch has it, or it ended."""
        return bool(await self._database.fetch("greet_session", session_id, epoch, greeting))

    async def touch(self, scope: Scope, session_id: int, shown: bytes) -> Record | None:
        """A call was heard: the session (id, epoch, name, ttl, greeting, streams, drains).

        None: it ended, or the token is not its newest, or another principal opened it.
        """
        return await self._database.fetchrow(
            "touch_session", session_id, shown, scope.namespace, scope.principal, scope.credential, hot=True
        )

    async def by_credential(self, credentials: Sequence[str]) -> list[tuple[int, int]]:
        """The open sessions (id, epoch) without a stream that were last heard under one of these credentials."""
        rows = await self._database.fetch("sessions_by_credential", credentials)
        return [(row["id"], row["epoch"]) for row in rows]

    async def confirm(self, session_id: int, epoch: int) -> None:
        """A frame arrived under this epoch: the previous token is void."""
        await self._database.fetch("confirm_session", session_id, epoch)

    async def silence(self, sessions: Sequence[tuple[int, int, timedelta]]) -> set[int]:
        """Starts the count of the ttls of sessions (id, epoch, how long ago the last frame was heard), each named once.

        Answers those that were written; another epoch has the others, or they ended.
        """
        ids, epochs, ago = zip(*sessions, strict=True)
        return {row["id"] for row in await self._database.fetch("silence_sessions", ids, epochs, ago)}

    async def says_drain(self, session_id: int, epoch: int, reason: str) -> None:
        """Its worker is shutting down, for a while: it has jobs."""
        await self._database.fetch("says_drain", session_id, epoch, reason)

    async def end(self, session_id: int, epoch: int, decide: Decide) -> list[Record] | None:
        """Ends a session and gives back its leases, in one transaction. None: another epoch has it, or it ended."""
        async with self._database.transaction(hot=True) as session:
            if await session.fetchrow("end_session", session_id, epoch) is None:
                return None
            return await self._end_all([session_id], decide, session)

    async def reap(self, sessions: Mapping[int, int], decide: Decide) -> tuple[frozenset[int], list[Record]]:
        """Ends sessions (id: epoch) whose ttl is over, with their leases, in one transaction.

        Answers which ended - others were resumed or ended meanwhile, or are at it - and what left RUNNING.
        """
        async with self._database.transaction(hot=True) as session:
            rows = await session.fetch(
                "reap_sessions", list(sessions), list(sessions.values()), self._expected()
            )
            ended = [row["id"] for row in rows]
            return frozenset(ended), await self._end_all(ended, decide, session) if ended else []

    async def give_back(
        self, sessions: Sequence[tuple[int, int, bool]], ends: Sequence[AttemptEnd]
    ) -> list[Record]:
        """Takes leases of sessions (id, epoch, whether it must be silent) out of RUNNING, in one transaction.

        Those of sessions that are in another epoch, are heard again or have ended stay. Answers what left.
        """
        ids, epochs, silent = zip(*sessions, strict=True)
        async with self._database.transaction(hot=True) as session:
            locked = {
                row["id"]
                for row in await session.fetch("lock_sessions", ids, epochs, silent, self._expected())
            }
            going = [end for end in ends if end.session_id in locked]
            return await self._attempts.end_attempt(going, session) if going else []

    async def _end_all(self, ended: Sequence[int], decide: Decide, session: Session) -> list[Record]:
        ends = [decide(row) for row in await session.fetch("held", ended, self._expected())]
        return await self._attempts.end_attempt(ends, session) if ends else []

    async def named_jobs(self, scope: Scope, ids: Sequence[UUID]) -> list[Record]:
        """Lane and size of payload of jobs that a worker names after a break; of those that are gone, none."""
        return await self._database.fetch("named_jobs", ids, min(ids), max(ids), scope.namespace, hot=True)

    async def held(self, session_ids: Sequence[int]) -> list[Record]:
        """Every lease that these sessions hold."""
        return await self._database.fetch("held", session_ids, self._expected(), hot=True)

    async def open_sessions(self, server_id: int, known: Sequence[int]) -> list[Record]:
        """Sessions (id, epoch, counted_on, drains) that have not ended: the known ones, and this server's by row."""
        return await self._database.fetch("open_sessions", server_id, known)

    async def cancelling(self, server_id: int) -> list[Record]:
        """Leases (id, attempts, session_id, reason, left) of this server's sessions whose jobs are to stop."""
        return await self._database.fetch("cancelling", server_id, hot=True)

    async def expired(self, server_id: int, most: int) -> list[Record]:
        """Sessions to reap (id, epoch, name, leases); those of another server that lives a second later."""
        return await self._database.fetch("expired_sessions", server_id, most, self._expected(), hot=True)

    async def due(self, server_id: int, most: int) -> list[Record]:
        """Leases past their deadline; those of another server that lives a second later."""
        return await self._database.fetch("due", server_id, most, self._expected(), hot=True)

    async def stray(self, ended_within: timedelta) -> list[Record]:
        """Leases of sessions that have ended within this time."""
        return await self._database.fetch("stray", ended_within, self._expected(), hot=True)
