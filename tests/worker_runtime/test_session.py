"""The session survives its stream: what is held and what was not answered is said again."""

from __future__ import annotations

import queue
import threading
import time

import grpc
import pytest

from jobqueue import Observer, Worker
from jobqueue.v1 import lease_pb2 as pb
from jobqueue.v1.job_pb2 import Job

from .scripted_server import WITHIN, Result, ScriptedServer, job


class Seen(Observer):
    def __init__(self):
        self.all = []
        self._changed = threading.Condition()

    def attempt_ended(self, attempt, outcome, seconds, error):
        with self._changed:
            self.all.append((attempt.kind, outcome))
            self._changed.notify_all()

    def wait(self, count):
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.all) >= count, WITHIN), self.all
            return self.all


@pytest.fixture
def held():
    """Events that handlers wait for, by payload."""
    return {name: threading.Event() for name in ("a", "b")}


@pytest.fixture
def observer():
    return Seen()


@pytest.fixture
def worker(server, held, observer):
    worker = Worker(server.address, observer=observer, name="w")

    @worker.handler("hold")
    def hold(ctx):
        held[ctx.job.payload].wait(WITHIN)

    @worker.handler("quick")
    async def quick(ctx):
        return ctx.job.payload

    return worker


def test_hello_says_who_the_worker_is_and_what_it_takes(server, serve):
    worker = Worker(server.address, queues=["fast", "slow"], concurrency=3, name="w", labels={"zone": "z"})
    worker.handler("b", slots=2)(lambda ctx: None)
    worker.handler("a")(lambda ctx: None)
    serve(worker)
    hello = server.stream().welcome()
    assert (hello.worker, dict(hello.labels)) == ("w", {"zone": "z"})
    assert [(each.queue, list(each.kinds)) for each in hello.subscriptions] == [
        ("fast", ["a", "b"]),
        ("slow", ["a", "b"]),
    ]
    assert (hello.capacity.slots, dict(hello.capacity.slots_by_kind)) == (3, {"b": 2})
    assert hello.client.startswith("jobqueue-python/")
    assert not hello.HasField("resume")


def test_a_resume_names_what_is_held_and_what_was_not_answered(server, serve, worker, held):
    serve(worker)
    first = server.stream()
    first.answers_settlements = False
    first.welcome(token="one")
    first.deliver(job(1, "hold", '"a"', attempt=4), job(2, "quick", '"out"'))
    first.outcomes(1)
    first.end()

    second = server.stream()
    resume = second.expect("hello").resume
    assert resume.session_token == "one"
    assert resume.last_delivery == 1
    assert [(lease.lease_id, lease.job_id, lease.attempt) for lease in resume.held] == [(1, job(1, "").id, 4)]
    assert [lease.lease_id for lease in resume.unanswered] == [2]
    second.send(welcome=pb.Welcome(session_id=7, session_token="two", kept=resume.held))
    # The outcome is said again, on frames that are counted anew.
    settle = second.expect("settle")
    assert (settle.seq, settle.outcomes[0].success.output_json) == (1, b'"out"')
    assert second.received[-1][1].last_delivery == 0
    held["a"].set()
    assert second.outcomes(1) == {1: "succeeded"}


def test_outcomes_without_a_stream_are_sent_on_the_next(server, serve, worker, held, observer):
    serve(worker)
    first = server.stream()
    first.welcome(token="one")
    first.deliver(job(1, "hold", '"a"'))
    first.expect("heartbeat", where=lambda beat: list(beat.held) == [1])
    first.fail(grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")
    second = server.stream()
    held["a"].set()
    second.welcome(token="two")
    assert second.outcomes(1) == {1: "succeeded"}
    assert observer.wait(1) == [("hold", "succeeded")]


def test_what_a_welcome_revokes_is_dropped(server, serve, worker, held, observer):
    serve(worker)
    first = server.stream()
    first.answers_settlements = False
    first.welcome(token="one")
    first.deliver(job(1, "hold", '"a"'), job(2, "quick", "1"), job(3, "quick", "1"))
    first.outcomes(2)
    first.end()
    second = server.stream()
    second.welcome(
        token="two",
        revoked=[pb.HeldLease(lease_id=n, job_id=job(n, "").id, attempt=1) for n in (1, 2)],
    )
    assert second.outcomes(1) == {3: "success"}
    # The handler of the revoked lease still runs, and so takes up a slot.
    second.expect("heartbeat", where=lambda beat: list(beat.held) == [1])
    held["a"].set()
    second.expect("heartbeat", where=lambda beat: list(beat.held) == [])
    assert sorted(observer.wait(3)) == [("hold", "error"), ("quick", "error"), ("quick", "succeeded")]


def test_an_unknown_session_is_replaced_and_its_handlers_are_stopped(server, serve):
    worker = Worker(server.address, concurrency=5)
    told = threading.Event()
    release = threading.Event()

    @worker.handler("hold")
    def hold(ctx):
        while not ctx.cancelled:
            release.wait(0.01)
        told.set()
        release.wait(WITHIN)

    serve(worker)
    first = server.stream()
    first.welcome(token="one")
    first.deliver(job(1, "hold"))
    first.expect("heartbeat", where=lambda beat: list(beat.held) == [1])
    first.end()
    server.stream().fail(grpc.StatusCode.NOT_FOUND, "SESSION_UNKNOWN")
    third = server.stream()
    hello = third.welcome(token="three")
    assert not hello.HasField("resume")
    # A thread can't be killed: it takes up a slot that the new session does not know of.
    assert hello.capacity.slots == 4
    assert told.wait(WITHIN)
    release.set()
    third.expect("capacity", where=lambda capacity: capacity.slots == 5)
    assert "settle" not in third.names()


@pytest.mark.slow
def test_a_revoked_lease_is_stopped_and_not_settled(server, serve, observer):
    worker = Worker(server.address, observer=observer)
    stopped = threading.Event()

    @worker.handler("forever")
    async def forever(ctx):
        import asyncio

        try:
            await asyncio.sleep(600)
        finally:
            assert "TIMED_OUT" in ctx.cancel_reason
            stopped.set()

    serve(worker)
    peer = server.stream()
    peer.welcome()
    peer.deliver(job(1, "forever"))
    peer.expect("heartbeat", where=lambda beat: list(beat.held) == [1])
    peer.revoke(1)
    assert stopped.wait(WITHIN)
    peer.expect("heartbeat", where=lambda beat: not beat.held)
    assert "settle" not in peer.names()
    assert observer.wait(1) == [("forever", "error")]


@pytest.mark.slow
def test_an_outcome_that_was_not_committed_is_sent_again(server, serve, worker, observer):
    serve(worker)
    peer = server.stream()
    peer.answers_settlements = False
    peer.welcome()
    peer.deliver(job(1, "quick", "1"))
    for _ in range(3):
        settle = peer.expect("settle")
        peer.send(
            settled=pb.Settled(seq=settle.seq, exceptions=[Result(lease_id=1, verdict=Result.TRY_AGAIN)])
        )
    settle = peer.expect("settle")
    assert settle.outcomes[0].success.output_json == b"1"
    peer.send(settled=pb.Settled(seq=settle.seq))
    assert observer.wait(1) == [("quick", "succeeded")]


def test_a_stale_settlement_is_an_error_and_said_once(server, serve, worker, caplog, observer):
    serve(worker)
    peer = server.stream()
    peer.answers_settlements = False
    peer.welcome()
    peer.deliver(job(1, "quick", "1"))
    settle = peer.expect("settle")
    stale = Result(lease_id=1, verdict=Result.STALE_LEASE, message="attempt 2 is newer")
    peer.send(settled=pb.Settled(seq=settle.seq, exceptions=[stale]))
    assert observer.wait(1) == [("quick", "error")]
    line = next(each for each in caplog.records if "STALE_LEASE" in each.getMessage())
    assert (line.job_id, line.attempt) == (job(1, "").id, 1)


def test_an_invalid_outcome_becomes_a_failure_that_says_why(server, serve, worker):
    serve(worker)
    peer = server.stream()
    peer.answers_settlements = False
    peer.welcome()
    peer.deliver(job(1, "quick", "1"))
    settle = peer.expect("settle")
    invalid = Result(lease_id=1, verdict=Result.INVALID, message="output: too deep")
    peer.send(settled=pb.Settled(seq=settle.seq, exceptions=[invalid]))
    outcome = peer.outcome()
    assert (outcome.failure.error_type, outcome.lease_id) == ("InvalidOutcome", 1)
    assert "output: too deep" in outcome.failure.error


def test_the_observer_is_told_what_became_of_a_failure(server, serve, observer):
    worker = Worker(server.address, observer=observer)

    @worker.handler("fail")
    async def fail(ctx):
        raise ValueError("no")

    serve(worker)
    peer = server.stream()
    peer.answers_settlements = False
    peer.welcome()
    for number, status in enumerate((Job.RETRYING, Job.FAILED_PERMANENT, Job.CANCELLED), 1):
        peer.deliver(job(number, "fail"))
        settle = peer.expect("settle")
        result = Result(lease_id=number, verdict=Result.APPLIED, status=status)
        peer.send(settled=pb.Settled(seq=settle.seq, exceptions=[result]))
        assert observer.wait(number)[-1] == ("fail", Job.Status.Name(status).lower())


@pytest.mark.alone
def test_outcomes_of_a_delivery_travel_together(server, serve):
    worker = Worker(server.address, concurrency=1000)

    @worker.handler("quick")
    async def quick(ctx):
        return None

    serve(worker)
    peer = server.stream()
    peer.welcome()
    began = time.monotonic()
    peer.deliver(*(job(n, "quick") for n in range(1, 1001)))
    assert len(peer.outcomes(1000)) == 1000
    # While an answer is awaited they gather for 10 ms.
    assert peer.names().count("settle") <= 5 + (time.monotonic() - began) / 0.01


def test_a_frame_of_large_outputs_stays_below_the_message_limit(server, serve):
    worker = Worker(server.address, concurrency=10)

    @worker.handler("large")
    async def large(ctx):
        return "x" * 1_000_000

    serve(worker)
    peer = server.stream()
    peer.welcome()
    peer.deliver(*(job(n, "large") for n in range(1, 11)))
    assert len(peer.outcomes(10)) == 10


def test_a_goaway_moves_the_session_before_the_old_stream_is_let_go(serve, held):
    one, two = ScriptedServer(), ScriptedServer()
    try:
        worker = Worker([one.address, two.address])

        @worker.handler("hold")
        def hold(ctx):
            held[ctx.job.payload].wait(WITHIN)

        serve(worker)
        old = one.stream()
        old.welcome(token="one")
        old.deliver(job(1, "hold", '"a"'))
        old.expect("heartbeat", where=lambda beat: list(beat.held) == [1])
        old.send(go_away=pb.GoAway(reason="SHUTTING_DOWN"))
        new = two.stream()
        assert not old.ended.is_set()
        hello = new.welcome(token="two")
        assert [lease.lease_id for lease in hello.resume.held] == [1]
        assert old.ended.wait(WITHIN)
        held["a"].set()
        assert new.outcomes(1) == {1: "succeeded"}
    finally:
        one.stop()
        two.stop()


def test_what_comes_on_the_old_stream_while_it_moves_is_not_begun(serve):
    """Hello did not name it: the next server gives it back, and it would run twice."""
    one, two = ScriptedServer(), ScriptedServer()
    try:
        worker = Worker([one.address, two.address])
        ran: queue.SimpleQueue[int] = queue.SimpleQueue()
        worker.handler("work")(lambda ctx: ran.put(ctx.job.attempt))
        serve(worker)
        old = one.stream()
        old.welcome(token="one")
        old.send(go_away=pb.GoAway(reason="SHUTTING_DOWN"))
        new = two.stream()
        assert list(new.expect("hello").resume.held) == []
        old.deliver(job(1, "work", "null"))
        old.expect("receipt", where=lambda frame: frame.last_delivery == 1)
        new.send(welcome=pb.Welcome(session_id=1, session_token="two"))
        assert old.ended.wait(WITHIN)
        new.deliver(job(2, "work", "null", attempt=2))
        assert new.outcomes(1) == {2: "succeeded"}
        assert ran.get(timeout=WITHIN) == 2
        assert ran.empty()
    finally:
        one.stop()
        two.stop()


@pytest.mark.alone
def test_what_came_while_it_looked_for_another_server_goes_back_when_there_is_none(serve):
    one, two = ScriptedServer(), ScriptedServer()
    two.stop()
    try:
        worker = Worker([one.address, two.address])
        ran: queue.SimpleQueue[int] = queue.SimpleQueue()
        worker.handler("work")(lambda ctx: ran.put(ctx.job.attempt))
        serve(worker)
        old = one.stream()
        old.welcome(token="one")
        old.send(go_away=pb.GoAway(reason="DATABASE_AWAY"))
        refused = one.stream()
        refused.expect("hello")
        old.deliver(job(1, "work", "null"))
        old.expect("receipt", where=lambda frame: frame.last_delivery == 1)
        refused.fail(grpc.StatusCode.UNAVAILABLE, "DATABASE_AWAY")
        assert old.outcomes(1) == {1: "release"}
        assert ran.empty()
    finally:
        one.stop()


def test_a_worker_that_finds_no_other_server_stays(serve, held):
    one, two = ScriptedServer(), ScriptedServer()
    two.stop()
    try:
        worker = Worker([one.address, two.address])

        @worker.handler("hold")
        def hold(ctx):
            held[ctx.job.payload].wait(WITHIN)

        serve(worker)
        old = one.stream()
        old.welcome(token="one")
        old.deliver(job(1, "hold", '"a"'), job(2, "hold", '"b"'))
        old.send(go_away=pb.GoAway(reason="DATABASE_AWAY"))
        refused = one.stream()  # its second try, after the other server did not answer
        refused.expect("hello")
        held["a"].set()
        refused.fail(grpc.StatusCode.UNAVAILABLE, "DATABASE_AWAY")
        # What ended in the meantime is settled on the old stream after all.
        assert old.outcomes(1) == {1: "succeeded"}
        again = one.stream()
        hello = again.welcome(token="two")
        assert [lease.lease_id for lease in hello.resume.held] == [2]
        held["b"].set()
        assert again.outcomes(1) == {2: "succeeded"}
    finally:
        one.stop()


def test_pause_declares_no_capacity_and_resume_all_of_it(server, serve, worker):
    serve(worker)
    peer = server.stream()
    peer.welcome()
    peer.expect("capacity", where=lambda capacity: capacity.slots == 8)
    worker.pause()
    peer.expect("capacity", where=lambda capacity: capacity.slots == 0)
    worker.resume()
    peer.expect("capacity", where=lambda capacity: capacity.slots == 8)


def test_the_token_travels_with_the_stream(server, serve):
    worker = Worker(server.address, token=lambda: "secret")
    worker.handler("work")(lambda ctx: None)
    serve(worker)
    peer = server.stream()
    assert dict(peer.context.invocation_metadata())["authorization"] == "Bearer secret"


def test_a_checkpoint_goes_before_the_end_that_is_taken_together_with_another_one(server, serve):
    worker = Worker(server.address, concurrency=2)
    blocked, release = threading.Event(), threading.Event()

    def engine():
        assert worker._engine is not None
        return worker._engine

    def until_ended(count):
        ends = time.monotonic() + WITHIN
        while len(engine()._ended) < count and time.monotonic() < ends:
            time.sleep(0.001)

    def block():
        blocked.set()
        release.wait(WITHIN)

    @worker.handler("first")
    def first(ctx):
        # From here on the session takes nothing: what is said to it gathers.
        engine()._loop.call_soon_threadsafe(block)
        assert blocked.wait(WITHIN)

    @worker.handler("second")
    def second(ctx):
        until_ended(1)
        ctx.save_checkpoint(b"half")

    serve(worker)
    peer = server.stream()
    peer.welcome()
    peer.deliver(job(1, "first"), job(2, "second"))
    assert blocked.wait(WITHIN)
    until_ended(2)
    release.set()
    assert peer.expect("progress").checkpoint == b"half"
    assert peer.outcomes(2) == {1: "succeeded", 2: "succeeded"}
