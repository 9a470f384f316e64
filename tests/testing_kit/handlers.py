"""Handlers with each ending, in each style: a test performs them alone, and by a worker of a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from jobqueue import Cancelled, Discard, JobContext, NewJob, Retry, Snooze, Worker, define_kind


@dataclass
class Ask:
    number: int


@dataclass
class Answer:
    half: float


class Unwilling(Exception):
    """An error of a program's own."""


typed = define_kind("typed", Ask, output=Answer)


def nothing(ctx: JobContext) -> None:
    ctx.progress(1.0, "done")


def echo(ctx: JobContext) -> Any:
    return {
        "payload": ctx.job.payload,
        "attempt": ctx.job.attempt,
        "queue": ctx.job.queue,
        "key": ctx.job.key,
    }


def fails(ctx: JobContext) -> None:
    raise Unwilling("not today")


def wordless(ctx: JobContext) -> None:
    raise Unwilling


def retries(ctx: JobContext) -> None:
    raise Retry("busy", after=timedelta(hours=1))


def retries_from(ctx: JobContext) -> None:
    try:
        raise Unwilling("inside")
    except Unwilling as error:
        raise Retry("busy") from error


def discards(ctx: JobContext) -> None:
    raise Discard("no such user")


def snoozes(ctx: JobContext) -> None:
    raise Snooze(timedelta(hours=1))


def gives_up(ctx: JobContext) -> None:
    raise Cancelled("nothing left to do")


def no_json(ctx: JobContext) -> Any:
    return {1, 2}


def too_large(ctx: JobContext) -> Any:
    return "x" * (1 << 20)


def too_many(ctx: JobContext) -> None:
    for _ in range(101):
        ctx.follow_up(NewJob("next"))


def follows_up(ctx: JobContext) -> str:
    ctx.follow_up(NewJob("next", {"of": 1}, queue="later", labels={"a": "b"}, delay=timedelta(hours=1)))
    return "enqueued"


def fails_after_following_up(ctx: JobContext) -> None:
    ctx.follow_up(NewJob("next"))
    raise Unwilling("after all")


def exits(ctx: JobContext) -> None:
    raise SystemExit(3)


def halves(ask: Ask, ctx: JobContext) -> Answer:
    return Answer(ask.number / 2)


def halves_wrongly(ask: Ask, ctx: JobContext) -> Any:
    return {"half": 1}


UNTYPED: list[Callable[[JobContext], Any]] = [
    nothing, echo, fails, wordless, retries, retries_from, discards, snoozes, gives_up, no_json, too_large, too_many,
    follows_up, fails_after_following_up, exits,
]  # fmt: skip


def on_loop(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same as an async handler."""

    async def handle(*arguments: Any) -> Any:
        await asyncio.sleep(0)
        return function(*arguments)

    return handle


def new_worker(address: str) -> Worker:
    """All of them, by kinds such as `thread.echo`."""
    worker = Worker(address, concurrency=16)
    for function in UNTYPED:
        worker.handler(f"loop.{function.__name__}")(on_loop(function))
        worker.handler(f"thread.{function.__name__}")(function)
        worker.handler(f"process.{function.__name__}", run_in="process")(function)
    return worker
