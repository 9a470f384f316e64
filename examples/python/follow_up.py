"""Jobs that follow: they are stored in the transaction that ends their job, so there is never one without the other.

python follow_up.py
"""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from jobqueue import Client, JobContext, Worker, define_kind

QUEUE = "example-follow-up"


@dataclass
class Order:
    number: int


pack = define_kind("example_pack", Order, queue=QUEUE)
receipt = define_kind("example_receipt", Order, queue=QUEUE)


async def main() -> None:
    worker = Worker.from_env(queues=[QUEUE], sync_kinds=True)
    sent = asyncio.Event()

    @worker.handler(pack)
    async def do_pack(payload: Order, ctx: JobContext) -> None:
        print(f"order {payload.number} is packed")
        # Stored if this attempt succeeds, and only then.
        ctx.follow_up(receipt.new(payload))

    @worker.handler(receipt)
    async def do_receipt(payload: Order, ctx: JobContext) -> None:
        print(f"the receipt of order {payload.number} is sent")
        sent.set()

    serving = asyncio.create_task(worker.serve())
    try:
        async with Client.from_env() as client:
            await client.sync_kinds([pack, receipt])
            await client.enqueue(pack, Order(7))
            await asyncio.wait_for(sent.wait(), timedelta(minutes=1).total_seconds())
    finally:
        worker.stop()
        await serving


if __name__ == "__main__":
    asyncio.run(main())
