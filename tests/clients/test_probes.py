"""What Kubernetes sees of a worker of each language: it probes, sends SIGTERM, and kills what is not over in time."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from datetime import timedelta
from typing import Any

import pytest

from jobqueue import Client, Status
from tests.conformance.languages import languages
from tests.e2e.conftest import Bench
from tests.e2e.processes import Process
from tests.ports import free_address

from .conftest import Work

# The first build of a language compiles its gRPC.
pytestmark = pytest.mark.timeout(600)

#: `terminationGracePeriodSeconds` of docs/clients-health.md.
GRACE = 40.0
REST = 3.0


class Kubelet:
    """Plays the part of Kubernetes for one process.

    Args:
        process: The container.
        address: Where its probes are answered.
    """

    def __init__(self, process: Process, address: str) -> None:
        self._process = process
        self._address = address

    async def probe(self, path: str) -> tuple[int, dict[str, Any]]:
        """The status and the body of an answer; 0 where nothing listens."""

        def get() -> tuple[int, dict[str, Any]]:
            try:
                with urllib.request.urlopen(f"http://{self._address}{path}", timeout=5) as answer:
                    return answer.status, json.load(answer)
            except urllib.error.HTTPError as error:
                return error.code, json.load(error)
            except OSError:
                return 0, {}

        return await asyncio.to_thread(get)

    async def state(self, ready: int, state: str, within: float = 30) -> None:
        """Waits until `/readyz` has this status with this state. What listens meanwhile is alive."""
        async with asyncio.timeout(within):
            while True:
                (live, _), (code, body) = await self.probe("/livez"), await self.probe("/readyz")
                assert live in (0, 200), body
                if (code, body.get("state")) == (ready, state):
                    return
                await asyncio.sleep(0.02)

    async def terminate(self) -> int | None:
        """Sends SIGTERM and waits for the end: the exit code, or None: it had to be killed."""
        self._process.terminate()
        try:
            return await self._process.ended(GRACE)
        except AssertionError:
            self._process.kill()
            return None


@pytest.mark.parametrize(
    "language", [pytest.param(each, marks=pytest.mark.language(each)) for each in languages()]
)
async def test_a_rollout_of_a_worker_is_seen_by_probes_and_ends_what_it_runs(
    work: Work, bench: Bench, dsn: str, language: str
) -> None:
    place, health = free_address(), free_address()
    process = work(language, place, "default", "--health", health)
    kubelet = Kubelet(process, health)
    # No server yet: not ready, and no reason to start it anew.
    await kubelet.state(503, "starting")
    server = await bench.server(dsn, grpc_addr=place)
    await kubelet.state(200, "serving")
    async with Client(place) as client:
        # A server that is away for less than the ttl.
        server.kill()
        await kubelet.state(200, "reconnecting")
        await bench.server(dsn, grpc_addr=place)
        await kubelet.state(200, "serving")
        job = await client.enqueue("rest", REST)
        async for told in client.watch(ids=[job.id]):
            if told.status is Status.RUNNING:
                break
        ending = asyncio.create_task(kubelet.terminate())
        await kubelet.state(503, "draining")
        later = await client.enqueue("noop")
        assert await ending == 0
        ended = await client.wait(job.id, timeout=timedelta(seconds=0))
        assert (ended.status, ended.attempts) == (Status.SUCCEEDED, 1)
        assert (await client.get(later.id)).status is Status.QUEUED
        # Its successor.
        work(language, place, "default")
        assert (await client.wait(later.id)).status is Status.SUCCEEDED
