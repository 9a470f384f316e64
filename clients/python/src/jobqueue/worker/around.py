"""Handlers with middleware around them. Loaded where there is some."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, ExitStack
from contextvars import copy_context
from typing import Any

from jobqueue.jobs import EnqueueResult, NewJob
from jobqueue.middleware import Middleware, Skip, amend, enqueue_through, for_kinds, unwrapped
from jobqueue.new_jobs import new_job_of

from .context import JobContext, check_size
from .handlers import HandlerFunction, NamedMiddleware, RunIn, name_of


def added(
    function: HandlerFunction,
    middleware: Sequence[Middleware],
    names: Sequence[str],
    source: Callable[..., Any],
    run_in: RunIn,
) -> tuple[HandlerFunction, tuple[NamedMiddleware, ...]]:
    """A handler with a worker's middleware around it, and where a process finds that.

    Args:
        function: The handler, which takes a context.
        middleware: The worker's, the outermost first.
        names: Those of its kind.
        source: What was registered.
        run_in: Where it runs.

    Raises:
        TypeError: Some of it can't go around this handler.
    """
    wrapping = []
    named = []
    for each in middleware:
        inner, kinds = unwrapped(each)
        wanted = all(not of.isdisjoint(names) for of in kinds)
        if wanted:
            _check_style(inner, names[0], source, run_in)
            wrapping.append(inner)
        if run_in == "process":
            named.append((*_home(inner, source), kinds, wanted))
    if run_in == "loop":
        return _around_async(function, _overriding(wrapping), middleware), ()
    return _around_plain(function, _overriding(wrapping), middleware), tuple(named)


def imported(function: HandlerFunction, named: Sequence[NamedMiddleware]) -> HandlerFunction:
    """The same in a process of its own.

    Raises:
        ImportError, AttributeError: Some of it is not there.
    """
    wrapping, middleware = [], []
    for module, name, kinds, wanted in named:
        found: Middleware = getattr(importlib.import_module(module), name)
        if wanted:
            wrapping.append(found)
        for of in reversed(kinds):
            found = for_kinds(found, *of)
        middleware.append(found)
    return _around_plain(function, _overriding(wrapping), middleware)


def _overriding(middleware: Sequence[Middleware]) -> Sequence[Middleware]:
    return [each for each in middleware if type(each).handle is not Middleware.handle]


def _around_async(
    function: HandlerFunction, wrapping: Sequence[Middleware], middleware: Sequence[Middleware]
) -> HandlerFunction:
    async def inside(ctx: JobContext, entered: AsyncExitStack, caught: _Caught) -> Any:
        for each in wrapping:
            try:
                manager = each.handle(ctx)
                if isinstance(manager, AbstractContextManager):
                    entered.enter_context(manager)
                else:
                    await entered.enter_async_context(manager)
            except Skip as skip:
                return skip.output
            entered.push(caught)
        return await function(ctx)

    async def handle(ctx: JobContext) -> Any:
        caught = _Caught(ctx)
        async with AsyncExitStack() as entered:
            entered.push(caught)
            try:
                output = await inside(ctx, entered, caught)
                if ctx.follow_ups:
                    await _through(ctx, middleware)
                passed = ctx.follow_ups
            finally:
                ctx.ended_in = copy_context()
        return _left(ctx, None, ()) if caught else _left(ctx, output, passed)

    return handle


def _around_plain(
    function: HandlerFunction, wrapping: Sequence[Middleware], middleware: Sequence[Middleware]
) -> HandlerFunction:
    def inside(ctx: JobContext, entered: ExitStack, caught: _Caught) -> Any:
        for each in wrapping:
            try:
                entered.enter_context(each.handle(ctx))  # type: ignore[arg-type]
            except Skip as skip:
                return skip.output
            entered.push(caught)
        return function(ctx)

    def run(ctx: JobContext) -> Any:
        caught = _Caught(ctx)
        with ExitStack() as entered:
            entered.push(caught)
            try:
                output = inside(ctx, entered, caught)
                if ctx.follow_ups:
                    _wait_for(_through(ctx, middleware))
                passed = ctx.follow_ups
            finally:
                ctx.ended_in = copy_context()
        return _left(ctx, None, ()) if caught else _left(ctx, output, passed)

    def handle(ctx: JobContext) -> Any:
        # In a context of its own: the thread's next job must not find what is set here and not reset.
        return copy_context().run(run, ctx)

    return handle


class _Caught:
    """Whether one of the middleware has caught what was raised within: stands between each and the next."""

    def __init__(self, ctx: JobContext) -> None:
        self._ctx = ctx
        self._flies = self._caught = False

    def __call__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Sees what leaves all that is within, on its way. What that asked to follow is gone with it."""
        if error is not None and not self._flies:
            self._ctx.follow_ups = ()
        self._caught |= self._flies and error is None
        self._flies = error is not None

    def __bool__(self) -> bool:
        return self._caught


def _left(ctx: JobContext, output: Any, passed: Sequence[Any]) -> Any:
    """What the attempt answers, once all middleware is left. `passed`: the follow-ups that went through it."""
    if ctx.follow_ups is not passed:
        raise RuntimeError("ctx.follow_up was called after a middleware's `yield`: call it before")
    return output


async def _through(ctx: JobContext, middleware: Sequence[Middleware]) -> None:
    """Takes the follow-ups through the enqueue side, as one call."""
    messages = ctx.follow_ups

    async def send(jobs: Sequence[NewJob]) -> Sequence[EnqueueResult]:
        amend(messages, jobs)
        check_size(messages)
        return [EnqueueResult("", False) for _ in messages]

    await enqueue_through(middleware, [new_job_of(each) for each in messages], send)


def _wait_for(work: Coroutine[Any, Any, None]) -> None:
    # On the loop of SyncClient: a thread or a process of a handler has none.
    from jobqueue.sync import run_waiting

    run_waiting(work)


def _check_style(middleware: Middleware, kind: str, source: Callable[..., Any], run_in: RunIn) -> None:
    handle = middleware.handle
    name = f"{type(middleware).__qualname__}.handle"
    if inspect.isgeneratorfunction(handle) or inspect.isasyncgenfunction(handle):
        raise TypeError(f"{name} is a generator: put @contextmanager or @asynccontextmanager above it")
    if inspect.iscoroutinefunction(handle):
        raise TypeError(f"{name} is a coroutine: put @asynccontextmanager above it, and a `yield` in it")
    if run_in != "loop" and inspect.isasyncgenfunction(inspect.unwrap(handle)):
        raise TypeError(
            f"{name} is async, and the handler of kind {kind!r}, {name_of(source)}, runs in a {run_in}: "
            "write it with @contextmanager, or bind it to kinds of async handlers by for_kinds"
        )


def _home(middleware: Middleware, source: Any) -> tuple[str, str]:
    """The module and the name by which a process finds it."""
    homes = tuple(dict.fromkeys((source.__module__, type(middleware).__module__)))
    for home in homes:
        for name, value in vars(sys.modules[home]).items():
            if value is middleware:
                return home, name
    raise TypeError(
        f"the handler {name_of(source)} runs in a process, which imports its middleware by name: give the "
        f"{type(middleware).__qualname__} a name at the top of {' or '.join(homes)}"
    )
