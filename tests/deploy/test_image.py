"""The steps of the Dockerfile, done in a fresh folder: what comes out starts, lives and drains."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import IO

import pytest

from jobqueue import SyncClient, Unauthenticated
from tests.access.issuer import AUDIENCE, Issuer
from tests.access.issuer import NAME as ISSUER
from tests.package.test_alone import line_with

from .dockerfile import Stage, Trial

# It fetches what the locks name.
pytestmark = [pytest.mark.network, pytest.mark.timeout(600)]

WITHIN = 60.0


class Container:
    """A program that runs as the image says.

    Attributes:
        lines: What it says.
    """

    def __init__(
        self, trial: Trial, stage: Stage, arguments: list[str], environment: Mapping[str, str]
    ) -> None:
        self._trial = trial
        self._stage = stage
        self._environment = {**trial.environment(stage.name), **environment}
        (entry,) = stage.one("ENTRYPOINT").command
        self._process = subprocess.Popen(
            [trial.place("/opt/jobqueue/bin") / entry, *arguments],
            cwd=trial.root,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self._process.stdout is not None
        self.lines: IO[str] = self._process.stdout

    def healthy(self, **environment: str) -> bool:
        """Whether the command of HEALTHCHECK says so."""
        command = [self._trial.command(word) for word in self._stage.one("HEALTHCHECK").command]
        done = subprocess.run(
            command, env={**self._environment, **environment}, check=False, capture_output=True
        )
        return done.returncode == 0

    def stop(self) -> int:
        """Sends it the image's signal; how it ended."""
        self._process.send_signal(signal.Signals[self._stage.one("STOPSIGNAL").rest])
        return self.ended()

    def ended(self) -> int:
        """How it ended, by itself."""
        self.lines.read()
        return self._process.wait(WITHIN)

    def end(self) -> None:
        self._process.kill()
        self._process.wait(WITHIN)
        self.lines.close()


@contextmanager
def started(trial: Trial, stage: Stage, *arguments: str, **environment: str) -> Iterator[Container]:
    container = Container(trial, stage, list(arguments), environment)
    try:
        yield container
    finally:
        container.end()


@pytest.fixture(scope="module", params=["server", "worker"])
def trial(
    request: pytest.FixtureRequest,
    stages: dict[str, Stage],
    context: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, Trial]:
    made = Trial(tmp_path_factory.mktemp(request.param), stages, context)
    made.build(request.param)
    return request.param, made


def test_the_image_holds_the_program_and_no_installer(trial: tuple[str, Trial]):
    _, image = trial
    assert {path.name for path in image.root.iterdir()} == {"opt"}
    assert not list(image.root.rglob("site-packages/pip"))
    assert not list(image.root.rglob("site-packages/pytest"))


def test_the_program_starts_lives_and_drains(
    trial: tuple[str, Trial], stages: dict[str, Stage], empty_dsn: str
):
    name, image = trial
    stage = stages[name]
    if name == "worker":
        # It has nobody to lease from here; that it looks for a server, and drains, is its own.
        with started(
            image, stage, WORKER_METRICS_BIND_ADDR="127.0.0.1:0", JOBQUEUE_SERVER="127.0.0.1:1"
        ) as worker:
            told = json.loads(line_with(worker.lines, "metrics are served"))["message"]
            port = told.removesuffix("/metrics").rpartition(":")[2]
            assert worker.healthy(WORKER_METRICS_BIND_ADDR=f"127.0.0.1:{port}")
            assert worker.stop() == 0
            assert not worker.healthy(WORKER_METRICS_BIND_ADDR=f"127.0.0.1:{port}")
        return
    # Once more does nothing, as when everything is started again.
    for _ in range(2):
        with started(image, stage, "migrate", "up", DATABASE_URL=empty_dsn) as migrate:
            assert migrate.ended() == 0
    addresses = {each: "127.0.0.1:0" for each in stage.environment if each.endswith("_ADDR")}
    with started(image, stage, DATABASE_URL=empty_dsn, **addresses) as server:
        ready = json.loads(line_with(server.lines, "jobqueue-server is ready"))
        assert server.healthy(API_BIND_ADDR=f"127.0.0.1:{ready['http_port']}")
        with SyncClient(f"127.0.0.1:{ready['port']}") as client:
            job = client.enqueue("summarize_text", {"text": "One says."}, delay=timedelta(hours=1))
            assert client.get(job.id).status.name == "QUEUED"
        assert server.stop() == 0
        assert not server.healthy(API_BIND_ADDR=f"127.0.0.1:{ready['http_port']}")


def test_the_server_of_the_image_takes_tokens(
    trial: tuple[str, Trial], stages: dict[str, Stage], empty_dsn: str
):
    name, image = trial
    if name == "worker":
        assert not list(image.root.rglob("site-packages/joserfc"))
        return
    stage = stages[name]
    with started(image, stage, "migrate", "up", DATABASE_URL=empty_dsn) as migrate:
        assert migrate.ended() == 0
    settings = {each: "127.0.0.1:0" for each in stage.environment if each.endswith("_ADDR")} | {
        "JOBQUEUE_AUTH": "keys,jwt",
        "JOBQUEUE_JWT_ISSUER": ISSUER,
        "JOBQUEUE_JWT_AUDIENCE": AUDIENCE,
        "API_BIND_ADDR": "off",
    }
    with Issuer() as issuer:
        settings["JOBQUEUE_JWT_JWKS_URL"] = issuer.url
        with started(image, stage, DATABASE_URL=empty_dsn, **settings) as server:
            ready = json.loads(line_with(server.lines, "jobqueue-server is ready"))
            address = f"127.0.0.1:{ready['port']}"
            with (
                SyncClient(address, token=issuer.token()) as client,
                # Its signature is good, and no identity is for it.
                pytest.raises(Unauthenticated, match="no identity is for 'mailer'"),
            ):
                client.enqueue("summarize_text", {"text": "One says."})
            assert server.stop() == 0
