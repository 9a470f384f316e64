"""What a handler returns or raises becomes the outcome that it means."""

from __future__ import annotations

import json
import sys
from datetime import timedelta

import pytest

from jobqueue import Cancelled, Discard, Retry, Snooze, Worker

from .scripted_server import job


@pytest.fixture(params=["async", "plain"])
def outcome_of(request, server, serve):
    """Runs one job through a worker whose handler is the given function."""

    def run(body, payload="null"):
        worker = Worker(server.address)
        if request.param == "async":

            @worker.handler("work")
            async def handle(ctx):
                return body(ctx)

        else:
            worker.handler("work")(body)
        serve(worker)
        peer = server.stream()
        peer.welcome()
        peer.deliver(job(1, "work", payload))
        settle = peer.expect("settle")
        return list(settle.succeeded) if settle.succeeded else settle.outcomes[0]

    return run


def raising(error):
    def body(_ctx):
        raise error

    return body


def test_a_handler_that_returns_nothing_succeeds_in_few_bytes(outcome_of):
    assert outcome_of(lambda ctx: None) == [1]


def test_what_a_handler_returns_is_the_output_with_all_digits(outcome_of):
    outcome = outcome_of(lambda ctx: {"got": ctx.job.payload, "name": "Ünïcode"}, "12345678901234567890")
    assert json.loads(outcome.success.output_json) == {"got": 12345678901234567890, "name": "Ünïcode"}


def test_an_exception_is_a_failure_with_type_text_and_stack(outcome_of):
    def body(ctx):
        raise ConnectionError("no route")

    failure = outcome_of(body).failure
    assert (failure.error_type, failure.error, failure.permanent) == ("ConnectionError", "no route", False)
    assert 'raise ConnectionError("no route")' in failure.stack
    assert not failure.HasField("retry_after")


def test_retry_says_when(outcome_of):
    failure = outcome_of(raising(Retry("busy", after=timedelta(seconds=7)))).failure
    assert (failure.error, failure.retry_after.ToTimedelta()) == ("busy", timedelta(seconds=7))
    assert not failure.permanent


def test_retry_pauses_the_key_for_as_long_as_the_job_waits_and_only_where_it_says_so(outcome_of):
    busy = outcome_of(raising(Retry("429", after=timedelta(seconds=7), pause_key=True)))
    assert busy.pause_key.ToTimedelta() == busy.failure.retry_after.ToTimedelta() == timedelta(seconds=7)
    assert not outcome_of(raising(Retry("429", after=timedelta(seconds=7)))).HasField("pause_key")


def test_a_key_is_paused_for_a_day_at_most_though_the_job_waits_longer(outcome_of):
    busy = outcome_of(raising(Retry("429", after=timedelta(days=3), pause_key=True)))
    assert busy.pause_key.ToTimedelta() == timedelta(days=1)
    assert busy.failure.retry_after.ToTimedelta() == timedelta(days=3)


def test_a_pause_without_a_time_is_refused_where_it_is_written():
    with pytest.raises(ValueError, match="after"):
        Retry("429", pause_key=True)


def test_retry_raised_from_a_cause_names_the_cause(outcome_of):
    def body(ctx):
        try:
            raise TimeoutError("slow")
        except TimeoutError as error:
            raise Retry("the mail server is slow") from error

    failure = outcome_of(body).failure
    assert (failure.error_type, failure.error) == ("TimeoutError", "the mail server is slow")
    assert "slow" in failure.stack


def test_discard_is_permanent(outcome_of):
    failure = outcome_of(raising(Discard("no such user"))).failure
    assert (failure.error_type, failure.error, failure.permanent) == ("Discard", "no such user", True)


def test_snooze_charges_nothing(outcome_of):
    outcome = outcome_of(raising(Snooze(timedelta(minutes=5))))
    assert outcome.snooze.delay.ToTimedelta() == timedelta(minutes=5)


def test_cancelled_gives_the_job_up(outcome_of):
    assert outcome_of(raising(Cancelled("not needed"))).WhichOneof("outcome") == "cancellation"


def test_an_output_that_is_no_json_is_a_failure_that_says_so(outcome_of):
    failure = outcome_of(lambda ctx: {1, 2}).failure
    assert failure.error_type == "TypeError"
    assert "the handler's output is no JSON" in failure.error


def test_an_output_over_the_limit_is_a_failure_that_says_what_to_do(outcome_of):
    failure = outcome_of(lambda ctx: "x" * 1024 * 1024).failure
    assert "the limit is 1048576" in failure.error


def test_exit_in_a_handler_is_a_failure_and_not_the_end_of_the_worker(outcome_of):
    assert outcome_of(lambda ctx: sys.exit(3)).failure.error_type == "SystemExit"


def test_long_errors_are_cut_and_say_so(outcome_of):
    failure = outcome_of(raising(ValueError("ä" * 10_000))).failure
    assert len(failure.error.encode()) <= 8 * 1024
    assert failure.error.endswith("[cut, 20000 bytes in all]")
    assert len(failure.stack.encode()) <= 32 * 1024


@pytest.mark.parametrize("wrong", [30, timedelta(seconds=-1)])
def test_a_wait_that_is_none_is_refused_where_it_is_written(wrong):
    with pytest.raises((TypeError, ValueError)):
        Snooze(wrong)
    with pytest.raises((TypeError, ValueError)):
        Retry("x", after=wrong)
