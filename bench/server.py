"""Our server as processes of its own, on free ports of loopback."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import tempfile
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import grpc.aio
from prometheus_client.parser import text_string_to_metric_families

from jobqueue.v1 import queue_admin_pb2, queue_admin_pb2_grpc

from .checkout import Checkout
from .credentials import bearer
from .errors import BenchError

_READY = "jobqueue-server is ready"


class Server:
    """One server process. `async with` starts it and drains it.

    Args:
        dsn: A migrated database.
        program: What is run; another than the server's own for what its settings would refuse.
        settings: By name of the environment, such as JOBQUEUE_MAX_STREAMS.
        checkout: Whose server it is, instead of `program`. None: that of the working tree.
        key: Of an administrator, in the database. With one the server asks for keys.

    Attributes:
        grpc, http: Where it answers.
        pid: Its process.
        key: See above.
    """

    def __init__(
        self,
        dsn: str,
        program: str = "jobqueue_server",
        settings: Mapping[str, str] | None = None,
        checkout: Checkout | None = None,
        key: str = "",
    ) -> None:
        self.key = key
        self._dsn = dsn
        self._command = (sys.executable, "-m", program) if checkout is None else checkout.command
        self._settings = {
            **(settings or {}),
            **({"JOBQUEUE_AUTH": "keys"} if key else {}),
            **({} if checkout is None else checkout.environment),
        }
        self._checkout = checkout
        self.grpc = self.http = self._metrics = ""
        self.pid = 0
        # Once it has ended, when its file is gone.
        self._said: str | None = None

    async def __aenter__(self) -> Server:
        self.grpc, self.http, self._metrics = (f"127.0.0.1:{port}" for port in _free_ports(3))
        self._log = tempfile.NamedTemporaryFile("w+", suffix=".log")  # noqa: SIM115
        own = {name: value for name, value in os.environ.items() if not name.startswith("JOBQUEUE_")}
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            "serve",
            env={
                **own,
                "DATABASE_URL": self._dsn,
                "JOBQUEUE_LOG_FORMAT": "json",
                "JOBQUEUE_GRPC_ADDR": self.grpc,
                "API_BIND_ADDR": self.http,
                "JOBQUEUE_METRICS_ADDR": self._metrics,
                **self._settings,
            },
            stdin=asyncio.subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )
        self.pid = self._process.pid
        try:
            async with asyncio.timeout(60):
                while _READY not in self.said:
                    self.check()
                    await asyncio.sleep(0.05)
            if self._checkout is not None:
                self._checkout.check(self.said)
        except BaseException as error:
            await self.__aexit__()
            if isinstance(error, TimeoutError):
                raise BenchError(f"the server did not come up:\n{self.said[-4000:]}") from None
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(self._process.wait(), 45)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
        self._said = self.said
        self._log.close()

    @property
    def said(self) -> str:
        """Its log."""
        return Path(self._log.name).read_text(errors="replace") if self._said is None else self._said

    def check(self) -> None:
        """Raises BenchError where it has ended."""
        if self._process.returncode is not None:
            raise BenchError(f"the server ended with {self._process.returncode}:\n{self.said[-4000:]}")

    @property
    def warnings(self) -> list[str]:
        """What it logged as a warning or worse once it was ready. Before, it may warn of the bench's database."""
        found: list[str] = []
        for line in self.said.splitlines():
            try:
                fields = json.loads(line)
            except ValueError:
                continue
            if fields.get("message") == "jobqueue-server is ready":
                found.clear()
            if str(fields.get("level", "")).lower() in ("warning", "error", "critical"):
                found.append(str(fields.get("event", fields.get("message", line))))
        return found

    async def streams(self, count: int, within: float) -> None:
        """Waits until so many workers are connected to it."""
        async with asyncio.timeout(within):
            while (await self.metrics()).get("jobqueue_streams", 0) < count:
                self.check()
                await asyncio.sleep(0.1)

    async def metrics(self) -> dict[str, float]:
        """Its counters, `name{label=value,...}` -> value."""

        def read() -> str:
            request = urllib.request.Request(
                f"http://{self._metrics}/metrics", headers=dict(bearer(self.key))
            )
            with urllib.request.urlopen(request, timeout=30) as answer:
                return str(answer.read().decode())

        found: dict[str, float] = {}
        for family in text_string_to_metric_families(await asyncio.to_thread(read)):
            for sample in family.samples:
                labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
                found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
        return found


async def declare(server: Server, kinds: tuple[str, ...]) -> None:
    """Makes kinds known, whose payloads are any JSON."""
    async with grpc.aio.insecure_channel(server.grpc) as channel:
        admin = queue_admin_pb2_grpc.QueueAdminStub(channel)
        for kind in kinds:
            request = queue_admin_pb2.PutKindRequest(kind=queue_admin_pb2.Kind(name=kind))
            await admin.PutKind(request, metadata=bearer(server.key))


async def limit_keys(server: Server, max_running: int) -> None:
    """So many jobs of one key run at once in the default queue from now on."""
    policy = queue_admin_pb2.KeyPolicy(max_running=max_running)
    await _update(server, queue_admin_pb2.Queue(name="default", key_policy=policy))


async def limit_queue(server: Server, max_running: int) -> None:
    """So many jobs of the default queue run at once from now on."""
    limits = queue_admin_pb2.Limits(max_running=max_running)
    await _update(server, queue_admin_pb2.Queue(name="default", limits=limits))


async def _update(server: Server, queue: queue_admin_pb2.Queue) -> None:
    async with grpc.aio.insecure_channel(server.grpc) as channel:
        admin = queue_admin_pb2_grpc.QueueAdminStub(channel)
        request = queue_admin_pb2.UpdateQueueRequest(queue=queue, allow_missing=True)
        await admin.UpdateQueue(request, metadata=bearer(server.key))


def _free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports
