"""Processes that do one thing together: let go at once, counted while they run, and asked for what they saw."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from multiprocessing.connection import Connection
from typing import Any

from .errors import BenchError

# Forking a process in which gRPC has threads deadlocks the child sooner or later.
_SPAWN = multiprocessing.get_context("spawn")
#: What each process counts, by its place: jobs done, gRPC messages or HTTP requests and answers, jobs refused, jobs
#: whose call was not answered in time, heartbeats sent, heartbeats answered. And what it is told while it runs: how
#: many jobs it may have done by now, and whether it is to stop.
DONE, MESSAGES, REFUSED, LATE, BEATS, PONGS, ALLOWED, STOPPING = range(8)
_NO_BOUND = 1 << 62


class Mailbox:
    """The side of the process: where it is told what to do, and where it counts.

    Attributes:
        counts: Shared: what it does by the places above.
    """

    def __init__(self, pipe: Connection, counts: Any) -> None:
        self._pipe = pipe
        self.counts = counts

    def ready(self) -> None:
        """Says so, and waits until all may begin."""
        self._pipe.send({"ready": os.getpid()})
        self._pipe.recv()

    def stopped(self) -> asyncio.Future[None]:
        """Done once it is to end. Not by a thread that waits: a program that breaks could not end before it."""
        loop = asyncio.get_running_loop()
        told: asyncio.Future[None] = loop.create_future()

        def hear() -> None:
            loop.remove_reader(self._pipe.fileno())
            if not told.done():
                told.set_result(None)

        loop.add_reader(self._pipe.fileno(), hear)
        return told

    @property
    def stopping(self) -> bool:
        """Whether it is to do no more."""
        return bool(self.counts[STOPPING])

    @property
    def waits(self) -> bool:
        """Whether it has done all that it may for now."""
        return bool(self.counts[DONE] >= self.counts[ALLOWED] and not self.counts[STOPPING])

    def report(self, **found: object) -> None:
        """Tells what it saw; the last that it does."""
        # A loop that listened for the end has left it such that a write of more than it has room for fails half way.
        os.set_blocking(self._pipe.fileno(), True)
        self._pipe.send(found)


#: Runs in a process of its own, with what it was given.
Work = Callable[..., None]


def _run(work: Work, pipe: Connection, counts: Any, arguments: tuple[Any, ...]) -> None:
    mailbox = Mailbox(pipe, counts)
    try:
        work(mailbox, *arguments)
        # It stays until it is ended, so that what it used can be read.
        pipe.recv()
    except (KeyboardInterrupt, EOFError):
        pass
    except BaseException:
        mailbox.report(error=traceback.format_exc())


class Processes:
    """Processes of one sort. `async with` starts them, and ends them whatever happens.

    Args:
        name: For errors.
        work: What each does.
        arguments: What each is given.
    """

    def __init__(self, name: str, work: Work, arguments: Sequence[tuple[Any, ...]]) -> None:
        self.name = name
        self._pipes: list[Connection] = []
        self._counts: list[Any] = []
        self._processes: list[Any] = []
        # Reports that came during a check.
        self._early: dict[Connection, dict[str, Any]] = {}
        for given in arguments:
            ours, theirs = _SPAWN.Pipe()
            counts = _SPAWN.RawArray("q", 8)
            counts[ALLOWED] = _NO_BOUND
            process = _SPAWN.Process(target=_run, args=(work, theirs, counts, given), daemon=True)
            self._pipes.append(ours)
            self._counts.append(counts)
            self._processes.append(process)

    async def __aenter__(self) -> Processes:
        await asyncio.to_thread(self._start)
        return self

    def _start(self) -> None:
        for process in self._processes:
            process.start()
        for pipe in self._pipes:
            self._hear(pipe, 300)

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self._end)

    def _end(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join(10)
            if process.is_alive():
                process.kill()
                process.join()

    def _hear(self, pipe: Connection, within: float) -> dict[str, Any]:
        try:
            if not pipe.poll(within):
                raise BenchError(f"{self.name}: a process has said nothing for {within:g} s")
            said: dict[str, Any] = pipe.recv()
        except EOFError:
            raise BenchError(f"{self.name}: a process ended without a word") from None
        if "error" in said:
            raise BenchError(f"{self.name}: a process broke\n{said['error']}")
        return said

    @property
    def pids(self) -> list[int]:
        """Of its processes."""
        return [process.pid for process in self._processes]

    def go(self) -> None:
        """Lets them begin."""
        for pipe in self._pipes:
            pipe.send("go")

    def count(self, what: int) -> int:
        """The sum over its processes, as of now."""
        return sum(counts[what] for counts in self._counts)

    def allow(self, jobs: int) -> None:
        """How many jobs they may have done by now, all together."""
        for counts in self._counts:
            counts[ALLOWED] = jobs // len(self._counts)

    async def end(self, within: float = 60) -> list[dict[str, Any]]:
        """Tells those that go on until they are done that they are; what each saw."""
        for counts in self._counts:
            counts[STOPPING] = 1
        return await self.reports(within)

    def check(self) -> None:
        """Raises BenchError where one has broken."""
        for pipe, process in zip(self._pipes, self._processes, strict=True):
            if pipe not in self._early and not process.is_alive() and process.exitcode != 0:
                raise BenchError(f"{self.name}: a process ended with {process.exitcode}")
            if pipe not in self._early and pipe.poll():
                self._early[pipe] = self._hear(pipe, 1)

    async def reports(self, within: float = 120) -> list[dict[str, Any]]:
        """What each saw, once they are done."""
        until = time.monotonic() + within

        def hear(pipe: Connection) -> dict[str, Any]:
            if pipe not in self._early:
                self._early[pipe] = self._hear(pipe, max(0.1, until - time.monotonic()))
            return self._early[pipe]

        return [await asyncio.to_thread(hear, pipe) for pipe in self._pipes]

    async def stop(self, within: float = 60) -> list[dict[str, Any]]:
        """Tells those that work until they are told, and what each saw."""
        for pipe in self._pipes:
            pipe.send("stop")
        return await self.reports(within)


def merged(reports: Iterable[dict[str, Any]], name: str) -> list[Any]:
    """That item of every report that has it."""
    return [report[name] for report in reports if report.get(name) is not None]
