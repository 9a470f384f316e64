"""What one case is given: a worker, the server's part, and where needed the real server behind a proxy."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from jobqueue.v1 import lease_pb2 as pb

from .ledger import Ledger
from .server import WITHIN, Server, Stream
from .worker import WorkerProcess


class Failed(Exception):
    """The worker is not as the protocol wants it."""


class Stage:
    """One case's.

    Args:
        command: What starts the worker under test.
        folder: For logs.
        servers: How many addresses the worker is told.
        dsn: A migrated database, for the cases with the real server.

    Attributes:
        ledger: What all frames are held against.
        server: The server's part.
        worker: The worker; started by `begin` or `start`.
    """

    def __init__(self, command: Sequence[str], folder: Path, servers: int = 1, dsn: str = "") -> None:
        self.ledger = Ledger()
        self.server = Server(self.ledger, servers)
        self.worker = WorkerProcess(command, folder / "worker.log")
        self.folder = folder
        self.dsn = dsn
        self._started = False

    async def start(self, **settings: Any) -> WorkerProcess:
        """Starts the worker with these settings, the others as they are mostly."""
        given: dict[str, Any] = {
            "addresses": self.server.addresses,
            "queues": ["default"],
            "kinds": ["work"],
            "slots": 4,
            "slots_by_kind": {},
            "name": "worker-under-test",
            "labels": {},
            "session_ttl_s": 30,
            "shutdown_grace_s": 30,
            "stop_when_lost": False,
            "tokens": False,
            "typed": False,
            "encrypted": False,
            **settings,
        }
        self.ledger.slots = given["slots"]
        self._started = True
        await self.worker.start(**given)
        return self.worker

    async def begin(self, interval: float = 0.2, **settings: Any) -> tuple[WorkerProcess, Stream]:
        """Starts the worker, and welcomes its first stream."""
        worker = await self.start(**settings)
        stream = await self.server.stream()
        await stream.welcome(interval=interval)
        return worker, stream

    async def holding(
        self, *numbers: int, interval: float = 0.2, **settings: Any
    ) -> tuple[WorkerProcess, Stream]:
        """The same, with jobs of these numbers whose handlers run and hold."""
        worker, stream = await self.begin(interval, **settings)
        stream.deliver(*(job(number, {"do": "hold"}) for number in numbers))
        await self.started(*numbers)
        return worker, stream

    async def started(self, *numbers: int) -> None:
        """Waits until the handlers of these jobs run."""
        for number in numbers:
            await self.worker.event("handler_started", job=id_of(number))

    async def tries(self, more: int) -> None:
        """Waits until the worker has tried to open so many more streams."""
        wanted = len(self.server.tries) + more
        ends = time.monotonic() + WITHIN
        while len(self.server.tries) < wanted:
            missing = wanted - len(self.server.tries)
            assert time.monotonic() < ends, f"{missing} of {more} tries did not come within {WITHIN:g} s"
            await asyncio.sleep(0.01)

    async def lets_in(self) -> Stream:
        """Refuses no more; the stream that comes of it, whose Hello was composed after all that the worker said so far.

        One try may have been under way when the worker said it, and the next may have begun before the runtime noted
        that a handler had ended: what these name as held is held as far as the worker knows.
        """
        await self.tries(2)
        self.server.refuses = lambda _: None
        return await self.server.stream()

    def faults(self) -> list[str]:
        """What broke a rule, whatever the case was about."""
        self.ledger.close()
        found = [*self.ledger.violations, *self.worker.faults]
        if self.ledger.slots is not None and self.worker.most > self.ledger.slots:
            found.append(f"slots: {self.worker.most} handlers ran, with {self.ledger.slots} slots")
        return found

    async def close(self) -> None:
        """Ends what runs."""
        if self._started:
            await self.worker.kill()
        await self.server.stop()


@asynccontextmanager
async def stage(
    command: Sequence[str], folder: Path, servers: int = 1, dsn: str = ""
) -> AsyncIterator[Stage]:
    """A stage, whose worker and servers end with it.

    Raises:
        Failed: A rule was broken.
    """
    made = Stage(command, folder, servers, dsn)
    await made.server.start()
    try:
        yield made
        faults = made.faults()
    except AssertionError as error:
        # A broken rule says more than what did not come for it.
        faults = [*made.faults(), str(error)]
        raise Failed("\n".join(faults)) from error
    finally:
        await asyncio.shield(made.close())
    if faults:
        raise Failed("\n".join(faults))


def id_of(number: int) -> str:
    """The id of a job, which tells its number."""
    return f"00000000-0000-7000-8000-{number:012d}"


def job(
    number: int,
    *steps: dict[str, Any],
    kind: str = "work",
    on_cancel: str = "stop",
    lease: int | None = None,
    **fields: Any,
) -> pb.LeasedJob:
    """A job whose handler does these steps; attempt and lease have its number unless other ones are given."""
    payload = json.dumps({"steps": steps, "on_cancel": on_cancel}).encode()
    given = {"attempt": number, "queue": "default", "max_attempts": 3, "payload_json": payload, **fields}
    return pb.LeasedJob(lease_id=number if lease is None else lease, id=id_of(number), kind=kind, **given)
