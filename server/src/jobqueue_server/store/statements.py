"""Reads the .sql files: one statement each, in the folder `sql/` of the room that runs it, named as its method."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable


@cache
def _files() -> Mapping[str, Traversable]:
    store = files(__package__)
    found: dict[str, Traversable] = {}
    for folder in (store, *store.iterdir()):
        sql = folder / "sql"
        for entry in sql.iterdir() if sql.is_dir() else ():
            if not entry.name.endswith(".sql"):
                # A frame, which statements are made of.
                continue
            name = entry.name.removesuffix(".sql")
            assert name not in found, f"two statements are named {name}"
            found[name] = entry
    return found


@cache
def statement(name: str) -> str:
    """The text of `<name>.sql`. Its first line is a comment that names its transition, for pg_stat_activity."""
    return _files()[name].read_text(encoding="utf-8")


def names() -> list[str]:
    """Every statement there is, sorted."""
    return sorted(_files())
