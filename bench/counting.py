"""Counts the calls of Python functions of a server in its own process: `COUNTED`, run in front of its program.

What it counts is written on a signal, so that a count has exactly the calls between two of them. It is no meter of
time: a profiled call costs many times what it costs without.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

#: Names the file that the counts of the process are written to.
COUNTS = "JOBQUEUE_BENCH_COUNTS"
_PACKAGES = ("/jobqueue_server/", "/grpc_http2/")

_counts: Counter[CodeType] = Counter()


def _count(frame: FrameType, event: str, _argument: Any) -> None:
    if event == "call":
        _counts[frame.f_code] += 1


def _write(_number: int, _frame: FrameType | None) -> None:
    """Writes what was called since the last time, and begins anew."""
    found: Counter[str] = Counter()
    for code, count in list(_counts.items()):
        for package in _PACKAGES:
            _, there, path = code.co_filename.rpartition(package)
            if there:
                found[f"{package.strip('/')}/{path}:{code.co_qualname}"] += count
    _counts.clear()
    file = Path(os.environ[COUNTS])
    draft = file.with_suffix(".draft")
    draft.write_text(json.dumps(found))
    draft.replace(file)


def begin() -> None:
    """Counts from now on in this thread."""
    signal.signal(signal.SIGUSR1, _write)
    sys.setprofile(_count)
