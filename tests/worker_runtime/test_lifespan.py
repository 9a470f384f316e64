"""What handlers share is made before the worker connects, and is given up once the last of them has ended."""

from __future__ import annotations

import queue
import threading
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from jobqueue import Worker
from jobqueue.testing import attempt, perform
from jobqueue.v1 import lease_pb2 as pb

from .scripted_server import WITHIN, job


class Pool:
    """Opened and closed, and says when."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.entered = threading.Event()
        self.opening = threading.Event()
        self.opening.set()

    @asynccontextmanager
    async def __call__(self):
        self.said.append("opened")
        self.entered.set()
        assert self.opening.wait(WITHIN)
        yield self
        self.said.append("closed")


def leaves(peer, serving):
    """The server says Goodbye to a worker that drains."""
    peer.expect("drain")
    peer.send(goodbye=pb.Goodbye())
    peer.end()
    serving.join()


@pytest.fixture
def pool():
    return Pool()


@pytest.fixture
def worker(server, pool):
    return Worker(server.address, lifespan=pool)


def test_handlers_on_the_loop_and_in_threads_have_what_the_lifespan_made(server, serve, worker, pool):
    seen = []

    @worker.handler("loop")
    async def on_loop(ctx):
        seen.append(ctx.state)

    @worker.handler("thread")
    def in_thread(ctx):
        seen.append(ctx.state)

    serving = serve(worker)
    peer = server.stream()
    peer.welcome()
    peer.deliver(job(1, "loop"), job(2, "thread"))
    peer.outcomes(2)
    assert seen == [pool, pool]
    worker.stop()
    leaves(peer, serving)


def test_it_is_entered_before_the_worker_connects_and_left_once_the_last_handler_has_ended(
    server, serve, worker, pool
):
    runs, go_on = threading.Event(), threading.Event()

    @worker.handler("hold")
    def hold(ctx):
        runs.set()
        assert go_on.wait(WITHIN)
        pool.said.append("handler ended")

    pool.opening.clear()
    serving = serve(worker)
    with pytest.raises(queue.Empty):
        server.stream(within=0.3)
    assert pool.said == ["opened"]
    pool.opening.set()
    peer = server.stream()
    peer.welcome()
    peer.deliver(job(1, "hold"))
    assert runs.wait(WITHIN)
    worker.stop()
    peer.expect("drain")
    assert pool.said == ["opened"]
    go_on.set()
    peer.outcomes(1)
    peer.send(goodbye=pb.Goodbye())
    peer.end()
    serving.join()
    assert pool.said == ["opened", "handler ended", "closed"]


def test_a_worker_whose_lifespan_fails_never_connects_and_can_serve_again(server, serve, worker, pool):
    worker.handler("work")(lambda ctx: None)

    class Failing(AbstractAsyncContextManager[None]):
        async def __aenter__(self):
            raise ConnectionError("no database")

        async def __aexit__(self, *_):
            raise AssertionError("it was never entered")

    refused = Worker(server.address, lifespan=Failing)
    refused.handler("work")(lambda ctx: None)
    for _ in range(2):
        with pytest.raises(ConnectionError, match="no database"):
            serve(refused).join()
    for _ in range(2):
        serving = serve(worker)
        peer = server.stream()
        peer.welcome()
        worker.stop()
        leaves(peer, serving)
    assert pool.said == ["opened", "closed"] * 2


def test_a_worker_that_enters_its_lifespan_serves_already(server, serve, worker, pool):
    worker.handler("work")(lambda ctx: None)
    pool.opening.clear()
    first = serve(worker)
    assert pool.entered.wait(WITHIN)
    with pytest.raises(RuntimeError, match="serves already"):
        serve(worker).join()
    worker.stop()
    pool.opening.set()
    peer = server.stream()
    peer.welcome()
    leaves(peer, first)
    assert pool.said == ["opened", "closed"]


async def test_a_test_gives_a_handler_its_state():
    async def handler(ctx):
        return ctx.state["greeting"]

    assert (await perform(handler, state={"greeting": "Hello"})).output == "Hello"
    assert attempt(state=7).state == 7
    assert attempt().state is None
