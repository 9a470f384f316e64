"""What a measurement was made on and with."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

_PACKAGES = ("jobqueue-server", "jobqueue", "grpcio", "protobuf", "asyncpg", "uvloop", "uvicorn", "httptools")


def machine() -> str:
    """Cores, processor, memory, kernel."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{len(os.sched_getaffinity(0))} cores ({_processor()}), {memory:.0f} GB, "
        f"{platform.system()} {platform.release()}"
    )


def versions() -> dict[str, str]:
    """Of what ours is made of."""
    return {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
