"""Servers and workers as processes, for tests that are not async: the browser's driver has a loop of its own."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import urllib.request
from typing import Any

from jobqueue import SyncClient
from tests import orphans

PATIENCE = 60.0


class Process:
    """A process that says when it is ready; its output is read all the time."""

    def __init__(self, arguments: list[str], **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **environment},
        )
        orphans.started(self.process.pid)
        self.lines: list[str] = []
        self._queue: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            self._queue.put(line)
        self._queue.put(None)

    def said(self, text: str) -> str:
        """The next line that has this text."""
        while (line := self._queue.get(timeout=PATIENCE)) is not None:
            if text in line:
                return line
        raise AssertionError("".join(self.lines[-20:]))

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        """Ends it, and waits."""
        if self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(PATIENCE)
            orphans.ended(self.process.pid)


class Server(Process):
    """A server on a database.

    Attributes:
        url: Where HTTP answers, such as `http://127.0.0.1:40123`.
    """

    def __init__(self, dsn: str, http: str = "127.0.0.1:0", **settings: str) -> None:
        arguments = [
            "-m",
            "jobqueue_server",
            "--database-url",
            dsn,
            "--kinds",
            "open",
            "--log-format",
            "json",
        ]
        for name, value in {
            "grpc_addr": "127.0.0.1:0", "metrics_addr": "off", "http_addr": http, **settings
        }.items():  # fmt: skip
            arguments += [f"--{name.replace('_', '-')}", value]
        super().__init__(arguments)
        ready = json.loads(self.said("jobqueue-server is ready"))
        self.grpc = f"127.0.0.1:{ready['port']}"
        self.url = f"http://127.0.0.1:{ready['http_port']}"

    def call(self, method: str, path: str, body: object = None, key: str = "") -> Any:
        """Calls a method over REST, as a user of curl does."""
        headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.loads(answer.read() or b"{}")

    def enqueue(self, kind: str, queue: str = "default", count: int = 1, payload: object = None) -> None:
        """Enqueues some jobs."""
        with SyncClient(self.grpc) as client:
            for _ in range(count):
                client.enqueue(kind, payload, queue=queue)


def first_key(dsn: str) -> str:
    """A key that permits everything, written straight into the database."""
    done = subprocess.run(
        [sys.executable, "-m", "jobqueue_server", "keys", "bootstrap", "ops", "--admin", "--database-url", dsn],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


_WORKER = """
import asyncio, logging, sys
from datetime import timedelta
from jobqueue import Worker
logging.basicConfig(level=logging.INFO, stream=sys.stdout)
worker = Worker({target!r}, name={name!r}, queues={queues!r}, concurrency={slots}, session_ttl=timedelta(seconds={ttl}))
@worker.handler({kind!r})
async def work(ctx):
    await asyncio.sleep({seconds})
worker.run()
"""


class WorkerProcess(Process):
    """A worker whose jobs take a while."""

    def __init__(
        self, target: str, name: str, *, kind: str = "work", queues: tuple[str, ...] = ("default",),
        seconds: float = 3600, slots: int = 4, ttl: float = 30,
    ) -> None:  # fmt: skip
        code = _WORKER.format(
            target=target, name=name, kind=kind, queues=list(queues), seconds=seconds, slots=slots, ttl=ttl
        )
        super().__init__(["-c", code])
        self.said("opened at")
