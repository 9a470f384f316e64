"""What a worker says about itself, and what `/livez` and `/readyz` make of it."""

from __future__ import annotations

import http.client
import json
import logging
import socket
import sys
import threading
import time
from datetime import UTC, datetime, timedelta

import grpc
import pytest

from jobqueue import Worker
from jobqueue.worker.clock import Clock
from jobqueue.worker.status import StatusBook
from tests.ports import free_address

from .scripted_server import WITHIN, job

STATUS = {
    "state",
    "server",
    "session",
    "since",
    "last_heard",
    "slots",
    "running",
    "orphans",
    "kinds",
    "unknown_kinds",
    "last_error",
    "observer_dropped",
}


def wait_for(condition, monotonic=time.monotonic):
    ends = monotonic() + WITHIN
    while not condition():
        assert monotonic() < ends, "it did not come true"
        time.sleep(0.01)


def state_of(worker, state):
    wait_for(lambda: worker.status().state == state)
    return worker.status()


@pytest.fixture
def address():
    """An address on which nothing listens."""
    return free_address()


@pytest.fixture
def hold():
    """What the handler of `hold` waits for."""
    return threading.Event()


@pytest.fixture
def worker(server, hold, address):
    worker = Worker(server.address, concurrency=3, health=address)
    worker.handler("hold")(lambda ctx: hold.wait(WITHIN) and None)
    yield worker
    hold.set()


def ask(address, path, method="GET"):
    connection = http.client.HTTPConnection(address, timeout=WITHIN)
    connection.request(method, path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, json.loads(body) if body else None


def code(address, path):
    return ask(address, path)[0].status


@pytest.mark.slow
def test_the_status_goes_from_starting_to_ended(server, serve, worker, hold):
    before = worker.status()
    assert (before.state, before.session, before.server, before.last_heard) == ("starting", 0, "", None)
    assert (before.kinds, before.slots, before.running) == (("hold",), 3, 0)
    started = datetime.now(UTC)
    serving = serve(worker)
    peer = server.stream()
    assert worker.status().state == "starting"
    peer.welcome()
    now = state_of(worker, "serving")
    assert (now.session, now.server, now.last_error) == (7, "scripted", "")
    # By two clocks: when the state began by that of the day, when a frame came by one that never goes back.
    assert started <= now.since <= now.last_heard + timedelta(milliseconds=10)
    assert now.last_heard <= datetime.now(UTC)
    peer.deliver(job(1, "hold"))
    wait_for(lambda: worker.status().running == 1)

    peer.fail(grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN", "the server restarts")
    lost = state_of(worker, "reconnecting")
    assert lost.since >= now.since
    wait_for(lambda: "the server restarts" in worker.status().last_error)
    assert (lost.session, lost.running) == (7, 1)
    second = server.stream()
    second.welcome()
    state_of(worker, "serving")
    worker.stop()
    state_of(worker, "draining")
    hold.set()
    serving.join()
    ended = worker.status()
    assert (ended.state, ended.running, ended.slots) == ("ended", 0, 0)


def test_a_drain_stays_one_over_another_stream(server, serve, worker, hold):
    serve(worker)
    first = server.stream()
    first.welcome()
    first.deliver(job(1, "hold"))
    wait_for(lambda: worker.status().running == 1)
    worker.stop()
    first.expect("drain")
    first.fail(grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")
    second = server.stream()
    assert worker.status().state == "draining"
    second.welcome(token="two")
    second.expect("drain")
    assert worker.status().state == "draining"


def test_an_orphan_is_counted(server, serve, worker):
    serve(worker)
    peer = server.stream()
    peer.welcome()
    peer.deliver(job(1, "hold"))
    peer.expect("heartbeat", where=lambda beat: list(beat.held) == [1])
    peer.fail(grpc.StatusCode.NOT_FOUND, "SESSION_UNKNOWN")
    now = state_of(worker, "reconnecting")
    assert (now.orphans, now.running, now.slots) == (1, 1, 2)


def test_a_refusal_that_no_retry_mends_is_told(server, serve, worker, address):
    serving = serve(worker)
    server.stream().fail(grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED", "no RUN on queue default")
    serving.ended()
    assert serving.error is not None
    now = worker.status()
    assert now.state == "refused"
    assert "no RUN on queue default" in now.last_error


def test_a_worker_whose_token_expires_is_refused_and_not_ready_and_lives(server, serve, worker, address):
    serve(worker)
    first = server.stream()
    first.welcome()
    state_of(worker, "serving")
    first.end()
    server.stream().fail(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_EXPIRED", "the token has expired")
    now = state_of(worker, "refused")
    assert "the token has expired" in now.last_error
    assert (code(address, "/readyz"), code(address, "/livez")) == (503, 200)


@pytest.mark.slow
def test_readyz_and_livez_answer_while_handlers_block_the_loop(server, serve, address):
    worker = Worker(server.address, health=address)
    release, begun = threading.Event(), threading.Event()

    @worker.handler("block")
    async def block(ctx):
        begun.set()
        release.wait(WITHIN)

    serving = serve(worker)
    peer = server.stream()
    assert (code(address, "/readyz"), code(address, "/livez")) == (503, 200)
    peer.welcome()
    wait_for(lambda: code(address, "/readyz") == 200)
    peer.deliver(job(1, "block"))
    assert begun.wait(WITHIN)
    answer, body = ask(address, "/livez")
    assert answer.status == 200
    assert answer.getheader("Cache-Control") == "no-store"
    assert answer.getheader("Content-Type") == "application/json"
    assert set(body) == STATUS
    assert (body["state"], body["session"], body["running"], body["kinds"]) == ("serving", 7, 1, ["block"])
    assert datetime.fromisoformat(body["since"]).tzinfo is not None
    assert body["last_heard"].endswith("Z")
    # A lost server is no reason to restart the worker, and for less than a ttl none to take it for not ready.
    peer.fail(grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")
    state_of(worker, "reconnecting")
    assert (code(address, "/readyz"), code(address, "/livez")) == (200, 200)
    worker.stop()
    state_of(worker, "draining")
    assert (code(address, "/readyz"), code(address, "/livez")) == (503, 200)
    release.set()
    second = server.stream()
    second.welcome(token="two")
    serving.join()
    with pytest.raises(OSError):
        ask(address, "/livez")


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [("GET", "/", 404), ("GET", "/metrics", 404), ("POST", "/livez", 405), ("HEAD", "/readyz", 405)],
)
def test_another_path_or_method_is_refused(server, serve, worker, address, method, path, expected):
    serve(worker)
    server.stream().welcome()
    answer, _ = ask(address, path, method)
    assert answer.status == expected
    assert answer.getheader("Cache-Control") == "no-store"


def test_a_taken_port_keeps_the_worker_from_its_start(server, serve, worker, address):
    host, port = address.split(":")
    with socket.socket() as taken:
        taken.bind((host, int(port)))
        taken.listen()
        serving = serve(worker)
        serving.ended()
    assert isinstance(serving.error, OSError)
    assert address in str(serving.error)


@pytest.mark.parametrize("health", ["8081", ":8081", "localhost", "127.0.0.1:99999", "::1:80"])
def test_an_address_that_is_none_is_refused_at_the_making(health):
    with pytest.raises(ValueError, match="health is .*HOST:PORT"):
        Worker("127.0.0.1:1", health=health)


def book_at(monkeypatch):
    """A book, and what moves its clock."""
    now = [1000.0]
    monkeypatch.setattr(Clock, "monotonic", staticmethod(lambda: now[0]))
    return StatusBook(["a"], 3), now


def test_a_loop_that_stands_still_for_a_ttl_is_not_alive(monkeypatch):
    book, now = book_at(monkeypatch)
    now[0] += 30
    assert book.alive
    now[0] += 1
    assert not book.alive  # 30 s at least, whatever the ttl is
    book.ticked = now[0]
    book.welcomed("s", 1, 60, [])
    now[0] += 59
    assert book.alive
    now[0] += 2
    assert not book.alive


def test_a_worker_that_has_ended_by_an_error_is_not_alive(monkeypatch):
    book, _ = book_at(monkeypatch)
    book.ended(None)
    assert book.alive
    book.ended(RuntimeError("broken"))
    assert not book.alive
    assert book.status().last_error == "RuntimeError: broken"


def test_reconnecting_is_ready_for_less_than_the_ttl(monkeypatch):
    book, now = book_at(monkeypatch)
    assert not book.ready
    book.welcomed("s", 1, 7, [])
    assert book.ready
    book.lost()
    now[0] += 6
    # A refusal in between, and another reason: counted from the loss of the stream.
    book.failing("no", refused=True)
    assert not book.ready
    book.failing("away")
    assert book.ready
    now[0] += 2
    assert not book.ready
    book.welcomed("s", 1, 7, [])
    assert book.ready


@pytest.mark.slow
def test_an_undeclared_kind_is_warned_of_once_for_each_set(server, serve, worker, caplog):
    def warnings():
        return [
            each.getMessage() for each in caplog.records if "the server knows no kind" in each.getMessage()
        ]

    caplog.set_level(logging.WARNING)
    serve(worker)
    for number, (unknown, said) in enumerate([(["hold"], 1), (["hold"], 1), (["a", "hold"], 2), ([], 2)]):
        peer = server.stream()
        peer.welcome(token=str(number), unknown_kinds=unknown)
        wait_for(lambda unknown=unknown: worker.status().unknown_kinds == tuple(unknown))
        peer.expect("heartbeat")
        assert len(warnings()) == said
        peer.end()
    assert warnings()[0] == (
        'the server knows no kind "hold": no job of it can be enqueued; '
        "declare it by sync_kinds or PutKind (jobqueue kinds put hold)"
    )
    server.stream().welcome(token="last")


def test_a_pause_before_serving_is_kept(server, serve, worker):
    worker.pause()
    assert worker.status().slots == 0
    serve(worker)
    peer = server.stream()
    assert peer.welcome().capacity.slots == 0
    worker.resume()
    peer.expect("capacity", where=lambda capacity: capacity.slots == 3)
    assert worker.status().slots == 3


def test_a_worker_may_be_made_paused(server, serve):
    worker = Worker(server.address, concurrency=2, paused=True)
    worker.handler("a")(lambda ctx: None)
    serve(worker)
    peer = server.stream()
    assert peer.welcome().capacity.slots == 0
    worker.resume()
    peer.expect("capacity", where=lambda capacity: capacity.slots == 2)


@pytest.mark.slow
def test_frozen_time_stops_no_heartbeat(server, serve, worker, monkeypatch):
    """As freezegun does it: the functions of `time` are replaced, in their module and wherever they were imported."""
    real = {name: getattr(time, name) for name in ("monotonic", "time", "perf_counter")}
    with monkeypatch.context() as patch:
        for module in list(sys.modules.values()):
            name = getattr(module, "__name__", "")
            if name == "time" or name.startswith(("jobqueue", "asyncio")):
                for attribute, value in list(vars(module).items()):
                    for function in real.values():
                        if value is function:
                            patch.setattr(module, attribute, lambda: 0.0)
        assert time.monotonic() == 0.0
        serve(worker)
        peer = server.stream()
        peer.welcome(interval=0.5)
        wait_for(lambda: peer.names().count("heartbeat") >= 5)
        worker.stop(grace=timedelta(0))
        wait_for(lambda: "drain" in peer.names())
