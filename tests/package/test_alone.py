"""Each package, installed alone in a fresh environment, starts and does what it is for."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import IO

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from jobqueue import SyncClient

from .conftest import ROOT, Distributions
from .environments import Environment, clean, fresh

pytestmark = pytest.mark.package

WITHIN = 60.0


@pytest.fixture(scope="session")
def client(distributions: Distributions, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return fresh(tmp_path_factory.mktemp("client"), [distributions.wheel("jobqueue")])


@pytest.fixture(scope="session")
def client_with_cli(distributions: Distributions, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return fresh(tmp_path_factory.mktemp("cli"), [distributions.wheel("jobqueue")], "cli")


@pytest.fixture(scope="session")
def server(distributions: Distributions, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    wheels = [distributions.wheel(name) for name in ("jobqueue", "jobqueue_server")]
    return fresh(tmp_path_factory.mktemp("server"), wheels, "embedded")


@pytest.fixture(scope="session")
def worker(distributions: Distributions, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    wheels = [distributions.wheel(name) for name in ("jobqueue", "jobqueue_worker")]
    return fresh(tmp_path_factory.mktemp("worker"), wheels)


@contextmanager
def running(environment: Environment, program: str, *arguments: str) -> Iterator[IO[str]]:
    """A program of an environment, which should end well when it is told to; its lines."""
    process = subprocess.Popen(
        [environment.programs / program, *arguments],
        cwd=environment.programs.parent,
        env=clean({}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process.stdout
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read()
        assert process.wait(WITHIN) == 0, rest
    finally:
        process.kill()
        process.wait(WITHIN)
        process.stdout.close()


def line_with(lines: IO[str], text: str) -> str:
    """The next line that holds a text; the test's own time limit ends the wait."""
    before = []
    for line in lines:
        if text in line:
            return line
        before.append(line)
    raise AssertionError(f"it ended without a line with {text!r}:\n{''.join(before)}")


def test_the_client_is_three_packages_and_what_they_need(client: Environment):
    assert {"jobqueue", "grpcio", "protobuf", "googleapis-common-protos"} <= client.names
    assert len(client.names) <= 5

    code = 'from jobqueue import Client, SyncClient, Worker; print(type(Worker("127.0.0.1:1")).__name__)'
    assert client.python(code) == "Worker\n"
    without = client.run("jobqueue", "--help")
    assert without.returncode == 1
    assert without.stderr == "jobqueue: the command line needs rich: pip install 'jobqueue[cli]'\n"


def test_the_command_line_comes_with_its_extra(client_with_cli: Environment):
    done = client_with_cli.run("jobqueue", "--help")

    assert done.returncode == 0, done.stderr
    assert "enqueue" in done.stdout


@pytest.mark.parametrize(
    ("environment", "absent"),
    [
        ("client", ("jobqueue_server", "jobqueue_worker", "asyncpg", "typer")),
        ("server", ("jobqueue_worker", "aiohttp", "pytest")),
        ("worker", ("jobqueue_server", "asyncpg", "pytest")),
    ],
)
def test_nothing_else_is_there(environment: str, absent: tuple[str, ...], request: pytest.FixtureRequest):
    alone: Environment = request.getfixturevalue(environment)

    code = f"from importlib.util import find_spec; print([name for name in {absent} if find_spec(name)])"
    assert alone.python(code) == "[]\n"


def test_all_that_was_copied_is_what_the_lock_says(
    client_with_cli: Environment, server: Environment, worker: Environment
):
    lock = "".join(
        (ROOT / name).read_text() for name in ("locks/requirements.lock", "locks/requirements-build.lock")
    )
    pinned = dict(re.findall(r"^([a-z0-9-]+)==([^ ;\\]+)", lock, re.MULTILINE))

    code = (
        "import json; from importlib.metadata import distributions;"
        "print(json.dumps({each.name: each.version for each in distributions()}))"
    )
    for environment in (client_with_cli, server, worker):
        there = json.loads(environment.python(code))
        names = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in there.items()}
        assert names.keys() == environment.names
        ours = {name for name in names if name.startswith("jobqueue")}
        assert {name: names[name] for name in names.keys() - ours}.items() <= pinned.items()


@pytest.mark.timeout(240)
def test_a_server_and_a_worker_alone_do_a_job(server: Environment, worker: Environment, data_dir: Path):
    folder = f"--data-dir={data_dir}"
    for program in ("jobqueue-server", "jobqueue-worker"):
        environment = server if program == "jobqueue-server" else worker
        assert environment.run(program, "--help").returncode == 0
        assert environment.run(program, "--version").stdout.startswith(f"{program} ")
    assert server.run("jobqueue-server", "migrate", "status", folder).returncode == 1
    assert "applied 0001_" in server.run("jobqueue-server", "migrate", "up", folder).stdout
    assert server.run("jobqueue-server", "migrate", "status", folder).returncode == 0

    addresses = (
        "--grpc-addr=127.0.0.1:0",
        "--http-addr=127.0.0.1:0",
        "--metrics-addr=off",
        "--log-format=json",
    )
    with running(server, "jobqueue-server", folder, *addresses) as said:
        ready = json.loads(line_with(said, "jobqueue-server is ready"))
        address = f"127.0.0.1:{ready['port']}"
        with grpc.insecure_channel(address) as channel:
            answer = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=WITHIN
            )
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        # What was made from the contract, and what a build takes from elsewhere, are in the wheel.
        for path in ("/openapi.json", "/docs", "/docs/swagger-ui.css"):
            with urllib.request.urlopen(
                f"http://127.0.0.1:{ready['http_port']}{path}", timeout=WITHIN
            ) as page:
                assert page.read()

        flags = (f"--server={address}", "--simulate", "--metrics-bind-addr=127.0.0.1:0")
        with running(worker, "jobqueue-worker", *flags) as told, SyncClient(address) as client:
            line_with(told, " opened at ")
            job = client.enqueue("summarize_text", {"text": "One says. Two do."})
            assert client.wait(job.id, timeout=timedelta(seconds=WITHIN)).status.name == "SUCCEEDED"
