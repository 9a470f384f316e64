"""The metrics of a server that was busy add up to what it did."""

from __future__ import annotations

import asyncio
import urllib.request

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from prometheus_client.parser import text_string_to_metric_families

from jobqueue.v1 import job_pb2
from tests.lease.place import Place, eventually

pytestmark = [pytest.mark.slow, pytest.mark.any_engine]

QUICK = job_pb2.RetryPolicy(min_backoff=Duration(nanos=1_000_000), max_backoff=Duration(nanos=1_000_000))


class Scrape(dict):
    """Samples by name and labels, read over HTTP."""

    @classmethod
    async def of(cls, port):
        def read():
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
                assert response.headers["Content-Type"].startswith("text/plain")
                return response.read().decode()

        found = cls()
        for family in text_string_to_metric_families(await asyncio.to_thread(read)):
            for sample in family.samples:
                found[sample.name, frozenset(sample.labels.items())] = sample.value
        return found

    def value(self, name, **labels):
        return self.get((name, frozenset(labels.items())))


@pytest.fixture
async def place(dsn):
    async with Place(dsn, metrics_addr="127.0.0.1:0") as place:
        yield place


@pytest.fixture
def port(place):
    return place.app.metrics_port


async def test_the_metrics_of_a_busy_server_add_up(place, port):
    worker = await place.worker(kinds=["a", "b"], slots=7)
    for _ in range(10):
        await place.enqueue("a")
        await worker.succeed(await worker.job())
    await place.enqueue("b", max_attempts=2, retry_policy=QUICK)
    await worker.fail(await worker.job())
    await worker.fail(await worker.job())
    await place.enqueue("b")
    await worker.snooze(await worker.job(), 3600)
    cancelled = await place.enqueue("b", delay=3600)
    await place.cancel(cancelled.id)
    for _ in range(2):
        await place.enqueue("a")
    await worker.jobs(2)
    await place.batch(3, "never", queue="dark")
    with pytest.raises(grpc.aio.AioRpcError):
        await place.enqueue("BAD NAME")

    async def depths():
        scrape = await Scrape.of(port)
        ready = scrape.value("jobqueue_queue_depth", queue="dark", kind="never", status="queued") == 3
        return scrape if ready else None

    scrape = await eventually(depths)
    finished = "jobqueue_jobs_finished_total"
    assert scrape.value(finished, kind="a", outcome="succeeded") == 10
    assert scrape.value(finished, kind="b", outcome="retrying") == 2
    assert scrape.value(finished, kind="b", outcome="failed_permanent") == 1
    assert scrape.value(finished, kind="b", outcome="cancelled") == 1
    assert scrape.value("jobqueue_jobs_enqueued_total", kind="a") == 12
    assert scrape.value("jobqueue_jobs_enqueued_total", kind="b") == 3
    assert scrape.value("jobqueue_jobs_enqueued_total", kind="never") == 3
    assert scrape.value("jobqueue_job_run_seconds_count", kind="a") == 10
    assert scrape.value("jobqueue_job_wait_seconds_count", kind="a") == 12
    assert scrape.value("jobqueue_job_wait_seconds_count", kind="b") == 3
    assert 0 <= scrape.value("jobqueue_job_wait_seconds_sum", kind="a") < 5
    assert scrape.value("jobqueue_op_batch_jobs_sum", op="enqueue") == 18
    assert scrape.value("jobqueue_op_batch_jobs_sum", op="settle") == 13
    assert scrape.value("jobqueue_op_seconds_count", op="settle") == 13
    assert scrape.value("jobqueue_sessions") == 1
    assert scrape.value("jobqueue_streams") == 1
    assert scrape.value("jobqueue_leases") == 2
    assert scrape.value("jobqueue_credit") == 5
    assert scrape.value("jobqueue_queue_depth", queue="default", kind="b", status="queued") == 1
    assert scrape.value("jobqueue_queue_oldest_age_seconds", queue="dark", kind="never", status="queued") >= 0
    labels = {"grpc_service": "jobqueue.v1.JobQueue", "transport": "grpc", "grpc_method": "EnqueueJob"}
    assert scrape.value("grpc_server_handled_total", grpc_code="OK", **labels) == 15
    assert scrape.value("grpc_server_handled_total", grpc_code="INVALID_ARGUMENT", **labels) == 1

    dark = await place.worker(kinds=["never"], queues={"dark": ["never"]}, slots=3)
    await dark.succeed(*await dark.jobs(3))

    async def fell():
        depth = (await Scrape.of(port)).value(
            "jobqueue_queue_depth", queue="dark", kind="never", status="queued"
        )
        return depth == 0

    await eventually(fell)
