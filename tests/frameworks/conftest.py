"""The programs of examples/frameworks, as modules and as processes.

Fixtures import them, since the frameworks may not be there."""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jobqueue.testing import SyncTestScope
from tests.e2e.processes import Process

ROOT = Path(__file__).parents[2]
PROGRAMS = ROOT / "examples" / "frameworks"
OURS = Path(__file__).parent / "programs"

Start = Callable[..., Process]


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Celery's worker and Django set up the logging of this process: other tests read what is logged."""
    loggers = [logging.getLogger(), *(each for each in _loggers() if isinstance(each, logging.Logger))]
    before = [(each, each.level, each.disabled, each.propagate, list(each.handlers)) for each in loggers]
    yield
    for each, level, disabled, propagate, handlers in before:
        each.setLevel(level)
        each.disabled, each.propagate = disabled, propagate
        each.handlers[:] = handlers


def _loggers() -> list[object]:
    return list(logging.Logger.manager.loggerDict.values())


@pytest.fixture
def program() -> Callable[[str], Any]:
    """A program of the folder, imported."""
    return lambda name: importlib.import_module(f"examples.frameworks.{name}")


@pytest.fixture
def start(jobqueue_sync_scope: SyncTestScope, tmp_path: Path) -> Iterator[Start]:
    """Starts a Python module or program in the test's namespace: `python` and these arguments."""
    running: list[Process] = []

    def begin(*arguments: str, **environment: str) -> Process:
        path = ":".join((str(ROOT), str(PROGRAMS), str(OURS), os.environ.get("PYTHONPATH", "")))
        places = {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
        known = {**places, **jobqueue_sync_scope.environment, **environment}
        log = tmp_path / f"program{len(running)}.log"
        running.append(Process([sys.executable, *arguments], log, known))
        return running[-1]

    yield begin
    for each in running:
        print(each.tail())
        each.kill()


def address_of(process: Process, text: str) -> str:
    """Where it serves, by the line of its log that has this text."""
    found = re.search(r"http://[\d.]+:\d+", asyncio.run(process.line(text)))
    assert found
    return found[0]
