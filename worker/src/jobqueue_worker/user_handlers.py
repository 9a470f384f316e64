"""Finds handlers of the operator's own: what `--handlers module:name` names."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Iterable, Mapping
from typing import Any

from jobqueue import Worker
from jobqueue.worker.handlers import Handler, Handlers


class HandlersUnusable(ValueError):
    """What `--handlers` names can't be used. The text says why, and what would be right."""


def load(names: Iterable[str]) -> list[Handler]:
    """The handlers behind each `module:name`.

    A name stands for a mapping from kinds to functions, for a `jobqueue.Worker` with handlers, or for a function
    without arguments that returns one of these. Modules are looked for in the current folder, then as anywhere.

    Raises:
        HandlersUnusable: One can't be found or is none of these, or two are for one kind.
    """
    found: dict[str, tuple[str, Handler]] = {}
    for name in names:
        for handler in _handlers(name):
            if handler.kind in found:
                raise HandlersUnusable(
                    f"--handlers: both {found[handler.kind][0]} and {name} have a handler of kind {handler.kind!r}"
                )
            found[handler.kind] = name, handler
    return [handler for _, handler in found.values()]


def _handlers(name: str) -> Handlers:
    value = _find(name)
    if callable(value) and not isinstance(value, Mapping | Worker):
        value = _call(name, value)
    if isinstance(value, Worker):
        handlers = value.handlers
    elif isinstance(value, Mapping):
        handlers = Handlers()
        for kind, function in value.items():
            try:
                handlers.add(kind, function)
            except (TypeError, ValueError) as error:
                raise HandlersUnusable(f"--handlers {name}: {error}") from error
    else:
        raise HandlersUnusable(
            f"--handlers {name} is {_a(value)}; it should be a mapping from kinds to functions, "
            "a jobqueue.Worker, or a function that returns one of these"
        )
    if not len(handlers):
        raise HandlersUnusable(f"--handlers {name} has no handlers")
    return handlers


def _find(name: str) -> Any:
    module_name, colon, path = name.partition(":")
    if not colon or not all(part.isidentifier() for part in f"{module_name}.{path}".split(".")):
        raise HandlersUnusable(
            f"--handlers {name}: should be module:name, such as shop.jobs:handlers for `handlers` in shop/jobs.py"
        )
    # An installed command starts with its own folder on the path; people expect the one that they are in.
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        value: Any = importlib.import_module(module_name)
    except Exception as error:
        missing = getattr(error, "name", None) if isinstance(error, ModuleNotFoundError) else None
        if missing is not None and f"{module_name}.".startswith(f"{missing}."):
            raise HandlersUnusable(
                f"--handlers {name}: there is no module {missing}, neither in {os.getcwd()} nor installed"
            ) from None
        raise HandlersUnusable(
            f"--handlers {name}: importing {module_name} failed: {_told(error)}"
        ) from error
    for part in path.split("."):
        if not hasattr(value, part):
            raise HandlersUnusable(f"--handlers {name}: there is no {part} in {module_name}")
        value = getattr(value, part)
    return value


def _call(name: str, function: Any) -> Any:
    try:
        inspect.signature(function).bind()
    except TypeError:
        raise HandlersUnusable(
            f"--handlers {name} is a function with arguments; a handler goes into a mapping, "
            f"such as handlers = {{'kind': {name.rpartition(':')[2]}}}"
        ) from None
    try:
        value = function()
    except Exception as error:
        raise HandlersUnusable(f"--handlers {name}: calling it failed: {_told(error)}") from error
    if inspect.iscoroutine(value):
        value.close()
        raise HandlersUnusable(
            f"--handlers {name} is an async function; a plain one should return the handlers"
        )
    return value


def _told(error: Exception) -> str:
    """The error and where it rose, in a line."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{where}"


def _a(value: object) -> str:
    return f"of type {type(value).__name__}"
