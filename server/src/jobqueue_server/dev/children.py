"""Processes that are started together: their logs, their deaths, and their ends in order."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import Mapping, Sequence
from pathlib import Path

GUARD = Path(__file__).with_name("guard.py")
# A worker and a server drain within 10 s here; one that takes longer hangs.
END_WITHIN = 30.0


class ChildDied(Exception):
    """A child ended by itself. The text says how, with the end of its log."""


class Child:
    """One process and its log file."""

    def __init__(self, name: str, process: Process, log: Path) -> None:
        self.name = name
        self.process = process
        self.log = log

    def tail(self, lines: int = 15) -> str:
        """The end of its log, for an error."""
        text = self.log.read_text("utf-8", "replace").strip().splitlines() if self.log.exists() else []
        return "\n".join(f"  {line}" for line in text[-lines:]) or "  (it has said nothing)"

    def died(self) -> ChildDied:
        """How it has ended, to be raised."""
        code = self.process.returncode or 0
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return ChildDied(f"{self.name} {how}. The end of its log, {self.log}:\n{self.tail()}")

    async def stop(self) -> bool:
        """Asks it to end, and waits. False: it had to be killed."""
        if self.process.returncode is not None:
            return True
        self._send(signal.SIGTERM)
        try:
            async with asyncio.timeout(END_WITHIN):
                await self.process.wait()
        except TimeoutError:
            self.kill()
            await self.process.wait()
            return False
        return True

    def kill(self) -> None:
        """Ends it at once."""
        self._send(signal.SIGKILL)

    def _send(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)


class Children:
    """All of them, in the order of their starts.

    Args:
        logs: The folder of their logs.
        environment: What all of them have.
        leftovers: Folders that are removed when all have ended, in whatever way this process ends.
    """

    def __init__(self, logs: Path, environment: Mapping[str, str], leftovers: Sequence[Path] = ()) -> None:
        self._logs = logs
        self._environment = dict(environment)
        self._leftovers = leftovers
        self._running: list[Child] = []
        self._guard: Process | None = None

    async def start(
        self,
        name: str,
        *command: str | Path,
        environment: Mapping[str, str] | None = None,
        piped: bool = False,
    ) -> Child:
        """Starts one.

        Args:
            name: What it is called.
            command: The program, by its path, and its arguments.
            environment: More than what all of them have.
            piped: Its standard output is ours to read, and does not go to the log.
        """
        if self._guard is None:
            self._guard = await asyncio.create_subprocess_exec(
                sys.executable, GUARD, *self._leftovers, stdin=PIPE, start_new_session=True
            )
        log = self._logs / f"{name}.log"
        with open(log, "wb") as sink:  # noqa: ASYNC230 - a moment
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=PIPE if piped else sink,
                stderr=sink if piped else STDOUT,
                env=self._environment | dict(environment or {}),
                # Ctrl-C in a terminal goes to all of its processes at once; we end ours one after the other.
                start_new_session=True,
            )
        child = Child(name, process, log)
        self._running.append(child)
        self._tell_guard("+", child)
        return child

    async def run(
        self, name: str, *command: str | Path, environment: Mapping[str, str] | None = None
    ) -> None:
        """Runs one to its end.

        Raises:
            ChildDied: It did not end well.
        """
        child = await self.start(name, *command, environment=environment)
        code = await child.process.wait()
        if code != 0:
            raise child.died()
        self.forget(child)

    async def first_death(self) -> None:
        """Waits until one of those that run ends.

        Raises:
            ChildDied: It did.
        """
        waits = {asyncio.create_task(child.process.wait()): child for child in self._running}
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            raise waits[done.pop()].died()
        finally:
            for task in waits:
                task.cancel()

    async def stop(self) -> list[str]:
        """Ends all, the last one first, so that none loses what it needs. Names those that had to be killed."""
        killed = []
        while self._running:
            child = self._running[-1]
            if not await child.stop():
                killed.append(child.name)
            self.forget(child)
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.close()
            await self._guard.wait()
        return killed

    def forget(self, child: Child) -> None:
        """One that has ended is nothing to end any more."""
        self._running.remove(child)
        self._tell_guard("-", child)

    def _tell_guard(self, what: str, child: Child) -> None:
        assert self._guard is not None
        assert self._guard.stdin is not None
        self._guard.stdin.write(f"{what}{child.process.pid}\n".encode())

    def kill(self) -> None:
        """Ends all at once."""
        for child in self._running:
            child.kill()
