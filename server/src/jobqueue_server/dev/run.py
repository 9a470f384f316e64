"""`jobqueue-server dev` from its start to its end."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.console import Console

from jobqueue import Client, JobQueueError

from ..embedded import EmbeddedPostgresError
from ..embedded.binaries import Account, binaries
from ..settings import without_settings
from . import jobs, worker
from .children import Child, ChildDied, Children
from .ports import HOST, Ports
from .told import Places, Told

START_WITHIN = 120.0
# The shortest ttl of a session is 5 s. With this one it is soon seen what becomes of a dead worker's jobs.
SESSION_TTL = 10.0
GRACE = "10s"
# A server whose log has these words is started again, on other ports; so many are tried in all.
TRIES, CANT_LISTEN = 3, "can't listen on"
# `-P`: a folder of the caller's that is called as a package of ours is not imported.
PYTHON = (sys.executable, "-P", "-m")


class DevFailed(Exception):
    """It did not work. The text says what, and where to look."""


class Dev:
    """Server, worker and jobs, for as long as it runs.

    Args:
        ports: Where to listen.
    """

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._told = Told(Console())
        self._root = Path(tempfile.mkdtemp(prefix="jobqueue-dev-"))
        logs = self._root / "logs"
        logs.mkdir(mode=0o700)
        self._children = Children(
            logs, without_settings(os.environ) | {"PYTHONUNBUFFERED": "1"}, leftovers=[self._root]
        )
        self._interrupted = asyncio.Event()

    async def run(self) -> int:
        """Runs it; the exit code."""
        self._listen_for_signals()
        code = 0
        try:
            await self._unless_interrupted(self._all())
        except (ChildDied, DevFailed, EmbeddedPostgresError, JobQueueError) as error:
            self._told.say(f"\n{error}")
            code = 1
        finally:
            if self._interrupted.is_set():
                self._told.say("\nDraining; Ctrl-C again ends at once")
            killed = await self._children.stop()
            if killed:
                self._told.say(f"{' and '.join(killed)} did not end and had to be killed")
            self._told.say(f"Everything has ended, and {self._root} is removed")
        return code or int(bool(killed))

    async def _unless_interrupted(self, work: Coroutine[Any, Any, None]) -> None:
        """Does the work until it ends or a signal comes."""
        doing = asyncio.create_task(work)
        asked = asyncio.create_task(self._interrupted.wait())
        try:
            await asyncio.wait({doing, asked}, return_when=asyncio.FIRST_COMPLETED)
            if doing.done():
                await doing
        finally:
            for task in (doing, asked):
                task.cancel()
            await asyncio.gather(doing, asked, return_exceptions=True)

    async def _all(self) -> None:
        account = await asyncio.to_thread(Account.for_this_process)
        # Without PostgreSQL there is nothing to start: said before anything is.
        await asyncio.to_thread(binaries, account)
        if account is not None:
            # As root PostgreSQL runs as another user, who has to pass through it, and sees no names in it.
            self._root.chmod(0o711)
        self._told.say(f"Starting JobQueue; its data are in {self._root} until it ends")
        with self._told.step("PostgreSQL and server"):
            server, places = await self._start_server()
        async with Client(places.grpc) as client:
            with self._told.step("example jobs"):
                await jobs.seed(client)
            with self._told.step("worker"):
                running = await self._start_worker(client, places.grpc)
            for line in self._ports.moved:
                self._told.say(line)
            self._told.ready(places, running.process.pid, SESSION_TTL)
            await self._first_to_fail(
                server, self._keep_worker(running, client, places.grpc), jobs.trickle(client)
            )

    async def _start_server(self) -> tuple[Child, Places]:
        """A server that answers. If another program takes a port after our look, the next try has another port."""
        for tries_left in reversed(range(TRIES)):
            self._ports.moved.clear()
            server, places = await self._server_on(
                self._ports.take("gRPC", 50051),
                self._ports.take("HTTP", 8080),
                self._ports.take("the metrics", 9090),
            )
            try:
                await until_it_answers(server, places.grpc)
            except ChildDied as died:
                if not tries_left or CANT_LISTEN not in str(died):
                    raise
                self._children.forget(server)
            else:
                break
        return server, places

    async def _server_on(self, grpc: int, http: int, metrics: int) -> tuple[Child, Places]:
        command: list[str | Path] = [*PYTHON, "jobqueue_server", "serve"]
        command += ["--data-dir", self._root / "postgres"]
        command += ["--grpc-addr", f"{HOST}:{grpc}", "--http-addr", f"{HOST}:{http}"]
        command += ["--metrics-addr", f"{HOST}:{metrics}", "--shutdown-grace", GRACE]
        command += ["--session-ttl", f"{SESSION_TTL:g}s"]
        server = await self._children.start("server", *command)
        jobqueue = Path(sys.executable).parent / "jobqueue"
        return server, Places(
            grpc=f"{HOST}:{grpc}",
            http=f"http://{HOST}:{http}",
            metrics=f"http://{HOST}:{metrics}/metrics",
            worker=Path(worker.__file__),
            command=str(jobqueue) if jobqueue.exists() else None,
        )

    async def _start_worker(self, client: Client, target: str) -> Child:
        """Starts it, and waits until the server knows it."""
        known = {each.session_id for each in await client.list_workers()}
        child = await self._children.start("worker", *PYTHON, "jobqueue_server.dev.worker", target)
        ends = time.monotonic() + START_WITHIN
        while not {each.session_id for each in await client.list_workers()} - known:
            if child.process.returncode is not None:
                raise child.died()
            if time.monotonic() > ends:
                raise DevFailed(f"the worker did not come. The end of its log:\n{child.tail()}")
            await asyncio.sleep(0.05)
        return child

    async def _keep_worker(self, running: Child, client: Client, target: str) -> None:
        """Starts another one where one has been killed, as whatever runs workers does."""
        while True:
            code = await running.process.wait()
            died = running.died()
            if code > 0:
                # It was not killed, and did not drain: it can't run here.
                raise died
            self._children.forget(running)
            self._told.say(f"{str(died).partition('. ')[0]}: the next one starts")
            running = await self._start_worker(client, target)

    async def _first_to_fail(self, server: Child, *works: Coroutine[Any, Any, None]) -> None:
        """Does all of it until the server dies or one of them fails."""
        dying = asyncio.create_task(server.process.wait())
        tasks = [asyncio.create_task(work) for work in works]
        try:
            done, _ = await asyncio.wait({dying, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            # A server that died says more than what its death has done to its callers, which may notice it first.
            await asyncio.wait({dying}, timeout=1)
            if dying.done():
                raise server.died()
            for task in done:
                await task
        finally:
            for task in (dying, *tasks):
                task.cancel()
            await asyncio.gather(dying, *tasks, return_exceptions=True)

    def _listen_for_signals(self) -> None:
        def on_signal() -> None:
            if self._interrupted.is_set():
                self._children.kill()
            self._interrupted.set()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, on_signal)


async def until_it_answers(server: Child, target: str) -> None:
    """Waits until a server answers calls.

    Raises:
        ChildDied: It has ended instead.
        DevFailed: It takes too long.
    """
    ends = time.monotonic() + START_WITHIN
    async with Client(target, deadline=timedelta(seconds=1)) as client:
        while True:
            if server.process.returncode is not None:
                raise server.died()
            try:
                await client.list_kinds()
            except JobQueueError as error:
                if time.monotonic() > ends:
                    raise DevFailed(
                        f"the server does not answer after {START_WITHIN:g} s ({error}). The end of its log, "
                        f"{server.log}:\n{server.tail()}"
                    ) from None
                await asyncio.sleep(0.05)
            else:
                return
