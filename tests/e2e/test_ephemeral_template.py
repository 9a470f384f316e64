"""`jobqueue-server ephemeral` with the template of its database, as processes: several at once, killed, damaged."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from jobqueue import Kind, SyncClient
from jobqueue_server.ephemeral.templates import _digest

from .test_demo import Watched, children
from .test_dev import open_to_all, until
from .test_ephemeral import COMMAND, started, told

__all__ = ["open_to_all"]

pytestmark = [pytest.mark.slow, pytest.mark.any_engine, pytest.mark.timeout(400)]


def folder_in(base: Path, name: str) -> Path:
    made = base / name
    made.mkdir()
    made.chmod(0o777)
    return made


def slow_copy(folder: Path) -> str:
    """A path to search on which `cp` has copied one file and then waits for the end of who called it."""
    program = folder / "cp"
    program.write_text(
        f"#!{sys.executable} -S\n"
        "import os, shutil, sys, time\n"
        "caller, (source, target) = os.getppid(), sys.argv[-2:]\n"
        "os.mkdir(target)\n"
        "shutil.copy(source + '/PG_VERSION', target)\n"
        "while os.getppid() == caller:\n"
        "    time.sleep(0.05)\n"
        "sys.exit(1)\n"
    )
    program.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def end(process: subprocess.Popen[str]) -> None:
    assert process.communicate(timeout=120) == ("", "")
    assert process.returncode == 0


def works(process: subprocess.Popen[str]) -> str:
    """Its key, once a job went in."""
    said = told(process)
    with SyncClient(said["grpc"], token=said["key"]) as client:
        client.put_kind(Kind(name="greet"))
        assert client.get(client.enqueue("greet").id).kind == "greet"
        assert len([*client.list(kind="greet")]) == 1
    key: str = said["key"]
    return key


def test_of_several_that_start_at_once_one_makes_it_and_each_has_its_own_data(open_to_all: Path):
    temporary, cache = folder_in(open_to_all, "the tmp"), open_to_all / "the cache"
    with ExitStack() as all_of_them:
        processes = [
            all_of_them.enter_context(started(temporary, XDG_CACHE_HOME=str(cache))) for _ in range(4)
        ]
        assert len({works(process) for process in processes}) == 4
        for process in processes:
            end(process)
    (template, lock) = sorted(entry for entry in (cache / "jobqueue" / "ephemeral").iterdir())
    assert lock.name == "lock"
    # What was copied is what was kept, and the next start copies it too.
    (template / "data" / "marker").touch()
    (template / "files").write_text(_digest(template / "data"))
    with started(temporary, XDG_CACHE_HOME=str(cache)) as process:
        works(process)
        assert len([*temporary.glob("jobqueue-*/data/marker")]) == 1
        end(process)
    assert not list(temporary.iterdir())


def test_one_that_does_not_start_is_made_anew(open_to_all: Path):
    temporary, cache = folder_in(open_to_all, "tmp"), open_to_all / "cache"
    with started(temporary, XDG_CACHE_HOME=str(cache)) as process:
        works(process)
        end(process)
    (control,) = cache.glob("jobqueue/ephemeral/*/data/global/pg_control")
    control.write_bytes(bytes(control.stat().st_size))
    files = control.parents[2] / "files"
    files.write_text(_digest(files.parent / "data"))
    with started(temporary, XDG_CACHE_HOME=str(cache)) as process:
        works(process)
        end(process)
    assert any(control.read_bytes())
    assert not list(temporary.iterdir())


@pytest.mark.parametrize("amid", ["initdb", "the copy"])
def test_a_maker_that_is_killed_leaves_nothing_and_the_next_one_makes_it(open_to_all: Path, amid: str):
    temporary, cache = folder_in(open_to_all, "tmp"), open_to_all / "cache"
    kept = cache / "jobqueue" / "ephemeral"
    drafts = (temporary, "jobqueue-*/data.draft/PG_VERSION") if amid == "initdb" else (kept, "draft-*/data/*")
    path = slow_copy(folder_in(open_to_all, "bin")) if amid == "the copy" else os.environ["PATH"]
    with started(temporary, XDG_CACHE_HOME=str(cache), PATH=path) as process:
        until(amid, lambda: [*drafts[0].glob(drafts[1])])
        watched = Watched(children(process.pid))
        process.send_signal(signal.SIGKILL)
        watched.all_end()
    until("the end of the folders", lambda: not list(temporary.iterdir()))
    assert not [*kept.glob("*/files")]
    with started(temporary, XDG_CACHE_HOME=str(cache)) as process:
        works(process)
        assert len([*kept.glob("*/files")]) == 1
        assert not [*kept.glob("draft-*")]
        end(process)


@pytest.mark.parametrize("why", ["a file is in its place", "--no-template"])
def test_without_a_cache_it_serves_all_the_same(open_to_all: Path, why: str):
    temporary, cache = folder_in(open_to_all, "tmp"), open_to_all / "cache"
    command = [*COMMAND, why] if why.startswith("--") else COMMAND
    if command is COMMAND:
        cache.touch()
    with started(temporary, *command, XDG_CACHE_HOME=str(cache)) as process:
        works(process)
        end(process)
    assert cache.is_file() if command is COMMAND else not cache.exists()
    assert not list(temporary.iterdir())
