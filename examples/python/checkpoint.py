"""A long job that goes on where it was: it saves a checkpoint after each page, which the attempt after a failure reads.

python checkpoint.py
"""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from jobqueue import Client, JobContext, RetryPolicy, Worker, define_kind

QUEUE = "example-checkpoint"


@dataclass
class Import:
    pages: int


@dataclass
class Done:
    pages: int


AT_ONCE = RetryPolicy(min_backoff=timedelta(milliseconds=10), max_backoff=timedelta(milliseconds=10))
import_pages = define_kind("example_import", Import, queue=QUEUE, retry_policy=AT_ONCE)


async def do_import(payload: Import, ctx: JobContext) -> None:
    # A value of your own, at most 64 KiB as JSON; None in the first attempt.
    done = ctx.job.checkpoint_as(Done)
    begin = done.pages if done else 0
    print(f"attempt {ctx.job.attempt} begins at page {begin}")
    for page in range(begin, payload.pages):
        if page == 3 and ctx.job.attempt == 1:
            raise ConnectionError("the source went away")
        await ctx.save_checkpoint(Done(page + 1))
    print(f"imported {payload.pages} pages")


async def main() -> None:
    worker = Worker.from_env(queues=[QUEUE], sync_kinds=True)
    worker.handler(import_pages)(do_import)
    serving = asyncio.create_task(worker.serve())
    try:
        async with Client.from_env() as client:
            await client.sync_kinds([import_pages])
            job = await client.enqueue(import_pages, Import(5))
            done = await client.wait(job.id, timeout=timedelta(minutes=1))
            print(f"{done.status} in attempt {done.attempts}")
    finally:
        worker.stop()
        await serving


if __name__ == "__main__":
    asyncio.run(main())
