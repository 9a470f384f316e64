"""What others notice while the server is flooded: a good caller, readiness, memory, the database."""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.e2e.processes import ServerProcess

from .floods import Flood

# A good caller's call every so many seconds; memory and readiness are looked at as often as that.
EVERY = 0.02
LOOK = 0.2
# What a flood leaves behind is given back within.
AFTERWARDS = 15.0
P99 = 0.25
MEMORY_MIB = 100
# Statements that the server makes by itself come in bursts.
STATEMENTS = 15


@dataclass
class Seen:
    """What was seen of one flood.

    Attributes:
        calls: Seconds of each call of the good caller.
        failed: Its calls that failed.
        not_ready: Looks at `/readyz` that found no 200 within five seconds.
        before: MiB of the server's memory.
        most: The most of it meanwhile.
        after: The same when it was given back, or not within the time for it.
        statements: Beyond what the server does by itself.
    """

    name: str
    calls: list[float] = field(default_factory=list)
    failed: int = 0
    not_ready: int = 0
    before: float = 0.0
    most: float = 0.0
    after: float = 0.0
    statements: float = 0.0

    def at(self, share: float) -> float:
        """The time within which this share of the calls was answered."""
        times = sorted(self.calls) or [0.0]
        return times[min(int(len(times) * share), len(times) - 1)]

    @property
    def trouble(self) -> list[str]:
        """The bounds that did not hold."""
        found = []
        if self.at(0.99) > P99 or self.failed:
            found.append(f"p99 {self.at(0.99) * 1000:.0f} ms, {self.failed} failed")
        if self.not_ready:
            found.append(f"not ready {self.not_ready} times")
        if self.most > self.before + MEMORY_MIB or self.after > self.before + MEMORY_MIB / 2:
            found.append(f"memory {self.before:.0f}, {self.most:.0f}, {self.after:.0f} MiB")
        if self.statements > STATEMENTS:
            found.append(f"{self.statements:.0f} statements")
        return found


class Watched:
    """A server and its database.

    Args:
        server: It is ready.
        dsn: Of its database.
        admin: Of another database on the same PostgreSQL, so that looking is not counted.
    """

    def __init__(self, server: ServerProcess, dsn: str, admin: str) -> None:
        self._server = server
        self._database = dsn.rpartition("/")[2]
        self._admin = admin
        self._by_itself = 0.0

    async def settle(self, seconds: float) -> None:
        """Looks how many statements the server makes by itself."""
        before = await self._statements()
        await asyncio.sleep(seconds)
        self._by_itself = (await self._statements() - before) / seconds

    async def flood(self, flood: Flood, seconds: float) -> Seen:
        """Floods, looks meanwhile, and ends what floods."""
        seen = Seen(flood.name, before=self._memory())
        statements, began = await self._statements(), time.monotonic()
        ports = [one.rpartition(":")[2] for one in (self._server.address, self._server.http_address)]
        command = [sys.executable, "-m", "tests.abuse.attacker", flood.name, *ports, str(seconds)]
        attacker = await asyncio.create_subprocess_exec(*command, cwd=Path(__file__).parents[2])
        try:
            until = began + seconds + 2
            await asyncio.gather(
                self._call(seen, until), self._look(seen, until), self._ask_whether_ready(seen, until)
            )
        finally:
            if attacker.returncode is None:
                attacker.kill()
            await attacker.wait()
        took = time.monotonic() - began
        seen.statements = await self._statements() - statements - self._by_itself * took
        until = time.monotonic() + AFTERWARDS
        seen.after = self._memory()
        while seen.after > seen.before + MEMORY_MIB / 2 and time.monotonic() < until:
            await asyncio.sleep(LOOK)
            seen.after = self._memory()
        return seen

    async def _call(self, seen: Seen, until: float) -> None:
        """The good caller, on a connection of its own, at times of its own."""
        async with grpc.aio.insecure_channel(self._server.address) as channel:
            check = health_pb2_grpc.HealthStub(channel).Check
            calls = []

            async def one() -> None:
                began = time.monotonic()
                try:
                    await check(health_pb2.HealthCheckRequest(), timeout=5, wait_for_ready=True)
                except grpc.aio.AioRpcError:
                    seen.failed += 1
                seen.calls.append(time.monotonic() - began)

            while time.monotonic() < until:
                calls.append(asyncio.create_task(one()))
                await asyncio.sleep(EVERY)
            await asyncio.gather(*calls)

    async def _look(self, seen: Seen, until: float) -> None:
        while time.monotonic() < until:
            seen.most = max(seen.most, self._memory())
            await asyncio.sleep(LOOK)

    async def _ask_whether_ready(self, seen: Seen, until: float) -> None:
        host, _, port = self._server.http_address.rpartition(":")
        while time.monotonic() < until:
            line = b""
            try:
                async with asyncio.timeout(5):
                    reader, writer = await asyncio.open_connection(host, int(port))
                    writer.write(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
                    line = await reader.readline()
                    writer.close()
            except (OSError, TimeoutError):
                pass
            seen.not_ready += b" 200 " not in line
            await asyncio.sleep(LOOK)

    def _memory(self) -> float:
        for line in Path(f"/proc/{self._server.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        return 0.0

    async def _statements(self) -> float:
        connection = await asyncpg.connect(self._admin)
        try:
            count = "select xact_commit + xact_rollback from pg_stat_database where datname = $1"
            return float(await connection.fetchval(count, self._database))
        finally:
            await connection.close()
