"""Journals: what each process saw, a JSON object a line, on the disk before the process goes on."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SUFFIX = ".journal"


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a journal.

    Attributes:
        at: When, as of `time.time` of the host that all processes, PostgreSQL included, share.
        who: The process, or the worker by hand, that wrote it.
        what: Of callers `enqueuing`, `enqueued`, `cancel_asked`, `retry_asked`; of workers `capacity`, `welcome`,
            `delivered`, `settling`, `settled`, `told`, `beat`, `pong`, `go_away`, `drain`, `goodbye`; of handlers
            `started`, `ended`; of the case `fault`; of its look at the database `terminal`.
        said: The rest, by name.
    """

    at: float
    who: str
    what: str
    said: Mapping[str, Any]

    def __getattr__(self, name: str) -> Any:
        try:
            return self.said[name]
        except KeyError:
            raise AttributeError(f"a {self.what} event says nothing of {name}: {dict(self.said)}") from None

    @property
    def lease(self) -> tuple[str, int]:
        """The job and the attempt."""
        return self.said["id"], self.said["attempt"]


class Journal:
    """Appends events to the file of one process.

    Each note is one write, forced to the disk: neither a kill -9 nor the machine's end takes back what was noted.
    """

    def __init__(self, folder: Path, who: str) -> None:
        self.who = who
        self._file = os.open(folder / f"{who}{SUFFIX}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def note(self, what: str, **said: object) -> None:
        """Notes one event, which happens now."""
        self.note_all([(what, said)])

    def note_all(self, events: Iterable[tuple[str, Mapping[str, object]]]) -> None:
        """Notes what happened at the same moment by one write."""
        at = round(time.time(), 6)
        lines = [json.dumps({"at": at, "what": what, **said}) + "\n" for what, said in events]
        if lines:
            os.write(self._file, "".join(lines).encode())
            os.fdatasync(self._file)

    def close(self) -> None:
        """Lets go of the file."""
        os.close(self._file)


class Journals:
    """Every journal in a folder; `read` takes in what is new."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._offsets: dict[Path, int] = {}
        self._events: list[Event] = []

    def read(self) -> list[Event]:
        """Every event so far; those of one process in their order."""
        for path in sorted(self._folder.glob(f"*{SUFFIX}")):
            with path.open("rb") as file:
                file.seek(self._offsets.get(path, 0))
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    self._offsets[path] = self._offsets.get(path, 0) + len(line)
                    said = json.loads(line)
                    self._events.append(Event(said.pop("at"), path.stem, said.pop("what"), said))
        return self._events

    def of(self, *what: str) -> Iterator[Event]:
        """The events of these kinds."""
        return (event for event in self.read() if event.what in what)
