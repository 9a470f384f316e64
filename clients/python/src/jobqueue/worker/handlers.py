"""Handlers by kind, and what was said of each."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from jobqueue.encoded import EncodingRequired

if TYPE_CHECKING:
    from jobqueue.encodings import Encodings
    from jobqueue.middleware import Middleware
    from jobqueue.typed.kind import JobKind

    from .coding import Coding

#: A handler: takes a JobContext; returns what JSON has a form for, None for no output, or an awaitable of it.
HandlerFunction = Callable[[Any], Any]
#: Middleware as a process finds it: its module, its name there, the kinds of each `for_kinds` from the outside in, and
#: whether it goes around the handler.
NamedMiddleware = tuple[str, str, tuple[frozenset[str], ...], bool]
RunIn = Literal["loop", "thread", "process"]
OnCancel = Literal["raise", "flag"]


def _nothing(context: Any) -> None:
    """Stands for the handler of a kind that has none."""


@dataclass(frozen=True, slots=True)
class Handler:
    """What runs the jobs of one kind.

    Attributes:
        kind: The kind.
        function: The handler, which takes a context.
        source: What was registered: the same, or for a typed kind a function that takes a payload and a context.
        kind_name: What the module of `source` calls the typed kind, of those that run in a process. Empty: none.
        typed: The typed kind; None: it is known by its name alone.
        run_in: `loop`: on the loop that serves; `thread`; or `process`.
        slots: How many run at once at most. None: bounded by the worker's concurrency alone.
        cancel: What a request to cancel does to an async handler: `raise` CancelledError in it, or the `flag` alone.
        middleware: What is around `function`, of those that run in a process.
        coding: What the worker's encodings do for its jobs. None: it has none.
    """

    kind: str
    function: HandlerFunction
    run_in: RunIn
    slots: int | None
    cancel: OnCancel
    source: Callable[..., Any] = _nothing
    kind_name: str = ""
    typed: JobKind[Any, Any] | None = None
    middleware: tuple[NamedMiddleware, ...] = ()
    coding: Coding | None = None


#: Of a kind that the worker did not ask for.
NO_HANDLER = Handler("", _nothing, "thread", None, "flag")


class Handlers:
    """The handlers of a worker.

    Args:
        queues: The worker's queues, by which errors tell it from other workers.
        middleware: What goes around them, the outermost first.
        encodings: What their payloads, outputs, checkpoints and follow-ups go through. None: nothing.

    Attributes:
        state: What their contexts have as `state`.

    Raises:
        TypeError: Something of it is no `Middleware`.
    """

    def __init__(
        self,
        queues: Sequence[str] = (),
        middleware: Sequence[Middleware] = (),
        encodings: Encodings | None = None,
    ) -> None:
        self._queues = tuple(queues)
        self.encodings = encodings
        self.state: Any = None
        self._middleware: tuple[Middleware, ...] = ()
        if middleware:
            from jobqueue.middleware import listed

            self._middleware = listed(middleware)
        self._by_kind: dict[str, Handler] = {}

    def add(
        self,
        kind: str | JobKind[Any, Any],
        function: Callable[..., Any],
        *,
        run_in: RunIn | None = None,
        slots: int | None = None,
        cancel: OnCancel | None = None,
    ) -> None:
        """Adds the handler of a kind: it takes a context, or of a typed kind a payload and a context.

        Raises:
            ValueError: The kind has a handler already, or an option is out of its range.
            EncodingRequired: The kind takes encrypted payloads alone, and the worker does not encrypt.
            TypeError: The function doesn't take that, can't run where it is to run, or middleware not around it.
        """
        names: tuple[str, ...] = (kind,) if isinstance(kind, str) else (kind.name, *kind.aliases)
        typed = None if isinstance(kind, str) else kind
        kind = names[0]
        for name in names:
            if name in self._by_kind:
                raise self._taken(name, function)
        if not callable(function):
            raise TypeError(
                f"the handler of kind {kind!r} is {function!r}; it must be a function that takes a context"
            )
        _check_takes(kind, function, ("payload", "ctx") if typed is not None else ("ctx",))
        if slots is not None and slots < 1:
            raise ValueError(f"slots={slots} of kind {kind!r}: at least one is needed")
        is_async = _is_async(function)
        where: RunIn = run_in or ("loop" if is_async else "thread")
        if where not in ("loop", "thread", "process"):
            raise ValueError(f"run_in={run_in!r} of kind {kind!r}: it is 'loop', 'thread' or 'process'")
        if is_async != (where == "loop"):
            raise TypeError(
                f"the handler of kind {kind!r} is {'an async' if is_async else 'a plain'} function and can't run in a "
                f"{where}: async functions run on the loop, plain ones in a thread or a process"
            )
        if where == "process":
            _check_importable(kind, function)
        if cancel not in (None, "raise", "flag"):
            raise ValueError(f"cancel={cancel!r} of kind {kind!r}: it is 'raise' or 'flag'")
        if cancel == "raise" and not is_async:
            raise TypeError(
                f"cancel='raise' of kind {kind!r}: nothing can be raised in a plain function from outside; "
                "it calls ctx.raise_if_cancelled() itself"
            )
        on_cancel: OnCancel = cancel or ("raise" if is_async else "flag")
        encrypts = self.encodings is not None and self.encodings.encrypts
        if typed is not None and typed.encodings == "required" and not encrypts:
            raise EncodingRequired(
                f"the kind {kind!r} takes encrypted payloads alone: give the worker `encodings` that encrypt"
            )
        adapted, kind_name = function, ""
        if typed is not None:
            # Who has no typed kind does not pay for it.
            from jobqueue.typed.handler import name_in_module, taking_a_context

            adapted = taking_a_context(typed, function, is_async=is_async)
            kind_name = name_in_module(typed, function) if where == "process" else ""
        named: tuple[NamedMiddleware, ...] = ()
        if self._middleware:
            # Nor does who has no middleware: the function stays what it is.
            from .around import added

            adapted, named = added(adapted, self._middleware, names, function, where)
        coding = None
        if self.encodings is not None:
            # Nor who has no encodings.
            from .coding import Coding
            from .coding import added as encoded

            rule = "" if typed is None else typed.encodings
            coding = Coding(self.encodings, own=rule != "never", required=rule == "required")
            adapted = encoded(adapted, coding, where)
        for name in names:
            self._by_kind[name] = Handler(
                name, adapted, where, slots, on_cancel, function, kind_name, typed, named, coding
            )

    def adopt(self, handler: Handler) -> None:
        """Adds a handler of another worker, as it is.

        Raises:
            ValueError: The kind has a handler already.
        """
        if handler.kind in self._by_kind:
            raise self._taken(handler.kind, handler.source)
        self._by_kind[handler.kind] = handler

    def _taken(self, kind: str, function: Callable[..., Any]) -> ValueError:
        return ValueError(
            f"kind {kind!r} already has a handler, {name_of(self._by_kind[kind].source)}"
            + (f", in the worker of queues {list(self._queues)}" if self._queues else "")
            + f"; {name_of(function)} can't be another one"
        )

    def get(self, kind: str) -> Handler | None:
        """The handler of a kind."""
        return self._by_kind.get(kind)

    def typed(self) -> list[JobKind[Any, Any]]:
        """The typed kinds that have one, in the order in which they got it."""
        return list(dict.fromkeys(each.typed for each in self._by_kind.values() if each.typed is not None))

    def kinds(self) -> list[str]:
        """The kinds that have one, in order."""
        return sorted(self._by_kind)

    def slots_by_kind(self) -> Mapping[str, int]:
        """The kinds that have a bound of their own."""
        return {kind: handler.slots for kind, handler in self._by_kind.items() if handler.slots is not None}

    def __iter__(self) -> Iterator[Handler]:
        return iter(self._by_kind.values())

    def __len__(self) -> int:
        return len(self._by_kind)


def name_of(function: HandlerFunction) -> str:
    """What a handler is called, for errors."""
    while isinstance(function, functools.partial):
        function = function.func
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"


def _is_async(function: HandlerFunction) -> bool:
    while isinstance(function, functools.partial):
        function = function.func
    # An object with an async __call__ is a handler as well.
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004
    )


def _check_takes(kind: str, function: Callable[..., Any], takes: Sequence[str]) -> None:
    """It can be called as it will be, as far as that can be told."""
    try:
        signature = inspect.signature(function, follow_wrapped=False)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*takes)
    except TypeError:
        raise TypeError(
            f"the handler of kind {kind!r} is {name_of(function)}{signature}; the handler of "
            f"{'a typed kind' if len(takes) > 1 else 'a kind known by its name'} takes ({', '.join(takes)})"
        ) from None


def _check_importable(kind: str, function: HandlerFunction) -> None:
    """A spawned process gets the function's name and imports it."""
    name = getattr(function, "__qualname__", None)
    if name is None or not hasattr(function, "__module__") or "<" in name:
        raise TypeError(
            f"the handler of kind {kind!r} is {name or function!r} and runs in a process, which imports it by name: "
            "define it with `def` at the top of a module"
        )
