"""A database that may lose what it acknowledged is named loudly at the start."""

from __future__ import annotations

import logging
from urllib.parse import urlsplit

from jobqueue_server.app import App
from jobqueue_server.settings import Settings
from tests.conftest import of_server


async def _started(dsn: str) -> None:
    app = App(Settings.load({"database_url": dsn, "grpc_addr": "127.0.0.1:0", "metrics_addr": "off"}))
    try:
        await app.start()
    finally:
        await app.stop()


async def test_a_database_that_may_lose_acknowledged_jobs_is_named_at_start(cluster, dsn, caplog):
    name = urlsplit(dsn).path.lstrip("/")
    cluster.execute(f'alter database "{name}" set synchronous_commit = off')
    with caplog.at_level(logging.ERROR):
        await _started(dsn)
    assert any("synchronous_commit = off" in record.getMessage() for record in caplog.records)


async def test_a_durable_database_is_not_complained_of(dsn, caplog):
    with caplog.at_level(logging.ERROR):
        await _started(dsn)
    assert not of_server(caplog)
