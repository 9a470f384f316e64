"""`jobqueue-server dev`, as the command that it is."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from jobqueue import Client
from jobqueue_server.dev.ports import Ports, free_port
from jobqueue_server.dev.run import Dev
from jobqueue_server.settings import without_settings
from tests.client_cli.programs import PROGRAMS, plain_environment

from .test_demo import Watched, children, said_until

pytestmark = [pytest.mark.slow, pytest.mark.any_engine]

WITHIN = 60.0


@contextmanager
def dev(folder: Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """It, with its temporary folder in this one."""
    process = subprocess.Popen(
        [PROGRAMS / "jobqueue-server", "dev", "--free-ports"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=plain_environment(TMPDIR=str(folder), **environment),
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """A folder that everybody may pass through: as root, PostgreSQL runs as nobody."""
    with tempfile.TemporaryDirectory(prefix="jq-") as folder:
        os.chmod(folder, 0o777)
        yield Path(folder)


def read(url: str, *, method: str = "GET") -> Any:
    request = urllib.request.Request(url, method=method)
    with urllib.request.urlopen(request, timeout=WITHIN) as answer:
        return json.load(answer)


def until(what: str, holds: Any) -> Any:
    ends = time.monotonic() + WITHIN
    while not (found := holds()):
        assert time.monotonic() < ends, f"{what} did not come"
        time.sleep(0.1)
    return found


@pytest.mark.timeout(240)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_it_shows_jobs_of_every_kind_of_life_and_leaves_nothing_behind(
    open_to_all: Path, number: signal.Signals
):
    # It is given a database and settings of others, which it must not touch.
    others = {"DATABASE_URL": "postgresql://u@127.0.0.1:1/x", "JOBQUEUE_AUTH": "keys"}
    with dev(open_to_all, **others) as process:
        text = said_until(process, "^Ctrl-C ends all of it")
        assert re.search(
            r"^starting PostgreSQL and server\n +PostgreSQL and server +\d+\.\d s$", text, re.MULTILINE
        )
        (base,) = re.findall(r"^ +dashboard +(http://127\.0\.0\.1:\d+)/ui/$", text, re.MULTILINE)
        with urllib.request.urlopen(f"{base}/ui/", timeout=WITHIN) as page:
            assert b"<html" in page.read()

        def jobs(status: str) -> Any:
            return read(f"{base}/v1/jobs?status={status}&page_size=100").get("jobs", [])

        for status in ("SUCCEEDED", "RETRYING", "RUNNING", "FAILED_PERMANENT", "QUEUED"):
            until(status, lambda status=status: jobs(status))
        assert {job["kind"] for job in jobs("FAILED_PERMANENT")} == {"charge_card"}
        assert len([job for job in jobs("QUEUED") if job["queue"] == "newsletter"]) == 12
        assert read(f"{base}/v1/schedules")["schedules"]

        # What it says to try does what it says.
        (resume,) = re.findall(r"curl -X POST (\S+:resume)", text)
        read(resume, method="POST")
        until("the newsletter", lambda: not [job for job in jobs("QUEUED") if job["queue"] == "newsletter"])
        (worker,) = re.findall(r"begin with (\S+)", text)
        assert "Worker(" in Path(worker).read_text()
        (pid,) = re.findall(r"kill -9 (\d+)", text)
        os.kill(int(pid), signal.SIGKILL)
        assert "worker was ended by SIGKILL: the next one starts" in said_until(
            process, "the next one starts"
        )
        until("the next worker", lambda: _heard(base))

        watched = Watched(children(process.pid))
        process.send_signal(number)
        text, _ = process.communicate(timeout=WITHIN)
        assert process.returncode == 0, text
        watched.all_end()
    assert re.search(r"^Everything has ended, and \S+ is removed$", text, re.MULTILINE), text
    assert not list(open_to_all.iterdir())


def _heard(base: str) -> bool:
    return any("silent_since" not in each for each in read(f"{base}/v1/workers").get("workers", []))


@pytest.mark.timeout(240)
def test_killed_without_warning_it_leaves_no_process_and_no_folder(open_to_all: Path):
    with dev(open_to_all) as process:
        said_until(process, "starting example jobs")
        watched = Watched(children(process.pid))
        process.kill()
        watched.all_end()
    until("the end of the folder", lambda: not list(open_to_all.iterdir()))


async def test_a_port_that_another_program_takes_after_the_look_is_left_to_it():
    with socket.create_server(("127.0.0.1", 0)) as other:
        late: int = other.getsockname()[1]
        looks = iter([free_port(), late])

        class Late(Ports):
            def take(self, what: str, usual: int) -> int:
                return next(looks, 0) or free_port()

        starting = Dev(Late())
        # As root, PostgreSQL runs as another user, who has to pass through it.
        starting._root.chmod(0o711)
        try:
            _, places = await starting._start_server()
            assert not places.http.endswith(f":{late}")
            async with Client(places.grpc) as client:
                assert await client.list_kinds()
        finally:
            await starting._children.stop()


def test_settings_of_other_servers_are_not_passed_on():
    given = {"DATABASE_URL": "a", "API_BIND_ADDR": "b", "JOBQUEUE_ANYTHING": "c", "PATH": "d"}
    assert without_settings(given) == {"PATH": "d"}
