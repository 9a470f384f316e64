"""CPU-bound handlers run in spawned processes, whose death is one attempt's failure."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from jobqueue import Worker

from . import process_handlers as handlers
from .scripted_server import job


@pytest.fixture
def work(server, serve):
    def start(function):
        worker = Worker(server.address, concurrency=4)
        worker.handler("work", run_in="process")(function)
        serve(worker)
        peer = server.stream()
        peer.welcome()
        return peer

    return start


def test_a_process_handler_runs_in_another_process_which_is_kept(work):
    peer = work(handlers.process_id)
    peer.deliver(job(1, "work"))
    first = int(peer.outcome().success.output_json)
    peer.deliver(job(2, "work"))
    assert int(peer.outcome().success.output_json) == first != os.getpid()


def test_an_exception_in_a_process_is_a_failure_with_its_stack(work):
    peer = work(handlers.fail)
    peer.deliver(job(1, "work", '{"key":"k"}'))
    failure = peer.outcome().failure
    assert failure.error_type == "LookupError"
    assert "nothing under k" in failure.error
    assert "process_handlers.py" in failure.stack


def test_a_process_that_dies_is_a_failure_of_its_attempt_and_the_worker_goes_on(work):
    peer = work(handlers.die)
    peer.deliver(job(1, "work"))
    failure = peer.outcome().failure
    assert failure.error_type == "ProcessDied"
    assert "by signal 9" in failure.error
    peer.deliver(job(2, "work"))
    assert peer.outcome().failure.error_type == "ProcessDied"


@pytest.mark.slow
def test_the_death_of_one_process_does_not_touch_its_neighbours(work):
    peer = work(handlers.die_or_answer)
    peer.deliver(job(1, "work", '"live"'), job(2, "work", '"die"'), job(3, "work", '"live"'))
    assert peer.outcomes(3) == {1: "success", 2: "failure", 3: "success"}


def test_a_process_handler_sees_its_cancelling(work):
    peer = work(handlers.until_cancelled)
    peer.deliver(job(1, "work"))
    peer.expect("progress", where=lambda progress: progress.fraction == 0.5)
    peer.cancel(1)
    assert peer.outcome().WhichOneof("outcome") == "cancellation"


@pytest.mark.slow
def test_a_process_handler_that_ignores_its_cancelling_is_terminated_before_the_grace_ends(work):
    peer = work(handlers.deaf)
    peer.deliver(job(1, "work"))
    peer.expect("progress")
    peer.cancel(1, grace=1)
    assert peer.outcome().WhichOneof("outcome") == "cancellation"


@pytest.mark.slow
def test_heartbeats_go_on_while_processes_use_all_cores(work):
    peer = work(handlers.burn)
    peer.deliver(*(job(n, "work") for n in range(1, 5)))
    for _ in range(4):
        peer.expect("progress")
    for _ in range(3):
        peer.expect("heartbeat", where=lambda beat: len(beat.held) == 4)
    peer.cancel(1, 2, 3, 4)
    assert len(peer.outcomes(4)) == 4


def test_a_handler_that_a_process_could_not_import_is_refused_at_once():
    worker = Worker("127.0.0.1:1")
    with pytest.raises(TypeError, match="define it with `def` at the top of a module"):
        worker.handler("work", run_in="process")(lambda ctx: None)


def test_an_async_handler_is_refused_for_a_process():
    async def handle(ctx):
        pass

    with pytest.raises(TypeError, match="async functions run on the loop"):
        Worker("127.0.0.1:1").handler("work", run_in="process")(handle)


@pytest.mark.slow
def test_a_worker_that_would_run_again_in_its_processes_is_told_what_to_do(server, tmp_path):
    script = tmp_path / "unguarded.py"
    script.write_text(
        "import sys\n"
        "from jobqueue import Worker\n"
        "worker = Worker(sys.argv[1])\n"
        "@worker.handler('work', run_in='process')\n"
        "def work(ctx):\n"
        "    return 1\n"
        "worker.run()\n"
    )
    process = subprocess.Popen(
        [sys.executable, str(script), server.address], stderr=subprocess.PIPE, text=True
    )
    try:
        peer = server.stream()
        peer.welcome(interval=2)
        peer.deliver(job(1, "work"))
        assert peer.outcome().failure.error_type == "ProcessDied"
    finally:
        process.kill()
        _, errors = process.communicate()
    assert 'put `if __name__ == "__main__":` around worker.run()' in errors
