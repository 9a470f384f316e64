"""Servers and workers as processes of their own, which a test starts, watches, signals, kills and starts again."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from tests import logged, orphans

PROGRAMS = Path(sys.executable).parent
WORKER_PROGRAM = Path(__file__).parent / "worker_program.py"

# How often a file or a process is looked at. Waiting is bounded by `WITHIN`, which is for a machine that is busy.
LOOK = 0.02
WITHIN = 60.0


class Process:
    """A program that runs, in a process group of its own, with its output in a file.

    Args:
        arguments: The command.
        log: Where its output goes.
        environment: Added to the test's own.
    """

    def __init__(self, arguments: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        self.log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "NO_COLOR": "1", **environment},
                start_new_session=True,
            )
        orphans.started(self.pid)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    async def line(self, text: str, within: float = WITHIN) -> str:
        """The first line of its output with this text, as soon as it is there."""
        ends = time.monotonic() + within
        while True:
            # First the look at the process: what it wrote before its end is then in the file.
            runs = self.runs
            output = self.log.read_text(errors="replace")
            for line in output.splitlines():
                if text in line and (output.endswith("\n") or not output.endswith(line)):
                    return line
            assert runs, f"it ended ({self._process.returncode}) without a line with {text!r}:\n{self.tail()}"
            assert time.monotonic() < ends, f"no line with {text!r} within {within} s:\n{self.tail()}"
            await asyncio.sleep(LOOK)

    def terminate(self) -> None:
        """SIGTERM: it should drain."""
        self.send(signal.SIGTERM)

    def send(self, number: signal.Signals) -> None:
        """Sends it a signal."""
        self._process.send_signal(number)

    def kill(self) -> float:
        """SIGKILL, to all of its group.

        Returns:
            The time just before, as of `time.time`.
        """
        at = time.time()
        if self.runs:
            # Not after its end: the number of its group may be somebody else's by then.
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(WITHIN)
        orphans.ended(self.pid)
        return at

    async def ended(self, within: float = WITHIN) -> int:
        """Waits for its end; the exit code."""
        ends = time.monotonic() + within
        while self.runs:
            assert time.monotonic() < ends, f"it still runs after {within} s:\n{self.tail()}"
            await asyncio.sleep(LOOK)
        return self._process.returncode

    def tail(self, lines: int = 40) -> str:
        """The end of its output."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


class ServerProcess(Process):
    """`jobqueue-server` on a database; `programs`: the folder of another version.

    Attributes:
        address: Where gRPC answers, after `ready`.
        http_address: Where HTTP answers, after `ready`, with `http_addr` set.
    """

    def __init__(self, dsn: str, log: Path, programs: Path = PROGRAMS, /, **settings: str) -> None:
        given = {"grpc_addr": "127.0.0.1:0", "metrics_addr": "off", "kinds": "open", "log_format": "json"}
        flags = {**given, **settings}
        arguments = [f"--{name.replace('_', '-')}={value}" for name, value in flags.items()]
        super().__init__([str(programs / "jobqueue-server"), *arguments], log, {"DATABASE_URL": dsn})
        if programs == PROGRAMS:
            logged.will_be_read(log, lambda: self.runs)
        self.address = ""
        self.http_address = ""

    async def ready(self) -> Self:
        """Waits until it serves."""
        fields = json.loads(await self.line("jobqueue-server is ready"))
        self.address = f"127.0.0.1:{fields['port']}"
        self.http_address = f"127.0.0.1:{fields.get('http_port', 0)}"
        return self


class WorkerProcess(Process):
    """The worker of these tests (`worker_program.py`), which notes in a journal what its handlers do.

    Args:
        address: The server's.
        folder: Where its log and its journal are made.
        name: The worker's; names the files.
        queue: Where it takes jobs from.
        slots: How many it runs at once.
        ttl: Its session's, in seconds. None: the server's.
        grace: Its drain's, in seconds.
        programs: The folder of another version's.
    """

    def __init__(
        self,
        address: str,
        folder: Path,
        *,
        name: str,
        queue: str = "default",
        slots: int = 8,
        ttl: float | None = None,
        grace: float = 30,
        programs: Path = PROGRAMS,
    ) -> None:
        self.name = name
        arguments = [
            str(programs / "python"), str(WORKER_PROGRAM), address, "--name", name, "--queue", queue,
            "--journal", str(folder / f"{name}.journal"), "--slots", str(slots), "--grace", str(grace),
        ]  # fmt: skip
        if ttl is not None:
            arguments += ["--ttl", str(ttl)]
        super().__init__(arguments, folder / f"{name}.log", {})

    async def ready(self) -> Self:
        """Waits until its session is open."""
        await self.line(" opened at ")
        return self


class SimulatorProcess(Process):
    """`jobqueue-worker --simulate`."""

    def __init__(self, address: str, folder: Path, *, queue: str) -> None:
        flags = ["--simulate", f"--server={address}", f"--queues={queue}", "--concurrency=32"]
        arguments = [str(PROGRAMS / "jobqueue-worker"), *flags, "--metrics-bind-addr=127.0.0.1:0"]
        super().__init__(arguments, folder / "simulator.log", {})
