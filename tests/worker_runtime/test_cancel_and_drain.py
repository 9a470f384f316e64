"""Handlers are told to stop, by a caller or by the worker's end, each in its style."""

from __future__ import annotations

import asyncio
import os
import queue
import signal
import subprocess
import sys
import textwrap
import threading
import time
from datetime import timedelta

import grpc
import pytest

from jobqueue import Worker
from jobqueue.v1 import lease_pb2 as pb

from .scripted_server import WITHIN, job

# Longer than a worker of these tests takes to come back: its pauses grow to 0.3 s after the first loss.
_NO_STREAM_WITHIN = 1.0


def no_other_stream(server):
    """The worker opens no stream, though it had the time for it."""
    with pytest.raises(queue.Empty):
        server.stream(within=_NO_STREAM_WITHIN)


def test_an_async_handler_is_interrupted(server, serve):
    worker = Worker(server.address)

    @worker.handler("work")
    async def handle(ctx):
        await asyncio.sleep(600)

    serve(worker)
    peer = server.stream()
    peer.welcome()
    peer.deliver(job(1, "work"))
    peer.cancel(1, reason="not needed")
    assert peer.outcome().WhichOneof("outcome") == "cancellation"


def test_an_async_handler_may_finish_in_spite_of_it(server, serve):
    worker = Worker(server.address)

    @worker.handler("work")
    async def handle(ctx):
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            return ctx.cancel_reason

    serve(worker)
    peer = server.stream()
    peer.welcome()
    peer.deliver(job(1, "work"))
    peer.cancel(1, reason="not needed")
    assert peer.outcome().success.output_json == b'"not needed"'


def test_an_async_handler_that_asked_for_the_flag_is_not_interrupted(server, serve):
    worker = Worker(server.address)

    @worker.handler("work", cancel="flag")
    async def handle(ctx):
        while not ctx.cancelled:
            await asyncio.sleep(0.01)
        ctx.raise_if_cancelled()

    serve(worker)
    peer = server.stream()
    peer.welcome()
    peer.deliver(job(1, "work"))
    peer.cancel(1)
    assert peer.outcome().WhichOneof("outcome") == "cancellation"


def test_a_plain_handler_sees_the_flag(server, serve):
    worker = Worker(server.address)

    @worker.handler("work")
    def handle(ctx):
        while not ctx.cancelled:
            time.sleep(0.01)
        ctx.raise_if_cancelled()

    serve(worker)
    peer = server.stream()
    peer.welcome()
    peer.deliver(job(1, "work"))
    peer.cancel(1)
    assert peer.outcome().WhichOneof("outcome") == "cancellation"


def test_a_cancel_that_comes_with_its_delivery_is_not_lost(server, serve):
    worker = Worker(server.address, concurrency=50)

    @worker.handler("work")
    async def handle(ctx):
        await asyncio.sleep(600)

    serve(worker)
    peer = server.stream()
    peer.welcome()
    peer.deliver(*(job(n, "work") for n in range(1, 51)))
    peer.cancel(*range(1, 51))
    assert set(peer.outcomes(50).values()) == {"cancellation"}


def test_progress_and_context_tell_what_they_should(server, serve):
    worker = Worker(server.address)

    @worker.handler("work")
    async def handle(ctx):
        await ctx.progress(0.25, "reading")
        with pytest.raises(ValueError, match="0..1"):
            ctx.progress(2)
        return {
            "id": ctx.job.id,
            "attempt": ctx.job.attempt,
            "last": ctx.job.is_last_attempt,
            "label": ctx.job.labels["a"],
            "left": ctx.remaining.total_seconds() > 50,
            "raw": ctx.job.payload_json.decode(),
        }

    serve(worker)
    peer = server.stream()
    peer.welcome()
    leased = job(1, "work", '{ "a" : 1 }', attempt=3, failures=2, labels={"a": "b"})
    leased.timeout.FromSeconds(60)
    peer.deliver(leased)
    assert peer.outcome().success.output_json.decode().replace(leased.id, "ID") == (
        '{"id":"ID","attempt":3,"last":true,"label":"b","left":true,"raw":"{ \\"a\\" : 1 }"}'
    )
    progress = peer.expect("progress")
    assert (progress.lease_id, progress.fraction, progress.message) == (1, 0.25, "reading")


def test_a_drain_lets_handlers_finish_and_takes_no_more(server, serve):
    release = threading.Event()
    worker = Worker(server.address)
    worker.handler("hold")(lambda ctx: release.wait(WITHIN) and None)
    serving = serve(worker)
    peer = server.stream()
    peer.welcome()
    peer.deliver(job(1, "hold"))
    peer.expect("heartbeat", where=lambda beat: list(beat.held) == [1])
    worker.stop(reason="deploy")
    assert peer.expect("drain").reason == "deploy"
    # A delivery that crossed the drain on the wire goes back.
    peer.deliver(job(2, "hold"))
    assert peer.outcomes(1) == {2: "release"}
    release.set()
    assert peer.outcomes(1) == {1: "succeeded"}
    peer.send(goodbye=pb.Goodbye())
    serving.join()


def test_a_checkpoint_goes_before_the_release_at_the_end_of_the_grace(server, serve):
    worker = Worker(server.address)
    started, releasing, saved, over = (threading.Event() for _ in range(4))

    @worker.handler("deaf")
    def deaf(ctx):
        started.set()
        releasing.wait(WITHIN)
        ctx.save_checkpoint(b"half")
        saved.set()
        over.wait(WITHIN)

    serve(worker)
    peer = server.stream()
    peer.welcome()
    peer.deliver(job(1, "deaf"))
    assert started.wait(WITHIN)
    engine = worker._engine
    assert engine is not None

    def release():
        # The session's thread: what is saved now, it has not taken yet.
        releasing.set()
        assert saved.wait(WITHIN)
        assert engine._session is not None
        engine._session.release_all()

    engine._loop.call_soon_threadsafe(release)
    assert peer.expect("progress").checkpoint == b"half"
    assert peer.outcomes(1) == {1: "release"}
    over.set()


@pytest.mark.slow
def test_what_does_not_finish_within_the_grace_is_stopped_and_released(server, serve):
    worker = Worker(server.address, shutdown_grace=timedelta(seconds=0.2))
    deaf = threading.Event()

    @worker.handler("async")
    async def interrupted(ctx):
        await asyncio.sleep(600)

    @worker.handler("flag", cancel="flag")
    async def interrupted_too(ctx):
        await asyncio.sleep(600)

    @worker.handler("plain")
    def sees_the_flag(ctx):
        while not ctx.cancelled:
            time.sleep(0.01)
        ctx.raise_if_cancelled()

    @worker.handler("deaf")
    def ignores_it(ctx):
        deaf.wait(60)

    from . import process_handlers

    worker.handler("process", run_in="process")(process_handlers.deaf)
    serving = serve(worker)
    peer = server.stream()
    peer.welcome()
    kinds = ["async", "flag", "plain", "deaf", "process"]
    peer.deliver(*(job(n, kind) for n, kind in enumerate(kinds, 1)))
    peer.expect("progress")
    worker.stop()
    assert peer.outcomes(5) == dict.fromkeys(range(1, 6), "release")
    peer.send(goodbye=pb.Goodbye())
    serving.join()
    deaf.set()


def test_a_drain_goes_on_over_a_broken_stream(server, serve):
    release = threading.Event()
    worker = Worker(server.address)
    worker.handler("hold")(lambda ctx: release.wait(WITHIN) and None)
    serving = serve(worker)
    first = server.stream()
    first.welcome(token="one")
    first.deliver(job(1, "hold"))
    first.expect("heartbeat", where=lambda beat: list(beat.held) == [1])
    worker.stop()
    first.expect("drain")
    first.end()
    second = server.stream()
    second.welcome(token="two")
    second.expect("drain")
    release.set()
    assert second.outcomes(1) == {1: "succeeded"}
    second.send(goodbye=pb.Goodbye())
    serving.join()


@pytest.mark.slow
def test_after_a_goodbye_no_session_is_opened_while_a_revoked_handler_runs_on(server, serve):
    release = threading.Event()
    worker = Worker(server.address)
    worker.handler("deaf")(lambda ctx: release.wait(WITHIN) and None)
    serving = serve(worker)
    peer = server.stream()
    peer.welcome()
    peer.deliver(job(1, "deaf"))
    peer.expect("heartbeat", where=lambda beat: list(beat.held) == [1])
    peer.revoke(1)
    worker.stop()
    peer.expect("drain")
    peer.send(goodbye=pb.Goodbye())
    peer.end()
    no_other_stream(server)
    assert serving.serves(), "it waits for its handler"
    release.set()
    serving.join()


@pytest.mark.slow
def test_a_goodbye_that_comes_with_the_last_answer_is_the_end(server, serve, monkeypatch):
    # A stream that lived for long is followed by the next without a pause: no time to see the Goodbye otherwise.
    monkeypatch.setattr("jobqueue.worker.link._GOOD_AFTER", 0)
    release = threading.Event()
    worker = Worker(server.address)
    worker.handler("hold")(lambda ctx: release.wait(WITHIN) and None)
    serving = serve(worker)
    peer = server.stream()
    peer.answers_settlements = False
    peer.welcome()
    peer.deliver(job(1, "hold"))
    peer.expect("heartbeat", where=lambda beat: list(beat.held) == [1])
    worker.stop()
    peer.expect("drain")
    release.set()
    settle = peer.expect("settle")
    peer.send(settled=pb.Settled(seq=settle.seq))
    peer.send(goodbye=pb.Goodbye())
    peer.end()
    serving.join()
    no_other_stream(server)


@pytest.mark.slow
def test_a_session_that_is_unknown_during_its_drain_is_not_opened_anew(server, serve):
    release = threading.Event()
    worker = Worker(server.address)
    worker.handler("deaf")(lambda ctx: release.wait(WITHIN) and None)
    serving = serve(worker)
    first = server.stream()
    first.welcome()
    first.deliver(job(1, "deaf"))
    first.expect("heartbeat", where=lambda beat: list(beat.held) == [1])
    worker.stop()
    first.expect("drain")
    first.end()
    second = server.stream()
    second.expect("hello", where=lambda hello: hello.resume.session_token == "token-1")
    second.fail(grpc.StatusCode.NOT_FOUND, "SESSION_UNKNOWN")
    no_other_stream(server)
    release.set()
    serving.join()


def test_a_goodbye_that_nobody_asked_for_is_followed_by_a_new_session(server, serve):
    worker = Worker(server.address)
    worker.handler("work")(lambda ctx: None)
    serve(worker)
    first = server.stream()
    first.welcome()
    first.send(goodbye=pb.Goodbye())
    second = server.stream()
    assert not second.welcome(token="two").HasField("resume")
    second.deliver(job(1, "work"))
    assert second.outcomes(1) == {1: "succeeded"}


def test_a_session_that_is_being_opened_when_the_worker_stops_is_drained(server, serve):
    worker = Worker(server.address)
    worker.handler("work")(lambda ctx: None)
    serving = serve(worker)
    peer = server.stream()
    peer.expect("hello")
    worker.stop(reason="deploy")
    peer.send(welcome=pb.Welcome(session_id=7, session_token="token-1"))
    assert peer.expect("drain").reason == "deploy"
    peer.send(goodbye=pb.Goodbye())
    serving.join()


def test_stop_before_a_server_was_found_ends_at_once(serve):
    worker = Worker("127.0.0.1:1")
    worker.handler("work")(lambda ctx: None)
    serving = serve(worker)
    worker.stop()
    serving.join()


SCRIPT = textwrap.dedent(
    """
    import sys, time
    from jobqueue import Worker

    worker = Worker(sys.argv[1])

    @worker.handler("quick")
    async def quick(ctx):
        return None

    @worker.handler("deaf")
    def deaf(ctx):
        time.sleep(600)

    @worker.handler("spin")
    async def spin(ctx):
        while not ctx.cancelled:
            pass

    if __name__ == "__main__":
        worker.run()
    """
)


# A worker in a process of its own leaves a stream that is silent for two of these, also where it was this process that
# stood still.
_INTERVAL = 2.0


@pytest.fixture
def process(server, tmp_path):
    script = tmp_path / "work.py"
    script.write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, str(script), server.address], stderr=subprocess.PIPE, text=True
    )
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_the_process_exits_with_0(server, process, number):
    peer = server.stream()
    peer.welcome(interval=_INTERVAL)
    peer.deliver(job(1, "quick"))
    assert peer.outcomes(1) == {1: "succeeded"}
    process.send_signal(number)
    assert peer.expect("drain").reason == signal.Signals(number).name
    peer.send(goodbye=pb.Goodbye())
    assert process.wait(WITHIN) == 0


@pytest.mark.slow
def test_a_second_signal_ends_at_once(server, process):
    peer = server.stream()
    peer.welcome(interval=_INTERVAL)
    peer.deliver(job(1, "deaf"))
    peer.expect("heartbeat", where=lambda beat: list(beat.held) == [1])
    process.send_signal(signal.SIGTERM)
    peer.expect("drain")
    process.send_signal(signal.SIGTERM)
    assert process.wait(WITHIN) == -signal.SIGTERM


@pytest.mark.slow
def test_a_handler_that_blocks_its_loop_does_not_block_the_signal(server, process):
    peer = server.stream()
    peer.welcome(interval=_INTERVAL)
    peer.deliver(job(1, "spin"))
    peer.expect("heartbeat", where=lambda beat: list(beat.held) == [1])
    process.send_signal(signal.SIGTERM)
    peer.expect("drain")
    peer.cancel(1)
    assert peer.outcomes(1) == {1: "succeeded"}
    peer.send(goodbye=pb.Goodbye())
    assert process.wait(WITHIN) == 0


def test_processes_of_a_worker_that_was_killed_do_not_outlive_it(server, tmp_path):
    script = tmp_path / "work.py"
    script.write_text(
        "import sys\n"
        "from jobqueue import Worker\n"
        "from tests.worker_runtime import process_handlers\n"
        "worker = Worker(sys.argv[1])\n"
        "worker.handler('pid', run_in='process')(process_handlers.process_id)\n"
        "worker.handler('deaf', run_in='process')(process_handlers.deaf)\n"
        "if __name__ == '__main__':\n"
        "    worker.run()\n"
    )
    process = subprocess.Popen(
        [sys.executable, str(script), server.address], env={**os.environ, "PYTHONPATH": "."}
    )
    try:
        peer = server.stream()
        peer.welcome(interval=_INTERVAL)
        peer.deliver(job(1, "pid"))
        child = int(peer.outcome().success.output_json)
        peer.deliver(job(2, "deaf"))  # the same process, now in the middle of a job
        peer.expect("progress")
    finally:
        process.kill()
        process.wait()
    ends = time.monotonic() + WITHIN
    while _lives(child):
        assert time.monotonic() < ends, "the child lives on"
        time.sleep(0.01)


def _lives(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A zombie that nobody has waited for is dead.
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
