"""Handlers of typed kinds, as the runtime runs handlers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, overload

from .kind import JobKind

if TYPE_CHECKING:
    from ..worker.context import JobContext


P = TypeVar("P")
R_co = TypeVar("R_co")


class AddsTyped(Protocol[P, R_co]):
    """Takes a handler of a typed kind, and answers it unchanged."""

    @overload
    def __call__(
        self, function: Callable[[P, JobContext], Coroutine[Any, Any, R_co]], /
    ) -> Callable[[P, JobContext], Coroutine[Any, Any, R_co]]: ...
    @overload
    def __call__(self, function: Callable[[P, JobContext], R_co], /) -> Callable[[P, JobContext], R_co]: ...
    def __call__(self, function: Callable[[P, JobContext], Any], /) -> Any:
        """Adds it."""


def taking_a_context(
    kind: JobKind[Any, Any], function: Callable[..., Any], *, is_async: bool
) -> Callable[[Any], Any]:
    """The handler, which takes a payload and a context, as one that takes a context alone."""
    if is_async:

        async def handle(context: JobContext) -> Any:
            return kind.output_text(await function(kind.payload_in(context.job), context))

        return handle

    def handle_plain(context: JobContext) -> Any:
        return kind.output_text(function(kind.payload_in(context.job), context))

    return handle_plain


def name_in_module(kind: JobKind[Any, Any], function: Any) -> str:
    """What the module of a handler calls its kind: a process of its own finds it by that.

    Raises:
        TypeError: It does not know the kind.
    """
    module = sys.modules.get(function.__module__)
    for name, value in vars(module).items() if module is not None else ():
        if value is kind:
            return name
    raise TypeError(
        f"the handler of kind {kind.name!r} runs in a process, which imports the kind from {function.__module__}: "
        "define the kind at the top of that module, or import it there by its name"
    )
