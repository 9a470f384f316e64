"""One worker with two kinds. Each has its handler; they share the worker's slots.

python two_kinds.py
"""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from jobqueue import Client, JobContext, Worker, define_kind

QUEUE = "example-two-kinds"


@dataclass
class Resize:
    path: str
    width: int


@dataclass
class SendEmail:
    to: str
    subject: str


resize = define_kind("example_resize", Resize, queue=QUEUE)
# More urgent than pictures: of jobs that wait, those of the higher priority go first.
send_email = define_kind("example_send_email", SendEmail, queue=QUEUE, priority=5)


async def main() -> None:
    worker = Worker.from_env(queues=[QUEUE], concurrency=4, sync_kinds=True)

    @worker.handler(resize)
    async def do_resize(payload: Resize, ctx: JobContext) -> None:
        print(f"{payload.path} is {payload.width} wide")

    @worker.handler(send_email)
    async def do_send(payload: SendEmail, ctx: JobContext) -> None:
        print(f"sent {payload.subject!r} to {payload.to}")

    serving = asyncio.create_task(worker.serve())
    try:
        async with Client.from_env() as client:
            await client.sync_kinds([resize, send_email])
            for new in (
                resize.new(Resize("a.png", 640)),
                send_email.new(SendEmail("ada@example.org", "Hello")),
            ):
                job = await client.enqueue(new)
                done = await client.wait(job.id, timeout=timedelta(minutes=1))
                print(f"{done.kind} {done.status}")
    finally:
        worker.stop()
        await serving


if __name__ == "__main__":
    asyncio.run(main())
