"""Handlers that a spawned process imports."""

from __future__ import annotations

import os
import signal
import time
from datetime import timedelta

from jobqueue import JobContext, NewJob, Retry


def process_id(ctx: JobContext) -> int:
    return os.getpid()


def die(ctx: JobContext) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_or_answer(ctx: JobContext) -> str:
    if ctx.job.payload == "die":
        os._exit(9)
    # Long enough for the neighbour's death to fall into it.
    time.sleep(1)
    return "alive"


def until_cancelled(ctx: JobContext) -> str:
    ctx.progress(0.5, "half")
    while not ctx.cancelled:
        time.sleep(0.01)
    ctx.raise_if_cancelled()
    return "not reached"


def deaf(ctx: JobContext) -> None:
    ctx.progress(0.1, "started")
    time.sleep(600)


def chain(ctx: JobContext) -> str:
    """Fails once, and leaves where it was; then goes on from there, and adds a job."""
    if not ctx.job.checkpoint:
        ctx.save_checkpoint(b"here")
        raise Retry("not yet", after=timedelta())
    ctx.follow_up(NewJob("last", ctx.job.checkpoint.decode()))
    return "done"


def fail(ctx: JobContext) -> None:
    raise LookupError(f"nothing under {ctx.job.payload['key']}")


def burn(ctx: JobContext) -> None:
    """Holds the interpreter of its process until it is cancelled."""
    ctx.progress(0.1, "started")
    while not ctx.cancelled:
        sum(range(1000))
