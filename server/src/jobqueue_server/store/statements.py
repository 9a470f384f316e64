"""Reads the .sql files: one statement each, named as the method that runs it."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def statement(name: str) -> str:
    """The text of `sql/<name>.sql`. Its first line is a comment that names its transition, for pg_stat_activity."""
    return (files(__package__) / "sql" / f"{name}.sql").read_text(encoding="utf-8")


def names() -> list[str]:
    """Every statement there is, sorted."""
    return sorted(
        entry.name.removesuffix(".sql")
        for entry in (files(__package__) / "sql").iterdir()
        if entry.name.endswith(".sql")
    )
