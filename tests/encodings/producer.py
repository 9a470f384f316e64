"""Enqueues keyed jobs, and prints their ids: `python -m tests.encodings.producer <address>`."""

from __future__ import annotations

import asyncio
import json
import sys

from jobqueue import Client

from .made import both

JOBS = 40


async def main(address: str) -> None:
    """The same calls in each process that runs it."""
    async with Client(address, encodings=both()) as client:
        made = [
            await client.enqueue("keyed", {"n": n, "text": "x" * n * 30}, idempotency_key=f"order-{n}")
            for n in range(JOBS)
        ]
    print(json.dumps([job.id for job in made]))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
