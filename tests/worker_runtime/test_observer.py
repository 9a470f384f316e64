"""What an observer of a worker is told, and that it can't slow the worker down."""

from __future__ import annotations

import logging
import threading

import grpc
import pytest

from jobqueue import Attempt, Observer, Worker
from jobqueue.observer import MOST_WAITING, Observing

from .scripted_server import WITHIN, job
from .test_status import wait_for


class Seen(Observer):
    def __init__(self):
        self.calls = []

    def attempt_started(self, attempt):
        self.calls.append(("started", attempt))

    def attempt_ended(self, attempt, outcome, seconds, error):
        self.calls.append(("ended", attempt, outcome, seconds, error))

    def session_changed(self, status):
        self.calls.append(("session", status))

    def of(self, name):
        return [each[1:] for each in self.calls if each[0] == name]


@pytest.mark.slow
def test_an_observer_is_told_of_attempts_and_of_the_session(server, serve):
    seen = Seen()
    worker = Worker(server.address, observer=seen)

    @worker.handler("work")
    async def work(ctx):
        if ctx.job.attempt == 2:
            raise ValueError("no such address")

    serving = serve(worker)
    peer = server.stream()
    peer.welcome()
    peer.deliver(job(1, "work", labels={"zone": "z"}, headers={"x-request-id": "r-1"}, queue="mail"))
    peer.outcomes(1)
    peer.deliver(job(2, "work", attempt=2, failures=1))
    peer.outcomes(1)
    wait_for(lambda: len(seen.of("ended")) == 2)
    first = Attempt(job(1, "").id, "work", "mail", 1, 0, {"zone": "z"}, "r-1")
    assert seen.of("started")[0] == (first,)
    attempt, outcome, seconds, error = seen.of("ended")[0]
    assert (attempt, outcome, error) == (first, "succeeded", "")
    assert 0 <= seconds < WITHIN
    attempt, outcome, _, error = seen.of("ended")[1]
    assert (attempt.attempt, attempt.failures, outcome) == (2, 1, "retrying")
    assert error == "ValueError: no such address"

    peer.fail(grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")
    server.stream().welcome(token="two")
    wait_for(lambda: seen.calls[-1][0] == "session" and seen.calls[-1][1].state == "serving")
    worker.stop()
    serving.join()
    # The last one is told before `serve` returns.
    states = [status.state for (status,) in seen.of("session")]
    assert states == ["serving", "reconnecting", "serving", "draining", "ended"]
    assert seen.of("session")[0][0].session == 7


@pytest.mark.slow
def test_a_slow_observer_delays_no_heartbeat_and_no_job(server, serve):
    release = threading.Event()

    class Slow(Observer):
        def attempt_started(self, attempt):
            release.wait(WITHIN)

    worker = Worker(server.address, observer=Slow())
    worker.handler("work")(lambda ctx: None)
    serve(worker)
    peer = server.stream()
    peer.welcome(interval=0.5)
    peer.deliver(job(1, "work"))
    assert peer.outcomes(1) == {1: "succeeded"}
    before = peer.names().count("heartbeat")
    wait_for(lambda: peer.names().count("heartbeat") >= before + 5)
    assert not release.is_set()
    release.set()


def test_an_observer_that_raises_is_logged_once_and_called_on(server, serve, caplog):
    calls = []

    class Broken(Observer):
        def attempt_started(self, attempt):
            calls.append(attempt.id)
            raise RuntimeError("no metrics today")

    worker = Worker(server.address, observer=Broken())
    worker.handler("work")(lambda ctx: None)
    serve(worker)
    peer = server.stream()
    peer.welcome()
    peer.deliver(job(1, "work"), job(2, "work"))
    peer.outcomes(2)
    wait_for(lambda: len(calls) == 2)
    said = [each for each in caplog.records if each.name == "jobqueue.observer"]
    assert len(said) == 1
    assert said[0].levelno == logging.ERROR
    assert "no metrics today" in caplog.text


def test_what_a_slow_observer_does_not_get_is_counted():
    release, begun = threading.Event(), threading.Event()
    told: list[int] = []

    def slow():
        begun.set()
        release.wait(WITHIN)

    observing = Observing(Observer())
    observing.tell(slow)
    assert begun.wait(WITHIN)
    for number in range(MOST_WAITING + 7):
        observing.tell(told.append, number)
    assert observing.dropped == 7
    release.set()
    observing.close()
    assert told == list(range(MOST_WAITING))


def test_the_status_has_how_many_calls_were_left_out(server, serve, monkeypatch):
    monkeypatch.setattr("jobqueue.observer.MOST_WAITING", 1)
    release = threading.Event()

    class Slow(Observer):
        def attempt_started(self, attempt):
            release.wait(WITHIN)

    worker = Worker(server.address, observer=Slow(), concurrency=8)
    worker.handler("work")(lambda ctx: None)
    serve(worker)
    peer = server.stream()
    peer.welcome()
    peer.deliver(*(job(number, "work") for number in range(1, 6)))
    peer.outcomes(5)
    wait_for(lambda: worker.status().observer_dropped > 0)
    release.set()


@pytest.mark.parametrize("queues", [["default"], ["fast", "slow"]])
def test_a_second_handler_of_a_kind_is_refused_with_the_first_ones_name(queues):
    worker = Worker("127.0.0.1:1", queues=queues)

    @worker.handler("work")
    def first(ctx):
        return None

    class Second:
        def __call__(self, ctx):
            return None

    with pytest.raises(ValueError, match="kind 'work' already has a handler") as refused:
        worker.handler("work")(Second())
    assert f"{first.__module__}.{first.__qualname__}" in str(refused.value)
    assert f"in the worker of queues {queues}" in str(refused.value)
    assert "Second can't be another one" in str(refused.value)
