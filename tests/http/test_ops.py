"""The operational paths, and the port that HTTP is served on."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
import uvloop

from jobqueue_server import __version__
from jobqueue_server.addresses import AddressUnusable
from jobqueue_server.http.server import HttpServer
from tests.accepting import CALLERS, turns_until_all_are_answered

from .conftest import PATIENCE, Served, serving


@pytest.mark.parametrize("path", ["/health", "/healthz"])
async def test_it_lives_whatever_its_database_does(served: Served, path: str) -> None:
    served.not_ready.append("the database does not answer")
    served.chain.draining = True
    answer = await served.call("GET", path)
    assert (answer.status, answer.json) == (200, {"status": "ok"})


async def test_it_is_ready_while_it_takes_work(served: Served) -> None:
    answer = await served.call("GET", "/readyz")
    assert (answer.status, answer.json) == (200, {"status": "ready"})
    served.not_ready.append("draining")
    answer = await served.call("GET", "/readyz")
    assert (answer.status, answer.json) == (503, {"status": "not ready", "reason": "draining"})


async def test_it_tells_its_version(served: Served) -> None:
    assert (await served.call("GET", "/version")).json == {"name": "jobqueue-server", "version": __version__}


async def test_it_shows_its_metrics(served: Served) -> None:
    await served.call("GET", "/v1/queues")
    answer = await served.call("GET", "/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert 'grpc_method="ListQueues"' in answer.text


async def test_they_are_read_only(served: Served) -> None:
    answer = await served.call("POST", "/health")
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")
    assert (await served.call("HEAD", "/readyz")).status == 200
    assert (await served.call("OPTIONS", "/metrics")).status == 204


async def test_a_port_that_is_taken_is_named_with_its_setting(served: Served) -> None:
    with pytest.raises(AddressUnusable, match=rf"127.0.0.1:{served.call.port}.*API_BIND_ADDR"):
        await HttpServer(served.app).start(f"127.0.0.1:{served.call.port}")


def test_callers_that_come_at_once_are_taken_several_in_a_turn() -> None:
    """libuv takes one of a listening socket in each: beside long turns a GET on a new connection took 0.4 s."""

    async def work() -> int:
        async with serving() as served:
            ask = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
            return await turns_until_all_are_answered(served.call.port, ask)

    assert uvloop.run(work()) < CALLERS / 2


async def test_headers_without_an_end_are_cut_off(served: Served) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.call.port)
    writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Long: ")
    async with asyncio.timeout(PATIENCE):
        answering = asyncio.create_task(reader.read())
        while not answering.done():
            writer.write(b"x" * 4096)
            await asyncio.sleep(0.001)
        answer = await answering
    writer.close()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"the path and headers are over 65536 bytes" in answer


async def test_the_port_is_free_again_after_the_stop(served: Served) -> None:
    await served.server.stop(timedelta(0))
    socket.create_server(("127.0.0.1", served.call.port)).close()


@asynccontextmanager
async def connected(served: Served) -> AsyncIterator[Any]:
    """The server's side of a connection, as a socket."""
    _, writer = await asyncio.open_connection("127.0.0.1", served.call.port)
    async with asyncio.timeout(PATIENCE):
        while not (connections := served.server._server.server_state.connections):
            await asyncio.sleep(0.01)
    yield next(iter(connections)).transport.get_extra_info("socket")
    writer.close()


async def test_an_answer_does_not_wait_until_its_head_is_acknowledged(served: Served) -> None:
    async with connected(served) as taken:
        assert taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_a_caller_whose_machine_has_gone_is_noticed_within_half_a_minute(served: Served) -> None:
    async with connected(served) as taken:
        assert taken.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        options = [socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT]
        assert [taken.getsockopt(socket.IPPROTO_TCP, option) for option in options] == [15, 5, 3, 30_000]
