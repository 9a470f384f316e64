"""Middleware around handlers: order, count and ends, in each style, by the worker's own code without a server."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from jobqueue import JobContext, Middleware, NewJob, Worker, define_kind, for_kinds, with_headers
from jobqueue.testing import Performed, perform

from . import around
from .around import HANDLERS, Told, handled, handled_async

pytestmark = pytest.mark.any_engine

THREE: dict[str, list[Middleware]] = {
    "loop": [around.outer, around.middle, around.inner],
    "loop, async": [around.outer_async, around.middle, around.inner_async],
    "thread": [around.outer, around.middle, around.inner],
}

# What the payload says; what is told, in order; the outcome, and its output or error.
TABLE: list[tuple[dict[str, Any], str, str, Any]] = [
    ({}, "a( b( c( handler )c )b )a", "succeeded", "handler"),
    ({"handler": "raise"}, "a( b( c( handler c!no b!no a!no", "failed", "no"),
    ({"handler": "retry"}, "a( b( c( handler", "failed", "busy"),
    ({"handler": "discard"}, "a( b( c( handler", "discarded", "never"),
    ({"handler": "snooze"}, "a( b( c( handler", "snoozed", None),
    ({"handler": "skip"}, "a( b( c( handler", "failed", "the handler is not run"),
    ({"handler": "raise", "c.catches": 1}, "a( b( c( handler c!no )c )b )a", "succeeded", None),
    ({"handler": "raise", "a.catches": 1}, "a( b( c( handler c!no b!no a!no )a", "succeeded", None),
    ({"a.before": "raise"}, "a(", "failed", "no"),
    ({"b.before": "raise"}, "a( b( a!no", "failed", "no"),
    ({"c.before": "raise"}, "a( b( c( b!no a!no", "failed", "no"),
    ({"c.before": "raise", "b.catches": 1}, "a( b( c( b!no )b )a", "succeeded", None),
    ({"b.before": "retry"}, "a( b(", "failed", "busy"),
    ({"b.before": "discard"}, "a( b(", "discarded", "never"),
    ({"b.before": "snooze"}, "a( b(", "snoozed", None),
    ({"a.before": "skip"}, "a(", "succeeded", "skip"),
    ({"b.before": "skip"}, "a( b( )a", "succeeded", "skip"),
    ({"c.before": "skip"}, "a( b( c( )b )a", "succeeded", "skip"),
    ({"c.before": "skip", "a.after": "snooze"}, "a( b( c( )b )a", "snoozed", None),
    ({"a.after": "raise"}, "a( b( c( handler )c )b )a", "failed", "no"),
    ({"b.after": "raise"}, "a( b( c( handler )c )b a!no", "failed", "no"),
    ({"c.after": "raise"}, "a( b( c( handler )c b!no a!no", "failed", "no"),
    ({"c.after": "raise", "b.catches": 1}, "a( b( c( handler )c b!no )b )a", "succeeded", None),
    ({"b.after": "snooze"}, "a( b( c( handler )c )b", "snoozed", None),
    ({"b.after": "discard"}, "a( b( c( handler )c )b", "discarded", "never"),
    ({"c.after": "skip"}, "a( b( c( handler )c", "failed", "the handler is not run"),
    ({"follow_ups": 3}, "a( b( c( handler )c )b )a", "succeeded", "handler"),
    ({"follow_ups": 3, "handler": "raise"}, "a( b( c( handler c!no b!no a!no", "failed", "no"),
    ({"follow_ups": 3, "handler": "raise", "c.catches": 1}, "a( b( c( handler c!no )c )b )a", "succeeded", None),
    ({"follow_ups": 3, "a.after": "raise"}, "a( b( c( handler )c )b )a", "failed", "no"),
]  # fmt: skip


def check(done: Performed, told: Told, row: tuple[dict[str, Any], str, str, Any]) -> None:
    says, words, outcome, value = row
    assert told.words() == words
    assert done.outcome == outcome
    if outcome == "succeeded":
        assert done.output == (None if value is None else {"by": value})
    elif value is not None:
        assert done.error == value
    followed = says.get("follow_ups", 0) if (outcome, value) == ("succeeded", "handler") else 0
    assert [(each.payload_json, each.headers) for each in done.follow_ups] == [
        (b"%d" % number, {"by": "abc"}) for number in range(followed)
    ]


@pytest.mark.parametrize("style", THREE)
@pytest.mark.parametrize("row", TABLE, ids=[str(number) for number in range(len(TABLE))])
async def test_the_first_is_outermost_and_each_is_called_once(tmp_path: Path, row: Any, style: str):
    told = Told(tmp_path / "told")
    payload = {"told": str(tmp_path / "told"), **row[0]}
    handler = HANDLERS[style.partition(",")[0]]
    check(await perform(handler, payload, middleware=THREE[style], catch=True), told, row)


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1, 4, 11, 17, 26, 28, 29])
async def test_a_handler_in_a_process_of_its_own_has_the_same_around_it(tmp_path: Path, number: int):
    told = Told(tmp_path / "told")
    payload = {"told": str(tmp_path / "told"), **TABLE[number][0]}
    done = await perform(
        handled, payload, middleware=THREE["thread"], run_in="process", catch=True, within=timedelta(seconds=60)
    )  # fmt: skip
    check(done, told, TABLE[number])


@pytest.mark.parametrize("style", ["loop", "thread", pytest.param("process", marks=pytest.mark.slow)])
async def test_what_a_middleware_sets_is_seen_by_the_handler_and_its_follow_ups(tmp_path: Path, style: Any):
    told = Told(tmp_path / "told")
    done = await perform(
        HANDLERS[style], {"told": str(tmp_path / "told"), "follow_ups": 1}, headers={"tenant": "t1"},
        run_in=style, middleware=[around.of_tenant], within=timedelta(seconds=60),
    )  # fmt: skip
    assert told.words() == "handler:t1"
    assert [each.headers for each in done.follow_ups] == [{"tenant": "t1"}]
    assert around.tenant.get() == ""


async def test_middleware_for_some_kinds_is_around_their_handlers_and_their_jobs_alone(tmp_path: Path):
    kind = define_kind("typed", dict[str, Any], output=dict[str, Any], aliases=("before",))
    worker = Worker(
        "127.0.0.1:1",
        middleware=[
            for_kinds(around.outer, "one", "next"),
            for_kinds(around.middle, kind),
            for_kinds(for_kinds(around.inner, "one", "two"), "two"),
        ],
    )
    for name in ("one", "two"):
        worker.handler(name)(handled)
    worker.handler(kind)(lambda payload, ctx: handled(ctx))
    for name, words, by in (
        ("one", "a( handler )a", "a"),
        ("two", "c( handler )c", "a"),
        ("typed", "b( handler )b", "a"),
        ("before", "b( handler )b", "a"),
    ):
        told = Told(tmp_path / name)
        done = await perform(worker, {"told": str(tmp_path / name), "follow_ups": 1}, kind=name)
        assert told.words() == words
        assert [each.headers for each in done.follow_ups] == [{"by": by}]


@pytest.mark.parametrize("style", ["loop", "loop, async"])
async def test_a_handler_that_is_told_to_stop_is_stopped_within_it(tmp_path: Path, style: str):
    told = Told(tmp_path / "told")

    async def waits(ctx: JobContext) -> None:
        ctx.progress(0.5)
        await asyncio.sleep(60)

    done = await perform(waits, {"told": str(tmp_path / "told")}, middleware=THREE[style], stop_at=1)
    assert (done.outcome, told.words()) == ("cancelled", "a( b( c(")


class Says(Middleware):
    """Follows up before and after its `yield`."""

    def __init__(self, when: str) -> None:
        self.when = when

    @contextmanager
    def handle(self, ctx: JobContext) -> Any:
        if self.when == "before":
            ctx.follow_up(NewJob("more"))
        yield
        if self.when == "after":
            ctx.follow_up(NewJob("more"))


@pytest.mark.parametrize("style", ["loop", "thread"])
async def test_a_middleware_follows_up_before_its_yield_and_not_after(tmp_path: Path, style: str):
    payload = {"told": str(tmp_path / "told")}
    done = await perform(HANDLERS[style], payload, middleware=[around.outer, Says("before")])
    assert [(each.kind, each.headers) for each in done.follow_ups] == [("more", {"by": "a"})]
    done = await perform(HANDLERS[style], payload, middleware=[around.outer, Says("after")], catch=True)
    assert (done.outcome, done.follow_ups) == ("failed", ())
    assert done.error == "ctx.follow_up was called after a middleware's `yield`: call it before"


class Catches(Middleware):
    """Catches what was raised within, and follows up then."""

    @contextmanager
    def handle(self, ctx: JobContext) -> Any:
        try:
            yield
        except ValueError:
            ctx.follow_up(NewJob("alert"))


async def fails_on_the_loop(ctx: JobContext) -> None:
    ctx.follow_up(NewJob("more"))
    raise ValueError("no")


def fails_in_a_thread(ctx: JobContext) -> None:
    ctx.follow_up(NewJob("more"))
    raise ValueError("no")


@pytest.mark.parametrize("handler", [fails_on_the_loop, fails_in_a_thread])
async def test_what_a_middleware_that_catches_a_failure_follows_up_is_not_lost_silently(handler: Any):
    done = await perform(handler, middleware=[Catches()], catch=True)
    assert (done.outcome, done.follow_ups) == ("failed", ())
    assert done.error == "ctx.follow_up was called after a middleware's `yield`: call it before"


class Large(Middleware):
    async def enqueue(self, jobs: Sequence[NewJob], call_next: Any) -> Any:
        return await call_next([with_headers(job, large="x" * 30_000) for job in jobs])


class Refuses(Middleware):
    async def enqueue(self, jobs: Sequence[NewJob], call_next: Any) -> Any:
        raise PermissionError("not these")


@pytest.mark.parametrize("style", ["loop", "thread"])
async def test_follow_ups_that_are_refused_or_grow_too_large_fail_the_attempt(tmp_path: Path, style: str):
    payload = {"told": str(tmp_path / "told"), "follow_ups": 100}
    for middleware, words in (
        (Refuses(), "not these"),
        (Large(), "the follow-ups of a job may have 2097152 bytes in all, not"),
    ):
        done = await perform(HANDLERS[style], payload, middleware=[middleware], catch=True)
        assert (done.outcome, done.follow_ups) == ("failed", ())
        assert done.error.startswith(words)


def test_without_middleware_a_handler_is_run_as_it_is():
    worker = Worker("127.0.0.1:1")
    worker.handler("a")(handled_async)
    handler = worker.handlers.get("a")
    assert handler is not None
    assert handler.function is handled_async


class Bare(Middleware):
    def handle(self, ctx: JobContext) -> Any:
        yield


class Coroutine(Middleware):
    async def handle(self, ctx: JobContext) -> Any:  # type: ignore[override]
        return None


@pytest.mark.parametrize(
    ("middleware", "run_in", "words"),
    [
        (
            around.outer_async,
            "thread",
            "async, and the handler of kind 'a', tests.*.handled, runs in a thread",
        ),
        (
            around.outer_async,
            "process",
            "TracedAsync.handle is async, and .* runs in a process: write it with",
        ),
        (
            Bare(),
            "thread",
            "Bare.handle is a generator: put @contextmanager or @asynccontextmanager above it",
        ),
        (Coroutine(), "loop", "Coroutine.handle is a coroutine: put @asynccontextmanager above it"),
        (Refuses(), "process", "give the Refuses a name at the top of tests.middleware.around or tests"),
        (for_kinds(Refuses(), "b"), "process", "imports its middleware by name: give the Refuses a name"),
        ("mw", "loop", "middleware: 'mw' must be an object of a class that inherits jobqueue.Middleware"),
        (Refuses, "loop", "must be an object of a class that inherits jobqueue.Middleware"),
    ],
)
def test_what_can_not_go_around_a_handler_is_refused_when_it_is_added(
    middleware: Any, run_in: Any, words: str
):
    with pytest.raises(TypeError, match=words):
        Worker("127.0.0.1:1", middleware=[middleware]).handler("a", run_in=run_in)(HANDLERS[run_in])


def test_an_async_middleware_for_the_kinds_of_async_handlers_stands_beside_others():
    worker = Worker("127.0.0.1:1", middleware=[for_kinds(around.outer_async, "a")])
    worker.handler("a")(handled_async)
    worker.handler("b")(handled)


async def test_a_worker_in_a_test_has_its_own_middleware():
    with pytest.raises(TypeError, match="a worker has its own"):
        await perform(Worker("127.0.0.1:1"), kind="a", middleware=[around.outer])
