"""`jobqueue-server` as a process of its own, to be killed."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from typing import Any

from tests import orphans

#: A process imports the whole server before it says a word: on a machine that is busy otherwise that takes its time.
PATIENCE = 60.0


class ServerProcess:
    """One server process on a database. `await start()`, then `address`.

    Attributes:
        log: Every line that it has logged, as objects.
    """

    def __init__(self, dsn: str, **settings: str) -> None:
        self._arguments = ["--database-url", dsn, "--kinds", "open", "--log-format", "json"]
        for name, value in {
            "grpc_addr": "127.0.0.1:0",
            "metrics_addr": "127.0.0.1:0",
            **settings,
        }.items():
            self._arguments += [f"--{name.replace('_', '-')}", value]
        self.log: list[dict[str, Any]] = []
        self._logged = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    async def launch(self) -> None:
        """Starts the process, and does not wait until it is ready."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "jobqueue_server",
            *self._arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        orphans.started(self._process.pid)
        self._reader = asyncio.create_task(self._read(self._process))

    async def start(self) -> None:
        """Starts it, and waits until it answers."""
        await self.launch()
        await self.said("jobqueue-server is ready")

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            try:
                self.log.append(json.loads(line))
            except ValueError:
                self.log.append({"event": line.decode(errors="replace")})
            self._logged.set()

    async def said(self, event: str, *, times: int = 1, timeout: float = PATIENCE) -> dict[str, Any]:
        """The line with this event, the so manieth, once it is logged."""
        async with asyncio.timeout(timeout):
            while True:
                self._logged.clear()
                lines = [line for line in self.log if event in str(line.get("event", line.get("message")))]
                if len(lines) >= times:
                    return lines[times - 1]
                await self._logged.wait()

    async def address(self) -> str:
        """Where gRPC answers."""
        return f"127.0.0.1:{(await self.said('jobqueue-server is ready'))['port']}"

    async def metrics_port(self) -> int:
        """Where its metrics are."""
        return int((await self.said("metrics are served"))["port"])

    def send(self, how: signal.Signals) -> None:
        """Sends it a signal."""
        assert self._process is not None
        self._process.send_signal(how)

    async def ended(self, timeout: float = PATIENCE) -> int:
        """How it ended, once it has."""
        assert self._process is not None
        async with asyncio.timeout(timeout):
            return await self._process.wait()

    async def kill(self) -> None:
        """Kills it, if it is alive, and waits for its end."""
        if self._process is not None:
            if self._process.returncode is None:
                self._process.kill()
            await self._process.wait()
            orphans.ended(self._process.pid)
        if self._reader is not None:
            await self._reader
