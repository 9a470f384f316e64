"""Handlers with some of the endings, for tests that perform them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from jobqueue import Cancelled, Discard, JobContext, Retry, Snooze, define_kind


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


def retries(ctx: JobContext) -> None:
    raise Retry("busy", after=timedelta(hours=1))


def pauses_its_key(ctx: JobContext) -> None:
    raise Retry("429", after=timedelta(minutes=5), pause_key=True)


def discards(ctx: JobContext) -> None:
    raise Discard("no such user")


def snoozes(ctx: JobContext) -> None:
    raise Snooze(timedelta(hours=1))


def gives_up(ctx: JobContext) -> None:
    raise Cancelled("nothing left to do")


def halves(ask: Ask, ctx: JobContext) -> Answer:
    return Answer(ask.number / 2)


def on_loop(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same as an async handler."""

    async def handle(*arguments: Any) -> Any:
        await asyncio.sleep(0)
        return function(*arguments)

    return handle
