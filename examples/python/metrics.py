"""A worker whose attempts are counted on a page for Prometheus, under the names that the worker service has.

pip install prometheus-client
python metrics.py
"""

import asyncio
import urllib.request
from dataclasses import dataclass
from datetime import timedelta

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    start_http_server,
)

from jobqueue import Attempt, Client, Discard, JobContext, Observer, Worker, define_kind

QUEUE = "example-metrics"


class Metrics(Observer):
    """Is told of each attempt by a thread of its own, so it delays none."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.begun = Counter(
            "worker_jobs_started", "Attempts that were started.", ["kind"], registry=registry
        )
        self.done = Counter(
            "worker_jobs_completed", "Attempts that ended.", ["kind", "outcome"], registry=registry
        )
        self.took = Histogram(
            "worker_job_duration_seconds", "How long handlers ran.", ["kind", "outcome"], registry=registry
        )

    def attempt_started(self, attempt: Attempt) -> None:
        self.begun.labels(attempt.kind).inc()

    def attempt_ended(self, attempt: Attempt, outcome: str, seconds: float, error: str) -> None:
        self.done.labels(attempt.kind, outcome).inc()
        self.took.labels(attempt.kind, outcome).observe(seconds)


@dataclass
class Work:
    fails: bool


work = define_kind("example_work", Work, queue=QUEUE)


async def do_work(payload: Work, ctx: JobContext) -> None:
    if payload.fails:
        raise Discard("this can never be done")


async def main() -> None:
    registry = CollectorRegistry()
    page, _ = start_http_server(0, "127.0.0.1", registry)
    worker = Worker.from_env(queues=[QUEUE], sync_kinds=True, observer=Metrics(registry))
    worker.handler(work)(do_work)
    serving = asyncio.create_task(worker.serve())
    async with Client.from_env() as client:
        await client.sync_kinds([work])
        for fails in (False, True, False):
            job = await client.enqueue(work, Work(fails))
            await client.wait(job.id, timeout=timedelta(minutes=1))
    # The worker hears of the end of a job a little later than who waits for it. Once it has left, all is counted.
    worker.stop()
    await serving
    await asyncio.to_thread(show, f"http://127.0.0.1:{page.server_port}/metrics")
    page.shutdown()


def show(address: str) -> None:
    """What Prometheus reads."""
    with urllib.request.urlopen(address) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith("worker_jobs") and "_created" not in line:
                print(line)


if __name__ == "__main__":
    asyncio.run(main())
