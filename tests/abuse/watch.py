"""What others notice while the server is flooded: a good caller, readiness, memory, the database."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.processes import ServerProcess

from .floods import Flood
from .statements import Statements

ROOT = Path(__file__).parents[2]
# Memory is looked at as often as that.
LOOK = 0.1
# The good caller goes on for so long, and what a flood leaves behind is given back within.
LONGER, AFTERWARDS = 1.0, 15.0
P99 = 0.25


@dataclass
class Seen:
    """What was seen of one flood.

    Attributes:
        sent, connections: MiB and connections of the attacker.
        grpc, http: Seconds of each call of the good caller.
        failed: Its calls that failed.
        not_ready: Looks that found the server not ready.
        before: MiB of the server's memory.
        most: The most of it meanwhile.
        after: The same when it was given back, or not within the time for it.
        statements: That ran because of the flood.
    """

    flood: Flood
    sent: float = 0.0
    connections: int = 0
    grpc: list[float] = field(default_factory=list)
    http: list[float] = field(default_factory=list)
    failed: int = 0
    not_ready: int = 0
    before: float = 0.0
    most: float = 0.0
    after: float = 0.0
    statements: dict[str, int] = field(default_factory=dict)

    @property
    def p99(self) -> float:
        """Of the good caller's calls over gRPC or over HTTP, whichever is worse."""
        return max(_at(0.99, self.grpc), _at(0.99, self.http))

    @property
    def trouble(self) -> list[str]:
        """The bounds that did not hold."""
        found = []
        if self.p99 > P99:
            found.append(f"p99 {self.p99 * 1000:.0f} ms")
        if self.failed or not self.grpc or not self.http:
            found.append(f"{self.failed} of {len(self.grpc) + len(self.http)} good calls failed")
        if self.not_ready:
            found.append(f"not ready {self.not_ready} times")
        if self.most > self.before + self.flood.memory_mib:
            found.append(f"memory +{self.most - self.before:.0f} MiB")
        if self.after > self.before + self.flood.memory_mib / 2:
            found.append(f"memory stays at +{self.after - self.before:.0f} MiB")
        if not self.connections:
            found.append("the flood did nothing")
        found += [f"{count} times {text}" for text, count in self.statements.items()]
        return found


def _at(share: float, times: list[float]) -> float:
    """The time within which this share of the calls was answered."""
    found = sorted(times) or [0.0]
    return found[min(int(len(found) * share), len(found) - 1)]


class Watched:
    """A server that is flooded.

    Args:
        server: It is ready.
        statements: Of its database, which it has looked at at rest.
    """

    def __init__(self, server: ServerProcess, statements: Statements) -> None:
        self._server = server
        self._statements = statements

    async def flood(self, flood: Flood, seconds: float) -> Seen:
        """Floods, and looks meanwhile."""
        seen = Seen(flood, before=self._memory())
        counted, began = await self._statements.count(), time.monotonic()
        address, http = self._server.address, self._server.http_address.rpartition(":")[2]
        good = await _started("good", address, http, seconds + LONGER)
        attacker = await _started("attacker", flood.name, address.rpartition(":")[2], http, seconds)
        looking = asyncio.create_task(self._look(seen))
        try:
            async with asyncio.timeout(seconds + 60):
                noticed, sent = await asyncio.gather(_said(good), _said(attacker))
        finally:
            looking.cancel()
            for process in (good, attacker):
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        seen.grpc, seen.http = noticed["grpc"], noticed["http"]
        seen.failed, seen.not_ready = noticed["failed"], noticed["not_ready"]
        seen.sent, seen.connections = sent["bytes"] / (1 << 20), sent["connections"]
        seen.statements = await self._statements.since(counted, time.monotonic() - began)
        until = time.monotonic() + AFTERWARDS
        seen.after = self._memory()
        while seen.after > seen.before + flood.memory_mib / 2 and time.monotonic() < until:
            await asyncio.sleep(LOOK)
            seen.after = self._memory()
        return seen

    async def _look(self, seen: Seen) -> None:
        while True:
            seen.most = max(seen.most, self._memory())
            await asyncio.sleep(LOOK)

    def _memory(self) -> float:
        for line in Path(f"/proc/{self._server.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise RuntimeError(f"the server has ended:\n{self._server.tail()}")


async def _started(program: str, *arguments: object) -> asyncio.subprocess.Process:
    command = [sys.executable, "-m", f"tests.abuse.{program}", *map(str, arguments)]
    return await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)


async def _said(process: asyncio.subprocess.Process) -> dict:
    output, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"a process of the suite ended with {process.returncode}")
    return json.loads(output)
