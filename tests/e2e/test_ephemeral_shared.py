"""`jobqueue-server ephemeral --shared`, as processes: one server for all callers, until the last one leaves."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from jobqueue_server.ephemeral.locks import held
from jobqueue_server.ephemeral.shared import Shared
from tests.client_cli.programs import PROGRAMS, plain_environment

from .test_demo import Watched, children
from .test_dev import open_to_all, until
from .test_ephemeral import COMMAND, started, told
from .test_ephemeral_template import folder_in

__all__ = ["open_to_all"]

pytestmark = [pytest.mark.slow, pytest.mark.any_engine, pytest.mark.timeout(400)]

SHARED = [*COMMAND, "--shared"]


class Callers:
    """Processes that share a server, with folders of their own for all that it leaves."""

    def __init__(self, base: Path) -> None:
        self.temporary, run_time = folder_in(base, "tmp"), base / "the run time"
        run_time.mkdir(mode=0o700)
        self.environment = {
            "XDG_RUNTIME_DIR": str(run_time),
            "XDG_CACHE_HOME": str(base / "cache"),
        }
        self._open = ExitStack()

    def __enter__(self) -> Callers:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()
        until("the end of the folders", lambda: not list(self.temporary.iterdir()))

    def one(self) -> subprocess.Popen[str]:
        return self._open.enter_context(started(self.temporary, *SHARED, **self.environment))

    def folder(self) -> Path:
        (found,) = (Path(self.environment["XDG_RUNTIME_DIR"]) / "jobqueue").iterdir()
        return found


def answers(said: Any) -> bool:
    host, port = said["grpc"].rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError:
        return False
    return True


def test_one_caller_at_a_time_finds_or_starts_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = tmp_path / "shared"
    folder.mkdir(mode=0o700)
    shared, began = Shared("key", folder), threading.Event()
    monkeypatch.setattr(shared, "_start_if_missing", lambda server: began.set())
    monkeypatch.setattr(shared, "_said", lambda: "where it is")
    caller = threading.Thread(target=shared.join, args=(["a server"],))
    with held(folder / "door", fcntl.LOCK_SH):
        caller.start()
        assert not began.wait(0.5)
    caller.join(30)
    assert began.is_set()


def test_all_have_the_same_server_and_the_last_to_leave_ends_it(open_to_all: Path):
    with Callers(open_to_all) as callers:
        several = [callers.one() for _ in range(3)]
        (first, *others) = [told(process) for process in several]
        assert [first, first] == others
        watched = Watched({first["pid"]: "the server"} | children(first["pid"]))
        # Whichever of them has started it.
        several[0].kill()
        several[1].send_signal(signal.SIGINT)
        assert several[1].communicate(timeout=60) == ("", "")
        assert several[1].returncode == 0
        several[0].communicate()
        late = callers.one()
        assert told(late) == first
        assert several[2].communicate(timeout=60) == ("", "")
        assert answers(first)
        late.kill()
        watched.all_end()
        # Nor does it stay known.
        again = callers.one()
        assert told(again)["key"] != first["key"]
        assert again.communicate(timeout=60) == ("", "")


def test_of_a_caller_that_is_killed_while_it_starts_one_nothing_is_left(open_to_all: Path):
    with Callers(open_to_all) as callers:
        first = callers.one()
        until("the start", lambda: [*callers.temporary.glob("jobqueue-*")])
        watched = Watched(children(first.pid))
        first.kill()
        watched.all_end()
        until("the end of the folders", lambda: not list(callers.temporary.iterdir()))
        # Nor is the next one in anything's way, nor the one who finds a server that is about to answer.
        second = callers.one()
        until("the start", lambda: [*callers.temporary.glob("jobqueue-*")])
        third = callers.one()
        second.kill()
        said = told(third)
        assert answers(said)
        assert third.communicate(timeout=60) == ("", "")


def test_after_a_server_that_was_killed_the_next_caller_has_a_new_one(open_to_all: Path):
    with Callers(open_to_all) as callers:
        first = callers.one()
        said = told(first)
        watched = Watched({said["pid"]: "the server"} | children(said["pid"]))
        os.kill(said["pid"], signal.SIGKILL)
        watched.all_end()
        second = callers.one()
        anew = told(second)
        assert anew["pid"] != said["pid"]
        assert answers(anew)
        # The caller of the first one counts still: it is as well as any.
        assert second.communicate(timeout=60) == ("", "")
        assert answers(anew)
        assert first.communicate(timeout=60) == ("", "")


def test_workers_of_xdist_have_the_same(open_to_all: Path):
    tests = open_to_all / "test_it.py"
    tests.write_text(
        "import os, pathlib\n"
        "def test_it(jobqueue_server, jobqueue_sync_scope):\n"
        "    name = os.environ['PYTEST_XDIST_WORKER']\n"
        "    pathlib.Path(__file__).with_name(name).write_text(jobqueue_server.target)\n"
    )
    with Callers(open_to_all) as callers:
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                "-q",
                "-p",
                "no:cacheprovider",
                "--tx",
                "2*popen",
                "--dist",
                "each",
                tests,
            ],
            cwd=open_to_all,
            capture_output=True,
            text=True,
            check=False,
            env=plain_environment(
                TMPDIR=str(callers.temporary),
                PATH=f"{PROGRAMS}:{os.environ['PATH']}",
                **callers.environment,
            ),
        )
        assert done.returncode == 0, done.stdout + done.stderr
        targets = [(open_to_all / name).read_text() for name in ("gw0", "gw1")]
        assert targets[0] == targets[1]
        until("its end", lambda: not answers({"grpc": targets[0]}))


def test_one_that_is_asked_to_end_is_followed_by_another(open_to_all: Path):
    with Callers(open_to_all) as callers:
        first = callers.one()
        said = told(first)
        watched = Watched({said["pid"]: "the server"} | children(said["pid"]))
        os.kill(said["pid"], signal.SIGTERM)
        until("that it is not known any more", lambda: not (callers.folder() / "where").exists())
        second = callers.one()
        anew = told(second)
        assert anew["pid"] != said["pid"]
        assert answers(anew)
        watched.all_end()
        for caller in (first, second):
            assert caller.communicate(timeout=60) == ("", "")
