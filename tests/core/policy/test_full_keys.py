"""A key whose backlog is full: its callers are refused, and cost their neighbours no insert each."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from jobqueue_server.core.intake.batch import Batch
from jobqueue_server.core.intake.inserter import Inserter
from jobqueue_server.core.intake.waiting import Waiting
from jobqueue_server.errors import KeyBacklogFull
from jobqueue_server.metrics import Metrics
from jobqueue_server.model import NewJob
from jobqueue_server.store.intake.intake import BacklogOfKeys, NewRows, Stored

FULL, FREE = 1, 2


class Database:
    """One that lets so many more jobs of the full key wait, and counts inserts."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.inserts = 0

    async def enqueue_limited(self, rows: Sequence[NewRows], *, patience: Any) -> Stored:
        self.inserts += 1
        wanted = sum((row.semaphore_ids or []).count(FULL) for row in rows)
        if wanted > self.room:
            raise BacklogOfKeys(frozenset({FULL}))
        self.room -= wanted
        return Stored(datetime.now(UTC), frozenset(), frozenset())


class Rest:
    """What an insert needs besides, and that does nothing here."""

    def reserve(self, *_: Any, **__: Any) -> list[int]:
        return []

    def stored(self, *_: Any) -> None: ...

    def brought(self, jobs: int) -> None: ...

    broken = False

    async def keep_fresh(self) -> None:
        if self.broken:
            raise RuntimeError("as it was told")

    def handing_off(self) -> Any:
        return nullcontext()


def batch(semaphore_id: int, jobs: int = 1) -> Batch:
    row = NewRows(
        [uuid4() for _ in range(jobs)], [b"{}"] * jobs, 1, NewJob("work", b"{}", key=f"k{semaphore_id}")
    )
    row.of_keys([f"k{semaphore_id}"] * jobs, [semaphore_id] * jobs)
    lane: Any = None
    return Batch.of([row], [lane], "jobs[]")


async def inserted(database: Database, batches: list[Batch]) -> None:
    rest: Any = Rest()
    store: Any = database
    metrics = Metrics()
    waiting = Waiting(1000, metrics)
    limited = Inserter(store, rest, rest, rest, waiting, metrics)
    assert await limited.insert(batches, None) == []
    refused = sum(each.backlog_full for each in batches)
    counted = metrics.registry.get_sample_value(
        "jobqueue_enqueue_refused_total", {"reason": "KEY_BACKLOG_FULL"}
    )
    assert (counted or 0) == refused


async def test_a_flood_of_a_full_key_costs_its_neighbours_two_inserts(monkeypatch: Any) -> None:
    database = Database(room=0)
    flood, free = [batch(FULL) for _ in range(100)], [batch(FREE) for _ in range(10)]
    await inserted(database, [*flood[:50], *free, *flood[50:]])
    refused = [each.done.exception() for each in flood]
    waits = {each.retry_after for each in refused if isinstance(each, KeyBacklogFull) and each.retry_after}
    # Each comes again at another time.
    assert len(waits) > 90
    assert timedelta(seconds=0.5) <= min(waits) < max(waits) <= timedelta(seconds=1.5)
    assert all(each.done.result() for each in free)
    # All together, the neighbours, and the first of the flood.
    assert database.inserts == 3


async def test_of_a_key_that_is_almost_full_all_that_fit_are_stored() -> None:
    database = Database(room=3)
    large, small = batch(FULL, 4), [batch(FULL) for _ in range(5)]
    await inserted(database, [large, *small])
    assert large.backlog_full
    assert [each.backlog_full for each in small] == [False, False, False, True, True]


async def test_calls_whose_limits_can_not_be_read_are_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rest, "broken", True)
    batches = [batch(FREE), batch(FULL)]
    with pytest.raises(RuntimeError):
        await inserted(Database(room=0), batches)
    assert all(isinstance(each.done.exception(), RuntimeError) for each in batches)
