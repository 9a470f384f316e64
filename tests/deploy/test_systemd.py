"""The systemd unit: it is confined, waits for as long as a server needs, and is told when it is ready."""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from jobqueue_server import security
from jobqueue_server.program import TOO_OLD
from jobqueue_server.settings import Settings, environment_name
from tests.docs.markdown import blocks

from .conftest import DEPLOY, ROOT

UNIT = DEPLOY / "systemd/jobqueue-server.service"
SERVER = ROOT / ".venv/bin/jobqueue-server"
#: In the terms of `systemd-analyze security`: from 0.0, which is all confined, to 10.0.
MOST_EXPOSED = 2.0


def lines(name: str) -> list[str]:
    """What the unit says of a name, line by line."""
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.MULTILINE)


@pytest.mark.systemd
def test_the_unit_is_confined():
    done = subprocess.run(
        [
            "systemd-analyze",
            "security",
            "--offline=true",
            f"--threshold={MOST_EXPOSED * 10:.0f}",
            "--no-pager",
            UNIT,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (level,) = re.findall(r"exposure level for \S+: ([\d.]+)", done.stdout)
    assert float(level) <= MOST_EXPOSED


@pytest.mark.systemd
def test_systemd_knows_each_line_of_the_unit(tmp_path: Path):
    # Where it is installed is not there.
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/jobqueue/bin/jobqueue-server", str(SERVER)))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", unit],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_unit_waits_for_as_long_as_a_server_needs_and_starts_it_again_where_that_helps():
    grace = Settings.model_fields["shutdown_grace"].default.total_seconds()
    (stop,) = lines("TimeoutStopSec")
    assert int(stop) > grace + 12
    # A database that is away is waited for.
    assert lines("TimeoutStartSec") == ["infinity"]
    (codes,) = lines("RestartPreventExitStatus")
    assert codes.split() == ["2", str(TOO_OLD)]
    assert lines("Restart") == ["on-failure"]


def test_every_setting_of_the_unit_exists():
    known = {environment_name(name) for name in Settings.model_fields}
    assert {line.partition("=")[0] for line in lines("Environment")} <= known


PAGE = list(blocks((ROOT / "docs/deploy/systemd.md").read_text()))


def test_the_settings_of_the_page_start_a_server(monkeypatch: pytest.MonkeyPatch):
    texts = {block.title: block.text for block in PAGE if block.title}
    for line in texts["server.env"].splitlines():
        monkeypatch.setenv(*line.split("=", 1))
    assert [rule.text for rule in security.found(Settings.load())] == []
    # And with the certificate, to others too.
    for name, value in re.findall(r"(\w+)=(\S+)", texts["tls.conf"].replace("Environment=", "")):
        if name != "LoadCredential":
            monkeypatch.setenv(name, value)
    settings = Settings.load()
    assert [rule.text for rule in security.found(settings)] == []
    assert settings.tls_cert is not None


def test_what_the_page_installs_is_there():
    commands = "".join(block.text for block in PAGE if block.language == "sh")
    for name in re.findall(r"\bdeploy/\S+", commands):
        assert (ROOT / name).is_file()
    # It is installed where the unit looks for it.
    programs = {line.split()[0] for line in [*lines("ExecStartPre"), *lines("ExecStart")]}
    assert programs == {f"{folder}/bin/jobqueue-server" for folder in re.findall(r"venv (\S+)", commands)}
    (settings,) = lines("EnvironmentFile")
    assert f"-D server.env {settings}\n" in commands


@pytest.mark.slow
@pytest.mark.parametrize(("processes", "kind"), [("1", "path"), ("1", "abstract"), ("2", "path")])
def test_systemd_is_told_when_the_server_takes_work_and_when_it_leaves(
    dsn: str, tmp_path: Path, processes: str, kind: str
):
    name = str(tmp_path / "notify") if kind == "path" else f"@jobqueue-{os.getpid()}-{tmp_path.name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("\0" + name[1:] if name[0] == "@" else name)
        systemd.settimeout(60)
        flags = ["--grpc-addr", "127.0.0.1:0", "--http-addr", "off", "--metrics-addr", "off"]
        process = subprocess.Popen(
            [SERVER, "serve", *flags, "--processes", processes],
            env={**os.environ, "DATABASE_URL": dsn, "NOTIFY_SOCKET": name},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            assert systemd.recv(100) == b"READY=1"
            process.send_signal(signal.SIGTERM)
            assert systemd.recv(100) == b"STOPPING=1"
            assert process.wait(60) == 0
        finally:
            process.kill()
            process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("address", ["", "no address", "/nowhere/notify"])
def test_a_server_that_systemd_does_not_hear_serves_all_the_same(dsn: str, address: str):
    assert started_and_stopped(dsn, NOTIFY_SOCKET=address) == 0


@pytest.mark.slow
def test_a_server_needs_no_memory_that_is_writable_and_executable(dsn: str):
    # MemoryDenyWriteExecute=yes, by the kernel alone (6.3 or later): PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN.
    library = ctypes.CDLL(None)

    def confined() -> None:
        assert library.prctl(65, 1, 0, 0, 0) == 0

    assert lines("MemoryDenyWriteExecute") == ["yes"]
    assert started_and_stopped(dsn, before=confined) == 0


def started_and_stopped(dsn: str, *, before: Callable[[], None] | None = None, **environment: str) -> int:
    """Runs a server until it is ready, and ends it; its exit code."""
    flags = ["--grpc-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0", "--metrics-addr", "127.0.0.1:0"]
    process = subprocess.Popen(
        [SERVER, "serve", *flags, "--log-format", "json"],
        env={**os.environ, "DATABASE_URL": dsn, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=before,
    )
    assert process.stdout is not None
    try:
        said = []
        for line in process.stdout:
            said.append(line)
            if "jobqueue-server is ready" in line:
                break
        assert said, "it says something"
        assert json.loads(said[-1])["message"] == "jobqueue-server is ready", said
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
        return process.wait(60)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
