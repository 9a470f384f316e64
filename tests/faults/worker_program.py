"""A worker of the real runtime that notes every frame of its session and every start and end of its handlers."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
from datetime import timedelta
from pathlib import Path

import jobqueue.worker.link as link
from jobqueue import Discard, JobContext, Retry, Snooze, Worker
from jobqueue.channel import Access
from jobqueue.v1 import lease_pb2
from jobqueue.worker.stream import Stream, StreamEnded
from tests.faults.frames import FrameJournal
from tests.faults.journal import Journal

#: For how many seconds a job pauses its key.
PAUSE = 2.0


def noted_streams(journal: Journal) -> type[Stream]:
    """The runtime's Stream, with each frame noted as it passes."""
    leases: dict[int, tuple[str, int]] = {}

    class NotedStream(Stream):
        def __init__(self, target: str, access: Access) -> None:
            self._noted = FrameJournal(journal, leases)
            super().__init__(target, access)

        def send(self, frame: lease_pb2.LeaseRequest) -> None:
            self._noted.sent(frame)
            super().send(frame)

        def _arrived(self, frame: lease_pb2.LeaseResponse | StreamEnded) -> None:
            if isinstance(frame, lease_pb2.LeaseResponse):
                self._noted.received(frame)
            super()._arrived(frame)

    return NotedStream


def add_handlers(worker: Worker, journal: Journal) -> None:
    def note(what: str, ctx: JobContext, **said: object) -> None:
        journal.note(what, id=ctx.job.id, attempt=ctx.job.attempt, kind=ctx.job.kind, **said)

    async def work(ctx: JobContext) -> None:
        """Takes as long as the payload says; the first attempt until its gate, where it has one, is a file."""
        note("started", ctx)
        try:
            await asyncio.sleep(ctx.job.payload.get("seconds", 0))
            gate = ctx.job.payload.get("gate") if ctx.job.attempt == 1 else None
            while gate is not None and not os.path.exists(gate):
                await asyncio.sleep(0.02)
        except asyncio.CancelledError:
            note("ended", ctx, how="none" if ctx.stop_reason is None else ctx.stop_reason.value)
            raise
        note("ended", ctx, how="returned")

    @worker.handler("flaky")
    async def flaky(ctx: JobContext) -> None:
        await work(ctx)
        if ctx.job.attempt == 1:
            raise RuntimeError("the first attempt fails")

    @worker.handler("breaks")
    async def breaks(ctx: JobContext) -> None:
        await work(ctx)
        if ctx.job.attempt == 1:
            raise Discard("the first attempt fails for good")

    @worker.handler("snoozing")
    async def snoozing(ctx: JobContext) -> None:
        await work(ctx)
        if ctx.job.attempt == 1:
            raise Snooze(timedelta(seconds=1))

    @worker.handler("throttled")
    async def throttled(ctx: JobContext) -> None:
        await work(ctx)
        if ctx.job.attempt == 1:
            raise Retry("429", after=timedelta(seconds=PAUSE), pause_key=True)

    @worker.handler("poison")
    async def poison(ctx: JobContext) -> None:
        note("started", ctx)
        # Until the server has the receipt: the job is then known to have been here.
        await asyncio.sleep(0.2)
        os._exit(3)

    @worker.handler("kills_at_once")
    async def kills_at_once(ctx: JobContext) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    worker.handler("work")(work)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("addresses", nargs="+")
    parser.add_argument("--name", required=True)
    parser.add_argument("--folder", required=True, type=Path)
    parser.add_argument("--slots", required=True, type=int)
    parser.add_argument("--ttl", required=True, type=float)
    parser.add_argument("--grace", required=True, type=float)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    journal = Journal(options.folder, options.name)
    # There is no hook for frames, and there should be none: a case looks behind the runtime's back.
    link.Stream = noted_streams(journal)  # type: ignore[attr-defined]
    worker = Worker(
        options.addresses,
        name=options.name,
        concurrency=options.slots,
        session_ttl=timedelta(seconds=options.ttl),
        shutdown_grace=timedelta(seconds=options.grace),
    )
    add_handlers(worker, journal)
    worker.run()


if __name__ == "__main__":
    main()
