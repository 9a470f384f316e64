"""A worker that is told to end."""

from __future__ import annotations

from jobqueue import Client, NewJob, Status

from .conftest import Bench, ends


async def test_a_drain_finishes_what_runs_and_takes_no_more(
    bench: Bench, client: Client, address: str, queue: str
):
    [worker] = await bench.workers(address, "w", queue=queue, slots=8)
    gate = bench.folder / "gate"
    jobs = await client.enqueue_many(NewJob("hold", {"gate": str(gate)}, queue=queue) for _ in range(4))
    await bench.journals.until(4, "started")
    worker.terminate()
    await worker.line("draining")
    late = await client.enqueue("count", queue=queue)
    gate.touch()
    assert await worker.ended() == 0
    done = await ends(client, *(job.id for job in jobs))
    assert {(job.status, job.attempts) for job in done} == {(Status.SUCCEEDED, 1)}
    assert len(bench.journals.read("ended")) == 4

    # It may have crossed the Drain on the wire, and then went back, uncharged.
    kept = await client.get(late.id)
    assert (kept.status, kept.failures, kept.losses) == (Status.QUEUED, 0, 0)
    assert bench.journals.read("ran") == []
    await bench.workers(address, "next", queue=queue)
    [ran] = await ends(client, late.id)
    assert ran.status == Status.SUCCEEDED


async def test_a_drain_under_load_loses_nothing_and_runs_nothing_twice(
    bench: Bench, client: Client, address: str, queue: str
):
    leaving, _ = await bench.workers(address, "leaving", "staying", queue=queue)
    jobs = await client.enqueue_many(NewJob("nap", 0.05, queue=queue) for _ in range(600))
    await bench.journals.until(lambda runs: len(runs) >= 100 and "leaving" in {run.worker for run in runs})
    leaving.terminate()
    assert await leaving.ended() == 0
    done = await ends(client, *(job.id for job in jobs))
    assert {(job.status, job.failures, job.losses) for job in done} == {(Status.SUCCEEDED, 0, 0)}
    runs = bench.journals.read()
    assert sorted(run.id for run in runs) == sorted(job.id for job in jobs)
    assert {run.worker for run in runs} == {"leaving", "staying"}


async def test_what_outlasts_the_grace_goes_back_uncharged_and_runs_elsewhere(
    bench: Bench, client: Client, address: str, queue: str
):
    [worker] = await bench.workers(address, "w", queue=queue, grace=0.5)
    jobs = await client.enqueue_many(NewJob("hold_first", queue=queue) for _ in range(4))
    await bench.journals.until(4, "started")
    await bench.workers(address, "next", queue=queue)
    worker.terminate()
    assert await worker.ended() == 0
    done = await ends(client, *(job.id for job in jobs))
    assert {(job.status, job.attempts, job.failures, job.losses) for job in done} == {
        (Status.SUCCEEDED, 2, 0, 0)
    }
    starts = bench.journals.read("started")
    assert [entry.worker for entry in starts if entry.attempt == 2] == ["next"] * 4
