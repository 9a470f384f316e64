"""`perform`: a handler alone, by the code that a worker runs."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from jobqueue import Cancelled, JobContext, JsonText, NewJob, PayloadInvalid, Worker
from jobqueue.testing import HandlerFailed, StillRunning, attempt, perform
from jobqueue.worker.context import Stop

from . import handlers
from .handlers import Answer, Ask, Unwilling, typed

#: For a process, which starts an interpreter.
WITHIN = timedelta(seconds=60)


async def test_what_a_handler_returned_and_told_is_answered():
    def report(ctx: JobContext) -> Any:
        ctx.progress(0.5, "half")
        ctx.save_checkpoint(b"7")
        ctx.progress(message="nearly")
        ctx.follow_up(NewJob("next", {"a": 1}, headers={"x": "y"}))
        return {"attempt": ctx.job.attempt, "seen": ctx.job.payload, "was": ctx.job.checkpoint.decode()}

    done = await perform(report, (1, 2), attempt=3, checkpoint=b"6")
    assert (done.outcome, done.output) == ("succeeded", {"attempt": 3, "seen": [1, 2], "was": "6"})
    assert [(each.fraction, each.message) for each in done.progress] == [(0.5, "half"), (None, "nearly")]
    assert (done.checkpoints, done.checkpoint) == ((b"7",), b"7")
    assert done.follow_ups == (NewJob("next", payload_json=b'{"a":1}', headers={"x": "y"}),)


@pytest.mark.parametrize("run_in", ["thread", "process"])
async def test_a_typed_handler_gets_and_answers_its_types(run_in: Any):
    done = await perform(handlers.halves, Ask(7), kind=typed, run_in=run_in, within=WITHIN)
    assert done.output == Answer(3.5)
    with pytest.raises(PayloadInvalid, match="must be a whole number"):
        await perform(handlers.halves, Ask("7"), kind=typed)  # type: ignore[arg-type]
    as_stored = await perform(
        handlers.halves, JsonText('{"number": "7"}'), kind=typed, run_in=run_in, within=WITHIN
    )
    assert (as_stored.outcome, as_stored.error_type) == ("discarded", "PayloadUnreadable")
    headers = {"x-payload-version": "2"}
    newer = await perform(
        handlers.halves, JsonText("{}"), kind=typed, run_in=run_in, headers=headers, within=WITHIN
    )
    assert newer.outcome == "snoozed"


async def test_an_ordinary_failure_is_raised_as_itself_and_answered_where_that_is_asked_for():
    with pytest.raises(Unwilling, match="not today") as raised:
        await perform(handlers.fails)
    assert raised.traceback[-1].name == "fails"
    with pytest.raises(Unwilling):
        await perform(handlers.on_loop(handlers.fails))
    with pytest.raises(HandlerFailed, match="Unwilling: not today") as apart:
        await perform(handlers.fails, run_in="process", within=WITHIN)
    assert "in fails" in apart.value.performed.stack
    done = await perform(handlers.fails, catch=True)
    assert (done.outcome, done.error, done.error_type) == ("failed", "not today", "Unwilling")


async def test_retry_discard_snooze_and_cancelled_are_outcomes():
    retried = await perform(handlers.retries)
    assert (retried.outcome, retried.retry_after) == ("failed", timedelta(hours=1))
    assert retried.pause_key is None
    assert (await perform(handlers.pauses_its_key)).pause_key == timedelta(minutes=5)
    assert (await perform(handlers.discards)).outcome == "discarded"
    assert (await perform(handlers.snoozes)).delay == timedelta(hours=1)
    assert (await perform(handlers.gives_up)).outcome == "cancelled"


async def test_the_next_attempt_has_the_checkpoint_and_the_failures_of_those_before():
    seen = []

    def step(ctx: JobContext) -> None:
        seen.append(
            (ctx.job.attempt, ctx.job.failures, ctx.job.checkpoint, ctx.job.id, ctx.job.is_last_attempt)
        )
        ctx.save_checkpoint(str(ctx.job.attempt).encode())
        if ctx.job.attempt < 3:
            raise Unwilling("again")

    first = await perform(step, catch=True)
    second = await first.again()
    third = await second.again(catch=False)
    assert third.outcome == "succeeded"
    id = seen[0][3]
    assert seen == [(1, 0, b"", id, False), (2, 1, b"1", id, False), (3, 2, b"2", id, True)]


@dataclass(frozen=True)
class Cursor:
    """Where an attempt is."""

    page: int
    seen: tuple[str, ...] = ()


async def test_a_checkpoint_is_a_value_of_a_type_and_json_while_it_is_stored():
    read = []

    def step(ctx: JobContext) -> None:
        cursor = ctx.job.checkpoint_as(Cursor)
        read.append(cursor)
        ctx.save_checkpoint(Cursor(2, ("a",)) if cursor is None else [cursor.page])
        if cursor is None:
            raise Unwilling("again")

    first = await perform(step, catch=True)
    second = await first.again(catch=False)
    assert first.checkpoint == b'{"page":2,"seen":["a"]}'
    assert (read, second.checkpoint) == ([None, Cursor(2, ("a",))], b"[2]")


async def test_bytes_are_a_checkpoint_as_they_are_and_none_takes_it_back():
    def step(ctx: JobContext) -> None:
        for each in (b'"a"', bytearray(b"b"), memoryview(b"c"), JsonText('{"n": 1.0}'), "d", None):
            ctx.save_checkpoint(each)

    done = await perform(step, checkpoint=b"before")
    assert done.checkpoints == (b'"a"', b"b", b"c", b'{"n": 1.0}', b'"d"', b"")


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        (b'{"page":"secret"}', "checkpoint.page: must be a whole number"),
        (b"secret", "checkpoint: must be JSON text, as `save_checkpoint` makes it of a value"),
        (b"\xff\xfe", "checkpoint: must be JSON text, as `save_checkpoint` makes it of a value"),
        (b"[" * 60_000, "checkpoint: must be JSON text, as `save_checkpoint` makes it of a value"),
    ],
)
async def test_a_checkpoint_that_does_not_fit_is_a_failure_that_says_where_and_never_what_stands_there(
    stored: bytes, words: str
):
    def reads(ctx: JobContext) -> None:
        ctx.job.checkpoint_as(Cursor)

    done = await perform(reads, checkpoint=stored, catch=True)
    assert (done.outcome, done.error_type, done.error) == ("failed", "CheckpointUnreadable", words)
    assert "secret" not in done.stack


async def test_what_json_has_no_form_for_is_no_checkpoint_and_is_told_at_once():
    def saves(ctx: JobContext) -> None:
        with pytest.raises(TypeError, match=r"^checkpoint: the value is no JSON: Object of type object "):
            ctx.save_checkpoint({"at": object()})
        with pytest.raises(TypeError, match=r"^checkpoint is .*Event"):
            ctx.save_checkpoint(threading.Event())
        with pytest.raises(TypeError, match=r"^checkpoint\.page: must be a whole number$"):
            ctx.save_checkpoint(Cursor("1"))  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="at most 65536 bytes, not 65538"):
            ctx.save_checkpoint("x" * 65_536)

    assert (await perform(saves)).checkpoints == ()


async def test_an_encoded_checkpoint_is_not_taken_for_a_value():
    def reads(ctx: JobContext) -> None:
        ctx.job.checkpoint_as(dict)

    envelope = b'{"$jobqueue.encoded":1,"content_type":"","encodings":["aes256gcm"],"key_id":"k","data":""}'
    done = await perform(reads, checkpoint=envelope, catch=True)
    assert (done.error_type, done.error) == (
        "Encoded",
        "encoded, aes256gcm, key k: this program has no encodings",
    )


async def test_a_handler_is_told_to_stop_when_the_test_says_by_the_signal_of_its_style():
    async def waits(ctx: JobContext) -> None:
        ctx.progress(0.1)
        ctx.progress(0.2)
        await asyncio.sleep(60)

    def looks(ctx: JobContext) -> None:
        while True:
            ctx.progress(0.1)
            ctx.raise_if_cancelled()
            threading.Event().wait(0.001)

    assert (await perform(waits, stop_at=2)).outcome == "cancelled"
    assert (await perform(waits, stop_at="start")).outcome == "cancelled"
    assert (await perform(waits, stop_at=timedelta(0), stop=Stop.SHUTDOWN)).outcome == "released"
    assert (await perform(looks, stop_at=3)).outcome == "cancelled"
    assert (await perform(looks, stop_at=timedelta(0), stop=Stop.SHUTDOWN)).outcome == "released"


@pytest.mark.slow
async def test_a_handler_that_does_not_end_is_told_and_leaves_no_task():
    ended = asyncio.Event()

    async def hangs(ctx: JobContext) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            # And not since it is collected.
            ended.set()
            raise

    with pytest.raises(StillRunning, match="the handler of performed still runs after 1 s"):
        await perform(hangs, within=timedelta(seconds=1))
    async with asyncio.timeout(60):
        await ended.wait()


async def test_a_worker_gives_what_was_said_when_its_handler_was_added():
    worker = Worker("127.0.0.1:1")
    worker.handler("flagged", cancel="flag")(handlers.on_loop(handlers.echo))
    worker.handler(typed, run_in="process")(handlers.halves)
    assert (await perform(worker, 7, kind="flagged", key="k")).output["key"] == "k"
    assert (await perform(worker, Ask(4), kind=typed, within=WITHIN)).output == Answer(2.0)
    with pytest.raises(ValueError, match="no handler of kind 'other'; it has: flagged, typed"):
        await perform(worker, 7, kind="other")


async def test_what_can_not_be_is_refused():
    with pytest.raises(ValueError, match="attempts count from 1"):
        await perform(handlers.nothing, attempt=0)
    with pytest.raises(TypeError, match="atempt"):
        await perform(handlers.nothing, atempt=1)
    with pytest.raises(TypeError, match="no JSON"):
        await perform(handlers.nothing, {1})


def test_an_attempt_is_a_context_alone():
    ctx = attempt(Ask(7), kind=typed, attempt=2, timeout=timedelta(minutes=1))
    assert (ctx.job.payload, ctx.job.attempt, ctx.job.kind) == ({"number": 7}, 2, "typed")
    ctx.progress(0.5)
    assert ctx.remaining is not None
    with pytest.raises(Cancelled):
        ctx.stop_reason = Stop.CANCEL
        ctx.raise_if_cancelled()


async def test_a_number_in_the_place_of_a_duration_is_refused_with_what_would_be_right():
    with pytest.raises(TypeError, match="within is 5; it must be a timedelta"):
        await perform(lambda ctx: None, within=5)  # type: ignore[arg-type]
