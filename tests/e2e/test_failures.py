"""What a failure costs: a try of the job that failed, and nothing else."""

from __future__ import annotations

from datetime import timedelta

import pytest

from jobqueue import Client, RetryPolicy, Status

from .conftest import Bench, ends

SOON = RetryPolicy(min_backoff=timedelta(milliseconds=20), max_backoff=timedelta(milliseconds=50))


async def test_a_job_that_fails_once_succeeds_at_its_second_attempt(
    bench: Bench, client: Client, address: str, queue: str
):
    await bench.workers(address, "w", queue=queue)
    job = await client.enqueue("fail_once", queue=queue, retry_policy=SOON)
    [done] = await ends(client, job.id)
    assert (done.status, done.attempts, done.failures, done.losses) == (Status.SUCCEEDED, 2, 1, 0)
    assert done.output == "the second one does not"
    assert [(each.attempt, each.reason, each.error) for each in done.failed_attempts] == [
        (1, "HANDLER_FAILED", "the first attempt fails")
    ]
    first, second = bench.journals.read("ran")
    # The backoff counts from the database's settlement, which comes after the handler's note.
    assert second.at - first.at >= 0.02


async def test_a_job_that_always_fails_ends_when_its_attempts_are_used_up(
    bench: Bench, client: Client, address: str, queue: str
):
    await bench.workers(address, "w", queue=queue)
    jobs = [
        await client.enqueue("always_fails", queue=queue, retry_policy=SOON, max_attempts=most)
        for most in (1, 3, 5)
    ]
    for most, done in zip((1, 3, 5), await ends(client, *(job.id for job in jobs)), strict=True):
        assert (done.status, done.reason) == (Status.FAILED_PERMANENT, "ATTEMPTS_EXHAUSTED")
        assert (done.attempts, done.failures, done.losses) == (most, most, 0)
        assert done.last_error == f"attempt {most} fails"
        runs = [entry.attempt for entry in bench.journals.read("ran") if entry.id == done.id]
        assert runs == list(range(1, most + 1))


@pytest.mark.slow
async def test_a_handlers_process_that_is_killed_costs_that_attempt_only(
    bench: Bench, client: Client, address: str, queue: str
):
    [worker] = await bench.workers(address, "w", queue=queue)
    gate = bench.folder / "gate"
    neighbour = await client.enqueue("hold", {"gate": str(gate)}, queue=queue)
    await bench.journals.until(1, "started")
    job = await client.enqueue("killed_at_first", queue=queue, retry_policy=SOON)
    [done] = await ends(client, job.id)
    assert (done.status, done.attempts, done.failures, done.losses) == (Status.SUCCEEDED, 2, 1, 0)
    assert done.failed_attempts[0].reason == "HANDLER_FAILED"
    gate.touch()
    [held] = await ends(client, neighbour.id)
    assert (held.status, held.attempts) == (Status.SUCCEEDED, 1)
    assert worker.runs
