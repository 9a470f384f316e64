"""Calls of one job share an insert where that saves what is short, and wait for nobody where it is not."""

from __future__ import annotations

import asyncio

from tests.lease.place import Place

LOAD = "jobqueue_server.core.load.Load"
LINGER = "jobqueue_server.core.window.LINGER"
INSERTS = "select count(distinct xmin::text) from live_job"


async def test_an_insert_waits_for_company_unless_the_server_has_time_to_spare(dsn, monkeypatch):
    monkeypatch.setattr(f"{LOAD}.calls", 1.0)
    monkeypatch.setattr(f"{LOAD}.busy", False)
    async with Place(dsn) as place:
        monkeypatch.setattr(LINGER, 3600.0)
        monkeypatch.setattr(f"{LOAD}.idle", True)
        await place.enqueue()
        monkeypatch.setattr(LINGER, 1.0)
        monkeypatch.setattr(f"{LOAD}.idle", False)
        first = asyncio.create_task(place.enqueue())
        await place.health()
        await asyncio.gather(first, place.enqueue())
        assert await place.value(INSERTS) == 2
