"""One fault: servers, workers, callers and a watch before it, and what must hold after it."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc.aio

from jobqueue.v1 import jobqueue_pb2
from jobqueue_server.lifecycle import Event as Exit
from tests.faults.checker import check
from tests.faults.processes import Server
from tests.faults.producer import Producer
from tests.faults.stage import Stage
from tests.lease.hand_worker import reason_of

from .load import TOLD, Load
from .patroni import Cluster, Member

RATE = 50.0
# So long before a fault, and after the service is back.
_BEFORE, _AFTER = 2.0, 3.0
# Shorter than a failover: each of them would be lost if that counted.
_WORKER_TTL = 5.0


@dataclass(frozen=True, slots=True)
class Row:
    """What came of a fault: a line of the table. Seconds; `bound` None: nothing is acknowledged during this one."""

    fault: str
    acks: int
    lost: int
    first_ok: float
    bound: float
    slowest: float
    told: str


class Watch:
    """A watch of all jobs.

    Attributes:
        token: Where it is.
        end: Why it ended; empty while it goes on.
    """

    def __init__(self, caller: Producer) -> None:
        self._stub = caller.stub
        self.token = ""
        self.end = ""
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        self.end = await self._read("")

    async def _read(self, token: str) -> str:
        try:
            async for answer in self._stub.WatchJobs(jobqueue_pb2.WatchJobsRequest(resume_token=token)):
                self.token = answer.resume_token
                if token:
                    return "goes on"
        except grpc.aio.AioRpcError as error:
            return reason_of(error) or error.code().name
        return "ended"

    async def resumed(self) -> str:
        """What comes of going on by the last token before the fault: `goes on`, or the reason why not."""
        return await asyncio.wait_for(self._read(self.token), 30)

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


class Scene:
    """What a test is given: two servers on a database of the cluster, each with a worker, and callers at both.

    Attributes:
        leader: The member that leads when the scene begins.
        standby: The other one.
        watch: A watch that was begun before the fault.
    """

    def __init__(self, stage: Stage, cluster: Cluster, rows: list[Row]) -> None:
        self._stage = stage
        self._rows = rows
        self.cluster = cluster
        self.leader: Member
        self.standby: Member
        self.watch: Watch
        self._servers: list[Server] = []
        self.loads: list[Load] = []
        self._since = self._until = 0.0

    async def begin(self, database: str, dsn: str, looked_at: Member) -> None:
        """Starts all but the callers.

        Args:
            database: Its name, which is new.
            dsn: How the servers reach it.
            looked_at: The member where ends of jobs are looked for meanwhile.
        """
        # A worker that goes to another server gives back what it is handed on its way.
        self._stage.explained = {Exit.UNDELIVERED, Exit.RELEASE}
        self._stage.use(looked_at.dsn(database))
        self._servers = [await self._stage.server(name, dsn) for name in ("first", "second")]
        addresses = [server.address for server in self._servers]
        for number, address in enumerate(addresses):
            await self._stage.workers([f"w{number}"], address, addresses[1 - number], ttl=_WORKER_TTL)
        producers = [self._stage.producer(address) for address in addresses]
        self.loads = [Load(producer) for producer in producers]
        self.watch = Watch(producers[0])

    @asynccontextmanager
    async def load(self) -> AsyncIterator[None]:
        """Callers at both servers, some seconds before the body and after it."""
        async with AsyncExitStack() as callers:
            for load in self.loads:
                await callers.enter_async_context(load.running(RATE))
            await asyncio.sleep(_BEFORE)
            yield
            await asyncio.sleep(_AFTER)

    def fault(self, what: str) -> float:
        """Notes what is done, just before it is done; when."""
        self._since = self._stage.fault(what)
        return self._since

    async def back(self) -> None:
        """Waits until both servers acknowledge again what was asked after now."""
        now = time.time()
        await asyncio.gather(*(load.answered(now) for load in self.loads))
        # What still hangs from before would end a pause that nobody sees.
        await asyncio.sleep(2)
        self._until = time.time()

    @property
    def acks(self) -> int:
        return sum(len(load.acknowledged) for load in self.loads)

    async def over(self, fault: str, bound: float, *, promoted: bool, planned: bool = False) -> None:
        """Holds all that must be so after any fault, and adds a line to the table.

        Args:
            fault: Its name there.
            bound: Seconds from it to the first OK; of one that is planned, without an OK.
            promoted: Whether another primary began, so that watches begin anew.
            planned: Whether the service is there until something is done, which takes a while itself.
        """
        stage = self._stage
        await stage.over()
        resumed = await self.watch.resumed()
        await self.watch.close()
        acknowledged = set().union(*(load.acknowledged for load in self.loads))
        stored = await stage.value("select array_agg(id::text) from job")
        lost = acknowledged - set(stored or ())
        told: Counter[str] = Counter()
        for load in self.loads:
            told += load.refusals
        row = Row(
            fault,
            len(acknowledged),
            len(lost),
            max(
                (load.silence if planned else load.first_ok)(self._since, self._until) for load in self.loads
            ),
            bound,
            max(load.slowest for load in self.loads),
            ", ".join(f"{count} {name}" for name, count in told.most_common()) or "no error",
        )
        self._rows.append(row)
        assert not lost
        assert set(told) <= TOLD, told
        assert resumed == ("WATCH_TOKEN_EXPIRED" if promoted else "goes on")
        violations = [str(each) for each in check(await stage.history())]
        assert not violations, "\n".join(violations[:5])
        ended = await stage.value("select count(*) from worker_session where ended_at is not null")
        losses = await stage.value("select coalesce(sum(losses), 0)::int from finished_job")
        assert (ended, losses) == (0, 0), "an outage of the database costs no worker its session"
        self._same_processes()
        assert row.first_ok <= bound, row

    def _same_processes(self) -> None:
        """No server was restarted, and none met a fault of its own."""
        for server in self._servers:
            assert server.runs
            lines: list[dict[str, Any]] = [json.loads(line) for line in server.log.read_text().splitlines()]
            assert not [line for line in lines if "exception" in line]
            errors = [line["message"] for line in lines if line["level"] == "error"]
            usual = ("the database is away: ", "a connection to the database is refused: ")
            assert not [error for error in errors if not error.startswith(usual)]
