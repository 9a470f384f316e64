"""Which servers run on the database: what each says of itself, and of the workers that are connected to it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from jobqueue.v1 import overview_pb2
from jobqueue_server import __version__
from jobqueue_server.core.upkeep.levels import LEVEL

from .hand_worker import PATIENCE
from .place import Place, eventually

pytestmark = pytest.mark.any_engine


async def servers_of(place: Place) -> list[overview_pb2.Server]:
    answer = await place.insight.ListServers(overview_pb2.ListServersRequest(), timeout=PATIENCE)
    return list(answer.servers)


async def test_a_server_lists_itself_with_its_version_and_its_workers(place: Place) -> None:
    await place.worker(queues={"one": ["a", "b"], "two": ["a"]}, slots=3)

    async def look() -> overview_pb2.Server | None:
        (server,) = await servers_of(place)
        return server if server.sessions else None

    server: overview_pb2.Server = await eventually(look)
    # The session counts once, whatever it takes.
    assert (server.sessions, server.slots, server.free_slots) == (1, 3, 3)
    assert server.self
    assert (server.name, server.version, server.level) == (place.app.name, __version__, LEVEL)
    assert server.heartbeat_age.ToTimedelta() < timedelta(seconds=5)
    assert server.started_at.ToDatetime() <= server.heard_at.ToDatetime()


@pytest.mark.slow
async def test_two_servers_list_each_other_with_the_workers_of_each(place: Place) -> None:
    async with Place(place.dsn) as other:
        await other.worker(slots=5)

        async def look() -> list[tuple[bool, int, int]] | None:
            seen = sorted((server.self, server.sessions, server.slots) for server in await servers_of(place))
            return seen if seen == [(False, 1, 5), (True, 0, 0)] else None

        await eventually(look)


async def test_a_server_that_is_not_heard_is_listed_with_its_silence_and_without_workers(
    place: Place,
) -> None:
    await place.sql(
        "insert into server (name, level, load, heartbeat_at) values"
        """ ('old', 0, '[[1,"","",{"sessions":2,"slots":4}]]', now() - interval '8 seconds')"""
    )

    async def look() -> overview_pb2.Server | None:
        found = [server for server in await servers_of(place) if server.name == "old"]
        return found[0] if found else None

    server: overview_pb2.Server = await eventually(look)
    assert not server.self
    assert (server.version, server.level, server.sessions) == ("", 0, 0)
    assert timedelta(seconds=8) <= server.heartbeat_age.ToTimedelta() < timedelta(seconds=30)
