"""What the handlers of all workers of a test noted."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .processes import LOOK, WITHIN


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: what a handler did, in which worker, and when, as of `time.time`."""

    worker: str
    event: str
    kind: str
    id: str
    attempt: int
    at: float


class Journals:
    """The journals in a folder, one a worker; `read` takes in what is new."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._offsets: Counter[Path] = Counter()
        self._entries: list[Entry] = []

    def read(self, event: str | None = None) -> list[Entry]:
        """Every entry so far; those of one worker in their order."""
        for path in sorted(self._folder.glob("*.journal")):
            with path.open("rb") as file:
                file.seek(self._offsets[path])
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    self._offsets[path] += len(line)
                    said, kind, id, attempt, at = line.decode().split()
                    self._entries.append(Entry(path.stem, said, kind, id, int(attempt), float(at)))
        return [entry for entry in self._entries if event in (None, entry.event)]

    async def until(
        self, enough: int | Callable[[list[Entry]], bool], event: str | None = None, within: float = WITHIN
    ) -> list[Entry]:
        """Waits until there are so many entries, or until they are as wanted."""
        ends = time.monotonic() + within
        while True:
            entries = self.read(event)
            if len(entries) >= enough if isinstance(enough, int) else enough(entries):
                return entries
            assert time.monotonic() < ends, f"only {len(entries)} entries {event or ''} within {within} s"
            await asyncio.sleep(LOOK)
