"""The parent of several server processes: it starts and restarts them, drains them all, and serves their metrics.

Each child is started as a new program: gRPC does not survive a fork. The children share the ports by SO_REUSEPORT, so
that the kernel spreads connections over them. They share the database as servers on different hosts do.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import signal
import socket
import sys
import time
from pathlib import Path

from pydantic import SecretStr

from .. import logs, systemd
from ..addresses import check_free, split_address
from ..embedded import EmbeddedPostgres, default_data_dir
from ..program import TOO_OLD
from ..security import metrics_token
from ..settings import Settings, listening
from ..store import migrate
from .metrics import GatheredMetrics

_log = logs.get(__name__)

START_AGAIN_AFTER = 1.0
# A child that lived for this long is restarted at once; one that ended sooner is restarted after growing waits.
GOOD_AFTER = 30.0
MOST_PATIENCE = 30.0


class Child:
    """One server process.

    Attributes:
        number: From 0; the label `process` of its metrics.
        metrics_port: The port of its metrics; 0 while it is not ready.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.metrics_port = 0
        self.ready = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None

    async def run(self, settings: Settings, leaving: asyncio.Event) -> int:
        """Runs the process once, and answers its exit code. `leaving` says whether it must end, also at start."""
        said, says = os.pipe()
        try:
            # Outside of the terminal's process group: the parent alone gets Ctrl-C, and passes it on once.
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                f"{__package__}.child",
                str(says),
                stdin=asyncio.subprocess.PIPE,
                pass_fds=(says,),
                start_new_session=True,
            )
        finally:
            os.close(says)
        assert self._process.stdin is not None
        self._process.stdin.write(pickle.dumps(settings))
        _log.info("a server process starts", process=self.number, pid=self._process.pid)
        if leaving.is_set():
            self.send(signal.SIGTERM)
        hearing = asyncio.create_task(self._hear(said))
        try:
            return await self._process.wait()
        finally:
            hearing.cancel()
            self.metrics_port = 0
            self.ready.clear()

    async def _hear(self, said: int) -> None:
        """Waits for the line by which the process says that it is ready."""
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        pipe = os.fdopen(said, "rb")
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, pipe)
        try:
            if line := await reader.readline():
                self.metrics_port = int(line)
                self.ready.set()
        finally:
            transport.close()

    def send(self, name: signal.Signals) -> None:
        """Sends the process a signal, if it runs."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(name)


class Processes:
    """Several servers as one program. `run()` returns after a signal, with the exit code."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._children = [Child(number) for number in range(settings.processes)]
        self._leaving = asyncio.Event()
        self._code = 0
        self._up = contextlib.AsyncExitStack()

    async def run(self) -> int:
        """Serves until SIGTERM or SIGINT, which drains all of them; a second one ends them at once.

        Raises:
            AddressUnusable: A port is taken.
            EmbeddedPostgresError, MigrationError: The database can't be started or migrated.
        """
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self._leave)
        if self._settings.tls_cert is not None:
            loop.add_signal_handler(signal.SIGHUP, self._send, signal.SIGHUP)
        async with self._up:
            settings = await self._prepare()
            saying = asyncio.create_task(self._say_when_ready(settings))
            await asyncio.gather(*(self._keep(child, settings) for child in self._children))
            saying.cancel()
        return self._code

    async def _prepare(self) -> Settings:
        """Does what is done once for all children: ports, database, metrics. Answers the children's settings."""
        settings = self._settings
        check_free(listening(settings))
        changed: dict[str, object] = {"processes": 1}
        for name in ("grpc_addr", "http_addr"):
            address = getattr(settings, name)
            if address is not None and split_address(address)[1] == 0:
                changed[name] = self._free_port(address)
        if settings.dsn is None:
            postgres = EmbeddedPostgres(Path(settings.data_dir or default_data_dir()))
            self._up.push_async_callback(asyncio.to_thread, postgres.stop)
            await asyncio.to_thread(postgres.start)
            await migrate.up(postgres.dsn)
            changed["database_url"] = SecretStr(postgres.dsn)
            _log.info("an embedded PostgreSQL is up", folder=str(postgres.data_dir))
        if settings.metrics_addr is not None:
            changed["metrics_addr"] = "127.0.0.1:0"
            gathered = GatheredMetrics(
                lambda: {child.number: child.metrics_port for child in self._children},
                metrics_token(settings),
            )
            port = gathered.start(settings.metrics_addr)
            self._up.push_async_callback(asyncio.to_thread, gathered.stop)
            _log.info("metrics of all processes are served", port=port)
        return settings.model_copy(update=changed)

    def _free_port(self, address: str) -> str:
        """The address with its port. This program stays bound to the port; only the children listen on it."""
        host, _ = split_address(address)
        family, kind, _, _, place = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        held = self._up.enter_context(socket.socket(family, kind))
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(place)
        return f"{address.rpartition(':')[0]}:{held.getsockname()[1]}"

    async def _keep(self, child: Child, settings: Settings) -> None:
        """Runs a child, and restarts it if it ends unasked."""
        patience = START_AGAIN_AFTER / 2
        ever_ready = False
        while not self._leaving.is_set():
            started = time.monotonic()
            running = asyncio.create_task(child.run(settings, self._leaving))
            readying = asyncio.create_task(child.ready.wait())
            await asyncio.wait({running, readying}, return_when=asyncio.FIRST_COMPLETED)
            ever_ready |= child.ready.is_set()
            readying.cancel()
            code = await running
            if self._leaving.is_set():
                self._code = self._code or max(code, 0)
                return
            if not ever_ready:
                # The child's log says why. Another start would fail too, and a missing process would go unnoticed.
                _log.error("a server process could not start", process=child.number, code=code)
                self._code = code if code > 0 else 1
                self._leave()
                return
            if code == TOO_OLD:
                _log.error(
                    "a server process is too old for its database, and so are all", process=child.number
                )
                self._code = code
                self._leave()
                return
            good = time.monotonic() - started > GOOD_AFTER
            patience = START_AGAIN_AFTER if good else min(2 * patience, MOST_PATIENCE)
            _log.error(
                "a server process ended, and is started again",
                process=child.number,
                code=code,
                after=f"{patience:g} s",
            )
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self._leaving.wait()

    def _leave(self) -> None:
        """Passes a signal on to all children. Each handles a first and a second one by itself."""
        if not self._leaving.is_set():
            systemd.tell(systemd.STOPPING)
            _log.info("draining all processes", processes=len(self._children))
        self._leaving.set()
        self._send(signal.SIGTERM)

    def _send(self, name: signal.Signals) -> None:
        for child in self._children:
            child.send(name)

    async def _say_when_ready(self, settings: Settings) -> None:
        for child in self._children:
            await child.ready.wait()
        systemd.tell(systemd.READY)
        _log.info("all processes are ready", processes=len(self._children), grpc=settings.grpc_addr)
