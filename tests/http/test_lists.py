"""A page of jobs that few fit, on real PostgreSQL: it comes in one call, over gRPC and over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import pytest
from google.protobuf import json_format

from jobqueue.v1 import jobqueue_pb2
from tests.lease.place import Place
from tests.store.stored import stored

from .conftest import Caller

FEW, MANY = 50, 100_000


@pytest.fixture
async def place(dsn: str) -> AsyncIterator[Place]:
    async with Place(dsn, http_addr="127.0.0.1:0") as place:
        yield place


@pytest.fixture
async def call(place: Place) -> AsyncIterator[Caller]:
    caller = Caller(place.app.http_port)
    yield caller
    await caller.session.close()


async def _page(place: Place, call: Caller, **fields: Any) -> list[str]:
    """The ids of the first page, which is the last one too."""
    request = json_format.ParseDict(fields, jobqueue_pb2.ListJobsRequest())
    over_grpc = await place.stub.ListJobs(request, timeout=30)
    over_http = await call("GET", f"/v1/jobs?{urlencode(fields, doseq=True)}")
    ids = [job.id for job in over_grpc.jobs]
    assert ids == [job["id"] for job in over_http.json["jobs"]]
    if len(ids) < FEW:
        assert (over_grpc.next_page_token, over_http.json["next_page_token"]) == ("", "")
    return ids


@pytest.mark.parametrize("ended", [False, True])
async def test_few_jobs_under_many_newer_ones_of_another_queue_come_at_once(
    dsn: str, place: Place, call: Caller, ended: bool
) -> None:
    async with stored(dsn) as s:
        few = [str(job_id) for job_id in await s.many(FEW, "few", ended=ended)][::-1]
        await s.many(MANY, "many", ended=ended)
    assert await _page(place, call, queue="few") == few
    assert await _page(place, call, queue="few", status=["SUCCEEDED" if ended else "QUEUED"]) == few
    # None runs: one page says so.
    for queue in ("few", "many"):
        assert await _page(place, call, queue=queue, status=["RUNNING"]) == []
