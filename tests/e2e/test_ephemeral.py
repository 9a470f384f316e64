"""`jobqueue-server ephemeral`, as the command that it is: a server for tests that leaves nothing behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from jobqueue import Kind, KindUnknown, SyncClient, Unauthenticated
from tests.client_cli.programs import PROGRAMS, plain_environment

from .test_demo import Watched, children
from .test_dev import open_to_all, until

__all__ = ["open_to_all"]

pytestmark = [pytest.mark.slow, pytest.mark.any_engine, pytest.mark.timeout(240)]

COMMAND = [str(PROGRAMS / "jobqueue-server"), "ephemeral"]
# A test runner: it starts the server, passes its line on, and waits for ever.
RUNNER = """
import subprocess, sys
server = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
print(server.stdout.readline(), end="", flush=True)
server.wait()
"""

# A server that says whether it answers still when it is to be known no more.
LEAVES = """
import asyncio, json, os, socket, sys
from jobqueue_server.ephemeral.server import Ephemeral

where = []

def say(line):
    where.append(json.loads(line)["grpc"])
    print(line, flush=True)

def wait():
    if sys.argv[1] == "it can't wait":
        raise OSError("no file")
    os.read(0, 1)

def untell():
    try:
        host, port = where[0].rsplit(":", 1)
        socket.create_connection((host, int(port)), timeout=5).close()
    except (IndexError, OSError):
        print("untold", flush=True)
    else:
        print("untold while it answers", flush=True)

asyncio.run(Ephemeral(say, wait, None, untell).run())
"""


@contextmanager
def started(folder: Path, *command: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A process with its temporary folder in this one."""
    process = subprocess.Popen(
        command or COMMAND,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=plain_environment(TMPDIR=str(folder), **environment),
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def told(process: subprocess.Popen[str]) -> Any:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.communicate()
    return json.loads(line)


def test_it_says_where_it_answers_lets_its_key_in_alone_and_ends_with_its_input(open_to_all: Path):
    # It is given a database and settings of others, which it must not touch.
    others = {"DATABASE_URL": "postgresql://u@127.0.0.1:1/x", "JOBQUEUE_KINDS": "open"}
    with started(open_to_all, **others) as process:
        said = told(process)
        assert said["pid"] == process.pid
        with SyncClient(said["grpc"], token=said["key"]) as client:
            client.put_kind(Kind(name="greet"))
            job = client.enqueue("greet", {"name": "Ada"})
            assert client.get(job.id).payload == {"name": "Ada"}
            with pytest.raises(KindUnknown):
                client.enqueue("undeclared")
        with SyncClient(said["grpc"]) as stranger, pytest.raises(Unauthenticated):
            stranger.list_kinds()
        watched = Watched(children(process.pid))
        out, errors = process.communicate(timeout=60)
        assert (process.returncode, out, errors) == (0, "", "")
        watched.all_end()
    assert not list(open_to_all.iterdir())


@pytest.mark.parametrize("which", ["server", "runner"])
def test_of_one_that_is_killed_and_of_one_whose_runner_is_nothing_is_left(open_to_all: Path, which: str):
    command = COMMAND if which == "server" else [sys.executable, "-c", RUNNER, *COMMAND]
    with started(open_to_all, *command) as process:
        server = told(process)["pid"]
        watched = Watched(children(process.pid) | children(server))
        process.send_signal(signal.SIGKILL)
        watched.all_end()
    until("the end of the folders", lambda: not list(open_to_all.iterdir()))


def test_with_nothing_to_read_it_ends_at_once(open_to_all: Path):
    done = subprocess.run(
        COMMAND,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=plain_environment(TMPDIR=str(open_to_all)),
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert not list(open_to_all.iterdir())


def test_it_is_not_known_any_more_before_it_drains(open_to_all: Path):
    with started(open_to_all, sys.executable, "-c", LEAVES, "it waits") as process:
        told(process)
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        assert process.stdout.readline() == "untold while it answers\n"
        assert process.wait(timeout=60) == 0
    assert not list(open_to_all.iterdir())


def test_one_that_can_not_wait_for_its_end_ends(open_to_all: Path):
    with started(open_to_all, sys.executable, "-c", LEAVES, "it can't wait") as process:
        assert process.wait(timeout=60) == 0
    assert not list(open_to_all.iterdir())
