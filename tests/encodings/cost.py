"""What encodings cost, in CPU for each job, without a server: `python -m tests.encodings.cost`.

An enqueue up to the call, and a handler by the worker's own runners, without encodings and with them. Best of several
rounds.
"""

from __future__ import annotations

import time
from typing import Any

from jobqueue import AesGcm, Encodings, Zstd
from jobqueue.jobs import LeasedJob
from jobqueue.v1 import job_pb2
from jobqueue.v1 import jobqueue_pb2 as pb
from jobqueue.v1 import lease_pb2 as lease
from jobqueue.worker.context import JobContext
from jobqueue.worker.handlers import Handlers
from jobqueue.worker.runner import run_plain

JOBS, ROUNDS = 1_000, 5
KEY = {"a": bytes(range(32))}
LISTS = {
    "none": None,
    "AesGcm": Encodings([AesGcm(KEY, primary="a")]),
    "Zstd, AesGcm": Encodings([Zstd(over=100), AesGcm(KEY, primary="a")]),
}


def answers(ctx: JobContext) -> Any:
    """A handler that looks at its payload and has an output."""
    return ctx.job.payload["to"]


def handled(encodings: Encodings | None, payload: bytes) -> float:
    """Seconds of CPU of a handler."""
    handlers = Handlers(encodings=encodings)
    handlers.add("a", answers)
    found = handlers.get("a")
    assert found is not None
    message = lease.LeasedJob(lease_id=1, id="1", attempt=1, kind="a", payload_json=payload, queue="default")
    given = [JobContext(LeasedJob(message), lambda *_: None, 1, 0.0) for _ in range(JOBS)]
    began = time.process_time()
    for each in given:
        assert run_plain(found.function, each).success.output_json  # type: ignore[union-attr]
    return time.process_time() - began


def enqueued(encodings: Encodings | None, payload: Any) -> float:
    """Seconds of CPU of an enqueue, without the call itself."""
    import asyncio

    from jobqueue import Client

    class Answered(Client):
        """The call is answered at once."""

        async def _enqueue(self, *_: Any, **__: Any) -> Any:
            return pb.EnqueueJobResponse(job=job_pb2.Job(id="1", status=job_pb2.Job.QUEUED))

    async def all_of() -> float:
        client = Answered("127.0.0.1:1", encodings=encodings)
        began = time.process_time()
        for _ in range(JOBS):
            await client.enqueue("a", payload)
        return time.process_time() - began

    return asyncio.run(all_of())


def main() -> None:
    """Prints a table."""
    import asyncio
    import json

    for words, payload in (
        ("30 bytes", {"to": "ada@example.org"}),
        ("4 kB", {"to": "ada@example.org, " * 250}),
    ):
        for name, encodings in LISTS.items():
            text = json.dumps(payload).encode()
            if encodings is not None:
                from jobqueue import NewJob

                (sealed,) = asyncio.run(encodings.payloads([NewJob("a", payload)]))
                assert sealed is not None
                text = sealed
            times = [
                min(measure() for _ in range(ROUNDS)) / JOBS * 1e6
                for measure in (lambda: enqueued(encodings, payload), lambda: handled(encodings, text))  # noqa: B023
            ]
            print(
                f"{words:8} {name:13} enqueue {times[0]:6.1f} us   handler {times[1]:6.1f} us   {len(text)} bytes"
            )


if __name__ == "__main__":
    main()
