"""The metrics that an operator reads, as its endpoint serves them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from urllib.request import urlopen

import pytest

from jobqueue_server.addresses import AddressUnusable
from jobqueue_server.metrics import Backlog, Metrics
from jobqueue_server.scrape import ScrapeEndpoint


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def port(metrics: Metrics) -> Iterator[int]:
    endpoint = ScrapeEndpoint(metrics.pages())
    yield endpoint.start("127.0.0.1:0")
    endpoint.stop()


def read(port: int) -> str:
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text: str = answer.read().decode()
        return text


async def test_all_that_happened_is_on_the_endpoint(metrics: Metrics, port: int) -> None:
    metrics.enqueued("send_email", 3)
    metrics.finished("send_email", "succeeded", 2)
    metrics.finished("send_email", "retrying")
    metrics.observe_batch("settle", 0.003, 40)
    metrics.waited("send_email", [0.2, 7])
    metrics.ran("send_email", 0.2)
    metrics.call_handled("/jobqueue.v1.JobQueue/GetJob", "http", "NOT_FOUND", 0.2)
    metrics.watch({"sessions": lambda: 4, "streams": lambda: 3, "credit": lambda: 20, "leases": lambda: 11})
    metrics.watch_backlogs(
        lambda: [
            Backlog("mail", "send_email", "queued", 5, timedelta(seconds=90)),
            Backlog("mail", "send_email", "running", 0),
        ]
    )
    lines = set((await asyncio.to_thread(read, port)).splitlines())
    assert lines >= {
        'jobqueue_jobs_enqueued_total{kind="send_email"} 3.0',
        'jobqueue_jobs_finished_total{kind="send_email",outcome="succeeded"} 2.0',
        'jobqueue_jobs_finished_total{kind="send_email",outcome="retrying"} 1.0',
        'jobqueue_op_seconds_bucket{le="0.005",op="settle"} 1.0',
        'jobqueue_op_batch_jobs_sum{op="settle"} 40.0',
        'jobqueue_op_batch_jobs_count{op="enqueue"} 0.0',
        'jobqueue_job_wait_seconds_count{kind="send_email"} 2.0',
        'jobqueue_job_run_seconds_sum{kind="send_email"} 0.2',
        "jobqueue_sessions 4.0",
        "jobqueue_streams 3.0",
        "jobqueue_credit 20.0",
        "jobqueue_leases 11.0",
        'jobqueue_queue_depth{kind="send_email",queue="mail",status="queued"} 5.0',
        'jobqueue_queue_depth{kind="send_email",queue="mail",status="running"} 0.0',
        'jobqueue_queue_oldest_age_seconds{kind="send_email",queue="mail",status="queued"} 90.0',
    }
    labels = 'grpc_code="NOT_FOUND",grpc_method="GetJob",grpc_service="jobqueue.v1.JobQueue",transport="http"'
    assert f"grpc_server_handled_total{{{labels}}} 1.0" in lines


async def test_a_queue_that_is_gone_leaves_no_series(metrics: Metrics, port: int) -> None:
    backlogs = [Backlog("mail", "send_email", "queued", 5)]
    metrics.watch_backlogs(lambda: backlogs)
    assert "send_email" in await asyncio.to_thread(read, port)
    backlogs.clear()
    assert "send_email" not in await asyncio.to_thread(read, port)


def test_a_port_that_is_taken_is_said(metrics: Metrics, port: int) -> None:
    with pytest.raises(AddressUnusable, match=rf"127.0.0.1:{port}.*JOBQUEUE_METRICS_ADDR"):
        ScrapeEndpoint(metrics.pages()).start(f"127.0.0.1:{port}")


@pytest.mark.slow
def test_a_stopped_endpoint_frees_its_port(metrics: Metrics) -> None:
    endpoint = ScrapeEndpoint(metrics.pages())
    port = endpoint.start("127.0.0.1:0")
    endpoint.stop()
    again = ScrapeEndpoint(metrics.pages())
    assert again.start(f"127.0.0.1:{port}") == port
    again.stop()
