"""The worker's metrics: the names that dashboards know, and a port that is free."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request

import pytest

from jobqueue import Attempt
from jobqueue_worker.metrics import PORTS, EndpointUnusable, WorkerEndpoint, WorkerMetrics, split_address


def read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


@pytest.fixture
def endpoint():
    endpoint = WorkerEndpoint(WorkerMetrics().registry)
    yield endpoint
    endpoint.stop()


def test_attempts_are_counted_under_the_names_that_dashboards_know():
    metrics = WorkerMetrics()
    first = Attempt("1", "send_email", "mail", 1, 0, {}, "")
    metrics.attempt_started(first)
    metrics.attempt_ended(first, "retrying", 0.2, "OSError: no such host")
    metrics.attempt_started(first)
    metrics.attempt_ended(first, "succeeded", 0.1, "")
    endpoint = WorkerEndpoint(metrics.registry)
    text = read(endpoint.start("127.0.0.1:0"))
    endpoint.stop()
    assert 'worker_jobs_started_total{kind="send_email"} 2.0' in text
    assert 'worker_jobs_completed_total{kind="send_email",outcome="retrying"} 1.0' in text
    assert 'worker_jobs_completed_total{kind="send_email",outcome="succeeded"} 1.0' in text
    assert 'worker_job_duration_seconds_sum{kind="send_email",outcome="succeeded"} 0.1' in text
    assert "process_cpu_seconds_total" in text


def test_beside_metrics_there_is_health_and_nothing_else(endpoint: WorkerEndpoint):
    url = endpoint.start("127.0.0.1:0").removesuffix("/metrics")
    assert json.loads(read(f"{url}/health")) == {"status": "ok"}
    with pytest.raises(urllib.error.HTTPError) as refused:
        read(f"{url}/")
    assert refused.value.code == 404
    refused.value.close()


def test_a_taken_port_gives_way_to_the_next_that_is_free(endpoint: WorkerEndpoint):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        url = endpoint.start(f"127.0.0.1:{port}")
        taken = int(url.split(":")[2].split("/")[0])
        assert port < taken < port + PORTS
        assert "worker_jobs_started_total" in read(url)


def test_an_address_that_is_not_ours_is_named(endpoint: WorkerEndpoint):
    with pytest.raises(EndpointUnusable, match=r"192\.0\.2\.1.*WORKER_METRICS_BIND_ADDR"):
        endpoint.start("192.0.2.1:9091")


@pytest.mark.parametrize(
    "wrong", ["", "9091", "localhost", "localhost:", "localhost:70000", "::1:9091", ":9091"]
)
def test_what_is_no_address_is_refused(wrong: str):
    with pytest.raises(EndpointUnusable, match="HOST:PORT"):
        split_address(wrong)


def test_an_ipv6_address_goes_in_brackets():
    assert split_address("[::1]:9091") == ("[::1]", 9091)
