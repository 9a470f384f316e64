"""What a worker takes as a handler, and what it refuses where it is registered."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import pytest

from jobqueue import Worker, define_kind

typed = define_kind("typed", dict)


class Callables:
    def one(self, ctx: Any) -> None: ...

    def __call__(self, ctx: Any) -> None: ...


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def with_more(*args: Any) -> Any:
        return function(*args, "more")

    return with_more


@pytest.mark.parametrize(
    ("kind", "function", "said"),
    [
        ("work", lambda: None, r"<lambda>\(\); the handler of a kind known by its name takes \(ctx\)"),
        ("work", lambda payload, ctx: None, r"\(payload, ctx\); the handler of a kind known by its name"),
        ("work", lambda *, ctx: None, r"takes \(ctx\)"),
        (typed, lambda ctx: None, r"\(ctx\); the handler of a typed kind takes \(payload, ctx\)"),
        (typed, lambda payload, ctx, more: None, r"takes \(payload, ctx\)"),
    ],
    ids=["none", "payload and ctx", "by name", "typed ctx alone", "typed three"],
)
def test_a_handler_that_can_not_take_what_it_gets_is_refused_at_once(kind: Any, function: Any, said: str):
    with pytest.raises(TypeError, match=said):
        Worker("127.0.0.1:1").handler(kind)(function)


@pytest.mark.parametrize(
    ("kind", "function"),
    [
        ("work", lambda *args: None),
        ("work", lambda ctx, more=1: None),
        ("work", functools.partial(lambda payload, ctx: None, 1)),
        ("work", Callables()),
        ("work", Callables().one),
        ("work", wrapped(lambda ctx, more: None)),
        ("work", Mock()),
        ("work", print),
        (typed, lambda *args, **more: None),
        (typed, lambda payload, ctx=None: None),
        (typed, wrapped(lambda payload, ctx, more: None)),
    ],
)
def test_a_handler_that_takes_it_in_another_way_is_taken(kind: Any, function: Any):
    Worker("127.0.0.1:1").handler(kind)(function)


def test_a_handler_without_the_parentheses_is_refused_at_once():
    worker: Any = Worker("127.0.0.1:1")
    with pytest.raises(TypeError, match=r'write @worker.handler\("kind"\), or with what define_kind made'):

        @worker.handler  # type: ignore[untyped-decorator]
        def work(ctx: Any) -> None: ...
