"""`make demo` and `make run`, as the commands behind them."""

from __future__ import annotations

import io
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console

from jobqueue import Job, convert
from jobqueue.v1 import job_pb2
from tests.client_cli.programs import plain_environment
from tools.demo.places import Places
from tools.demo.view import LiveTable, Story

pytestmark = pytest.mark.slow

CHECKOUT = Path(__file__).parents[2]
DEMO = [sys.executable, "-m", "tools.demo", "--free-ports"]


@contextmanager
def demo(data: Path, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*DEMO, "--data", data, *arguments],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=plain_environment(**environment),
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def said_until(process: subprocess.Popen[str], pattern: str) -> str:
    assert process.stdout is not None
    text = ""
    for line in process.stdout:
        text += line
        if re.search(pattern, line):
            return text
    raise AssertionError(f"it ended without saying {pattern!r}:\n{text}")


def children(pid: int) -> dict[int, str]:
    """The processes below one, and what they are."""
    listed = subprocess.run(["ps", "-wweo", "pid=,ppid=,args="], capture_output=True, text=True, check=True)
    rows = [line.split(None, 2) for line in listed.stdout.splitlines()]
    found: dict[int, str] = {}
    below = {pid}
    while below:
        new = {int(own): args for own, parent, args in rows if int(parent) in below}
        found |= new
        below = set(new)
    return found


class Watched:
    """Processes that are to end; watched by descriptors, since a number may be given away again."""

    def __init__(self, processes: dict[int, str]) -> None:
        self._open: dict[int, str] = {}
        for pid, args in processes.items():
            try:
                self._open[os.pidfd_open(pid)] = args
            except ProcessLookupError:
                continue  # as short-lived as ps itself

    def all_end(self) -> None:
        poll = select.poll()
        for descriptor in self._open:
            poll.register(descriptor, select.POLLIN)
        while self._open:
            ready = poll.poll(30_000)
            assert ready, f"still there: {self._open}"
            for descriptor, _ in ready:
                poll.unregister(descriptor)
                os.close(descriptor)
                del self._open[descriptor]


def test_once_does_a_job_of_each_kind_and_ends_well(data_dir: Path):
    with demo(data_dir, "--once") as process:
        text, _ = process.communicate(timeout=90)
    assert process.returncode == 0, text
    for kind in ("resize_image", "send_email", "summarize_text", "webhook_delivery"):
        assert re.search(rf"^{kind} +SUCCEEDED", text, re.MULTILINE), text
    (image,) = (data_dir / "files" / "output").glob("*.png")
    with Image.open(image) as picture:
        assert picture.size == (320, 240)
    (mail,) = (data_dir / "mail").glob("*.eml")
    assert message_from_bytes(mail.read_bytes())["Subject"] == "Hello from JobQueue"
    (hook,) = (data_dir / "webhooks").glob("*.json")
    assert '"verified": true' in hook.read_text()
    for path in (image, mail, hook):
        assert str(path) in text
    assert re.search(
        r"^ *over HTTP +curl http://127\.0\.0\.1:\d+/v1/jobs/[0-9a-f-]{36}", text, re.MULTILINE
    ), text


def test_a_database_that_is_away_is_said_with_the_end_of_the_log(tmp_path: Path):
    with demo(tmp_path, "--once", DATABASE_URL="postgresql://u:hunter2@127.0.0.1:1/x") as process:
        text, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "migrate ended with exit code" in text
    assert "the database does not answer" in text
    assert "hunter2" not in text


def test_with_a_database_url_it_migrates_and_uses_that_one_and_ctrl_c_ends_everything_that_it_started(
    empty_dsn: str, tmp_path: Path
):
    with demo(tmp_path, DATABASE_URL=empty_dsn) as process:
        said_until(process, "^Where to look next")
        started = children(process.pid)
        for program in ("jobqueue-server", "jobqueue-worker", "tools.demo.sinks"):
            assert any(program in args for args in started.values()), started
        watched = Watched(started)
        process.send_signal(signal.SIGINT)
        text = said_until(process, "^Everything has ended")
        assert process.wait(60) == 0, text
        watched.all_end()
    assert "has ended" in (tmp_path / "logs" / "worker.log").read_text()
    assert "jobqueue-server has ended" in (tmp_path / "logs" / "server.log").read_text()
    assert "applied 0001_" in (tmp_path / "logs" / "migrate.log").read_text()
    assert not (tmp_path / "postgres").exists()


def test_a_child_that_dies_is_named_with_the_end_of_its_log(empty_dsn: str, tmp_path: Path):
    with demo(tmp_path, DATABASE_URL=empty_dsn) as process:
        said_until(process, "^Where to look next")
        started = children(process.pid)
        (worker,) = (pid for pid, args in started.items() if "jobqueue-worker" in args)
        watched = Watched(started)
        os.kill(worker, signal.SIGKILL)
        text, _ = process.communicate(timeout=60)
        assert process.returncode == 1
        assert "worker was ended by SIGKILL" in text
        assert "worker.log" in text
        watched.all_end()


def test_killed_without_warning_it_leaves_nothing_running(empty_dsn: str, tmp_path: Path):
    with demo(tmp_path, DATABASE_URL=empty_dsn) as process:
        said_until(process, "^Where to look next")
        watched = Watched(children(process.pid))
        process.kill()
        watched.all_end()
    assert "has ended" in (tmp_path / "logs" / "worker.log").read_text()


def test_a_second_one_in_the_same_folder_says_how_to_go_on_and_leaves_the_first_alone(
    empty_dsn: str, tmp_path: Path
):
    with demo(tmp_path, DATABASE_URL=empty_dsn) as first:
        said_until(first, "Starting server")
        with demo(tmp_path, DATABASE_URL=empty_dsn) as second:
            said, _ = second.communicate(timeout=60)
        assert second.returncode == 1
        assert f"a demo runs in {tmp_path} already" in said
        assert f"-m tools.demo --data {tmp_path}-2" in said
        assert said.count("\n") == 2
        assert "JOBQUEUE_DATA_DIR" not in said
        assert first.poll() is None
        first.send_signal(signal.SIGINT)
        first.communicate(timeout=60)


def test_the_live_table_names_the_worker_of_jobs_that_it_never_saw_running(tmp_path: Path):
    console = Console(width=120, height=40, file=io.StringIO(), force_terminal=True)
    table = LiveTable(console, Story(Places(tmp_path), {}), "title", "ours")
    done = [_job(number, attempts=1) for number in range(3)]

    def rows() -> list[str]:
        table.show(done, [])
        with console.capture() as captured:
            console.print(table._live.renderable)
        return [line for line in captured.get().splitlines() if "send_email" in line]

    assert all("ours" in row for row in rows())
    # From the moment when there is a second one, only what was seen is said.
    done.append(_job(3, attempts=1, locked_by="theirs"))
    done.append(_job(4, attempts=1))
    *first, seen, unseen = rows()
    assert all("ours" in row for row in first)
    assert "theirs" in seen
    assert "ours" not in unseen
    assert "theirs" not in unseen


def _job(number: int, **fields: Any) -> Job:
    message = job_pb2.Job(id=str(number), kind="send_email", status=job_pb2.Job.SUCCEEDED, **fields)
    message.created_at.GetCurrentTime()
    message.run_at.CopyFrom(message.created_at)
    return convert.job(message)
