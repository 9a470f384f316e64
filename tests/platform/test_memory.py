"""The databases of a run lie in memory where there is room, and on the disk where there is none."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from jobqueue_server.embedded import EmbeddedPostgres
from tests import memory


def test_they_lie_where_temporary_files_of_this_process_do():
    in_memory = memory.has_room(Path("/dev/shm"))
    with EmbeddedPostgres() as postgres:
        assert postgres.data_dir.is_relative_to("/dev/shm") is in_memory


@pytest.mark.parametrize(("least", "used"), [(0, True), (1 << 60, False)])
def test_memory_is_used_where_there_is_room(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, least, used):
    monkeypatch.setattr(memory, "_FOLDER", tmp_path)
    monkeypatch.setattr(memory, "_FOR_EACH_WORKER", least)
    monkeypatch.setattr(tempfile, "tempdir", None)
    memory.use_memory()
    assert (tempfile.gettempdir() == str(tmp_path)) is used


def test_a_folder_that_is_not_there_is_not_used(tmp_path: Path):
    assert not memory.has_room(tmp_path / "none")
