"""The demo from its start to its end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from rich.console import Console

from jobqueue import Client, Job, Status
from jobqueue_server.dev.children import ChildDied, Children
from jobqueue_server.dev.ports import HOST, Ports
from jobqueue_server.dev.run import DevFailed, until_it_answers

from . import work
from .places import PROGRAMS, InUse, Places, new_secret
from .sinks import SECRET
from .view import Lines, LiveTable, Story, View, shown

KINDS = 4
FIRST_JOBS_WITHIN = 60.0
LOOK_EVERY = 0.25
# Slow enough to follow with the eyes.
ANOTHER_EVERY = 2.5
SHOWN_JOBS = 40
WORKER = "demo-worker"
GRACE = "10s"


class DemoFailed(Exception):
    """It did not work. The text says what, and where to look."""


class Demo:
    """Everything at once, for as long as it runs.

    Args:
        data: The folder for all that it makes.
        once: Whether to end when the first jobs are done, instead of at Ctrl-C.
        ports: Where to listen.
    """

    def __init__(self, data: Path, *, once: bool, ports: Ports) -> None:
        self._once = once
        self._places = Places(data.expanduser().resolve())
        self._ports = ports
        self._name = uuid4().hex[:8]
        self._received: dict[str, Path] = {}
        self._seen: dict[str, Job] = {}
        self._reading: asyncio.Task[None] | None = None
        self._secret = new_secret()
        self._console = Console()
        self._view: View
        self._interrupted = asyncio.Event()
        # Settings of other servers and workers are not meant for these.
        plain = {
            name: value for name, value in os.environ.items() if not name.startswith(("JOBQUEUE_", "WORKER_"))
        }
        self._database = {name: os.environ[name] for name in _DATABASE if os.environ.get(name)}
        plain.pop("DATABASE_URL", None)
        self._children = Children(self._places.logs, plain | {"PYTHONUNBUFFERED": "1"})

    async def run(self) -> int:
        """Runs it; the exit code."""
        self._listen_for_signals()
        self._places.make()
        try:
            self._places.take()
        except InUse as error:
            print(error, file=sys.stderr)
            return 1
        story = Story(self._places, self._received)
        live = self._console.is_terminal and not self._once
        self._view = (
            Lines(story)
            if not live
            else LiveTable(self._console, story, f"JobQueue, in {shown(self._places.root)}", WORKER)
        )
        code = 0
        try:
            if not await self._unless_interrupted(self._all()):
                code = 130 if self._once else 0
        except (ChildDied, DemoFailed, DevFailed) as error:
            self._view.stop()
            print(f"\n{error}", file=sys.stderr, flush=True)
            code = 1
        finally:
            self._view.stop()
            code = await self._end() or code
        return code

    async def _unless_interrupted(self, work: Coroutine[Any, Any, None]) -> bool:
        """Does the work; False if a signal came first. A child that ends by itself ends the work too."""
        doing = asyncio.create_task(work)
        asked = asyncio.create_task(self._interrupted.wait())
        try:
            await asyncio.wait({doing, asked}, return_when=asyncio.FIRST_COMPLETED)
            if doing.done():
                await doing
            return doing.done()
        finally:
            for task in (doing, asked):
                task.cancel()
            await asyncio.gather(doing, asked, return_exceptions=True)

    async def _all(self) -> None:
        self._view.say(f"Starting server, worker and receivers in {shown(self._places.root)}")
        hooks = await self._start_sinks()
        target = await self._start_server()
        worker_metrics = await self._start_worker(target, hooks)
        for line in self._ports.moved:
            self._view.say(line)
        async with Client(target) as client:
            watching = asyncio.create_task(self._watch(client, target, hooks, worker_metrics))
            dying = asyncio.create_task(self._children.first_death())
            try:
                await asyncio.wait({watching, dying}, return_when=asyncio.FIRST_COMPLETED)
                # A child that died says more than what its death has done to us.
                await (dying if dying.done() else watching)
            finally:
                for task in (watching, dying):
                    task.cancel()
                await asyncio.gather(watching, dying, return_exceptions=True)

    # --- children

    async def _start_sinks(self) -> dict[str, Any]:
        child = await self._children.start(
            "sinks",
            sys.executable,
            "-m",
            "tools.demo.sinks",
            self._places.mails,
            self._places.webhooks,
            environment={SECRET: self._secret, "PYTHONPATH": str(Path(__file__).parents[2])},
            piped=True,
        )
        out = child.process.stdout
        assert out is not None
        first = await out.readline()
        if not first:
            await child.process.wait()
            raise child.died()
        self._reading = asyncio.create_task(self._read(out))
        ports: dict[str, Any] = json.loads(first)
        return ports

    async def _read(self, out: asyncio.StreamReader) -> None:
        while line := await out.readline():
            said = json.loads(line)
            self._received[said["job"]] = Path(said["file"])

    async def _start_server(self) -> str:
        grpc, metrics = self._ports.take("gRPC", 50051), self._ports.take("the server's metrics", 9090)
        http = self._ports.take("HTTP", 8080)
        self._server_metrics = f"http://{HOST}:{metrics}/metrics"
        self._rest = f"http://{HOST}:{http}"
        target = f"{HOST}:{grpc}"
        command: list[str | Path] = [PROGRAMS / "jobqueue-server", "serve", "--grpc-addr", target]
        command += ["--http-addr", f"{HOST}:{http}"]
        command += ["--metrics-addr", f"{HOST}:{metrics}", "--shutdown-grace", GRACE]
        if self._database:
            await self._children.run(
                "migrate", PROGRAMS / "jobqueue-server", "migrate", "up", environment=self._database
            )
        else:
            folder = self._places.database()
            command += ["--data-dir", folder]
            if not folder.is_relative_to(self._places.root):
                self._view.say(
                    f"PostgreSQL does not run as root, and `nobody` may not enter {self._places.root}: its data go to "
                    f"{folder}"
                )
        server = await self._children.start("server", *command, environment=self._database)
        await until_it_answers(server, target)
        return target

    async def _start_worker(self, target: str, hooks: dict[str, Any]) -> str:
        port = self._ports.take("the worker's metrics", 9091)
        command: list[str | Path] = [PROGRAMS / "jobqueue-worker", "--server", target]
        command += [
            "--worker-name",
            WORKER,
            "--files",
            self._places.files,
            "--webhook-allow",
            f"{HOST}:{hooks['port']}",
        ]
        command += ["--smtp-host", HOST, "--smtp-port", str(hooks["smtp"]), "--smtp-tls", "none"]
        command += ["--metrics-bind-addr", f"{HOST}:{port}", "--shutdown-grace", GRACE]
        await self._children.start("worker", *command, environment={SECRET: self._secret})
        return f"http://{HOST}:{port}/metrics"

    # --- jobs

    async def _watch(self, client: Client, target: str, hooks: dict[str, Any], worker_metrics: str) -> None:
        labels = {"demo": self._name}
        await asyncio.to_thread(work.make_sample, self._places.files)
        first = [
            (await client.enqueue(job.kind, job.payload, labels=labels)).id
            for job in work.one_of_each(hooks["webhook"], labels)
        ]
        self._view.start()
        ends = time.monotonic() + FIRST_JOBS_WITHIN
        trickle: asyncio.Task[None] | None = None
        told = False
        try:
            while True:
                jobs = await self._look(client, labels)
                mine = [jobs[id] for id in first if id in jobs]
                self._view.show(mine, [job for id, job in jobs.items() if id not in first])
                if not told and len(mine) == KINDS and self._done(mine):
                    told = True
                    self._view.next_steps(self._next_steps(mine, target, worker_metrics))
                if told and self._once:
                    return
                if told and trickle is None:
                    trickle = asyncio.create_task(self._trickle(client, hooks["webhook"], labels))
                if not told and time.monotonic() > ends:
                    raise DemoFailed(_unfinished(mine, self._places.logs))
                if trickle is not None and trickle.done():
                    await trickle
                await asyncio.sleep(LOOK_EVERY)
        finally:
            if trickle is not None:
                trickle.cancel()
                await asyncio.gather(trickle, return_exceptions=True)

    async def _look(self, client: Client, labels: dict[str, str]) -> dict[str, Job]:
        """The newest jobs and those that were first, by id, oldest first."""
        page = await client.list_page(labels=labels, full=True, page_size=SHOWN_JOBS)
        self._seen.update((job.id, job) for job in reversed(page.jobs))
        # The first ones are over before there are so many; the others make room for new ones.
        for id in [*self._seen][KINDS:-SHOWN_JOBS]:
            del self._seen[id]
        return self._seen

    def _done(self, jobs: Sequence[Job]) -> bool:
        """Whether all of the first jobs have succeeded, and what they sent is in its file.

        Raises:
            DemoFailed: One ended otherwise.
        """
        for job in jobs:
            if job.is_terminal and job.status is not Status.SUCCEEDED:
                raise DemoFailed(f"{job.kind} ended {job.status} ({job.reason}): {job.last_error}")
        sent = [job for job in jobs if job.kind in ("send_email", "webhook_delivery")]
        return all(job.status is Status.SUCCEEDED for job in jobs) and all(
            job.id in self._received for job in sent
        )

    async def _trickle(self, client: Client, webhook: str, labels: dict[str, str]) -> None:
        for job in work.more(webhook, labels, self._name):
            await asyncio.sleep(ANOTHER_EVERY)
            await client.enqueue(job.kind, job.payload, delay=job.delay, labels=labels)

    def _next_steps(self, jobs: Sequence[Job], target: str, worker_metrics: str) -> list[tuple[str, str]]:
        by_kind = {job.kind: job for job in jobs}
        command = shown(PROGRAMS / "jobqueue")
        # The one of our own is what the command takes anyway.
        server = "" if target == f"{HOST}:50051" else f" --server {target}"
        grpcurl = f"{shown(PROGRAMS / 'grpcurl')} -plaintext"
        body = '{"job": {"kind": "summarize_text", "payload": {"text": "One. Two."}}}'
        image = by_kind["resize_image"].output["file"]
        return [
            ("the image", shown(self._places.images / image)),
            ("the mail", shown(self._received[by_kind["send_email"].id])),
            ("the webhook", shown(self._received[by_kind["webhook_delivery"].id])),
            ("the summary", f"{command} get{server} {by_kind['summarize_text'].id}"),
            ("all jobs", f"{command} list{server}"),
            ("one more", f"""{command} enqueue{server} summarize_text '{{"text": "One. Two."}}' --wait"""),
            ("over gRPC", f"{grpcurl} -d '{body}' {target} jobqueue.v1.JobQueue/EnqueueJob"),
            ("over HTTP", f"curl {self._rest}/v1/jobs/{by_kind['summarize_text'].id}"),
            ("the API", f"{self._rest}/docs, to read and to try"),
            ("dashboard", f"{self._rest}/ui/"),
            ("metrics", f"{self._server_metrics} and {worker_metrics}"),
            (
                "logs",
                f"{shown(self._places.logs / 'server.log')} and {shown(self._places.logs / 'worker.log')}",
            ),
            ("to read", "README.md, and ARCHITECTURE.md for how it works"),
        ]

    # --- the end

    def _listen_for_signals(self) -> None:
        def on_signal() -> None:
            if self._interrupted.is_set():
                self._children.kill()
            self._interrupted.set()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, on_signal)

    async def _end(self) -> int:
        """Ends the children; 1 if one had to be killed, else 0."""
        if self._interrupted.is_set():
            self._view.say("\nDraining; Ctrl-C again ends at once")
        killed = await self._children.stop()
        if self._reading is not None:
            # The pipe ends with its writer.
            await self._reading
        if killed:
            self._view.say(
                f"{' and '.join(killed)} did not end and had to be killed; see {shown(self._places.logs)}"
            )
            return 1
        self._view.say("Everything has ended")
        return 0


_DATABASE = ("DATABASE_URL", "JOBQUEUE_MIGRATE_DATABASE_URL")


def _unfinished(jobs: Sequence[Job], logs: Path) -> str:
    states = "\n".join(
        f"  {job.kind}: {job.status}, attempts {job.attempts} {job.last_error}" for job in jobs
    )
    return f"the first jobs are not done after {FIRST_JOBS_WITHIN:g} s; see {logs}:\n{states}"
