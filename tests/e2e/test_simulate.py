"""`jobqueue-worker --simulate` as a program: what it draws is what happens."""

from __future__ import annotations

from datetime import timedelta

import pytest

from jobqueue import Client, NewJob, RetryPolicy, Status
from jobqueue_worker.simulator import PLAN, draw

from .conftest import Bench, ends

PAYLOADS = {
    "send_email": {"to": "a@example.com", "subject": "s", "body": "b"},
    "resize_image": {"source_url": "https://example.com/a.png", "width": 10, "height": 10},
    "summarize_text": {"text": "One. Two."},
    "webhook_delivery": {"url": "https://example.com/hook", "body": {"n": 1}},
}


@pytest.mark.slow
async def test_the_simulator_fails_and_succeeds_as_its_plan_draws(
    bench: Bench, client: Client, address: str, queue: str
):
    soon = RetryPolicy(min_backoff=timedelta(milliseconds=20), max_backoff=timedelta(milliseconds=50))
    results = await client.enqueue_many(
        NewJob(kind, PAYLOADS[kind], queue=queue, retry_policy=soon) for kind in PLAN for _ in range(15)
    )
    simulator = bench.simulator(address, queue)
    done = await ends(client, *(result.id for result in results))
    failed = 0
    for job in done:
        steps = enumerate(PLAN[job.kind], start=1)
        fails = any(draw(job.id, 1, number) < step.failure_rate for number, step in steps)
        failed += fails
        assert (job.status, job.attempts, job.failures) == (Status.SUCCEEDED, 1 + fails, fails), job
    assert 0 < failed < len(done)
    simulator.terminate()
    assert await simulator.ended() == 0
