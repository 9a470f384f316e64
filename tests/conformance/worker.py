"""The worker under test: a process that speaks JSON lines, as docs/conformance.md says."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from .server import WITHIN

_LINE_BYTES = 4 * 1024 * 1024
# As the logs of all languages have it.
_WARNING = re.compile(r"\bwarn(ing)?\b", re.IGNORECASE)
_ROOT = Path(__file__).parents[2]


class WorkerProcess:
    """A process of the program under test.

    Args:
        command: How it is started, from the repository's root.
        log: Where its stderr goes.

    Attributes:
        events: Every line that it printed.
        running: The leases whose handlers run, as (job, attempt).
        most: The most that ran at once.
        faults: What its lines say that no worker may do.
    """

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self.events: list[dict[str, Any]] = []
        self.running: set[tuple[str, int]] = set()
        self.most = 0
        self.faults: list[str] = []
        self._command = command
        self._log = log
        self._changed = asyncio.Event()
        self._started: set[tuple[str, int]] = set()

    async def start(self, **settings: Any) -> None:
        """Starts it and tells it what to be."""
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                limit=_LINE_BYTES,
                start_new_session=True,
                cwd=_ROOT,
            )
        self._reading = asyncio.create_task(self._read())
        self.tell(do="start", **settings)

    def tell(self, **line: Any) -> None:
        """One line for it."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(line).encode() + b"\n")

    def release(self, *jobs: str) -> None:
        """Lets handlers go on that hold."""
        for job in jobs:
            self.tell(do="release", job=job)

    async def event(self, name: str, within: float = WITHIN, **like: Any) -> dict[str, Any]:
        """The first line of that event with these fields, whether it came already or not; each is found once."""
        ends = time.monotonic() + within
        while True:
            for line in self.events:
                if line["event"] == name and not line.get("_found") and line.items() >= like.items():
                    line["_found"] = True
                    return line
            left = ends - time.monotonic()
            assert left > 0, (
                f"no {name} {like or ''} within {within:g} s; it said {self.said()}\n{self.tail()}"
            )
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), left)
            except TimeoutError:
                continue

    async def count(self, name: str, count: int, within: float = WITHIN) -> None:
        """Waits until it printed so many lines of that event."""
        ends = time.monotonic() + within
        while (found := sum(line["event"] == name for line in self.events)) < count:
            assert time.monotonic() < ends, f"{found} of {count} {name} within {within:g} s\n{self.tail()}"
            await asyncio.sleep(0.02)

    def said(self, name: str | None = None, **like: Any) -> list[str]:
        """Its lines in short; those of one event, if one is named."""
        return [
            " ".join(str(value) for key, value in line.items() if key in ("event", "job", "reason", "error"))
            for line in self.events
            if (name is None or line["event"] == name) and line.items() >= like.items()
        ]

    def terminate(self) -> None:
        """SIGTERM: it should drain."""
        self._process.send_signal(signal.SIGTERM)

    async def exit(self, within: float = WITHIN) -> int:
        """Waits for its end; the exit code."""
        try:
            code = await asyncio.wait_for(self._process.wait(), within)
        except TimeoutError:
            raise AssertionError(
                f"it still runs after {within:g} s; it said {self.said()}\n{self.tail()}"
            ) from None
        await self._reading
        return code

    async def kill(self) -> None:
        """Ends it, whatever it does."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):  # it has ended just now
                os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()
        await self._reading

    def warnings(self) -> list[str]:
        """The lines of its stderr that are warnings."""
        return [line for line in self._log.read_text(errors="replace").splitlines() if _WARNING.search(line)]

    def tail(self, lines: int = 30) -> str:
        """The end of its stderr."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for raw in self._process.stdout:
            try:
                line = json.loads(raw)
                self._note(line)
            except (ValueError, KeyError, TypeError):
                self.faults.append(f"its stdout is not as specified: {raw[:200]!r}")
                continue
            self.events.append(line)
            self._changed.set()

    def _note(self, line: dict[str, Any]) -> None:
        name = line["event"]
        if name in ("handler_started", "handler_ended"):
            lease = (line["job"], line["attempt"])
            if name == "handler_ended":
                self.running.discard(lease)
                return
            if lease in self._started:
                self.faults.append(f"handlers: attempt {lease[1]} of {lease[0]} was started twice")
            self._started.add(lease)
            self.running.add(lease)
            self.most = max(self.most, len(self.running))
