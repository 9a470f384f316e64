"""How long jobs took from when their enqueue was due until their handlers began."""

from __future__ import annotations

import json
import time
from typing import Any

from ..latency import Latencies
from . import Workers


class Starts:
    """Of one process; all at once, and each window apart where that is asked for."""

    def __init__(self, workers: Workers) -> None:
        self._window = workers.window
        self._all = Latencies()
        self._windows: list[tuple[int, Latencies]] = []

    def record(self, payload: bytes) -> None:
        """A handler begins."""
        now = time.monotonic_ns()
        took = now - json.loads(payload)["due"]
        self._all.add(took)
        if self._window is not None:
            number = int(now / 1e9 / self._window)
            if not self._windows or self._windows[-1][0] != number:
                self._windows.append((number, Latencies()))
            self._windows[-1][1].add(took)

    def told(self) -> dict[str, Any]:
        """For a report."""
        windows = [(number, each.encoded()) for number, each in self._windows]
        return {"starts": self._all.encoded(), "windows": windows}
