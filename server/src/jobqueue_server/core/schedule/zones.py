"""Time zones of the package tzdata, whatever the host has: so all servers of one version know the same."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo

import tzdata

#: Which version of the database of time zones this is, such as `2026f`. Later ones are greater.
VERSION: str = tzdata.IANA_VERSION


class ZoneUnknown(Exception):
    """There is no time zone of this name."""


@cache
def _names() -> frozenset[str]:
    return frozenset(files("tzdata").joinpath("zones").read_text(encoding="ascii").split())


@cache
def zone(name: str) -> ZoneInfo:
    """The time zone.

    Raises:
        ZoneUnknown: There is none of this name. Names are told apart by their case.
    """
    if name not in _names():
        raise ZoneUnknown(name)
    with files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)
