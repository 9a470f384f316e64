"""Handlers in the `jobs.py` of apps, and the worker that serves them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

from asgiref.sync import sync_to_async
from django.apps import apps
from django.db import close_old_connections
from django.utils.module_loading import autodiscover_modules

from jobqueue import JobContext, JobKind, Middleware, Worker

from . import conf

F = TypeVar("F", bound=Callable[..., Any])
#: Kinds with their functions and options, in the order in which they were found.
_found: dict[str, tuple[str | JobKind[Any, Any], Callable[..., Any], dict[str, Any]]] = {}


def handler(kind: str | JobKind[Any, Any], **options: Any) -> Callable[[F], F]:
    """Makes the decorated function the handler of a kind, in `manage.py jobqueue_worker`.

    It belongs into the module `jobs` of an app, which the command imports.

    Args:
        kind: What `define_kind` made, or the name of a kind.
        options: As of `Worker.handler`: `slots`, `run_in`, `cancel`.

    Raises:
        ValueError: Another function handles that kind already.
    """
    name = kind if isinstance(kind, str) else kind.name

    def add(function: F) -> F:
        before = _found.get(name)
        if before is not None and _named(before[1]) != _named(function):
            raise ValueError(
                f"the kind {name!r} has two handlers: {_named(before[1])} and {_named(function)}"
            )
        _found[name] = (kind, function, options)
        return function

    return add


def discover() -> dict[str, str]:
    """Imports the module `jobs` of each app; where TASKS has a backend of JobQueue, also what it finds tasks in.

    Returns:
        The kinds that have a handler then, each with its function's name; `django.task` only where there is a task.
    """
    apps.check_apps_ready()
    autodiscover_modules("jobs")
    if tasks():
        from .tasks import calls, running

        handler(calls.django_task)(running.run)
    return {kind: _named(function) for kind, (_, function, _) in _found.items()}


def tasks() -> list[str]:
    """The paths of Django's tasks that the worker may call. None are, where TASKS has no backend of JobQueue."""
    backends = conf.task_backends()
    if not backends:
        return []
    from .tasks import calls

    for backend in backends:
        calls.discover(backend.options.get("MODULES", ()))
    return calls.found()


def served_queues() -> list[str]:
    """What the worker takes jobs from: as JOBQUEUE says, or else `default` and the queues of Django's tasks."""
    said = conf.found().get("QUEUES")
    if said is not None:
        return list(said)
    return list(
        dict.fromkeys(["default", *(name for each in conf.task_backends() for name in each.job_queues())])
    )


def kinds() -> list[JobKind[Any, Any]]:
    """The typed kinds that have a handler."""
    return [kind for kind, _, _ in _found.values() if isinstance(kind, JobKind)]


def make_worker(
    *, queues: Sequence[str] | None = None, concurrency: int | None = None, health: str | None = None
) -> Worker:
    """A worker with all handlers that were found; what is not given is as JOBQUEUE says.

    Raises:
        ValueError: As `Worker`.
        TypeError: As `Worker.handler`.
    """
    given, access = conf.found(), conf.access()
    worker = Worker(
        access.server,
        credentials=access.credentials,
        token=access.token,
        queues=queues or served_queues(),
        concurrency=concurrency or given.get("CONCURRENCY", 8),
        health=health or given.get("HEALTH"),
        sync_kinds=given.get("SYNC_KINDS", True),
        middleware=[ClosesConnections(), *conf.middleware()],
    )
    for kind, function, options in _found.values():
        worker.handler(kind, **options)(function)
    return worker


class ClosesConnections(Middleware):
    """Before and after each attempt, closes connections of databases that are broken or too old (CONN_MAX_AGE).

    Django does so around each request. Without it, a thread that kept a connection over a restart of the database
    would fail every later job.
    """

    def handle(self, ctx: JobContext) -> Any:
        """Goes around each handler; of async ones in the thread in which Django runs their queries."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return _around()
        return _around_async()


@contextmanager
def _around() -> Iterator[None]:
    close_old_connections()
    try:
        yield
    finally:
        close_old_connections()


@asynccontextmanager
async def _around_async() -> Any:
    await sync_to_async(close_old_connections)()
    try:
        yield
    finally:
        await sync_to_async(close_old_connections)()


def _named(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{function.__qualname__}"
