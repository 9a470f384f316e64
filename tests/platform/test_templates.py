"""Clusters that are kept to be copied: made once, whole or not at all, and never more than a few."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from jobqueue_server.ephemeral import templates
from jobqueue_server.ephemeral.templates import KEPT, Templates, key_of_this_version
from jobqueue_server.store import migrate

KEY = "0123456789abcdef0123"
HOLDER = """
import pathlib, sys
from jobqueue_server.ephemeral.templates import Templates
with Templates(pathlib.Path(sys.argv[1]), sys.argv[2]).making() as missing:
    pathlib.Path(sys.argv[1], "draft-killed", "data").mkdir(parents=True)
    print(missing, flush=True)
    sys.stdin.read()
"""


def cluster(path: Path) -> Path:
    """A folder as a cluster has: files, and folders that are empty."""
    (path / "base").mkdir(parents=True)
    (path / "pg_notify").mkdir()
    (path / "base" / "1").write_bytes(b"rows")
    (path / "PG_VERSION").write_text("18\n")
    return path


@pytest.fixture
def kept(tmp_path: Path) -> Templates:
    """A template that was made, in a folder whose name has a space."""
    folder = tmp_path / "a cache"
    folder.mkdir()
    return keep(folder, KEY)


def keep(folder: Path, key: str) -> Templates:
    made = Templates(folder, key)
    with made.making() as missing:
        assert missing
        made.keep(cluster(folder.parent / f"made-{key}"))
    return made


def test_a_copy_has_all_of_it_empty_folders_too(kept: Templates, tmp_path: Path):
    assert kept.copy(tmp_path / "copy")
    assert (tmp_path / "copy" / "base" / "1").read_bytes() == b"rows"
    assert (tmp_path / "copy" / "pg_notify").is_dir()
    assert sorted(entry.name for entry in (tmp_path / "a cache").iterdir()) == [KEY, "lock"]


@pytest.mark.parametrize(
    "harm", ["shorter", "changed", "gone", "empty folder", "unfinished", "old", "no text"]
)
def test_one_that_is_not_as_it_was_made_is_not_copied_and_made_anew(
    kept: Templates, tmp_path: Path, harm: str
):
    own = tmp_path / "a cache" / KEY
    if harm == "shorter":
        (own / "data" / "base" / "1").write_bytes(b"row")
    elif harm == "changed":
        (own / "data" / "base" / "1").write_bytes(b"cows")
        os.utime(own / "data" / "base" / "1", (1, 1))
    elif harm == "gone":
        (own / "data" / "PG_VERSION").unlink()
    elif harm == "empty folder":
        (own / "data" / "pg_notify").rmdir()
    elif harm == "no text":
        (own / "files").write_bytes(b"\xff")
    elif harm == "old":
        weeks_ago = time.time() - timedelta(days=14, minutes=1).total_seconds()
        os.utime(own / "files", (weeks_ago, weeks_ago))
    else:
        (own / "files").unlink()
    assert not kept.copy(tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    with kept.making() as missing:
        assert missing
        kept.keep(cluster(tmp_path / "again"))
    assert kept.copy(tmp_path / "copy")


def test_one_of_last_week_is_copied(kept: Templates, tmp_path: Path):
    last_week = time.time() - timedelta(days=13).total_seconds()
    os.utime(tmp_path / "a cache" / KEY / "files", (last_week, last_week))
    assert kept.copy(tmp_path / "copy")


def test_who_comes_while_it_is_made_waits_and_makes_none(tmp_path: Path):
    found: list[bool] = []

    def other() -> None:
        with Templates(tmp_path, KEY).making() as missing:
            found.append(missing)

    first = Templates(tmp_path, KEY)
    with first.making() as missing:
        assert missing
        second = threading.Thread(target=other)
        second.start()
        first.keep(cluster(tmp_path.parent / f"{tmp_path.name}-made"))
        assert second.is_alive()
        assert not found
    second.join(30)
    assert found == [False]


def test_of_a_maker_that_is_killed_nothing_stays(tmp_path: Path):
    maker = subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path, KEY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert maker.stdout is not None
    assert maker.stdout.readline() == "True\n"
    maker.send_signal(signal.SIGKILL)
    maker.communicate()
    (tmp_path / "a").mkdir()
    made = Templates(tmp_path, KEY)
    assert not made.copy(tmp_path / "copy")
    with made.making() as missing:
        assert missing
        assert not list(tmp_path.glob("draft-*"))


def test_a_maker_that_hangs_is_not_waited_for_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(templates, "_PATIENCE", timedelta(seconds=0.1))
    with Templates(tmp_path, KEY).making(), Templates(tmp_path, KEY).making() as missing:
        assert not missing


def test_all_waits_of_one_start_together_have_one_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    waits: list[float] = []
    now = 1000.0

    @contextmanager
    def held(_path: Path, _how: int, patience: timedelta) -> Iterator[bool]:
        waits.append(patience.total_seconds())
        yield False

    monkeypatch.setattr(templates, "held", held)
    monkeypatch.setattr(templates, "time", SimpleNamespace(monotonic=lambda: now, time=time.time))
    made = Templates(tmp_path, KEY)
    assert not made.copy(tmp_path / "copy")
    now += 30
    with made.making() as missing:
        assert not missing
    now += 30
    made.discard()
    assert waits == [45, 15, 0]


def test_of_those_of_other_versions_the_ones_that_were_used_last_stay(tmp_path: Path):
    folder = tmp_path / "cache"
    folder.mkdir()
    for number in range(KEPT):
        keep(folder, f"v{number}")
        os.utime(folder / f"v{number}", (number, number))
    # The oldest is used once more.
    assert Templates(folder, "v0").copy(tmp_path / "copy")
    keep(folder, "new")
    assert {entry.name for entry in folder.iterdir()} == {"lock", "new", "v0", f"v{KEPT - 1}"}


def test_one_that_can_not_be_copied_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(_folder: Path) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    made = Templates(tmp_path, KEY)
    with made.making():
        made.keep(tmp_path / "nothing")
    assert [entry.name for entry in tmp_path.iterdir()] == ["lock"]
    monkeypatch.setattr(templates, "_sync", full)
    with made.making():
        made.keep(cluster(tmp_path.parent / f"{tmp_path.name}-made"))
    assert [entry.name for entry in tmp_path.iterdir()] == ["lock"]
    assert not made.copy(tmp_path / "copy")


def test_one_that_loses_files_while_it_is_copied_is_not_used(
    kept: Templates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def copied(source: Path, target: Path) -> bool:
        (source / "base" / "1").unlink()
        return all_copied(source, target)

    all_copied = templates._copied
    monkeypatch.setattr(templates, "_copied", copied)
    assert not kept.copy(tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("why", ["no program", "no time of use"])
def test_one_that_can_not_be_copied_now_is_not_used(
    kept: Templates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str
):
    def refused(_path: Path) -> None:
        raise PermissionError(errno.EROFS, "a file system to read")

    with monkeypatch.context() as patch:
        if why == "no program":
            patch.setenv("PATH", str(tmp_path))
        else:
            patch.setattr(os, "utime", refused)
        assert not kept.copy(tmp_path / "copy")
    assert kept.copy(tmp_path / "copy")


def test_what_can_not_be_looked_at_hinders_no_making(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refused(_path: Path) -> Iterator[Path]:
        raise PermissionError(errno.EACCES, "not permitted")

    made = Templates(tmp_path, KEY)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "iterdir", refused)
        with made.making() as missing:
            assert missing
            made.keep(cluster(tmp_path.parent / f"{tmp_path.name}-made"))
    assert made.copy(tmp_path.parent / f"{tmp_path.name}-copy")


def test_one_that_does_not_work_is_removed(kept: Templates, tmp_path: Path):
    kept.discard()
    assert [entry.name for entry in (tmp_path / "a cache").iterdir()] == ["lock"]


def test_each_thing_that_goes_into_one_is_in_its_key(monkeypatch: pytest.MonkeyPatch):
    keys = [key_of_this_version()]
    assert key_of_this_version() == keys[0]
    migrations = migrate.load()
    changed = migrate.Migration(len(migrations), migrations[-1].name, "select 1", "f" * 64)
    for name, value in {
        "__version__": "9.9.9",
        "version": lambda _name: "99",
        "CLUSTER": {"encoding": "LATIN1"},
    }.items():
        with monkeypatch.context() as patch:
            patch.setattr(templates, name, value)
            keys.append(key_of_this_version())
    for others in (migrations[:-1], [*migrations[:-1], changed]):
        with monkeypatch.context() as patch:
            patch.setattr(migrate, "load", lambda others=others: others)
            keys.append(key_of_this_version())
    assert len(set(keys)) == 6


def test_the_folders_to_the_cache_are_made_for_this_user_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "a" / "b"))
    before = os.umask(0)
    try:
        assert Templates.of_this_version() is not None
    finally:
        os.umask(before)
    for folder in ("a", "a/b", "a/b/jobqueue", "a/b/jobqueue/ephemeral"):
        assert (tmp_path / folder).stat().st_mode & 0o777 == 0o700


def test_a_cache_folder_that_is_not_this_users_alone_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert Templates.of_this_version() is not None
    folder = tmp_path / "jobqueue" / "ephemeral"
    assert folder.stat().st_mode & 0o077 == 0
    for others in (folder, folder.parent):
        for mode in (0o777, 0o770):
            others.chmod(mode)
            assert Templates.of_this_version() is None
        others.chmod(0o700)
    assert Templates.of_this_version() is not None
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: os.getuid() + 1)
        assert Templates.of_this_version() is None
    folder.rmdir()
    (tmp_path / "elsewhere").mkdir()
    folder.symlink_to(tmp_path / "elsewhere")
    assert Templates.of_this_version() is None
    (tmp_path / "file").touch()
    for base in (tmp_path / "file", Path("relative")):
        monkeypatch.setenv("XDG_CACHE_HOME", str(base))
        assert Templates.of_this_version() is None
