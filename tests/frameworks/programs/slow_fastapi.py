"""The app of the recipe with one more handler: it enqueues by the app's client once it is let go on."""

import asyncio
from pathlib import Path

from examples.frameworks.fastapi_app import app, worker
from jobqueue import JobContext, NewJob


@worker.handler("slow")
async def slow(ctx: JobContext) -> None:
    print("slow runs")
    while not Path(ctx.job.payload["until"]).exists():
        await asyncio.sleep(0.02)
    await app.state.jobs.enqueue("by-client")
    ctx.follow_up(NewJob("by-settlement"))
