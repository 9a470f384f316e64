"""Two versions of a kind at once: each producer is taken, and each job ends on a worker that can read it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from jobqueue import Client, JobContext, Status, Upcast, Worker
from jobqueue.typed import kind as kinds
from jobqueue.typed.kind import JobKind, define_kind
from tests.client.conftest import RunningServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

BATCH = 500
#: Jobs of each version.
EACH = 10_000
UNENDED = [Status.QUEUED, Status.RETRYING, Status.RUNNING]


@dataclass
class PostV1:
    number: int
    name: str


@dataclass
class Post:
    number: int
    first: str
    last: str


def split(old: dict[str, Any]) -> dict[str, Any]:
    first, last = old["name"].split()
    return {"number": old["number"], "first": first, "last": last}


of_before = define_kind("post", PostV1)
of_now = define_kind("post", Post, version=2, upcasters={1: Upcast(split, PostV1)})


async def enqueue(
    client: Client, kind: JobKind[Any, None], payload: Callable[[int], Any], jobs: range
) -> None:
    """Enqueues in batches, each once the one before it was answered."""
    for start in range(jobs.start, jobs.stop, BATCH):
        new = [kind.new(payload(number)) for number in range(start, min(start + BATCH, jobs.stop))]
        results = await client.enqueue_many(new)
        assert all(result.id for result in results)


async def test_workers_and_producers_of_two_versions_side_by_side_lose_nothing(
    server: RunningServer,
    client: Client,
    serve: Callable[[Worker], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # An older worker that is quick meets a job more often in so short a time than it would in half an hour.
    monkeypatch.setattr(kinds, "_SNOOZE", timedelta(milliseconds=50))
    monkeypatch.setattr(kinds, "MOST_SNOOZES", 10_000)
    ran: dict[str, Counter[int]] = {"before": Counter(), "now": Counter()}
    before, now = Worker(server.address, concurrency=20), Worker(server.address, concurrency=20)

    @before.handler(of_before)
    async def post_before(post: PostV1, _: JobContext) -> None:
        assert post.name == f"Ada {post.number}"
        ran["before"][post.number] += 1

    @now.handler(of_now)
    async def post_now(post: Post, _: JobContext) -> None:
        assert (post.first, post.last) == ("Ada", str(post.number))
        ran["now"][post.number] += 1

    # Workers and the schema first, as the page says; then the producers of both.
    await client.sync_kinds([of_now])
    serve(before)
    serve(now)
    async with asyncio.TaskGroup() as group:
        group.create_task(
            enqueue(client, of_before, lambda number: PostV1(number, f"Ada {number}"), range(EACH))
        )
        group.create_task(
            enqueue(client, of_now, lambda number: Post(number, "Ada", str(number)), range(EACH, 2 * EACH))
        )
    async with asyncio.timeout(200):
        # What has not ended is retried later, and what failed for good would be left over.
        while (await client.list_page(kind="post", status=UNENDED, page_size=1)).jobs:
            await asyncio.sleep(0.1)
    lost = [Status.FAILED_PERMANENT, Status.CANCELLED]
    assert not (await client.list_page(kind="post", status=lost, page_size=1)).jobs
    assert ran["before"] + ran["now"] == Counter(range(2 * EACH))
    # Some of the older ones by either worker; the newer ones by those that can read them.
    assert ran["before"]
    assert set(ran["before"]) < set(range(EACH))
    assert set(range(EACH, 2 * EACH)) < set(ran["now"])
