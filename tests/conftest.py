"""What every test can ask for: a PostgreSQL of the run, and a fresh migrated database of its own.

Tests of languages whose toolchains are not there are left out.
"""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import logging
import os
import shutil
import signal
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Generator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import pytest
from hypothesis import HealthCheck, settings

from jobqueue_server.embedded import EmbeddedPostgres
from jobqueue_server.store import migrate
from tests.conformance.languages import languages
from tests.debian import has_older
from tests.flakes import Again
from tests.logged import Logged
from tests.memory import use_memory
from tests.parallel import Parallel, leave_out, mark_further_cases
from tests.pgbouncer import PROGRAM as PGBOUNCER
from tests.pure import Pure
from tools import pgbackrest
from tools.patroni import there as packages_of_patroni_are_there

# The server under test is told what to use; what is set for the run's own sake must not reach it.
_GIVEN = os.environ.pop("DATABASE_URL", None)
for _name in [name for name in os.environ if name.startswith("JOBQUEUE_")]:
    del os.environ[_name]
# A test that wants HTTP asks for it: the usual port can be had once.
os.environ["API_BIND_ADDR"] = "off"
# Which transport serves gRPC where a test says nothing else: by `--engine`.
ENGINE = "JOBQUEUE_GRPC_ENGINE"
# Whether enqueues may take the fast path where a test says nothing else: by `--fast-path`.
FAST_PATH = "JOBQUEUE_FAST_PATH"
use_memory()
# How long an example takes is the machine's affair: a collection of garbage or a neighbour may fall into any of them.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")
# Of the 18,000 tests that are collected none is ever garbage: to look through them again took an eighth of a run.
gc.disable()
# A shell starts what it leaves in the background with SIGINT ignored, and so would be all that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# What tests with these markers need, and leave out with a warning where it is not there.
PROGRAMS: dict[str, tuple[Callable[[], object], str]] = {
    "chart": (lambda: importlib.util.find_spec("helm_python"), "Helm's library is"),
    "frameworks": (
        lambda: all(
            importlib.util.find_spec(each)
            for each in ("celery", "django", "django_tasks", "fastapi", "gunicorn", "httpx2")
        ),
        "Django, FastAPI, gunicorn or Celery (`make frameworks` installs them) are",
    ),
    "ha": (packages_of_patroni_are_there, "Patroni (`make ha` fetches it) is"),
    "image": (lambda: all(map(shutil.which, ("buildah", "podman"))), "buildah or podman is"),
    "older": (has_older, "a PostgreSQL older than the embedded one (Debian's; `make pitr` fetches it) is"),
    "pgbouncer": (lambda: PGBOUNCER, "pgbouncer is"),
    "pitr": (pgbackrest.are_there, "pgbackrest or Debian's PostgreSQL is"),
    "systemd": (lambda: shutil.which("systemd-analyze"), "systemd-analyze is"),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--engine`: what the servers under test serve gRPC by. `--fast-path`: whether they have it. `--again`: flakes."""
    parser.addoption(
        "--engine",
        choices=("http2", "grpcio", "both"),
        default="http2",
        help="what serves gRPC; both: http2, and the tests of what any engine keeps over grpcio as well",
    )
    parser.addoption(
        "--fast-path",
        choices=("on", "off", "both"),
        default="on",
        help="whether plain enqueues may take the fast path; both: on, and the tests that enqueue with it off as well",
    )
    parser.addoption(
        "--again",
        action="store_true",
        help="run what failed again, alone, after all others; what passes then has flaked (tests/flakes.py)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Tells the engine and the switch to all servers of the run, also those that are processes of their own."""
    if config.getoption("engine") == "grpcio":
        os.environ[ENGINE] = "grpcio"
    if config.getoption("fast_path") == "off":
        os.environ[FAST_PATH] = "off"
    config.pluginmanager.register(Parallel(config.option.markexpr), "parallel")
    config.pluginmanager.register(Pure(), "pure")
    config.pluginmanager.register(Logged(), "logged")
    if config.getoption("again") and not hasattr(config, "workerinput"):
        options = (f"--engine={config.getoption('engine')}", f"--fast-path={config.getoption('fast_path')}")
        environment = {} if _GIVEN is None else {"DATABASE_URL": _GIVEN}
        config.pluginmanager.register(Again(*options, environment=environment), "again")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests that ask for `engine` or `fast_path` are run over each, where both are asked for.

    Those of capabilities that no engine knows of (`any_engine`) are run over one.
    """
    any_engine = metafunc.definition.get_closest_marker("any_engine") is not None
    if "engine" in metafunc.fixturenames and metafunc.config.getoption("engine") == "both" and not any_engine:
        metafunc.parametrize("engine", ("http2", _other_way("grpcio")), indirect=True)
    if "fast_path" in metafunc.fixturenames and metafunc.config.getoption("fast_path") == "both":
        metafunc.parametrize("fast_path", ("on", _other_way("off")), indirect=True)


def _other_way(value: str) -> Any:
    """`make test` runs a test once, by the defaults: what it runs so is not run again by `make rest`."""
    return pytest.param(value, marks=pytest.mark.other_way)


@pytest.fixture
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What serves gRPC in this test."""
    name: Any = getattr(request, "param", os.environ.get(ENGINE, "http2"))
    monkeypatch.setenv(ENGINE, name)
    return name


@pytest.fixture
def fast_path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Whether enqueues may take the fast path in this test: `on` or `off`."""
    switch: str = getattr(request, "param", os.environ.get(FAST_PATH, "on"))
    monkeypatch.setenv(FAST_PATH, switch)
    return switch


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Nothing is skipped: what a test needs is there, or the run fails."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was not run, and nothing is skipped here: {reason}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """No worker outlives its test: it would go on to log, and later tests would take that for theirs."""
    yield
    for thread in threading.enumerate():
        if thread.name == "jobqueue-session":
            thread.join(20)
            assert not thread.is_alive(), f"{item.nodeid} has left a worker that serves on"


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Nor is a whole file skipped."""
    report = yield
    if report.skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid} was not run, and nothing is skipped here: {reason}"
    return report


def pytest_collection_finish() -> None:
    """What there is now stays until the end."""
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what can't be built here, and says so: the server can be changed without Go or Node.

    And what an engine does not keep.
    """
    mark_further_cases(items)
    beyond = [item for item in items if item.get_closest_marker("http2") and _engine_of(item) == "grpcio"]
    if beyond:
        items[:] = [item for item in items if item not in beyond]
        config.hook.pytest_deselected(items=beyond)
    for marker, (is_there, what) in PROGRAMS.items():
        marked = [item for item in items if item.get_closest_marker(marker)]
        if marked and not is_there():
            leave_out(
                config, items, marked, f"{what} NOT installed; {len(marked)} tests of {marker} were NOT run"
            )
    lacks = {name: missing for name, each in languages().items() if (missing := each.missing())}
    without = [item for item in items if languages_of(item) & lacks.keys()]
    if not without:
        return
    counts = Counter(name for item in without for name in languages_of(item) & lacks.keys())
    leave_out(
        config,
        items,
        without,
        "; ".join(
            f"{', '.join(lacks[name])}: NOT on PATH; {count} tests of {name} were NOT run"
            for name, count in counts.items()
        ),
    )


def _engine_of(item: pytest.Item) -> str:
    spec = getattr(item, "callspec", None)
    told = spec.params.get("engine") if spec is not None else None
    return str(told or os.environ.get(ENGINE, "http2"))


def languages_of(item: pytest.Item) -> set[str]:
    """Those that a test needs, by its markers `language`."""
    return {str(name) for marker in item.iter_markers("language") for name in marker.args}


def of_server(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """What the server logged. A worker of an earlier test may drain in its thread, and logs as well."""
    return [record for record in caplog.records if record.name.startswith(("grpc_http2", "jobqueue_server"))]


class Cluster:
    """A PostgreSQL server on which tests make databases."""

    def __init__(self, admin_dsn: str) -> None:
        self.admin_dsn = admin_dsn

    def dsn_of(self, database: str, *, user: str | None = None, password: str | None = None) -> str:
        """How to reach a database, as the superuser or as another role."""
        parts = urlsplit(self.admin_dsn)
        netloc = parts.netloc
        if user is not None:
            secret = f":{password}" if password else ""
            netloc = f"{user}{secret}@{netloc.rpartition('@')[2]}"
        return urlunsplit(parts._replace(netloc=netloc, path=f"/{database}"))

    def create(self, template: str = "template0") -> str:
        """A new database; its name."""
        name = f"test_{uuid4().hex[:12]}"
        # In memory, copied as files and dropped again: 0.04 s; written through the WAL: 0.05 s.
        self.execute(f'create database "{name}" template "{template}" strategy file_copy')
        return name

    def drop(self, name: str) -> None:
        """Ends every session on it and removes it."""
        self.execute(f'drop database if exists "{name}" with (force)')

    def execute(self, sql: str, database: str | None = None) -> None:
        """Runs a statement as the superuser."""
        dsn = self.admin_dsn if database is None else self.dsn_of(database)

        async def work() -> None:
            connection = await asyncpg.connect(dsn)
            try:
                await connection.execute(sql)
            finally:
                await connection.close()

        run_apart(work())


def run_apart(work: Coroutine[Any, Any, Any]) -> None:
    """Runs a coroutine to its end on a loop and thread of its own, whatever this thread's loop is doing."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(work)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The PostgreSQL of the run: the one of DATABASE_URL, else an embedded one, with the settings of production."""
    if _GIVEN is not None:
        yield Cluster(_GIVEN)
        return
    with EmbeddedPostgres() as postgres:
        yield Cluster(postgres.dsn)


@pytest.fixture(scope="session")
def template(cluster: Cluster) -> Iterator[str]:
    """A migrated database that nobody uses, to be copied."""
    name = cluster.create()
    run_apart(migrate.up(cluster.dsn_of(name)))
    yield name
    cluster.drop(name)


@pytest.fixture
def dsn(cluster: Cluster, template: str) -> Iterator[str]:
    """A migrated database for this test alone."""
    name = cluster.create(template)
    yield cluster.dsn_of(name)
    cluster.drop(name)


@pytest.fixture
def empty_dsn(cluster: Cluster) -> Iterator[str]:
    """A database without a schema for this test alone."""
    name = cluster.create()
    yield cluster.dsn_of(name)
    cluster.drop(name)


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A folder for an embedded PostgreSQL, which root's `tmp_path` can't be: PostgreSQL then runs as `nobody`."""
    path = Path(tempfile.mkdtemp(prefix="jobqueue-test-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)
