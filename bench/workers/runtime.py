"""Workers of the Python client, whose handlers do nothing or wait."""

from __future__ import annotations

import asyncio
from typing import Any

from jobqueue import Worker

from ..processes import DONE, Mailbox
from . import Workers
from .starts import Starts


async def serve(mailbox: Mailbox, targets: list[str], workers: Workers) -> None:
    """A Worker for each of the targets, until it is told to stop."""
    starts = Starts(workers)
    counts = mailbox.counts

    async def handle(ctx: Any) -> None:
        if workers.stamped:
            starts.record(ctx.job.payload_json)
        if workers.handler_seconds:
            await asyncio.sleep(workers.handler_seconds)
        # Its settlement is under way; who waits for the end asks the database.
        counts[DONE] += 1

    await asyncio.to_thread(mailbox.ready)
    made = [
        Worker(
            target,
            concurrency=workers.slots,
            queues=workers.queues,
            handlers=dict.fromkeys(workers.kinds, handle),
            token=workers.key or None,
        )
        for target in targets
    ]
    running = [asyncio.create_task(worker.serve()) for worker in made]
    await asyncio.wait([*running, mailbox.stopped()], return_when=asyncio.FIRST_COMPLETED)
    for worker in made:
        worker.stop()
    await asyncio.gather(*running)
    mailbox.report(**starts.told() if workers.stamped else {})
