"""A job that is cancelled while it runs: its handler is told, cleans up, and ends.

python cancel.py
"""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from jobqueue import Client, JobContext, Worker, define_kind

QUEUE = "example-cancel"


@dataclass
class Render:
    frames: int


render = define_kind("example_render", Render, queue=QUEUE)


async def main() -> None:
    worker = Worker.from_env(queues=[QUEUE], sync_kinds=True)
    runs = asyncio.Event()

    @worker.handler(render)
    async def do_render(payload: Render, ctx: JobContext) -> None:
        print("rendering")
        runs.set()
        try:
            for _ in range(payload.frames):
                # An async handler is cancelled where it waits; a function in a thread asks `ctx.cancelled`.
                await asyncio.sleep(0.05)
        finally:
            print("the frames are removed")

    serving = asyncio.create_task(worker.serve())
    try:
        async with Client.from_env() as client:
            await client.sync_kinds([render])
            job = await client.enqueue(render, Render(100_000))
            await asyncio.wait_for(runs.wait(), timedelta(minutes=1).total_seconds())
            await client.cancel(job.id)
            done = await client.wait(job.id, timeout=timedelta(minutes=1))
            print(done.status)
    finally:
        worker.stop()
        await serving


if __name__ == "__main__":
    asyncio.run(main())
