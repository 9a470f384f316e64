"""A kind with types, its handler, and one job: enqueued, run, and its output read.

python quickstart.py
"""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from jobqueue import Client, JobContext, Worker, define_kind

QUEUE = "example-quickstart"


@dataclass
class Greet:
    name: str


@dataclass
class Greeting:
    text: str


greet = define_kind("example_greet", Greet, output=Greeting, queue=QUEUE)


async def do_greet(payload: Greet, ctx: JobContext) -> Greeting:
    return Greeting(f"Hello, {payload.name}!")


async def main() -> None:
    # The worker tells the server its kinds. A program that is nothing but a worker says `worker.run()`.
    worker = Worker.from_env(queues=[QUEUE], sync_kinds=True)
    worker.handler(greet)(do_greet)
    serving = asyncio.create_task(worker.serve())
    try:
        async with Client.from_env() as client:
            await client.sync_kinds([greet])
            job = await client.enqueue(greet, Greet("Ada"))
            done = await client.wait(job.id, timeout=timedelta(minutes=1))
            print(greet.output_of(done).text)
    finally:
        worker.stop()
        await serving


if __name__ == "__main__":
    asyncio.run(main())
