"""What operators see of single keys of a queue, and what they say of them: limits of their own, and pauses."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from ...errors import EtagMismatch, PageTokenInvalid, QueueKeysFull, QueueNotFound
from ...grants import Permission
from ...model import QueueKey
from ...scope import Scope
from ...store.catalog.catalog import CatalogStore
from ...store.policy.queue_keys import Kept, KeyRevisionDiffers, KeysFull, QueueKeyStore
from .. import tokens
from ..access.checks import not_allowed
from ..catalog import queues
from ..catalog.catalog import Catalog
from ..catalog.etags import etag_of, revision_of
from ..claim.lines import Lines
from ..events.wakes import Wakes
from ..pages import page_position, page_size, page_token

#: Of so many keys of a queue something may be said.
MOST_SAID_OF = 10_000
#: A list looks at so many keys of all queues, and sorts so many by name.
MOST_LOOKED = 1_000_000
MOST_NAMED = 10_000
MOST_HOLDERS = 20


class Only(IntEnum):
    """Which keys a list has. The numbers are those of the contract."""

    ALL = 0
    AT_LIMIT = 1
    PAUSED = 2
    WAITING = 3
    BLOCKED = 4


class QueueKeyService:
    """Lists, reads and changes keys of queues.

    Raises (every method): DatabaseAway.
    """

    def __init__(
        self,
        store: QueueKeyStore,
        catalog_store: CatalogStore,
        catalog: Catalog,
        wakes: Wakes,
        lines: Lines,
    ) -> None:
        self._store = store
        self._catalog_store = catalog_store
        self._catalog = catalog
        self._wakes = wakes
        self._lines = lines
        self.most_said_of = MOST_SAID_OF
        self.most_looked = MOST_LOOKED
        self.most_named = MOST_NAMED

    async def list_keys(
        self, scope: Scope, queue: str, asked_size: int, token: str, only: Only, *, by_waiting: bool
    ) -> tuple[list[QueueKey], str, bool]:
        """A page of keys, the token of the next one ("" after the last), and whether there may be more than are listed.

        Raises:
            FieldInvalid: The page size is negative.
            PageTokenInvalid: The token is not one of this list.
            QueueNotFound: The queue was never used, or the principal may read none of its jobs.
            NotAllowed: The principal may read some of its jobs, and not all.
        """
        self._require(scope, Permission.READ, queue, "read the keys of the queue", "queue")
        size = page_size(asked_size)
        text = tokens.within(scope, f"keys {queue} {only.value} {by_waiting}")
        position = page_position(text, token)
        if await self._catalog_store.get_queue(scope, queue) is None:
            raise QueueNotFound.of(queue, "queue")
        if by_waiting:
            which = Kept(only.value, self.most_looked, size + 1, _after(position), None, size + 1)
        else:
            which = Kept(only.value, self.most_looked, self.most_named, None, _name(position), size + 1)
        rows, capped = await self._store.page(scope, queue, which)
        following = ""
        if len(rows) > size:
            last, semaphore_id = rows[size - 1]
            said = f"{last.waiting} {semaphore_id}" if by_waiting else last.key
            following = page_token(text, said.encode())
        return [key for key, _ in rows[:size]], following, capped

    async def get_key(self, scope: Scope, queue: str, key: str) -> QueueKey:
        """The key, with some of the jobs that were let in. Every key is there.

        Raises:
            QueueNotFound: The queue was never used, or the principal may read none of its jobs.
            NotAllowed: The principal may read some of its jobs, and not all.
        """
        self._require(scope, Permission.READ, queue, "read the keys of the queue", "queue")
        return await self._read(scope, queue, key, "queue")

    async def update_key(
        self, scope: Scope, queue: str, key: str, changes: Mapping[str, Any], *, etag: str = ""
    ) -> QueueKey:
        """Gives the key a limit of its own, or pauses it, as a whole or not at all.

        Who lets jobs in reads it under the lock of the key's semaphore, so it holds from the commit on. Only in a queue
        that limited none of its jobs the answer waits until every server that lives knows that it does.

        Args:
            scope: Who asks.
            queue: The queue's name.
            key: The key.
            changes: New values of `max_running` (None: the queue's) and `paused`; what is not there stays.
            etag: The one that the key must have; empty: any.

        Raises:
            QueueNotFound: The queue was never used, or the principal may neither do this nor read its jobs.
            NotAllowed: The principal may read some of its jobs, and not do this.
            EtagMismatch: The key has another etag.
            QueueKeysFull: Something is said of MOST_SAID_OF other keys of the queue.
        """
        field = "queue_key.queue"
        self._require(scope, Permission.OPERATE, queue, "change a key of the queue", field)
        try:
            done = await self._store.set(
                scope, queue, key, changes, revision=revision_of(etag), most=self.most_said_of
            )
        except KeyRevisionDiffers as differs:
            raise EtagMismatch(
                f"queue_key.etag: the key {key!r} has another etag, since it was changed: read it again",
                metadata={"queue": queue, "etag": etag_of(differs.revision)},
            ) from None
        except KeysFull:
            raise QueueKeysFull(
                f"something is said of {self.most_said_of} keys of the queue {queue!r} already; "
                "set some of them back first"
            ) from None
        if done is None:
            raise QueueNotFound.of(queue, field)
        if done.calling is not None:
            self._wakes.keys_ready([done.calling])
        for each in done.due:
            self._lines.moved(each.lane_id, each.priority, each.run_at, isolated=each.isolated)
        others = done.first and await self._catalog_store.other_servers()
        known = asyncio.get_running_loop().time() + queues.KNOWN_WITHIN.total_seconds()
        await self._catalog.refresh()
        found = await self._read(scope, queue, key, field)
        if others:
            await asyncio.sleep(known - asyncio.get_running_loop().time())
        return found

    async def _read(self, scope: Scope, queue: str, key: str, field: str) -> QueueKey:
        found = await self._store.get(scope, queue, key, most_holders=MOST_HOLDERS)
        if found is None:
            raise QueueNotFound.of(queue, field)
        return found

    def _require(self, scope: Scope, permission: Permission, queue: str, doing: str, field: str) -> None:
        # Keys are not of one kind, so who sees them may read all kinds.
        if not scope.grants.may_queue(permission, queue):
            if not scope.grants.sees_queue(queue):
                raise QueueNotFound.of(queue, field)
            raise not_allowed(str(permission.name), doing, queue=queue, kind="*")


def _name(position: bytes | None) -> str:
    return "" if position is None else position.decode("utf-8", "replace")


def _after(position: bytes | None) -> tuple[int, int] | None:
    if position is None:
        return None
    try:
        waiting, semaphore_id = map(int, position.split())
    except ValueError:
        raise PageTokenInvalid(
            "page_token: not a token that this server gave; start again without it"
        ) from None
    return waiting, semaphore_id
