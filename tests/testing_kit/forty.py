"""The handlers of handlers.json in Python: each does the steps of its row, on the loop, in a thread or in a process."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from jobqueue import (
    AesGcm,
    Cancelled,
    Discard,
    Encodings,
    EnqueueResult,
    JobContext,
    JsonText,
    Middleware,
    NewJob,
    Retry,
    Skip,
    Snooze,
    define_kind,
)

TABLE = json.loads(Path(__file__).with_name("handlers.json").read_text())
#: The handlers that can be written in Python, by their names.
ROWS: dict[str, dict[str, Any]] = {
    row["name"]: row
    for row in TABLE["handlers"]
    if not row.get("except", {}).get("python", {}).get("left_out")
}
STYLES = ("loop", "thread", "process")
ENCODINGS = Encodings([AesGcm({"a": bytes(range(32))}, primary="a")])


class Unwilling(Exception):
    """An error of a program's own."""


@dataclass
class Ask:
    number: int


@dataclass
class Answer:
    half: float


def _renamed(old: Any) -> Any:
    return {"number": old["n"]}


# A process finds them by their names here.
loop_halves, thread_halves, process_halves = (
    define_kind(f"{style}.halves", Ask, output=Answer, version=2, upcasters={1: _renamed}) for style in STYLES
)
HALVES = {"loop": loop_halves, "thread": thread_halves, "process": process_halves}


def kind_of(style: str, row: dict[str, Any]) -> str:
    """The name of a row's kind; the typed ones are of one kind."""
    return HALVES[style].name if row.get("typed") else f"{style}.{row['name']}"


def _row(ctx: JobContext) -> dict[str, Any]:
    return ROWS[ctx.job.kind.partition(".")[2]]


def _steps(ctx: JobContext) -> list[Any]:
    steps: list[Any] = _row(ctx)["does"][ctx.job.attempt - 1]
    return steps


def do(ctx: JobContext) -> Any:
    """A handler in a thread or a process."""
    for step in _steps(ctx):
        if step[0] in ("told", "told_long"):
            ctx.progress(step[1], _message(step))
            while not ctx.cancelled:
                time.sleep(0.002)
        elif step[0] == "stop":
            ctx.raise_if_cancelled()
        elif (output := _done(ctx, *step)) is not None:
            return output
    return None


async def do_on_loop(ctx: JobContext) -> Any:
    """A handler on the loop."""
    for step in _steps(ctx):
        if step[0] in ("told", "told_long"):
            ctx.progress(step[1], _message(step))
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                continue
        elif step[0] == "stop":
            raise asyncio.CancelledError
        elif (output := _done(ctx, *step)) is not None:
            return output
    return None


def halve(ask: Ask, ctx: JobContext) -> Answer:
    """A typed handler in a thread or a process."""
    return Answer(ask.number / 2)


async def halve_on_loop(ask: Ask, ctx: JobContext) -> Answer:
    """A typed handler on the loop."""
    return Answer(ask.number / 2)


def _message(step: list[Any]) -> str:
    return step[2] if step[0] == "told" else "é" * step[2]


def _done(ctx: JobContext, step: str, first: Any = None, second: Any = None) -> Any:
    """Does a step. None: there is another one."""
    match step:
        case "return":
            return first
        case "payload":
            return JsonText(ctx.job.payload_json)
        case "echo":
            return {
                "payload": ctx.job.payload, "attempt": ctx.job.attempt, "failures": ctx.job.failures,
                "last": ctx.job.is_last_attempt, "checkpoint": ctx.job.checkpoint.decode(), "key": ctx.job.key,
                "labels": dict(ctx.job.labels),
            }  # fmt: skip
        case "raise":
            raise Unwilling(first)
        case "raise_long":
            raise Unwilling("é" * first)
        case "break":
            raise SystemExit(first)
        case "retry":
            raise Retry(first, after=timedelta(seconds=second)) from Unwilling(first)
        case "discard":
            raise Discard(first) from Unwilling(first)
        case "snooze":
            raise Snooze(timedelta(seconds=first))
        case "give_up":
            raise Cancelled
        case "no_json":
            return {1, 2}
        case "return_long":
            return "x" * (first - 2)
        case "follow_up":
            delay = timedelta(seconds=first.get("delay", 0))
            job = NewJob(
                first["kind"], first["payload"], queue=ctx.job.kind, labels=first.get("labels"), delay=delay
            )
            ctx.follow_up(job)
        case "follow_ups":
            for _ in range(first):
                ctx.follow_up(NewJob("next", queue=ctx.job.kind))
        case "progress":
            ctx.progress(first)
        case "checkpoint":
            ctx.save_checkpoint(first.encode())
        case "checkpoint_long":
            ctx.save_checkpoint(b"x" * first)
        case "time_left":
            return ctx.remaining is not None and timedelta() < ctx.remaining <= timedelta(minutes=1)
        case _:
            raise AssertionError(f"{step} is no step")
    return None


class Around(Middleware):
    """Does what `around` of a row says."""

    @contextmanager
    def handle(self, ctx: JobContext) -> Iterator[None]:
        says = _row(ctx)["around"]
        if says == "raises":
            raise Unwilling("of no tenant")
        if says == "answers":
            raise Skip("instead")
        yield
        if says == "raises_after":
            raise Unwilling("too late")

    async def enqueue(self, jobs: Any, call_next: Any) -> list[EnqueueResult]:
        found: list[EnqueueResult] = await call_next([_counted(job, len(jobs)) for job in jobs])
        return found


def _counted(job: NewJob, of: int) -> NewJob:
    return replace(job, labels={**(job.labels or {}), "of": str(of)})


# A process finds it by its name here.
around = Around()
