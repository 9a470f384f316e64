"""HTTP of the whole server, on real PostgreSQL: the same jobs as over gRPC, and its place in start and drain."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import grpc.aio
import pytest

from jobqueue.v1 import insight_pb2, job_pb2, jobqueue_pb2
from jobqueue_server.core.cached import _Reading
from jobqueue_server.errors import QueueNotFound
from jobqueue_server.store.attempt.attempts import AttemptStore
from tests.lease.hand_worker import StreamEnded, reason_of
from tests.lease.place import Held, Place

from .conftest import PATIENCE, Caller

ENQUEUE = {"kind": "work", "payload": {}}


@pytest.fixture
async def place(dsn: str, fast_path: str) -> AsyncIterator[Place]:
    async with Place(dsn, http_addr="127.0.0.1:0") as place:
        yield place


@pytest.fixture
async def call(place: Place) -> AsyncIterator[Caller]:
    caller = Caller(place.app.http_port)
    yield caller
    await caller.session.close()


async def test_a_job_of_http_is_a_job_of_grpc(place: Place, call: Caller) -> None:
    body = b'{"kind": "work", "payload": {"n": 12345678901234567890, "f": 7}}'
    made = await call("POST", "/v1/jobs", body, Idempotency_Key="k", X_Request_Id="r1")
    assert made.status == 201, made.text
    worker = await place.worker()
    job = await worker.job()
    assert job.id == made.json["id"]
    assert job.payload_json == b'{"n": 12345678901234567890, "f": 7}'
    assert job.headers["x-request-id"] == "r1"
    again = await call("POST", "/v1/jobs", body, Idempotency_Key="k")
    assert (again.status, again.headers["Idempotency-Replayed"]) == (200, "true")
    asked = await call("POST", f"/v1/jobs/{job.id}:cancel")
    assert (asked.status, asked.json["job"]["cancel_requested"]) == (202, True)
    read = await call("GET", made.headers["Location"])
    assert '"payload":{"n": 12345678901234567890, "f": 7}' in read.text


async def test_calls_for_what_is_not_there_leave_nothing_without_the_collector(
    place: Place, call: Caller
) -> None:
    """It comes by after 20,000 objects, 20 times: until then 42,500 such calls took 136 MB."""
    gc.collect()
    gc.disable()
    try:
        for number in range(200):
            asked = insight_pb2.GetQueueDemandRequest(queue=f"new{number}")
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await place.insight.GetQueueDemand(asked, timeout=PATIENCE)
            assert reason_of(refused.value) == "QUEUE_NOT_FOUND"
            answer = await call("GET", f"/v1/queues/newer{number}:demand")
            assert (answer.status, answer.reason) == (404, "QUEUE_NOT_FOUND")
        # The ends of the last ones.
        await asyncio.sleep(0.05)
        left = [type(each) for each in gc.get_objects()]
    finally:
        gc.enable()
    assert QueueNotFound not in left
    # Of what the server asks by itself.
    assert left.count(_Reading) < 10


@pytest.mark.slow
async def test_the_calls_under_way_are_answered_when_the_server_leaves(place: Place, call: Caller) -> None:
    made = await call("POST", "/v1/jobs", {"kind": "work", "payload": {}})
    waiting = asyncio.create_task(call("GET", f"/v1/jobs/{made.json['id']}:wait?timeout=60s"))
    async with asyncio.timeout(PATIENCE):
        while not place.app.chain.in_flight:
            await asyncio.sleep(0.01)
        assert (await call("GET", "/readyz")).status == 200
        await place.app.stop()
        answer = await waiting
    assert (answer.status, answer.reason) == (503, "DRAINING")


async def test_readiness_is_refused_on_its_port_until_the_drain_has_ended(
    place: Place, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = await place.worker()
    job = await place.enqueue()
    leased = await worker.job()
    held = Held(monkeypatch, AttemptStore, "end_plain")
    settling = asyncio.create_task(worker.succeed(leased))
    await held.one_waits()
    leaving = asyncio.create_task(place.app.stop())
    async with asyncio.timeout(PATIENCE):
        # The streams have ended, and gRPC: what is left is an outcome on its way to the database.
        with pytest.raises(StreamEnded):
            await settling
        await _refuses_connections(place.app.grpc_port)
        for _ in range(3):
            # Each over a connection of its own, as balancers probe.
            later = Caller(place.app.http_port)
            ready, health = await later("GET", "/readyz"), await later("GET", "/health")
            read, made = await later("GET", f"/v1/jobs/{job.id}"), await later("POST", "/v1/jobs", ENQUEUE)
            await later.session.close()
            assert (ready.status, ready.json["reason"], health.status) == (503, "draining", 200)
            for refused in (read, made):
                assert (refused.status, refused.reason) == (503, "DRAINING")
                assert refused.headers["Retry-After"] == "1"
            assert not leaving.done()
        held.go_on.set()
        await leaving
    with pytest.raises(aiohttp.ClientConnectorError):
        await call("GET", "/readyz")
    assert await place.value("select status from finished_job") == 3


async def _refuses_connections(port: int) -> None:
    """Returns once nothing listens there."""
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            return
        writer.close()
        await asyncio.sleep(0.01)


async def test_the_settings_say_which_pages_may_call_and_how_errors_are_written(dsn: str) -> None:
    page = "https://app.example.com"
    async with Place(dsn, http_addr="127.0.0.1:0", cors_origins=page, http_errors="aip193") as place:
        call = Caller(place.app.http_port)
        answer = await call("GET", "/v1/jobs/nothing", Origin=page)
        rebound = await call("GET", "/v1/jobs", Host="evil.example")
        made = await call("POST", "/v1/jobs", {"kind": "work", "payload": {}}, Origin=page)
        await call("POST", f"/v1/jobs/{made.json['id']}:cancel", Origin=page)
        watch = await call("GET", f"/v1/jobs:watch?ids={made.json['id']}", Origin=page)
        await call.session.close()
    assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (400, page)
    assert answer.json["error"]["status"] == "INVALID_ARGUMENT"
    assert (rebound.status, rebound.json["error"]["code"]) == (421, 421)
    assert (watch.status, watch.headers["Access-Control-Allow-Origin"]) == (200, page)
    assert watch.json["job"]["status"] == "CANCELLED"


async def test_one_id_and_one_trace_from_the_call_to_the_handler_over_both_transports(
    place: Place, call: Caller
) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    worker = await place.worker()
    body = {"kind": "work", "payload": {}}
    await call("POST", "/v1/jobs", body, X_Request_Id="r-http", traceparent=trace)
    first = await worker.job()
    assert dict(first.headers) == {"x-request-id": "r-http", "traceparent": trace}
    await worker.succeed(first)
    request = jobqueue_pb2.EnqueueJobRequest(job=job_pb2.NewJob(kind="work", payload_json=b"{}"))
    await place.stub.EnqueueJob(request, metadata=(("x-request-id", "r-grpc"), ("traceparent", trace)))
    assert dict((await worker.job()).headers) == {"x-request-id": "r-grpc", "traceparent": trace}


class Events:
    """A reader of server-sent events: `await events.next()` is the next one's id and data."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer

    async def next(self) -> tuple[str, Any]:
        found: dict[str, str] = {}
        while not found:
            text = (await self.answer.content.readuntil(b"\n\n")).decode()
            lines = [line.partition(": ") for line in text.splitlines() if not line.startswith(":")]
            found = {name: value for name, _, value in lines}
        return found.get("id", found.get("event", "")), json.loads(found["data"])

    async def until(self, job_id: str, status: str) -> str:
        """Reads until a job is told with a status; answers that event's id."""
        while True:
            event_id, data = await self.next()
            if data.get("job", {}).get("id") == job_id and data["job"]["status"] == status:
                return event_id


async def test_jobs_are_watched_by_events_that_go_on_where_they_broke_off(place: Place, call: Caller) -> None:
    url = f"http://127.0.0.1:{call.port}/v1/jobs:watch?queue=default"
    asked = {"Accept": "text/event-stream"}
    async with asyncio.timeout(PATIENCE):
        async with call.session.get(url, headers=asked) as answer:
            assert answer.headers["Content-Type"] == "text/event-stream"
            events = Events(answer)
            job = (await call("POST", "/v1/jobs", {"kind": "work", "payload": {}})).json
            seen = await events.until(job["id"], "QUEUED")
        worker = await place.worker()
        await worker.succeed(await worker.job())
        async with call.session.get(url, headers={**asked, "Last-Event-ID": seen}) as answer:
            events = Events(answer)
            await events.until(job["id"], "SUCCEEDED")
            stopping = asyncio.create_task(place.app.stop())
            while (told := await events.next())[0] != "error":
                pass
            assert told[1]["details"][0]["reason"] == "DRAINING"
            await stopping


async def test_a_watch_that_can_not_go_on_is_refused_with_a_status(place: Place, call: Caller) -> None:
    answer = await call("GET", "/v1/jobs:watch?resume_token=nonsense", Accept="text/event-stream")
    assert (answer.status, set(answer.violations)) == (400, {"resume_token"})


@pytest.mark.slow
async def test_jobs_watched_by_their_ids_are_lines_or_an_array_that_end_when_all_are_over(
    place: Place, call: Caller
) -> None:
    made = [(await call("POST", "/v1/jobs", {"kind": "work", "payload": {}})).json["id"] for _ in range(2)]
    path = "/v1/jobs:watch?" + "&".join(f"ids={job_id}" for job_id in made)
    async with asyncio.timeout(PATIENCE), call.session.get(f"http://127.0.0.1:{call.port}{path}") as answer:
        assert answer.headers["Content-Type"] == "application/x-ndjson"
        told = [json.loads(await answer.content.readline())["job"] for _ in range(2)]
        assert {(job["id"], job["status"]) for job in told} == {(job_id, "QUEUED") for job_id in made}
        for job_id in made:
            await call("POST", f"/v1/jobs/{job_id}:cancel")
        rest = [json.loads(line) for line in (await answer.read()).splitlines()]
    assert {(one["job"]["id"], one["job"]["status"]) for one in rest} == {
        (job_id, "CANCELLED") for job_id in made
    }
    array = await call("GET", path, Accept="application/json")
    assert [one["job"]["status"] for one in array.json] == ["CANCELLED", "CANCELLED"]
    gone_on = await call("GET", f"{path}&resume_token={rest[-1]['resume_token']}", Accept="application/json")
    assert (gone_on.status, gone_on.json) == (200, [])
    missing = await call("GET", "/v1/jobs:watch?ids=0199aaaa-0000-7000-8000-000000000000")
    assert (missing.status, missing.reason) == (404, "JOB_NOT_FOUND")
