"""Calls of one job share an insert where that saves what is short, and do not wait where it is not."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from jobqueue_server.core.tuning import Tuning
from tests.lease.place import Place

LOAD = "jobqueue_server.core.claim.load.Load"
INSERTS = "select count(distinct xmin::text) from live_job"


@pytest.fixture(autouse=True)
def one_call_a_second(monkeypatch):
    monkeypatch.setattr(f"{LOAD}.calls", 1.0)
    monkeypatch.setattr(f"{LOAD}.busy", False)


async def test_an_insert_does_not_wait_where_the_server_has_time_to_spare(dsn, monkeypatch):
    monkeypatch.setattr(f"{LOAD}.cpu_underused", True)
    async with Place(dsn, tuning=replace(Tuning(), linger=3600.0)) as place:
        await place.enqueue()


@pytest.mark.slow
async def test_an_insert_waits_for_more_calls_where_the_server_has_none(dsn, monkeypatch):
    monkeypatch.setattr(f"{LOAD}.cpu_underused", False)
    async with Place(dsn, tuning=replace(Tuning(), linger=1.0)) as place:
        first = asyncio.create_task(place.enqueue())
        await place.health()
        await asyncio.gather(first, place.enqueue())
        assert await place.value(INSERTS) == 1
