"""The images, built and run as containers: confined, healthy, of use, and no larger than they need be."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from jobqueue import Status, SyncClient
from jobqueue_server.embedded import EmbeddedPostgres
from tests.ports import free_port

from . import podman

# It fetches what the locks name, and takes minutes.
pytestmark = [pytest.mark.image, pytest.mark.network, pytest.mark.timeout(1500)]

#: Our own part of an image, which is all that lies on its base, in MB.
MOST_MB = {"server": 85, "worker": 150}
WITHIN = 90.0


@pytest.fixture(scope="module")
def images() -> dict[str, str]:
    return {target: podman.build(target) for target in ("server", "worker")}


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    # Containers reach it by the network alone.
    with EmbeddedPostgres(listen=True) as postgres:
        yield postgres.dsn


def healthy(container: str, variable: str) -> None:
    until = time.monotonic() + WITHIN
    while True:
        try:
            podman.podman("exec", container, "python", "/opt/jobqueue/health.py", variable)
            return
        except AssertionError:
            if time.monotonic() > until:
                raise AssertionError(podman.podman("logs", container)) from None
            time.sleep(0.5)


@pytest.mark.parametrize("target", ["server", "worker"])
def test_our_own_part_of_an_image_is_small(images: dict[str, str], target: str):
    container = podman.buildah("from", "--pull-never", images[target])
    try:
        own = Path(podman.buildah("mount", container)) / "opt/jobqueue"
        size = sum(
            path.lstat().st_size for path in own.rglob("*") if path.is_file() and not path.is_symlink()
        )
        parts = {path.name: _size(path) for path in own.glob("lib/python*/site-packages/*")}
    finally:
        podman.buildah("rm", container)
    largest = sorted(parts.items(), key=lambda part: -part[1])[:12]
    assert size / 1e6 <= MOST_MB[target], largest
    print(f"{target}: {size / 1e6:.1f} MB; {largest}")


def _size(path: Path) -> float:
    files = path.rglob("*") if path.is_dir() else [path]
    return round(sum(each.lstat().st_size for each in files if each.is_file()) / 1e6, 1)


def test_a_job_runs_through_containers_that_can_write_nothing_and_that_drain(
    images: dict[str, str], database: str
):
    grpc, http, metrics, health = free_port(), free_port(), free_port(), free_port()
    podman.podman(
        "run", "--rm", "--network", "host", "--read-only", "--cap-drop", "ALL", f"--env=DATABASE_URL={database}",
        images["server"], "migrate", "up",
    )  # fmt: skip
    of_server = {
        "DATABASE_URL": database,
        "JOBQUEUE_GRPC_ADDR": f"127.0.0.1:{grpc}",
        "API_BIND_ADDR": f"127.0.0.1:{http}",
        "JOBQUEUE_METRICS_ADDR": f"127.0.0.1:{metrics}",
    }
    of_worker = {
        "JOBQUEUE_SERVER": f"127.0.0.1:{grpc}",
        "WORKER_METRICS_BIND_ADDR": f"127.0.0.1:{health}",
    }
    with (
        podman.running(images["server"], **of_server) as server,
        podman.running(images["worker"], **of_worker) as worker,
    ):
        healthy(server, "API_BIND_ADDR")
        healthy(worker, "WORKER_METRICS_BIND_ADDR")
        with SyncClient(f"127.0.0.1:{grpc}") as client:
            job = client.enqueue("summarize_text", {"text": "One says. Two do.", "max_words": 2})
            ended = client.wait(job.id, timeout=timedelta(seconds=WITHIN))
            assert ended.status is Status.SUCCEEDED
        for container in (server, worker):
            assert podman.podman("exec", container, "id", "-u") == "10001"
            with pytest.raises(AssertionError, match="Read-only file system"):
                podman.podman("exec", container, "sh", "-c", "echo > /opt/jobqueue/new")
            status = podman.podman("exec", container, "cat", "/proc/1/status")
            told = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
            assert int(told["CapEff"], 16) == int(told["CapBnd"], 16) == 0
            assert told["NoNewPrivs"].strip() == "1"
        for container in (worker, server):
            podman.podman("stop", "--time", "45", container)
            assert json.loads(podman.podman("inspect", container))[0]["State"]["ExitCode"] == 0
        assert "jobqueue-server has ended" in podman.podman("logs", server)
