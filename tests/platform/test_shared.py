"""What the callers of a shared server know of it by files and locks, with servers that are none."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import pytest

from jobqueue_server.embedded import EmbeddedPostgresError
from jobqueue_server.ephemeral.shared import Shared, runtime_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "run" / "shared"


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
