"""Tasks of every sort, in a module that TASKS names."""

import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from django_tasks import TaskContext, task  # in Django 6: from django.tasks import TaskContext, task

from jobqueue import Discard, Snooze


class OutOfStock(Exception):
    """Of a class of the project's own."""


@task
def add(a: int, b: int = 0) -> int:
    return a + b


@task
async def add_later(a: int, b: int) -> int:
    return a + b


@task(takes_context=True)
def who(context: TaskContext) -> list[Any]:
    result = context.task_result
    return [context.attempt, result.id, result.status, result.args, result.backend]


@task
def sell(number: int) -> None:
    raise OutOfStock(f"no more of {number}\n\nask again")


@task
def ramble() -> None:
    raise ValueError("no " * 10_000 + "end")


@task
def give_up() -> None:
    raise Discard("never again")


@task
def quote(words: str) -> None:
    """Says what another error has said."""
    try:
        raise OutOfStock(words)
    except OutOfStock as error:
        raise Discard(words) from error


@task
def put_off() -> None:
    raise Snooze(timedelta(hours=1))


@task
def leave() -> None:
    raise SystemExit(3)


@task
def answer(what: str) -> Any:
    return {"bytes": b"text", "tuple": (1, 2), "object": object(), "nan": float("nan"), "long": "x" * 2**20}[
        what
    ]


@task
def hand_on(started: str, go: str) -> str:
    """Says that it runs, waits until it is told to go on, and enqueues another one."""
    Path(started).touch()
    while not os.path.exists(go):
        time.sleep(0.02)
    return str(add.enqueue(1, 2).id)


def plain(a: int) -> int:
    return a


#: Its function is not a task by its own name.
hidden = task(plain)
