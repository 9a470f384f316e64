"""A worker whose jobs make further jobs in each way that there is: python worker_program.py SERVER QUEUE."""

from __future__ import annotations

import logging
import sys
from datetime import timedelta

from jobqueue import Client, JobContext, JobLogFilter, NewJob, RetryPolicy, SyncClient, Worker

SERVER, QUEUE = sys.argv[1:3]
SOON = RetryPolicy(min_backoff=timedelta(milliseconds=1), max_backoff=timedelta(milliseconds=1))


def in_thread(ctx: JobContext) -> None:
    if ctx.job.attempt == 1:
        raise RuntimeError("the first attempt fails")


def in_process(ctx: JobContext) -> None:
    with SyncClient(SERVER) as client:
        client.enqueue("last", queue=QUEUE)


def last(ctx: JobContext) -> None:
    logging.warning("the last one runs")


def main() -> None:
    lines = logging.StreamHandler()
    lines.addFilter(JobLogFilter())
    logging.basicConfig(format="%(message)s [%(trace_id)s %(span_id)s]", handlers=[lines])
    worker = Worker(SERVER, queues=[QUEUE])

    @worker.handler("first")
    async def first(ctx: JobContext) -> None:
        ctx.follow_up(NewJob("in_thread", queue=QUEUE, retry_policy=SOON))
        async with Client(SERVER) as client:
            await client.enqueue("in_process", queue=QUEUE)

    worker.handler("in_thread")(in_thread)
    worker.handler("in_process", run_in="process")(in_process)
    worker.handler("last")(last)
    print("ready", flush=True)
    worker.run()


if __name__ == "__main__":
    main()
