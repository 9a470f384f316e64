"""The lanes and kinds as this server knows them: looked up in memory on the hot path, kept fresh from the database."""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import logging
import time
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta

from ...errors import DatabaseAway, FieldViolation, JobQueueError, KindUnknown, QueuesFull
from ...grants import Permission
from ...model import Kind
from ...scope import Scope
from ...store.catalog.catalog import CatalogStore
from .. import tokens
from ..access.checks import not_allowed
from ..names import page_name
from ..pages import page_size, page_token
from .kind_table import KindTable
from .kinds import check_kind
from .lanes import Lane as Lane
from .lanes import LaneTable
from .waiting_limits import WaitingLimits

_log = logging.getLogger(__name__)

_REFRESH_EVERY = timedelta(seconds=1)
# Who changes a policy waits 2 s until every server has read it (queues.KNOWN_WITHIN).
_STALE_AFTER = timedelta(seconds=1.5)
# What changed is kept for a day (sweep_catalog_changes.sql). Who read nothing for so long reads all.
_CHANGES_SUFFICE = timedelta(hours=1)
# Rows that are read and taken in at once: the loop is held up for 3 ms.
_PAGE = 500
# So often a lane is made anew that is forgotten in this very moment.
_TRIES = 3
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
#: A namespace may have so many lanes, where nothing else is said.
MOST_LANES = 200_000


class Catalog(LaneTable, KindTable):
    """Lanes and kinds of all namespaces in memory; a caller finds those of its own.

    It reads what changed (`catalog_change`), and all only when it starts and after an absence of the database. So
    nothing here that is done each second, or for each lane that changes, may take a step for every lane.

    Args:
        store: What is stored of them.
        open_kinds: Whether kinds need not be declared.
        most_lanes: How many lanes a namespace may have.

    Attributes:
        most_lanes: As above.
        news: Grows whenever `on_change` is called.
        on_change: Called with the lanes that were added or forgotten, or whose gate or policy of keys changed.
    """

    def __init__(self, store: CatalogStore, *, open_kinds: bool, most_lanes: int = MOST_LANES) -> None:
        LaneTable.__init__(self, WaitingLimits(store))
        KindTable.__init__(self, open_kinds=open_kinds)
        self._store = store
        self.most_lanes = most_lanes
        # Up to where changes were read; None: all is to be read.
        self._snapshot: str | None = None
        self._absences = 0
        self._read_at = 0.0
        self._interning, self._refreshing = asyncio.Lock(), asyncio.Lock()
        self.news = 0
        self.on_change: list[Callable[[Sequence[Lane]], None]] = []

    async def load(self) -> None:
        """Declares the built-in kinds where they are missing, and reads everything. Done before the server is ready."""
        await self._store.declare_builtin_kinds()
        await self.refresh()

    async def run(self) -> None:
        """Refreshes about once a second, until cancelled. What it can't read now it reads the next time."""
        while True:
            await asyncio.sleep(_REFRESH_EVERY.total_seconds())
            try:
                await self.refresh()
            except JobQueueError as error:
                _log.warning("the catalog of queues and kinds was not refreshed: %s", error)

    def read_all_again(self) -> None:
        """The next refresh reads everything: after an absence the database may be another one."""
        self._snapshot = None
        self._absences += 1

    async def refresh(self) -> None:
        """Reads what changed since the last time.

        Raises:
            DatabaseAway: What was known stays.
        """
        # One at a time: of two that overlap, the one that read first must not have the last word.
        async with self._refreshing:
            began = time.monotonic()
            absences = self._absences
            changes = await self._store.changes(self._snapshot)
            if changes.now - self._now > _CHANGES_SUFFICE:
                self._snapshot = None
            self._now = changes.now
            changed: list[Lane] = []
            try:
                if self._snapshot is None:
                    await self._read_all(changed)
                else:
                    await self._read(changes.kinds, changes.lanes, changed)
            finally:
                # Also what was read before an error: the next time it is no news.
                if changed:
                    self.news += 1
                    for listener in self.on_change:
                        listener(changed)
            self._mark_due()
            # What was read before an absence may be of another database than what was read after it.
            self._snapshot = changes.snapshot if absences == self._absences else None
            self._read_at = began

    async def _read(self, kinds: Sequence[int], lanes: Sequence[int], changed: list[Lane]) -> None:
        """Reads these, and adds to `changed` what is news. Those that are not there were forgotten."""
        for start in range(0, len(kinds), _PAGE):
            ids = kinds[start : start + _PAGE]
            found = await self._store.kinds(ids)
            self._take_kinds(found)
            self._forget_kinds(set(ids) - {row.id for row in found})
        for start in range(0, len(lanes), _PAGE):
            ids = lanes[start : start + _PAGE]
            rows = await self._store.lanes(ids)
            changed += self._take_lanes(rows)
            changed += self._forget_lanes(set(ids) - {row.id for row in rows})

    async def _read_all(self, changed: list[Lane]) -> None:
        unseen, after = set(self._kinds), 0
        while kinds := await self._store.kinds(after=after, most=_PAGE):
            self._take_kinds(kinds)
            unseen.difference_update(row.id for row in kinds)
            after = kinds[-1].id
        self._forget_kinds(unseen)
        unseen, after = set(self._lanes), 0
        while lanes := await self._store.lanes(after=after, most=_PAGE):
            changed += self._take_lanes(lanes)
            unseen.difference_update(row.id for row in lanes)
            after = lanes[-1].id
        changed += self._forget_lanes(unseen)

    async def keep_fresh(self) -> None:
        """Refreshes what is not from a moment ago, as where this process stood still. What can't be read now stays."""
        if time.monotonic() - self._read_at > _STALE_AFTER.total_seconds():
            with contextlib.suppress(JobQueueError):
                await self.refresh()

    def known_lane(self, scope: Scope, queue: str, kind: str) -> Lane | None:
        """The lane, if this server has seen it and jobs may be put into it as they are."""
        lane = self._at.get((scope.namespace, queue, kind))
        return lane if lane is not None and lane.in_use and lane.kind_id in self._kinds else None

    async def lane(self, scope: Scope, queue: str, kind: str, path: str = "job.kind") -> Lane:
        """The lane, made by its first use. Both names are well-formed; `path` is where the kind stood in the request.

        Raises:
            KindUnknown: The kind is not declared, and kinds are not open.
            QueuesFull: It would be one more than its namespace may have.
            DatabaseAway: It was not known here, and could not be looked up.
        """
        known = self.known_lane(scope, queue, kind)
        if known is not None:
            return known
        async with self._interning:
            for _ in range(_TRIES):
                known = self.known_lane(scope, queue, kind)
                if known is not None:
                    return known
                if (
                    not self._open_kinds
                    and self.kind(scope, kind) is None
                    and not await self._store.is_declared(scope, kind)
                ):
                    raise _unknown(
                        [name for name in self.named(scope) if scope.grants.sees_kind(name)], kind, path
                    )
                if self.lane_at(scope.namespace, queue, kind) is None:
                    self.require_room(scope, f"{queue!r} with the kind {kind!r}")
                await self._store.intern_lane(scope, queue, kind, make_kind=self._open_kinds)
                await self.refresh()
            known = self.known_lane(scope, queue, kind)
            if known is None:
                raise DatabaseAway(f"the queue {queue!r} was forgotten in this very moment; call again")
            return known

    def require_room(self, scope: Scope, what: str) -> None:
        """Whether a namespace may have one more lane, as this server knows it.

        Other servers may make some at this moment: each makes one after the other, and reads what others made each
        second. So a namespace may have more by what all other servers make in a second.

        Raises:
            QueuesFull: It has as many as it may.
        """
        count = self._count[scope.namespace]
        if count >= self.most_lanes:
            raise QueuesFull.of(what, count, self.most_lanes)

    async def put_kind(
        self, scope: Scope, kind: Kind, fields: Collection[str] | None = None, *, only_newer: bool = False
    ) -> tuple[Kind, bool]:
        """Declares the kind, or changes what is declared of it. Other servers follow within about a second.

        Its limits hold from the commit on, whatever a server knows.

        Args:
            scope: Whose kind it is.
            kind: The new values.
            fields: Attributes of `Kind` that are changed; the others stay. None: all.
            only_newer: Whether nothing is changed where a higher version is stored.

        Returns:
            The kind as it is stored, and whether it was changed.

        Raises:
            FieldInvalid: The name, a schema or a bound breaks its rule.
            NotAllowed: The principal may not declare it: that takes OPERATE on the kind in all queues.
            QueuesFull: The namespace has as many kinds as it may have queues.
        """
        check_kind(kind)
        if not scope.grants.may_kind(Permission.OPERATE, kind.name):
            raise not_allowed("OPERATE", "declare the kind", queue="*", kind=kind.name)
        if self.kind(scope, kind.name) is None and (count := len(self.named(scope))) >= self.most_lanes:
            raise QueuesFull.of(f"the kind {kind.name!r}", count, self.most_lanes, "kinds")
        put = await self._store.put_kind(scope, kind, fields, only_newer=only_newer)
        await self.refresh()
        return put

    async def list_kinds(self, scope: Scope, asked_size: int, token: str) -> tuple[list[Kind], str]:
        """A page of kinds by name, and the token of the next one ("" after the last).

        Raises:
            FieldInvalid: The page size is negative.
            PageTokenInvalid: The token is not one of this list.
        """
        size = page_size(asked_size)
        text = tokens.within(scope, "kinds")
        after = page_name(text, token)
        kinds = await self._store.list_kinds(scope, after, size + 1, seen_too=self._open_kinds)
        more = len(kinds) > size
        return kinds[:size], page_token(text, kinds[size - 1].name.encode()) if more else ""


def _unknown(names: Sequence[str], kind: str, path: str) -> KindUnknown:
    """What is told of a kind that is not among these names."""
    near = difflib.get_close_matches(kind, names, n=3)
    meant = f" (did you mean {' or '.join(near)}?)" if near else ""
    description = f"the kind {kind!r} is not declared{meant}"
    return KindUnknown(
        f"{path}: {description}; declare it with PutKind or `jobqueue kinds put {kind}`, or from its program with "
        "sync_kinds or `jobqueue kinds sync`",
        metadata={"kind": kind, "nearest": ",".join(near)},
        violations=[FieldViolation(path, description)],
    )
