"""What the callers of a shared server know of it by files and locks, with servers that are none."""

from __future__ import annotations

import fcntl
import os
import sys
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from jobqueue_server.embedded import EmbeddedPostgresError
from jobqueue_server.ephemeral import locks, shared
from jobqueue_server.ephemeral.shared import Shared, runtime_folder, server_key

# It answers, and ends when the test does.
_SERVER = """
import pathlib, sys, time
from jobqueue_server.ephemeral.shared import Shared
folder = pathlib.Path(sys.argv[1])
Shared("", folder).tell("a new one")
while folder.is_dir() and not (folder / "done").exists():
    time.sleep(0.05)
"""
SERVER = [sys.executable, "-c", _SERVER]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "run" / "shared"
    if (tmp_path / "run" / "shared").is_dir():
        (tmp_path / "run" / "shared" / "done").touch()


class Ending:
    """A server that holds what one holds which is alone, in this process."""

    def __init__(self, folder: Path) -> None:
        self._held = {}
        for name in ("alive", "members"):
            self._held[name] = locks.taken(folder / name, fcntl.LOCK_EX, timedelta())

    def lets_go_of(self, name: str) -> None:
        if (descriptor := self._held.pop(name, None)) is not None:
            os.close(descriptor)


# ---- its folder


def test_where_others_may_write_none_is_shared(folder: Path):
    Shared("", folder)
    for others in (folder, folder.parent):
        for mode in (0o777, 0o770):
            others.chmod(mode)
            with pytest.raises(EmbeddedPostgresError, match="set XDG_RUNTIME_DIR"):
                Shared("", folder)
        others.chmod(0o700)
    Shared("", folder)
    with pytest.raises(EmbeddedPostgresError, match="can't be used"):
        Shared("", Path(os.devnull) / "a" / "b")


def test_in_the_folder_of_another_user_none_is_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    # Its name can be guessed, so another user may have made it first.
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    (tmp_path / f"jobqueue-{os.geteuid()}").mkdir(mode=0o700)
    with pytest.raises(EmbeddedPostgresError, match="not this user's alone"):
        Shared("key")


@pytest.mark.parametrize("what", ["not there", "relative", "another user's", "open", "a link"])
def test_a_runtime_folder_that_is_not_this_users_alone_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
):
    base = tmp_path / "base"
    base.mkdir(mode=0o700)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(base))
    assert runtime_folder() == base / "jobqueue"
    if what == "not there":
        base.rmdir()
    elif what == "relative":
        monkeypatch.setenv("XDG_RUNTIME_DIR", "base")
    elif what == "another user's":
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    elif what == "open":
        base.chmod(0o777)
    else:
        base.rename(tmp_path / "other")
        base.symlink_to(tmp_path / "other")
    assert runtime_folder() == tmp_path / f"jobqueue-{os.geteuid()}"


# ---- its start


def test_a_server_that_does_not_start_says_why(folder: Path):
    with pytest.raises(EmbeddedPostgresError, match="ended before it answered:\nno room"):
        Shared("", folder).join([sys.executable, "-c", "import sys; sys.exit('no room')"])


def test_a_caller_that_waited_for_the_end_of_one_has_another(folder: Path, monkeypatch: pytest.MonkeyPatch):
    caller = Shared("", folder)
    # Of one that was killed.
    (folder / "where").write_text("an old one")
    ending = Ending(folder)
    waited: list[str] = []

    def taken(path: Path, how: int, patience: timedelta | None = None) -> int | None:
        if patience is None and path.name != "door":
            # The process ends: it lets go of what is waited for, and of nothing else yet.
            waited.append(path.name)
            ending.lets_go_of(path.name)
        return locks_taken(path, how, patience)

    locks_taken = locks.taken
    monkeypatch.setattr(shared, "taken", taken)
    monkeypatch.setattr(locks, "taken", taken)
    assert caller.join(SERVER) == "a new one"
    assert waited == ["members", "alive"]


def test_a_caller_that_finds_one_which_ends_before_it_answers_has_another(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    caller = Shared("", folder)
    ending = Ending(folder)
    ending.lets_go_of("members")
    is_alive = Shared._is_alive

    def is_alive_no_more(self: Shared) -> bool:
        ending.lets_go_of("alive")
        return is_alive(self)

    monkeypatch.setattr(Shared, "_is_alive", is_alive_no_more)
    assert caller.join(SERVER) == "a new one"


def test_one_that_says_nothing_is_not_waited_for_for_ever(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shared, "_PATIENCE", timedelta(seconds=0.1))
    caller = Shared("", folder)
    ending = Ending(folder)
    ending.lets_go_of("members")
    with pytest.raises(EmbeddedPostgresError, match=r"did not answer within 0:00:00\.1"):
        caller.join(SERVER)
    ending.lets_go_of("alive")


# ---- its end


def test_one_that_is_alone_is_not_known_any_more_even_if_it_says_so_later(folder: Path):
    server = Shared("", folder)
    server.tell("here")
    assert (folder / "where").read_text() == "here"
    server.wait_until_alone()
    assert not (folder / "where").exists()
    server.tell("here still")
    assert not (folder / "where").exists()


def test_what_another_one_said_stays(folder: Path):
    first, second = Shared("", folder), Shared("", folder)
    first.tell("the first")
    second.tell("the second")
    first.untell()
    assert (folder / "where").read_text() == "the second"
    second.untell()
    second.untell()
    assert not (folder / "where").exists()


# ---- its key


def test_each_thing_that_makes_it_another_server_is_in_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def key() -> str:
        return server_key("1", template=True)

    keys = [key(), server_key("2", template=True), server_key("1", template=False)]
    assert key() == keys[0]
    others: list[tuple[Any, str, Any]] = [
        (sys, "executable", "/elsewhere/python"),
        (shared, "__file__", "/elsewhere/jobqueue_server/ephemeral/shared.py"),
        (tempfile, "tempdir", str(tmp_path)),
        (os, "readlink", lambda path: "net:[1]"),
    ]
    for owner, name, value in others:
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, value)
            keys.append(key())
    assert len(set(keys)) == 7
