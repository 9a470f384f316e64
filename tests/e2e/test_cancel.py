"""A cancel that reaches a handler in another process."""

from __future__ import annotations

import time

import pytest

from jobqueue import Client, JobTerminal, Status

from .conftest import Bench, ends


@pytest.mark.alone
@pytest.mark.parametrize("kind", ["hold", "watch"])
async def test_a_running_handler_sees_the_cancel_and_its_job_ends_cancelled(
    bench: Bench, client: Client, address: str, queue: str, kind: str
):
    await bench.workers(address, "w", queue=queue)
    job = await client.enqueue(kind, {"gate": str(bench.folder / "never")}, queue=queue)
    await bench.journals.until(1, "started")
    at = time.time()
    asked = await client.cancel(job.id, reason="no longer wanted")
    assert (asked.pending, asked.job.cancel_requested) == (True, True)
    [seen] = await bench.journals.until(1, "cancel")
    assert seen.at - at < 1.5
    [done] = await ends(client, job.id)
    assert (done.status, done.reason) == (Status.CANCELLED, "CANCELLED_BY_CALLER")
    assert (done.attempts, done.failures, done.losses) == (1, 0, 0)
    assert bench.journals.read("ended") == []
    with pytest.raises(JobTerminal):
        await client.cancel(job.id)


async def test_a_job_that_was_cancelled_in_line_never_runs(
    bench: Bench, client: Client, address: str, queue: str
):
    gone = await client.enqueue("count", queue=queue)
    assert not (await client.cancel(gone.id)).pending
    after = await client.enqueue("count", queue=queue)
    await bench.workers(address, "w", queue=queue)
    await ends(client, after.id)
    assert [entry.id for entry in bench.journals.read()] == [after.id]
    assert (await client.get(gone.id)).status == Status.CANCELLED
