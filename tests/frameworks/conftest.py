"""The programs of examples/frameworks, as modules and as processes.

Fixtures import them, since the frameworks may not be there."""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jobqueue.testing import SyncTestScope
from tests.conftest import languages_of
from tests.e2e.processes import LOOK, WITHIN, Process
from tests.parallel import leave_out

from . import node

ROOT = Path(__file__).parents[2]
PROGRAMS = ROOT / "examples" / "frameworks"
OURS = Path(__file__).parent / "programs"
SITE = OURS / "shop_site"

Start = Callable[..., Process]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out the recipes in TypeScript where what their lock names can't be fetched, and says so.

    Last of all, so that nothing is fetched for tests that a marker leaves out.
    """
    marked = [each for each in items if each.get_closest_marker("frameworks") and languages_of(each)]
    if not marked or config.option.collectonly or node.fetched():
        return
    # Of several workers none fetches beside the others: `make` has tried before.
    if trouble := "it was not" if "PYTEST_XDIST_WORKER" in os.environ else node.fetch():
        reason = f"what examples/frameworks/package-lock.json names can NOT be fetched ({trouble})"
        leave_out(config, items, marked, f"{reason}; {len(marked)} tests of frameworks were NOT run")


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
def run(tmp_path: Path) -> Iterator[Start]:
    """Starts a program: `run(program, *arguments, **environment)`."""
    running: list[Process] = []

    def begin(*command: str, **environment: str) -> Process:
        running.append(Process(command, tmp_path / f"program{len(running)}.log", environment))
        return running[-1]

    yield begin
    for each in running:
        print(each.tail())
        each.kill()


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of the project's database: Django reads its settings once."""
    return tmp_path_factory.mktemp("django") / "shop.sqlite3"


@pytest.fixture(scope="module")
def site(database: Path) -> Iterator[Path]:
    """Django, set up for the project; the file of its database. Celery sets Django up too, where it is told of."""
    with pytest.MonkeyPatch.context() as patching:
        patching.syspath_prepend(str(OURS))
        patching.setenv("DJANGO_SETTINGS_MODULE", "shop_site.settings")
        patching.setenv("SHOP_DATABASE", str(database))
        import django
        from django.core.management import call_command
        from django.db import connections

        django.setup()
        call_command("migrate", verbosity=0)
        yield database
        connections.close_all()


@pytest.fixture
def shop(site: Path, jobqueue_sync_scope: SyncTestScope, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The app's modules, whose client is in the test's namespace."""
    from shop_site.shop import kinds, models

    from jobqueue_django import clients, handlers

    for name, value in jobqueue_sync_scope.environment.items():
        monkeypatch.setenv(name, value)
    clients.forget()
    handlers.discover()
    models.Order.objects.all().delete()
    jobqueue_sync_scope.client.sync_kinds([kinds.send_receipt])

    class Shop:
        order, receipt, send_receipt = models.Order, kinds.Receipt, kinds.send_receipt

    yield Shop
    clients.forget()


@pytest.fixture
def start(run: Start, jobqueue_sync_scope: SyncTestScope) -> Start:
    """Starts a Python module or program in the test's namespace: `python`, or that program, and these arguments."""
    path = ":".join((str(ROOT), str(PROGRAMS), str(OURS), os.environ.get("PYTHONPATH", "")))
    places = {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **jobqueue_sync_scope.environment}

    def begin(*arguments: str, program: str | Path = sys.executable, **environment: str) -> Process:
        return run(str(program), *arguments, **{**places, **environment})

    return begin


def address_of(process: Process, text: str) -> str:
    """Where it serves, by the line of its log that has this text."""
    found = re.search(r"http://[\d.]+:\d+", asyncio.run(process.line(text)))
    assert found
    return found[0]


def booted(gunicorn: Process, workers: int) -> None:
    """Waits for so many forked workers: one that comes late may find that the others have answered all."""
    ends = time.monotonic() + WITHIN
    while gunicorn.log.read_text().count("Booting worker with pid") < workers:
        assert time.monotonic() < ends, gunicorn.tail()
        time.sleep(LOOK)
