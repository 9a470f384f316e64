"""A worker whose handlers note what they do, a line each, in a file of this process: the truth of what ran."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import time
from datetime import timedelta
from pathlib import Path

from jobqueue import JobContext, Worker


class Journal:
    """Appends a line for each thing that happens; each is one write, so that a kill -9 can't cut it."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(self, event: str, ctx: JobContext) -> None:
        job = ctx.job
        os.write(self._file, f"{event} {job.kind} {job.id} {job.attempt} {time.time():.6f}\n".encode())


def killed_at_first(ctx: JobContext) -> str:
    """Runs in a process, which the first attempt kills."""
    if ctx.job.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return "survived"


async def gate(path: str) -> None:
    """Waits until the test makes a file."""
    while not os.path.exists(path):
        await asyncio.sleep(0.02)


def add_handlers(worker: Worker, journal: Journal) -> None:
    @worker.handler("count")
    async def count(ctx: JobContext) -> None:
        journal.note("ran", ctx)

    @worker.handler("nap")
    async def nap(ctx: JobContext) -> None:
        journal.note("ran", ctx)
        await asyncio.sleep(ctx.job.payload)

    @worker.handler("step")
    async def step(ctx: JobContext) -> None:
        journal.note("started", ctx)
        await asyncio.sleep(ctx.job.payload)
        journal.note("ended", ctx)

    @worker.handler("step_or_fail")
    async def step_or_fail(ctx: JobContext) -> None:
        journal.note("started", ctx)
        await asyncio.sleep(0.005)
        # Each third number fails at first, and each seventh for good.
        number = ctx.job.payload
        if number % 7 == 0 or (number % 3 == 0 and ctx.job.attempt == 1):
            raise RuntimeError(f"attempt {ctx.job.attempt} fails")
        journal.note("ended", ctx)

    @worker.handler("echo")
    async def echo(ctx: JobContext) -> dict[str, str]:
        payload = ctx.job.payload
        value = next(iter(payload.values()))
        return {"text": ctx.job.payload_json.decode(), "type": type(value).__name__, "value": str(value)}

    @worker.handler("fail_once")
    async def fail_once(ctx: JobContext) -> str:
        journal.note("ran", ctx)
        if ctx.job.attempt == 1:
            raise RuntimeError("the first attempt fails")
        return "the second one does not"

    @worker.handler("always_fails")
    def always_fails(ctx: JobContext) -> None:
        journal.note("ran", ctx)
        raise RuntimeError(f"attempt {ctx.job.attempt} fails")

    @worker.handler("hold")
    async def hold(ctx: JobContext) -> None:
        journal.note("started", ctx)
        try:
            await gate(ctx.job.payload["gate"])
        except asyncio.CancelledError:
            journal.note(str(ctx.stop_reason.value if ctx.stop_reason else "no reason"), ctx)
            raise
        journal.note("ended", ctx)

    @worker.handler("hold_first")
    async def hold_first(ctx: JobContext) -> None:
        journal.note("started", ctx)
        if ctx.job.attempt == 1:
            await asyncio.Event().wait()

    @worker.handler("watch")
    def watch(ctx: JobContext) -> None:
        journal.note("started", ctx)
        while not ctx.cancelled:
            time.sleep(0.02)
        journal.note(str(ctx.stop_reason.value if ctx.stop_reason else "no reason"), ctx)
        ctx.raise_if_cancelled()

    @worker.handler("poison")
    async def poison(ctx: JobContext) -> None:
        journal.note("ran", ctx)
        # Until the server has the receipt: the job is then known to have been here. In steps, so that after a time in
        # which this process stood still there is some for the receipt.
        for _ in range(20):
            await asyncio.sleep(0.01)
        os._exit(3)

    @worker.handler("hog")
    async def hog(ctx: JobContext) -> None:
        journal.note("started", ctx)
        ends = time.monotonic() + ctx.job.payload
        while time.monotonic() < ends:
            pass
        journal.note("ended", ctx)

    worker.handler("killed_at_first", run_in="process")(killed_at_first)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("--name", required=True)
    parser.add_argument("--queue", required=True)
    parser.add_argument("--journal", required=True, type=Path)
    parser.add_argument("--slots", required=True, type=int)
    parser.add_argument("--grace", required=True, type=float)
    parser.add_argument("--ttl", type=float)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    worker = Worker(
        options.address.split(","),
        name=options.name,
        queues=[options.queue],
        concurrency=options.slots,
        session_ttl=None if options.ttl is None else timedelta(seconds=options.ttl),
        shutdown_grace=timedelta(seconds=options.grace),
    )
    add_handlers(worker, Journal(options.journal))
    worker.run()


if __name__ == "__main__":
    main()
