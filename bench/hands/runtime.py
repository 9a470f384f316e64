"""Workers of the Python client, whose handlers do nothing or wait."""

from __future__ import annotations

import asyncio
from typing import Any

from jobqueue import Worker

from ..crew import DONE, Post
from . import Hands
from .starts import Starts


async def serve(post: Post, targets: list[str], hands: Hands) -> None:
    """A Worker for each of the targets, until it is told to stop."""
    starts = Starts(hands)
    counts = post.counts

    async def handle(ctx: Any) -> None:
        if hands.stamped:
            starts.record(ctx.job.payload_json)
        if hands.handler_seconds:
            await asyncio.sleep(hands.handler_seconds)
        # Its settlement is under way; who waits for the end asks the database.
        counts[DONE] += 1

    await asyncio.to_thread(post.ready)
    workers = [
        Worker(
            target,
            concurrency=hands.slots,
            queues=hands.queues,
            handlers=dict.fromkeys(hands.kinds, handle),
        )
        for target in targets
    ]
    running = [asyncio.create_task(worker.serve()) for worker in workers]
    await asyncio.wait([*running, post.stopped()], return_when=asyncio.FIRST_COMPLETED)
    for worker in workers:
        worker.stop()
    await asyncio.gather(*running)
    post.report(**starts.told() if hands.stamped else {})
