"""With the real server, behind a proxy that breaks things."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from jobqueue import Client, Job, Kind, NewJob, Status
from tests.faults.processes import Server
from tests.faults.proxy import Proxy

from ..case import case
from ..stage import Stage

_WAIT = timedelta(seconds=30)


class Place:
    """A server, a proxy before it, and a caller who needs no proxy."""

    def __init__(self, stage: Stage, server: Server, proxy: Proxy) -> None:
        self.server = server
        self.proxy = proxy
        self.client = Client(server.address)
        self._stage = stage

    async def enqueue(self, count: int, *steps: dict[str, object]) -> list[str]:
        """Jobs of the worker's kind; their ids."""
        payload = {"steps": list(steps)}
        return [
            result.id
            for result in await self.client.enqueue_many([NewJob("work", payload) for _ in range(count)])
        ]

    async def succeeded(self, ids: list[str], *, attempts: int = 1) -> list[Job]:
        """Waits until all have, each with so many attempts."""
        jobs = [await self.client.wait(id, timeout=_WAIT) for id in ids]
        for job in jobs:
            assert job.status is Status.SUCCEEDED, f"job {job.id} is {job.status.name}"
            assert job.attempts == attempts, f"job {job.id} took {job.attempts} attempts"
        return jobs


@asynccontextmanager
async def _place(stage: Stage) -> AsyncIterator[Place]:
    server = Server("server", stage.dsn, stage.folder)
    try:
        await server.ready()
        host, port = server.address.rsplit(":", 1)
        async with Proxy(host, int(port)) as proxy:
            place = Place(stage, server, proxy)
            async with place.client:
                yield place
            # Before the proxy, so that no language waits for the other's end.
            await stage.worker.kill()
    finally:
        server.kill()


@case(
    "real-breaks",
    "Connections reset under load: every job succeeds, and those that ran by the first attempt.",
    "Lease",
    real=True,
)
async def real_breaks(stage: Stage) -> None:
    async with _place(stage) as place:
        worker = await stage.start(addresses=[place.proxy.address])
        held = await place.enqueue(4, {"do": "hold"})
        for id in held:
            await worker.event("handler_started", job=id)
        ids = await place.enqueue(200)
        place.proxy.reset()
        worker.release(*held)
        for _ in range(5):
            await asyncio.sleep(0.3)
            place.proxy.reset()
        # A delivery that was never seen goes back uncharged, and its next attempt is the second.
        jobs = [await place.client.wait(id, timeout=_WAIT) for id in ids]
        assert {job.status for job in jobs} == {Status.SUCCEEDED}, "not all succeeded"
        await place.succeeded(held)


@case(
    "real-restart",
    "The server is killed and started again at its address: what runs goes on, and no job needs a second attempt.",
    "Resume",
    real=True,
)
async def real_restart(stage: Stage) -> None:
    async with _place(stage) as place:
        worker = await stage.start(addresses=[place.server.address])
        held = await place.enqueue(4, {"do": "hold"})
        for id in held:
            await worker.event("handler_started", job=id)
        worker.release(held[0])
        await place.succeeded(held[:1])
        place.server.kill()
        worker.release(held[1])
        await worker.event("handler_ended", job=held[1])
        again = Server("again", stage.dsn, stage.folder, grpc_addr=place.server.address)
        try:
            await again.ready()
            await place.succeeded(held[1:2])
            worker.release(*held[2:])
            await place.succeeded(held[2:])
        finally:
            again.kill()
        assert not worker.said("handler_cancelled"), "a handler was stopped"


@case(
    "real-silence",
    "A line that carries nothing and says nothing is left within three heartbeats; the session goes on on a new one.",
    "Pong",
    real=True,
)
async def real_silence(stage: Stage) -> None:
    async with _place(stage) as place, Proxy(*_split(place.server.address)) as other:
        worker = await stage.start(addresses=[place.proxy.address, other.address], session_ttl_s=8)
        held = await place.enqueue(2, {"do": "hold"})
        for id in held:
            await worker.event("handler_started", job=id)
        first, second = (place.proxy, other) if place.proxy.connections else (other, place.proxy)
        first.black_hole()
        silent = time.monotonic()
        while not second.connections:
            # Heartbeats every 2 s: two without an answer, and one that is under way.
            assert time.monotonic() < silent + 8, "it did not notice within 8 s, a whole ttl"
            await asyncio.sleep(0.05)
        worker.release(*held)
        await place.succeeded(held)


@case(
    "real-payloads",
    "From producer to handler the bytes of payloads are the same, and those of outputs back.",
    "Success.output_json",
    real=True,
)
async def real_payloads(stage: Stage) -> None:
    async with _place(stage) as place:
        worker = await stage.start(addresses=[place.proxy.address])
        raw = '{"steps":[{"do":"succeed","output":{"s":"ä€𝄞"}}], "n":12345678901234567890 }'.encode()
        id = (await place.client.enqueue("work", payload_json=raw)).id
        started = await worker.event("handler_started", job=id)
        assert started["payload_bytes"] == len(raw), f"{started['payload_bytes']} bytes of {len(raw)} arrived"
        (job,) = await place.succeeded([id])
        assert job.output == {"s": "ä€𝄞"}, f"the output is {json.dumps(job.output)}"


@case(
    "real-cancel",
    "CancelJob reaches the handler, and the job ends CANCELLED by its answer; a timeout revokes and is charged.",
    "CancelLeases, RevokeLeases",
    real=True,
)
async def real_cancel(stage: Stage) -> None:
    async with _place(stage) as place:
        worker = await stage.start(addresses=[place.proxy.address])
        payload = {"steps": [{"do": "hold"}]}
        cancelled = (await place.client.enqueue("work", payload)).id
        limit = timedelta(seconds=1)
        late = (await place.client.enqueue("work", payload, timeout=limit, max_attempts=1)).id
        for id in (cancelled, late):
            await worker.event("handler_started", job=id)
        await place.client.cancel(cancelled)
        await worker.event("handler_cancelled", job=cancelled, reason="cancel")
        await worker.event("handler_cancelled", job=late, reason="revoked")
        ends = [await place.client.wait(id, timeout=_WAIT) for id in (cancelled, late)]
        statuses = [job.status for job in ends]
        assert statuses == [Status.CANCELLED, Status.FAILED_PERMANENT], f"they are {statuses}"


@case(
    "weight-counts",
    "A kind takes two slots a job: of three, the worker is given one of its jobs and one of another kind.",
    "Capacity.slots",
    real=True,
)
async def weight_counts(stage: Stage) -> None:
    async with _place(stage) as place:
        await place.client.put_kind(Kind(name="heavy", slot_weight=2))
        worker = await stage.start(addresses=[place.proxy.address], kinds=["work", "heavy"], slots=3)
        hold = {"steps": [{"do": "hold"}]}
        first = (await place.client.enqueue("heavy", hold)).id
        await worker.event("handler_started", job=first)
        (beside,) = await place.enqueue(1, {"do": "hold"})
        await worker.event("handler_started", job=beside)
        second = (await place.client.enqueue("heavy", hold)).id
        # With one slot free again there is still none for it.
        worker.release(beside)
        await place.succeeded([beside])
        worker.release(first)
        await worker.event("handler_started", job=second)
        told = [(line["event"], line.get("job")) for line in worker.events]
        ended, began = told.index(("handler_ended", first)), told.index(("handler_started", second))
        assert ended < began, "two jobs of two slots each ran on three"
        worker.release(second)
        await place.succeeded([first, second])


def _split(address: str) -> tuple[str, int]:
    host, port = address.rsplit(":", 1)
    return host, int(port)
