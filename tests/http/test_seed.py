"""What callers of the system before relied on over HTTP, at the paths of today: a real server, its declared kinds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from tests.lease.place import Place

from .conftest import Caller, Reply

EMAIL = {"kind": "send_email", "payload": {"to": "a@b.example", "subject": "hi", "body": "hello"}}


@pytest.fixture
async def call(dsn: str) -> AsyncIterator[Caller]:
    async with Place(dsn, http_addr="127.0.0.1:0", kinds="declared") as place:
        caller = Caller(place.app.http_port)
        yield caller
        await caller.session.close()


async def post(call: Caller, key: str = "", **fields: object) -> Reply:
    headers = {"Idempotency_Key": key} if key else {}
    return await call("POST", "/v1/jobs", {**EMAIL, **fields}, **headers)


async def test_a_job_is_created_read_and_listed(call: Caller) -> None:
    made = await post(call, max_attempts=3)
    assert made.status == 201
    job = made.json
    assert (job["status"], job["kind"], job["attempts"], job["max_attempts"]) == (
        "QUEUED",
        "send_email",
        0,
        3,
    )

    read = await call("GET", f"/v1/jobs/{job['id']}")
    assert (read.status, read.json["id"], read.json["payload"]) == (200, job["id"], EMAIL["payload"])

    listed = await call("GET", "/v1/jobs")
    assert (listed.status, [each["id"] for each in listed.json["jobs"]]) == (200, [job["id"]])


async def test_an_unknown_id_is_404(call: Caller) -> None:
    answer = await call("GET", f"/v1/jobs/{uuid4()}")
    assert (answer.status, answer.reason) == (404, "JOB_NOT_FOUND")


async def test_a_payload_without_its_fields_is_422_and_names_them(call: Caller) -> None:
    answer = await post(call, payload={"to": "a@b.example"})
    assert (answer.status, answer.reason) == (422, "PAYLOAD_INVALID")
    assert "job.payload.subject" in answer.text
    assert "job.payload.body" in answer.text


async def test_the_attempts_are_three_unless_one_says_otherwise(call: Caller) -> None:
    assert (await post(call)).json["max_attempts"] == 3
    assert (await post(call, max_attempts=-1)).status == 400


async def test_a_waiting_job_is_cancelled_at_once_and_an_ended_one_is_409(call: Caller) -> None:
    place = (await post(call)).headers["Location"]
    first = await call("POST", f"{place}:cancel")
    assert (first.status, first.json["job"]["status"]) == (200, "CANCELLED")

    again = await call("POST", f"{place}:cancel")
    assert (again.status, again.reason) == (409, "JOB_TERMINAL")
    assert "CANCELLED" in again.json["message"]
    assert (await call("POST", f"/v1/jobs/{uuid4()}:cancel")).status == 404


@pytest.mark.parametrize("posts", [2, 10])
async def test_posts_at_once_with_one_key_are_one_job(call: Caller, posts: int) -> None:
    answers = await asyncio.gather(*(post(call, key="user-42-welcome") for _ in range(posts)))

    assert sorted(answer.status for answer in answers) == [*[200] * (posts - 1), 201]
    assert len({answer.json["id"] for answer in answers}) == 1
    assert len((await call("GET", "/v1/jobs")).json["jobs"]) == 1


async def test_different_keys_are_different_jobs(call: Caller) -> None:
    first, second = [await post(call, key=key) for key in ("a", "b")]
    assert (first.status, second.status) == (201, 201)
    assert first.json["id"] != second.json["id"]


async def test_the_header_goes_before_the_field(call: Caller) -> None:
    first = await post(call, key="a", idempotency_key="b")
    again = await post(call, key="a", idempotency_key="c")
    assert (first.status, again.status) == (201, 200)
    assert first.json["id"] == again.json["id"]
    # b was never used.
    assert (await post(call, key="b")).status == 201


async def test_health_metrics_and_the_document_are_at_their_paths(call: Caller) -> None:
    health = await call("GET", "/health")
    assert (health.status, health.json) == (200, {"status": "ok"})
    assert (await call("GET", "/metrics")).status == 200
    assert (await call("GET", "/docs")).status == 200
    document = await call("GET", "/api-docs/openapi.json")
    assert document.status == 200
    for path in ("/v1/jobs", "/v1/jobs/{id}", "/v1/jobs/{id}:cancel", "/health"):
        assert path in document.json["paths"]
