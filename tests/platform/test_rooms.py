"""A room has one word: the same folder in core/, in store/ and in tests/core/. Few files lie beside the rooms.

That each room and each of these files has its place in the order of imports is held by import-linter.
"""

from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]
SERVER = ROOT / "server/src/jobqueue_server"
MOST_FLAT = 6
#: A room of memory alone: its sessions' rows are written by the rooms above it.
WITHOUT_STORE = {"lease"}


def rooms(folder: Path) -> set[str]:
    """The folders that have files of Python in them."""
    return {each.name for each in folder.iterdir() if list(each.glob("*.py"))}


def test_the_core_has_at_most_six_files_beside_its_rooms():
    flat = {path.name for path in (SERVER / "core").glob("*.py")} - {"__init__.py"}
    assert len(flat) <= MOST_FLAT, flat


def test_a_room_has_the_same_name_in_core_store_and_tests():
    core = rooms(SERVER / "core")
    assert rooms(SERVER / "store") == core - WITHOUT_STORE
    assert rooms(ROOT / "tests/core") == core
