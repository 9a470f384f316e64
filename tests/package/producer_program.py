"""A program that enqueues by the client that it runs with, whatever its version, and notes each call and answer."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import signal
import sys
import time
from pathlib import Path

from jobqueue import AUTO, Client
from tests.faults.journal import Journal

CALLERS = 4
#: Each so many jobs there is one that takes longer than a server lets its workers stay while it drains.
SELDOM = 25


async def produce(target: str, journal: Journal, rate: float) -> bool:
    """Enqueues so many jobs a second until SIGTERM, each by one call of the client; whether none failed."""
    over, numbers, well = asyncio.Event(), itertools.count(), True
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)

    async def call(client: Client) -> None:
        nonlocal well
        while not over.is_set():
            number = next(numbers)
            token = f"{journal.who}-{number}"
            payload = {"token": token, "seconds": 0.05 if number % SELDOM else 4}
            journal.note("enqueuing", token=token)
            began = time.monotonic()
            try:
                job = await client.enqueue("work", payload, idempotency_key=AUTO)
            except Exception as error:
                well = False
                journal.note("enqueued", token=token, code=type(error).__name__)
                print(f"{token}: {error!r}", file=sys.stderr)
            else:
                seconds = round(time.monotonic() - began, 3)
                journal.note("enqueued", token=token, code="OK", id=job.id, seconds=seconds)
            await asyncio.sleep(CALLERS / rate)

    async with Client(target) as client:
        print("it enqueues", file=sys.stderr)
        await asyncio.gather(*(call(client) for _ in range(CALLERS)))
    return well


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("target")
    parser.add_argument("--name", required=True)
    parser.add_argument("--folder", required=True, type=Path)
    parser.add_argument("--rate", required=True, type=float)
    options = parser.parse_args()
    journal = Journal(options.folder, options.name)
    return not asyncio.run(produce(options.target, journal, options.rate))


if __name__ == "__main__":
    sys.exit(main())
