"""Server, worker and command line as the programs that they are."""

from __future__ import annotations

import atexit
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from tests.forked import Forks

PROGRAMS = Path(sys.executable).parent
WITHIN = 60.0


class Program:
    """A process whose lines can be waited for."""

    def __init__(
        self, name: str, *arguments: str | Path, cwd: Path | None = None, **environment: str
    ) -> None:
        self.process = subprocess.Popen(
            [PROGRAMS / name, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=cwd,
            env=plain_environment(**environment),
        )
        self._lines: list[str] = []
        self._more = threading.Condition()
        self._ended = False
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._more:
                self._lines.append(line.rstrip("\n"))
                self._more.notify_all()
        with self._more:
            self._ended = True
            self._more.notify_all()

    @property
    def text(self) -> str:
        with self._more:
            return "\n".join(self._lines)

    def until(self, pattern: str) -> re.Match[str]:
        """The first line that has it, also of those that were there already."""
        at = 0
        with self._more:
            while True:
                while at < len(self._lines):
                    if found := re.search(pattern, self._lines[at]):
                        return found
                    at += 1
                said = "\n".join(self._lines)
                assert not self._ended, f"it ended without saying {pattern!r}:\n{said}"
                assert self._more.wait(WITHIN), f"it did not say {pattern!r}:\n{said}"

    def end(self, number: int = signal.SIGTERM) -> int:
        # Seen once in a dozen runs: a KeyboardInterrupt that comes in the middle of gRPC's own code is lost. A person
        # presses again.
        for _ in range(2):
            if self.process.poll() is None:
                self.process.send_signal(number)
            try:
                return self.process.wait(WITHIN / 2)
            except subprocess.TimeoutExpired:
                continue
        self.process.kill()
        raise AssertionError(f"it did not end:\n{self.text}")


def eventually(condition: Callable[[], bool]) -> None:
    """Looks again and again, for what nobody tells."""
    deadline = time.monotonic() + WITHIN
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)


def plain_environment(**more: str) -> dict[str, str]:
    ours = ("JOBQUEUE_", "WORKER_", "DATABASE_URL")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, "COLUMNS": "200", "NO_COLOR": "1", **more}


@contextmanager
def serving(dsn: str, **environment: Any) -> Iterator[str]:
    """A server; its address."""
    arguments = ("serve", "--grpc-addr", "127.0.0.1:0", "--metrics-addr", "off", "--shutdown-grace", "2s")
    server = Program("jobqueue-server", *arguments, DATABASE_URL=dsn, **environment)
    try:
        yield f"127.0.0.1:{server.until(r'is ready .*port=([0-9]+)')[1]}"
    finally:
        server.end()


@contextmanager
def working(address: str, *arguments: str | Path, **how: Any) -> Iterator[Program]:
    """A worker, which has its metrics on a free port."""
    worker = Program(
        "jobqueue-worker", "--server", address, "--metrics-bind-addr", "127.0.0.1:0", *arguments, **how
    )
    try:
        worker.until(r"metrics are served")
        yield worker
    finally:
        worker.end()


@cache
def forks(program: str) -> Forks:
    """What its commands are forks of, in this run."""
    made = Forks(program, plain_environment())
    atexit.register(made.close)
    return made


def ended(
    program: str,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    stdin: str | None = None,
    folder: Path | None = None,
    *,
    may_be_fork: bool = True,
) -> subprocess.CompletedProcess[str]:
    """What a command comes to that runs to its end; `may_be_fork` is for what is read when it begins with Python."""
    if may_be_fork and (done := forks(program).run(arguments, environment, WITHIN, stdin, folder)):
        return done
    return subprocess.run(
        [PROGRAMS / program, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=False,
        env=dict(environment),
        cwd=folder,
    )


class Cli:
    """The command `jobqueue`, run as a command against a server."""

    def __init__(self, address: str, **environment: str) -> None:
        self.address = address
        self._environment = environment

    def __call__(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        environment = plain_environment(JOBQUEUE_SERVER=self.address, **self._environment)
        # What a terminal is like is read when the command begins.
        may_be_fork = all(name.startswith("JOBQUEUE_") for name in self._environment)
        return ended("jobqueue", arguments, environment, stdin, may_be_fork=may_be_fork)

    def json(self, *arguments: str, stdin: str | None = None) -> Any:
        """Its one line, as JSON."""
        (line,) = self.lines(*arguments, stdin=stdin)
        return line

    def lines(self, *arguments: str, stdin: str | None = None) -> list[Any]:
        """Its lines, as JSON."""
        done = self(*arguments, "--json", stdin=stdin)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]
