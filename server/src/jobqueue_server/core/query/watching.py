"""One watch: the turns in which it tells what changed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from ...errors import Draining, JobNotFound, WatchTokenExpired
from ...model import Job, WatchFilter
from ...scope import Scope
from ...store.query.watch import FAR_AHEAD, FIRST_ID, NOTHING, Change, Found, WatchStore
from ..access.views import shown
from ..upkeep.clock import Clock
from .cursor import Cursor, history_of

# The next search sees what other servers did; an end that this server committed wakes the watch.
LOOK_EVERY = timedelta(milliseconds=500)
# Between two searches, so that a watch of a busy queue tells many changes at once, and no two of one job.
LEAST_REST = timedelta(milliseconds=50)
MOST_REST = timedelta(seconds=5)
# Without a change, an answer that moves the token on and shows that the stream is alive.
QUIET = timedelta(seconds=10)
# Changes of one search, and jobs of one page: what a slow reader makes the server hold.
MOST_CHANGES = 1000
PAGE_JOBS = 100
# A watch that goes on after a long time searches one stretch after the other, each within a statement's time.
FIRST_STRETCH = timedelta(minutes=1)
EASY_LOOK, HARD_LOOK = 0.1, 1.0
# A row has the lower half of its transaction's number, which 2^32 transactions later is another's.
MOST_TRANSACTIONS = 1 << 31

_EXPIRED = "list the jobs, then watch without it"


@dataclass(frozen=True, slots=True)
class Told:
    """One answer. Without a job it only moves the token on.

    Attributes:
        token: Goes on after this answer.
        job: A job as it has become.
        gone: A job that was asked for by its id, and was deleted.
    """

    token: str
    job: Job | None = None
    gone: UUID | None = None


class Watching:
    """One watch.

    A turn begins with a search: the snapshot of its statement is the turn's aim. The turn tells what that snapshot
    sees and the one before did not, oldest change first. So a commit that comes late is told whenever it comes, and a
    job that changed twice between two searches is told once.

    Args:
        store: Finds changes.
        clock: The database's time.
        scope: Whose jobs.
        wanted: Which of them.
        text: Names both in tokens.
        cursor: Where to go on; None: from now.
        full: Jobs with payload, output, headers and failed attempts.
        good_for: How old a cursor may be.
        may_search: Made and entered for each search; bounds how many there are at once.
        rests: How many times as long as its search took a watch rests.
        on_look: Is told of each search: how long it took, and how many changes it found.
        on_news: Is told, of a search that found changes, how many seconds old the oldest was.

    Attributes:
        wanted: Which jobs.
        wake: Set when something may have changed.
        leave: Set when the server leaves; wake is set with it.
    """

    def __init__(
        self,
        store: WatchStore,
        clock: Clock,
        scope: Scope,
        wanted: WatchFilter,
        text: str,
        cursor: Cursor | None,
        *,
        full: bool,
        good_for: timedelta,
        may_search: Callable[[], AbstractAsyncContextManager[object]],
        rests: Callable[[], int],
        on_look: Callable[[float, int], None],
        on_news: Callable[[float], None],
    ) -> None:
        self.wanted = wanted
        self.wake = asyncio.Event()
        self.leave = asyncio.Event()
        self._store = store
        self._clock = clock
        self._scope = scope
        self._text = text
        self._given = cursor is not None
        self._full = full
        self._good_for = good_for
        self._may_search = may_search
        self._rests = rests
        self._on_look = on_look
        self._on_news = on_news
        # Whether a turn has ended: what the first one finds may be as old as the jobs that were asked for.
        self._caught_up = False
        self._cursor = cursor or Cursor(b"", NOTHING, clock.now(), clock.now())
        self._stretch = FIRST_STRETCH
        self._took = self._pace = 0.0
        self._gone: set[UUID] = set()
        # Whether all of the jobs that were asked for had ended at this turn's aim, and were told so.
        self._over = False

    async def run(self) -> AsyncGenerator[Told, None]:
        """Tells changes until all of the jobs that were asked for have ended; without ids, until it is closed."""
        quiet_since = None
        if not self._given and self.wanted.ids is None:
            await self._begin()
            yield self._told()
            quiet_since = time.monotonic()
        while True:
            given_turn = self._cursor.target is not None
            self.wake.clear()
            async with aclosing(self._turn()) as answers:
                async for answer in answers:
                    yield answer
                    quiet_since = time.monotonic()
            if self._over:
                return
            if given_turn:
                continue  # the rest of the search that a token was from says little: now one of our own
            if quiet_since is None or time.monotonic() - quiet_since >= QUIET.total_seconds():
                yield self._told()
                quiet_since = time.monotonic()
            await self._rest()

    def _told(self, job: Job | None = None, gone: UUID | None = None) -> Told:
        return Told(self._cursor.token(self._text), job, gone)

    async def _begin(self) -> None:
        """Notes where it is now, and reads no job."""
        async with self._may_search():
            found = await self._store.watch_changes(
                self._scope, self.wanted, NOTHING, None, after=Change(FAR_AHEAD, FIRST_ID), most=0
            )
        self._cursor = Cursor(history_of(found.history), found.snapshot, found.at, found.at)

    async def _turn(self) -> AsyncGenerator[Told, None]:
        """Tells all that changed until the turn's aim: its first search, or that of the turn which a token was from."""
        live = True
        skipped = False
        aimed = self._cursor.target is None
        while True:
            before = self._end_of_stretch()
            found = await self._look(before)
            if aimed:
                aimed, live = False, found.live
            for answer in self._deleted(found):
                yield answer
            changes: Sequence[Change] = found.changes
            while changes:
                jobs = await self._jobs(changes[:PAGE_JOBS])
                for change, job in zip(changes, jobs, strict=False):
                    self._cursor = self._cursor.at_change(change)
                    if job is not None:
                        yield self._told(shown(self._scope, job))
                skipped = skipped or None in jobs
                changes = changes[len(jobs) :]
            if len(found.changes) == MOST_CHANGES:
                continue
            if before == FAR_AHEAD:
                break
            self._cursor = self._cursor.at_change(Change(before, FIRST_ID))
        self._cursor = self._cursor.at_the_end()
        self._caught_up = True
        self._over = self.wanted.ids is not None and not live and not skipped

    def _end_of_stretch(self) -> datetime:
        """Up to where the next search goes, by the time of a change."""
        start = self._cursor.starts_after().at
        if self.wanted.ids is not None or self._clock.now() - start < 2 * FIRST_STRETCH:
            return FAR_AHEAD
        if self._took < EASY_LOOK:
            self._stretch *= 2
        elif self._took > HARD_LOOK:
            self._stretch /= 2
        return start + self._stretch

    async def _look(self, before: datetime) -> Found:
        cursor = self._cursor
        if self._clock.now() - cursor.at > self._good_for:
            raise WatchTokenExpired(
                f"resume_token: it is older than {self._good_for}, after which changes are forgotten; {_EXPIRED}"
            )
        async with self._may_search():
            started = time.monotonic()
            found = await self._store.watch_changes(
                self._scope,
                self.wanted,
                cursor.told,
                cursor.target,
                after=cursor.starts_after(),
                before=before,
                most=MOST_CHANGES,
            )
            took = time.monotonic() - started
        self._on_look(took, len(found.changes))
        if found.changes and self._caught_up:
            self._on_news(max(0.0, (found.at - found.changes[0].at).total_seconds()))
        # The shorter of two: the first on a connection has to be planned, and takes 40 ms where the others take 2.
        self._pace, self._took = min(took, self._took), took
        self._check_history(found)
        if cursor.target is None:
            self._cursor = replace(cursor, history=history_of(found.history)).aims_at(
                found.snapshot, found.at
            )
        return found

    def _check_history(self, found: Found) -> None:
        """A snapshot means something only where it was taken, and for as long as its numbers do."""
        cursor = self._cursor
        if cursor.told == NOTHING and not cursor.history:
            return
        seen = max(cursor.told.xmax, cursor.target.xmax if cursor.target else 0)
        if cursor.history != history_of(found.history) or seen > found.snapshot.xmax:
            raise WatchTokenExpired(f"resume_token: it is from another database than this one; {_EXPIRED}")
        if cursor.told != NOTHING and found.snapshot.xmax - cursor.told.xmin >= MOST_TRANSACTIONS:
            raise WatchTokenExpired(f"resume_token: too much has changed since it was given; {_EXPIRED}")

    def _deleted(self, found: Found) -> list[Told]:
        """Tells once of each job that was asked for and is no longer there."""
        if found.gone and not self._given and self._cursor.told == NOTHING:
            raise JobNotFound.of(found.gone[0])
        fresh = [job_id for job_id in found.gone if job_id not in self._gone]
        self._gone.update(fresh)
        return [self._told(gone=job_id) for job_id in fresh]

    async def _jobs(self, changes: Sequence[Change]) -> list[Job | None]:
        cursor = self._cursor
        assert cursor.target is not None, "a turn has an aim"
        ids = [change.job_id for change in changes]
        async with self._may_search():
            return await self._store.watch_jobs(ids, cursor.told, cursor.target, full=self._full)

    async def _rest(self) -> None:
        """Waits until it is time for the next search.

        Raises:
            Draining: The server leaves.
        """
        rest = min(max(self._pace * self._rests(), LEAST_REST.total_seconds()), MOST_REST.total_seconds())
        if not await _set_within(self.leave, rest):
            await _set_within(self.wake, LOOK_EVERY.total_seconds() - rest)
        if self.leave.is_set():
            raise Draining(
                "this server is leaving; watch on another server, with the last resume_token",
                retry_after=timedelta(seconds=1),
            )


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(max(0.0, seconds)):
            await event.wait()
    except TimeoutError:
        return False
    return True
