"""A worker inside an asyncio program of your own, with a handler of your own, beside whatever else it does.

    python examples/embed_worker.py [HOST:PORT]

It enqueues three jobs, runs them, and ends; a program of yours would go on. `Worker.serve` runs on the loop that is
there: async handlers share it with the rest of the program, plain functions get threads. It takes no signals: that is
for `Worker.run`, which is for programs that are nothing but a worker. Here the program says when to drain, by
`Worker.stop`.
"""

import asyncio
import sys
from datetime import timedelta

from jobqueue import Client, JobContext, Kind, Worker

QUEUE = "embedded"


async def main(server: str) -> None:
    worker = Worker(server, queues=[QUEUE], concurrency=2)

    @worker.handler("greet")
    async def greet(ctx: JobContext) -> str:
        print(f"attempt {ctx.job.attempt} of {ctx.job.kind}: {ctx.job.payload}")
        return f"Hello {ctx.job.payload['name']}"

    async with Client(server) as client:
        await client.put_kind(Kind(name="greet"))
        serving = asyncio.create_task(worker.serve())
        try:
            for name in ("Ada", "Grace", "Mary"):
                job = await client.enqueue("greet", {"name": name}, queue=QUEUE)
                ended = await client.wait(job.id, timeout=timedelta(seconds=30))
                print(f"{ended.status.name}: {ended.output}")
        finally:
            worker.stop(reason="the program ends")
            await serving


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:50051"))
