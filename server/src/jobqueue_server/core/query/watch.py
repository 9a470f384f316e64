"""All watches of a server: how many there may be, what wakes them, and their end with the server."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from datetime import timedelta
from uuid import UUID

from ...fair.turns import Turns
from ...metrics import Metrics
from ...model import WatchFilter
from ...scope import Scope
from ...store.query.watch import WatchStore
from .. import tokens
from ..events.ends import Ended, Ends, ended_jobs
from ..upkeep.clock import Clock
from .cursor import cursor_of
from .watch_limit import WatchLimit
from .watching import Told, Watching

# Connections that all watches together may use: the other calls need some too. Those of a principal take two at most.
SEARCHES_AT_ONCE = 3
# A watch rests so many times as long as its search took, so that it takes a twentieth of a connection; all of them
# together take one.
RESTS_PER_SEARCH = 20
# A day without a resume is long. Half of the shortest retention at most: until its end, what ended is there to be told.
LONGEST_GAP = timedelta(days=1)


class Watches:
    """Tells callers of jobs as they change. It writes nothing, and a watch costs the jobs nothing.

    Args:
        store: Finds changes.
        clock: The database's time.
        metrics: Counts searches, and what was told.
        ends: Of jobs. Each wakes the watches of that job at once.
        limit: How many watches there may be.
        kept_for: How long jobs are kept after their end, at least.
    """

    def __init__(
        self,
        store: WatchStore,
        clock: Clock,
        metrics: Metrics,
        ends: Ends,
        *,
        limit: WatchLimit,
        kept_for: Callable[[], timedelta],
    ) -> None:
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._limit = limit
        self._kept_for = kept_for
        self._searches = Turns(SEARCHES_AT_ONCE)
        self._open: set[Watching] = set()
        self._of_all: set[Watching] = set()
        self._by_job: dict[UUID, set[Watching]] = {}
        ends.subscribe(self._ended)

    def _ended(self, ended: Sequence[Ended]) -> None:
        """Wakes the watches of these jobs. Costs nothing while there are none."""
        if self._of_all and any(each.waits is None for each in ended):
            for watching in self._of_all:
                watching.wake.set()
        if self._by_job:
            for job_id in ended_jobs(ended):
                for watching in self._by_job.get(job_id, ()):
                    watching.wake.set()

    def leave(self) -> None:
        """Ends every watch, and every one to come, as the server leaves. They go on elsewhere by their tokens."""
        self._limit.leave()
        for watching in self._open:
            watching.leave.set()
            watching.wake.set()

    async def watch(
        self, scope: Scope, wanted: WatchFilter, token: str = "", *, full: bool = False
    ) -> AsyncGenerator[Told, None]:
        """Tells jobs as they change, until all that were asked for by their ids have ended; without ids, for ever.

        With ids and without a token each job is told as it is, then whenever it changes. Without either, the first
        answer has no job, and what changes from then on is told. While nothing changes, an answer without a job
        comes every 10 s.

        Args:
            scope: Whose jobs.
            wanted: Which of them.
            token: Goes on after the answer that carried it, with the same filter, on any server.
            full: As in `JobReads.get`.

        Raises:
            FieldInvalid: The token is none, or belongs to another filter.
            WatchTokenExpired: It is too old, or from another database.
            JobNotFound: One of the ids is not there, where no token is given.
            TooManyWatches: This server has as many watches as it may.
            DatabaseAway: A search failed. Go on by the last token.
            Draining: The server leaves. Go on by the last token, elsewhere.
        """
        text = tokens.within(scope, _text(wanted))
        watching = Watching(
            self._store,
            self._clock,
            scope,
            wanted,
            text,
            cursor_of(token, text) if token else None,
            full=full,
            good_for=min(LONGEST_GAP, self._kept_for() / 2),
            may_search=lambda: self._searches.place(scope.owner),
            rests=lambda: max(RESTS_PER_SEARCH, len(self._open)),
            on_look=lambda took, changes: self._metrics.observe_batch("watch", took, changes),
            on_news=self._metrics.news_lagged,
        )
        with self._limit.taken(scope.owner), self._woken(watching):
            async with aclosing(watching.run()) as answers:
                async for told in answers:
                    if told.job is not None:
                        self._metrics.told()
                    yield told

    @contextmanager
    def _woken(self, watching: Watching) -> Iterator[None]:
        ids = watching.wanted.ids
        self._open.add(watching)
        if ids is None:
            self._of_all.add(watching)
        for job_id in ids or ():
            self._by_job.setdefault(job_id, set()).add(watching)
        try:
            yield
        finally:
            self._open.discard(watching)
            self._of_all.discard(watching)
            for job_id in ids or ():
                others = self._by_job[job_id]
                others.discard(watching)
                if not others:
                    del self._by_job[job_id]


def _text(wanted: WatchFilter) -> str:
    """The watch as a text that is the same for equal filters."""
    ids = None if wanted.ids is None else sorted(str(job_id) for job_id in wanted.ids)
    return json.dumps(["watch", ids, wanted.queue, wanted.kind, sorted(wanted.labels.items())])
