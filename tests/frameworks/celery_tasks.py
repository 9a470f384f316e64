"""Twelve tasks as Celery's users write them."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

from celery import Celery, Task, shared_task
from celery.exceptions import Ignore, Reject

#: How often each has run, since the app was made.
runs: Counter[str] = Counter()


@shared_task(name="shared", bind=True)
def of_any_app(self: Task, **more: Any) -> int:
    runs["shared"] += 1
    return len(more)


def make(broker: str, backend: str | None) -> Celery:
    """An app with the tasks."""
    app = Celery("shop", broker=broker, backend=backend, task_acks_late=True)
    runs.clear()

    @app.task(shared=False, name="add")
    def add(one: int, other: int) -> int:
        runs["add"] += 1
        return one + other

    @app.task(shared=False, name="greet")
    def greet(*, name: str) -> str:
        runs["greet"] += 1
        return f"Hello {name}"

    @app.task(shared=False, name="who", bind=True)
    def who(self: Task) -> str:
        runs["who"] += 1
        return f"{self.request.id} {self.request.retries} {self.request.args}"

    @app.task(shared=False, name="busy_twice", bind=True)
    def busy_twice(self: Task) -> int:
        runs["busy_twice"] += 1
        if self.request.retries < 2:
            self.retry(countdown=0)
        return int(self.request.retries)

    @app.task(shared=False, name="gives_up", bind=True, max_retries=2)
    def gives_up(self: Task) -> None:
        runs["gives_up"] += 1
        self.retry(exc=ValueError("busy"), countdown=0)

    @app.task(
        shared=False,
        name="autoretried",
        autoretry_for=(ConnectionError,),
        default_retry_delay=0,
        max_retries=4,
    )
    def autoretried() -> str:
        runs["autoretried"] += 1
        if runs["autoretried"] < 2:
            raise ConnectionError("away")
        return "back"

    @app.task(shared=False, name="ignores")
    def ignores() -> None:
        runs["ignores"] += 1
        raise Ignore

    @app.task(shared=False, name="rejects")
    def rejects() -> None:
        runs["rejects"] += 1
        raise Reject("broken")

    @app.task(shared=False, name="requeues", max_retries=0)
    def requeues() -> str:
        runs["requeues"] += 1
        if runs["requeues"] < 2:
            raise Reject("not now", requeue=True)
        return "now"

    @app.task(shared=False, name="fails")
    def fails() -> None:
        runs["fails"] += 1
        raise ValueError("wrong")

    @app.task(shared=False, name="at_a_time", bind=True, max_retries=None)
    def at_a_time(self: Task) -> str:
        runs["at_a_time"] += 1
        if not self.request.retries:
            self.retry(eta=datetime.now(UTC))
        return "later"

    app.finalize(auto=True)
    return app
