"""Calls that were refused: counted in memory, and written into the audit log in batches."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Protocol

from ... import logs
from ...errors import DatabaseAway, DatabaseFull, JobQueueError
from ...scope import Scope, Source
from ...store.access.audit import AuditStore, Entry
from ..tuning import Tuning

_log = logs.get(__name__)

#: Rows that wait to be written; a refusal that needs one more is counted alone.
MOST = 1_000
#: Of these, rows of all callers without a known credential, and of one credential: none takes the place of others.
MOST_UNKNOWN, MOST_OF_ONE = MOST // 2, MOST // 10
#: Who is told of where the caller is not known.
UNKNOWN = "unknown"
#: The action of the row that says how many refusals have no row of their own.
DROPPED = "DropDenials"

# By namespace, principal, credential, address, action and outcome.
_Alike = tuple[int | None, str, str, str, str, str]


class Counts(Protocol):
    """The metrics of refusals."""

    def denied(self, reason: str) -> None:
        """Counts a call that was refused for this reason."""

    def denials_dropped(self) -> None:
        """Counts one for which there was no room in the line."""


@dataclass(slots=True)
class _Waiting:
    """A row that waits to be written, with the time of its first refusal by `time.monotonic()`."""

    entry: Entry
    first_at: float
    count: int = 1

    def again(self) -> None:
        """One more that is alike."""
        self.count += 1

    def as_entry(self, now: float) -> Entry:
        """The row as it is now."""
        return replace(self.entry, count=self.count, age=timedelta(seconds=max(0.0, now - self.first_at)))

    def written(self, count: int, now: float) -> bool:
        """So many were written. Whether all were; what came meanwhile is a row of its own."""
        self.count -= count
        self.first_at = now
        return not self.count


class Denials:
    """A bounded line. To note a refusal costs no statement and waits for nothing, also while the database is away.

    Refusals that are alike - of one credential and address, of one method, for one reason - wait as one row with their
    number, and go on doing so while they come; the row has the request of the first one. A flood of one sort of callers
    fills no more than its part of the line, so that another credential that is tried is still seen.
    """

    def __init__(self, store: AuditStore, counts: Counts, tuning: Tuning, *, server_name: str) -> None:
        self._store = store
        self._counts = counts
        self._every = tuning.denials_every
        self._server_name = server_name
        self._line: dict[_Alike, _Waiting] = {}
        # How many rows each credential has; empty: those of callers without one that is known.
        self._rows = Counter[str]()
        self._dropped = 0
        self._dropped_at = 0.0
        self._noted = asyncio.Event()

    def __len__(self) -> int:
        return len(self._line)

    def note(self, scope: Scope | None, source: Source, action: str, error: JobQueueError) -> None:
        """A call was refused.

        Args:
            scope: Whose it was; None: who called is not known.
            source: Whence it came.
            action: The name of the method.
            error: What it was answered.
        """
        self._counts.denied(error.reason)
        namespace, principal, credential = (
            (None, UNKNOWN, "") if scope is None else (scope.namespace, scope.principal, scope.credential)
        )
        most = MOST_OF_ONE if credential else MOST_UNKNOWN
        alike = (namespace, principal, credential, source.address, action, error.reason)
        waiting = self._line.get(alike)
        if waiting is not None:
            waiting.again()
        elif len(self._line) < MOST and self._rows[credential] < most:
            self._rows[credential] += 1
            entry = Entry(
                action,
                namespace,
                principal,
                credential,
                source.address,
                source.transport,
                source.request_id,
                _object(action, error.metadata),
                outcome=error.reason,
                details={name: error.metadata[name] for name in _DETAILS if name in error.metadata},
            )
            self._line[alike] = _Waiting(entry, time.monotonic())
        else:
            self._counts.denials_dropped()
            if not self._dropped:
                self._dropped_at = time.monotonic()
            self._dropped += 1
        self._noted.set()

    async def run(self) -> None:
        """Writes what waits every few seconds, until cancelled."""
        away = False
        while True:
            await self._noted.wait()
            await asyncio.sleep(self._every)
            try:
                await self.write()
            except (DatabaseAway, DatabaseFull) as error:
                if not away:
                    _log.warning("refused calls can't be written into the audit log yet", error=error)
                away = True
            else:
                away = False

    async def write(self) -> None:
        """Writes what waits. What comes meanwhile waits for the next time.

        Raises:
            DatabaseAway, DatabaseFull: Nothing was written, and all of it still waits.
        """
        self._noted.clear()
        written = {alike: waiting.count for alike, waiting in self._line.items()}
        dropped = self._dropped
        if not written and not dropped:
            return
        now = time.monotonic()
        entries = [waiting.as_entry(now) for waiting in self._line.values()]
        if dropped:
            age = timedelta(seconds=max(0.0, now - self._dropped_at))
            entries.append(Entry(DROPPED, None, f"server:{self._server_name}", count=dropped, age=age))
        try:
            await self._store.write(entries)
        except BaseException:
            self._noted.set()
            raise
        for alike, count in written.items():
            if self._line[alike].written(count, now):
                del self._line[alike]
        self._rows = Counter(credential for _, _, credential, *_ in self._line)
        self._dropped -= dropped
        self._dropped_at = now

    async def leave(self) -> None:
        """Writes what waits before the server ends; where that fails, the log says how many are lost."""
        try:
            async with asyncio.timeout(self._every):
                await self.write()
        except (DatabaseAway, DatabaseFull, TimeoutError) as error:
            lost = sum(waiting.count for waiting in self._line.values()) + self._dropped
            _log.warning("refused calls are not in the audit log", calls=lost, error=error)


#: What an error tells that a row repeats.
_DETAILS = ("permission", "kind")
#: Under which name an error tells what it is about, and how that is called.
_OBJECTS = {"queue": "queue", "job_id": "job", "id": "key", "namespace": "namespace", "kind": "kind"}


def _object(action: str, metadata: Mapping[str, str]) -> str:
    for key, name in _OBJECTS.items():
        if key in metadata:
            of_identity = key == "id" and action.endswith("Identity")
            return f"{'identity' if of_identity else name}:{metadata[key]}"
    return ""
