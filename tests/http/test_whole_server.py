"""HTTP of the whole server, on real PostgreSQL: the same jobs as over gRPC, and its place in start and drain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.lease.place import Place

from .conftest import PATIENCE, Caller


@pytest.fixture
async def place(dsn: str) -> AsyncIterator[Place]:
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


async def test_the_settings_say_which_pages_may_call_and_how_errors_are_written(dsn: str) -> None:
    page = "https://app.example.com"
    async with Place(dsn, http_addr="127.0.0.1:0", cors_origins=page, http_errors="aip193") as place:
        call = Caller(place.app.http_port)
        answer = await call("GET", "/v1/jobs/nothing", Origin=page)
        rebound = await call("GET", "/v1/jobs", Host="evil.example")
        await call.session.close()
    assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (400, page)
    assert answer.json["error"]["status"] == "INVALID_ARGUMENT"
    assert (rebound.status, rebound.json["error"]["code"]) == (421, 421)
