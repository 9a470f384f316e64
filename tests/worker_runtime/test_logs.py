"""A log line of a handler says which job it belongs to."""

from __future__ import annotations

import logging
import threading

import pytest

from jobqueue import JobLogFilter, Observer, Worker

from .scripted_server import WITHIN, job


class Lines(logging.Handler):
    def __init__(self):
        super().__init__()
        self.records = []
        self.addFilter(JobLogFilter())

    def emit(self, record):
        self.records.append(record)


@pytest.fixture
def lines():
    lines = Lines()
    logger = logging.getLogger("of.a.handler")
    logger.addHandler(lines)
    logger.setLevel("INFO")
    yield lines
    logger.removeHandler(lines)


@pytest.mark.parametrize("style", ["async", "plain"])
def test_a_handlers_own_lines_carry_job_attempt_and_request_id(server, serve, lines, style):
    worker = Worker(server.address)
    logger = logging.getLogger("of.a.handler")
    if style == "async":

        @worker.handler("work")
        async def work(ctx):
            logger.info("inside")

    else:

        @worker.handler("work")
        def plain(ctx):
            logger.info("inside")

    serve(worker)
    peer = server.stream()
    peer.welcome()
    peer.deliver(job(1, "work", attempt=3, headers={"x-request-id": "r-1"}))
    peer.outcomes(1)
    logger.info("outside")
    inside, outside = lines.records
    assert (inside.job_id, inside.attempt, inside.kind, inside.request_id) == (
        job(1, "").id,
        3,
        "work",
        "r-1",
    )
    assert (outside.job_id, outside.request_id) == ("", "")


def test_the_runtimes_own_lines_name_their_job_in_text_and_fields(server, serve, caplog):
    told = threading.Event()

    class Told(Observer):
        def attempt_ended(self, attempt, outcome, seconds, error):
            told.set()

    worker = Worker(server.address, observer=Told())

    @worker.handler("work")
    async def work(ctx):
        raise ValueError("no such address")

    serve(worker)
    peer = server.stream()
    peer.welcome()
    peer.deliver(job(8, "work", attempt=2, headers={"x-request-id": "r-100%s"}))
    peer.outcomes(1)
    # Heartbeats name it no more before its answer is read, with which the line is written.
    assert told.wait(WITHIN)
    line = next(line for line in caplog.records if getattr(line, "request_id", "") == "r-100%s")
    name = f"work {job(8, '').id}, attempt 2, request r-100%s: "
    assert line.getMessage().startswith(name + "failed, is tried again at ")
    assert line.getMessage().endswith("\nValueError: no such address"), "and no line break after it"
    assert (line.job_id, line.attempt, line.kind) == (job(8, "").id, 2, "work")
