"""Operations as callers ask for them: made, read, waited for, cancelled, deleted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from ...errors import (
    FilterChanged,
    FilterEmpty,
    OperationNotDone,
    OperationNotFound,
    PageTokenInvalid,
    QueueNotFound,
    RequestIdReused,
    TooManyOperations,
)
from ...grants import Grants, Permission
from ...ids import IdMint
from ...scope import Scope
from ...store.bulk.operations import MOST_OPEN, Operation, OperationStore
from ...store.bulk.requests import Request, Selection, Verb
from ...store.catalog.catalog import CatalogStore
from .. import tokens
from ..access.checks import not_allowed
from ..pages import page_position, page_size, page_token
from ..schedule.runs import ScheduleRuns
from .preview import Preview, Previews

#: What an operation needs of its principal's permissions.
NEEDED = Permission.READ | Permission.OPERATE
_ID_BYTES = 16
_LOOK_EVERY = 0.5


class Operations:
    """What callers do with operations.

    Args:
        store: Where they are.
        catalog: Where queues are.
        previews: Counts what matches.
        backfills: Knows who may fire the ticks of schedules.
        mint: Makes ids, of the same line as those of jobs: what is enqueued here later has a greater one.
        wake: Called when there is something to do for a server.

    Raises (every method): DatabaseAway, DatabaseFull.
    """

    def __init__(
        self,
        store: OperationStore,
        catalog: CatalogStore,
        previews: Previews,
        backfills: ScheduleRuns,
        mint: IdMint,
        wake: Callable[[], None],
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._previews = previews
        self._backfills = backfills
        self._mint = mint
        self._wake = wake

    async def preview(self, scope: Scope, verb: Verb, request: Request) -> Preview:
        """How many jobs match now.

        Raises:
            FilterEmpty: No condition is set.
            QueueNotFound, NotAllowed: The jobs can't go into the queue that is asked for.
        """
        _check(request.selection)
        await self._check_queue(scope, request.to_queue)
        return await self._previews.count(scope.namespace, scope.grants, verb, request, self._mint.mint())

    async def start(
        self,
        scope: Scope,
        verb: Verb,
        request: Request,
        request_id: str | None,
        expected: int | None = None,
    ) -> Operation:
        """Makes an operation, or answers the one of an earlier request with this id.

        `expected`: how many jobs should match, about. None: any number.

        Raises:
            FilterEmpty: No condition is set.
            QueueNotFound, NotAllowed: The jobs can't go into the queue that is asked for.
            FilterChanged: Not about as many jobs match as expected.
            RequestIdReused: The id belongs to another request.
            TooManyOperations: So many of the namespace are not done yet.
        """
        if request.backfill is None:
            _check(request.selection)
        await self._check_queue(scope, request.to_queue)
        if expected is not None:
            await self._check_expected(scope, verb, request, request_id, expected)
        opened = await self._store.open(scope, self._mint.mint(), verb, request, request_id)
        operation = opened.operation
        if operation is None:
            raise TooManyOperations(
                f"{MOST_OPEN} operations of this namespace are not done yet: wait for one, or cancel one",
                retry_after=timedelta(seconds=5),
            )
        if opened.again and (operation.verb is not verb or operation.request != request):
            raise RequestIdReused(
                "request_id: was used for another request; choose a new one for this request",
                metadata={"operation": name_of(operation.id)},
            )
        self._wake()
        return operation

    async def _check_expected(
        self, scope: Scope, verb: Verb, request: Request, request_id: str | None, expected: int
    ) -> None:
        """Lets pass what matches about as many jobs as expected, and what was begun by an earlier request.

        Raises:
            FilterChanged: More than a tenth more or fewer match.
        """
        if await self._is_begun(scope, request_id):
            return
        found = await self._previews.count(scope.namespace, scope.grants, verb, request, self._mint.mint())
        # Sent again while it was counted the first time, it may be what changes the jobs now.
        if differs(found, expected) and not await self._is_begun(scope, request_id):
            at_least = "at least " if found.capped else ""
            raise FilterChanged(
                f"expected: {expected} jobs were to match, and {at_least}{found.jobs} do, more than a tenth off; "
                "count them again without `force`",
                metadata={"estimate": str(found.jobs)},
            )

    async def _is_begun(self, scope: Scope, request_id: str | None) -> bool:
        return request_id is not None and await self._store.of_request(scope, request_id) is not None

    async def _check_queue(self, scope: Scope, queue: str | None) -> None:
        """A queue that was never used would be one that no worker takes jobs from.

        Raises:
            QueueNotFound: The queue was never used, or the principal may neither do this nor read its jobs.
            NotAllowed: The principal may read some of its jobs, and not do this.
        """
        if queue is None:
            return
        if not scope.grants.may_queue(Permission.OPERATE, queue):
            if not scope.grants.sees_queue(queue):
                raise QueueNotFound.of(queue, "to_queue")
            raise not_allowed("OPERATE", "move jobs into the queue", queue=queue, kind="*")
        if await self._catalog.get_queue(scope, queue) is None:
            raise QueueNotFound.of(queue, "to_queue")

    async def get(self, scope: Scope, operation_id: UUID) -> Operation:
        """The operation as it is now.

        Raises:
            OperationNotFound: There is none, or it is another principal's.
        """
        operation = await self._store.get(scope, operation_id, _whose(scope))
        if operation is None:
            raise OperationNotFound.of(name_of(operation_id))
        return operation

    async def list(self, scope: Scope, size: int, token: str) -> tuple[list[Operation], str]:
        """A page of operations, newest first, and the token of the next one; empty: there is none.

        Raises:
            FieldInvalid: The page size is negative.
            PageTokenInvalid: The token is not one of this list.
        """
        text = tokens.within(scope, "operations")
        rows = page_size(size)
        position = page_position(text, token)
        if position is not None and len(position) != _ID_BYTES:
            raise PageTokenInvalid("page_token: not a token that this server gave; start again without it")
        before = None if position is None else UUID(bytes=position)
        found = await self._store.list(scope, _whose(scope), size=rows + 1, before=before)
        if len(found) <= rows:
            return found, ""
        return found[:rows], page_token(text, found[rows - 1].id.bytes)

    async def wait(self, scope: Scope, operation_id: UUID, timeout: timedelta) -> Operation:
        """The operation once it is done, or as it is after `timeout`.

        Raises:
            OperationNotFound: There is none, or it was deleted meanwhile, or it is another principal's.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout.total_seconds()
        while True:
            operation = await self.get(scope, operation_id)
            left = deadline - loop.time()
            if operation.state.ended or left <= 0:
                return operation
            await asyncio.sleep(min(_LOOK_EVERY, left))

    async def cancel(self, scope: Scope, operation_id: UUID) -> None:
        """Asks an operation to stop after the step that it is in. One that is done stays as it is.

        Raises:
            OperationNotFound: There is none, or it is another principal's.
        """
        await self.get(scope, operation_id)
        await self._store.cancel(scope, operation_id)
        self._wake()

    async def resume(self, scope: Scope, operation_id: UUID) -> Operation:
        """Lets an operation go on that rests, as the caller's own. One that does not rest stays as it is.

        Raises:
            OperationNotFound: There is none, or it is another principal's.
            NotAllowed: The principal may not do all that the operation was made to do.
            QueueNotFound, ScheduleNotFound: What it needs is gone.
        """
        operation = await self.get(scope, operation_id)
        if operation.rests_for is None or operation.state.ended:
            return operation
        _check_covered(scope, operation)
        await self._check_queue(scope, operation.request.to_queue)
        if operation.request.backfill is not None:
            await self._backfills.check(scope, operation.request.backfill.schedule)
        resumed = await self._store.resume(scope, operation_id, operation)
        self._wake()
        return resumed or await self.get(scope, operation_id)

    async def delete(self, scope: Scope, operation_id: UUID) -> None:
        """Takes away an operation that is done.

        Raises:
            OperationNotDone: It is not.
            OperationNotFound: There is none, or it is another principal's.
        """
        await self.get(scope, operation_id)
        if not await self._store.delete(scope, operation_id):
            name = name_of(operation_id)
            raise OperationNotDone(
                f"{name} is not done; wait for it or cancel it first", metadata={"operation": name}
            )


def name_of(operation_id: UUID) -> str:
    """An operation's name."""
    return f"operations/{operation_id}"


def differs(found: Preview, expected: int) -> bool:
    """Whether more than a tenth more or fewer match. A count that ended at its bound may be too low."""
    if found.capped and found.jobs <= expected:
        return False
    return abs(found.jobs - expected) * 10 > expected


def _whose(scope: Scope) -> str | None:
    """Of which principal alone operations are shown; None: of all."""
    grants = scope.grants
    return None if grants.unbounded or Permission.ADMIN in grants.anywhere else scope.principal


def _check_covered(scope: Scope, operation: Operation) -> None:
    """Lets a principal pass that may do all that the operation was made to do.

    Raises:
        NotAllowed: It may not. Of what it lacks the first is named.
    """
    for grant in operation.grants.only(NEEDED).each:
        for permission in grant.permissions:
            if not scope.grants.cover(Grants([replace(grant, permissions=permission)])):
                raise not_allowed(
                    str(permission.name),
                    "take the operation over",
                    queue=",".join(grant.queues),
                    kind=",".join(grant.kinds),
                )


def _check(selection: Selection) -> None:
    """One whose request is cut short on its way must not change all jobs there are.

    Raises:
        FilterEmpty: No condition is set.
    """
    if selection == Selection():
        raise FilterEmpty(
            "filter: has no condition, and would match all jobs; set one, or `everything` if that is what you want"
        )
