"""What is left of a try to connect that was in vain: nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from jobqueue_server.errors import DatabaseAway
from jobqueue_server.store.connect import Connector
from jobqueue_server.store.lineage import Lineage
from tests.lease.place import leaving_nothing_to_the_collector
from tests.ports import free_address

CLOSED = "postgresql://jobqueue@{}/jobs"


@pytest.fixture
async def silent() -> AsyncIterator[str]:
    """The address of a host that says nothing."""

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    yield f"{host}:{port}"
    server.close()


async def in_vain(*addresses: str) -> None:
    connector = Connector(CLOSED.format(",".join(addresses)), name="test", lineage=Lineage())
    with leaving_nothing_to_the_collector():
        for _ in range(2):
            with pytest.raises(DatabaseAway):
                await connector.connect({}, timeout=0.2)
        connector.trouble = None
        # What asyncpg still does to end the attempt.
        await asyncio.sleep(0.05)


async def test_a_host_that_refuses_leaves_nothing_to_the_collector() -> None:
    await in_vain(free_address())


async def test_hosts_that_refuse_leave_nothing_to_the_collector() -> None:
    await in_vain(free_address(), free_address())


async def test_a_host_that_says_nothing_leaves_nothing_to_the_collector(silent: str) -> None:
    await in_vain(silent)


async def test_a_host_that_refuses_and_one_that_says_nothing_leave_nothing_to_the_collector(
    silent: str,
) -> None:
    await in_vain(free_address(), silent)
