"""The cases, by what is hurt."""

from __future__ import annotations

from importlib import import_module

_FILES = (
    "workers",
    "zombies",
    "connections",
    "streams",
    "settlements",
    "holds",
    "limits",
    "totals",
    "changes",
    "pauses",
    "turns",
    "orders",
    "commits",
    "uniques",
    "restarts",
    "across",
    "databases",
    "clocks",
    "schedules",
    "languages",
)


def load() -> None:
    """Makes every case known."""
    for name in _FILES:
        import_module(f"{__name__}.{name}")
