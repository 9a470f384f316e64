"""HEALTHCHECK tells whether the program lives, however it may be spoken to."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobqueue_server.app import App
from jobqueue_server.settings import Settings
from tests.tls.conftest import Authority

from .conftest import DEPLOY
from .dockerfile import Stage

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "authority")


def health(port: int, **environment: str) -> subprocess.CompletedProcess[str]:
    given = {"API_BIND_ADDR": f"0.0.0.0:{port}", "HTTP_PROXY": "http://127.0.0.1:1", **environment}
    command = [sys.executable, str(DEPLOY / "health.py"), "API_BIND_ADDR"]
    return subprocess.run(command, env={**os.environ, **given}, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("spoken", ["plain", "tls", "tls with certificates of callers"])
async def test_a_server_that_lives_is_healthy_and_one_that_has_ended_is_not(
    dsn: str, authority: Authority, tmp_path: Path, spoken: str
):
    flags = {
        "database_url": dsn,
        "grpc_addr": "127.0.0.1:0",
        "http_addr": "127.0.0.1:0",
        "metrics_addr": "off",
    }
    environment = {}
    if spoken != "plain":
        cert, key = authority.issue("server")
        flags |= {"tls_cert": cert, "tls_key": key}
        environment["JOBQUEUE_TLS_CERT"] = cert
    if "callers" in spoken:
        flags["tls_client_ca"] = str(authority.cert)
    app = App(Settings.load(flags))
    await app.start()
    port = app.http_port
    try:
        alive = await asyncio.to_thread(health, port, **environment)
        assert alive.returncode == 0, alive.stderr
    finally:
        await app.stop()

    ended = await asyncio.to_thread(health, port, **environment)
    assert ended.returncode != 0
    assert "Traceback" not in ended.stderr


@pytest.mark.alone
@pytest.mark.parametrize("environment", [{}, {"JOBQUEUE_TLS_CERT": "server.pem"}], ids=["plain", "tls"])
def test_a_program_that_hangs_is_not_healthy_and_that_is_found_in_time(
    environment: dict[str, str], stages: dict[str, Stage]
):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        began = time.monotonic()
        hung = health(listener.getsockname()[1], **environment)

    assert hung.returncode == 1
    assert "timed out" in hung.stderr
    # Docker's own bound, less what a busy machine needs to start Python.
    assert 2 <= time.monotonic() - began < int(stages["server"].one("HEALTHCHECK").options["timeout"][:-1])
