"""Servers and workers as processes of a case: started, stopped, killed; their output is on the disk at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests import logged, orphans
from tests.e2e.processes import PROGRAMS, Process

_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Version:
    """What a process is of.

    Attributes:
        programs: Where its commands and its interpreter are.
        source: The checkout of that version, with the worker program that fits its runtime.
    """

    programs: Path
    source: Path

    @property
    def environment(self) -> Mapping[str, str]:
        """What keeps an installed version from the packages of this checkout."""
        return {} if self.source == _ROOT else {"PYTHONPATH": ""}


THIS = Version(PROGRAMS, _ROOT)


class FaultyProcess(Process):
    """A process that can be stopped and resumed. Each write to its log is forced to the disk (O_DSYNC)."""

    def __init__(
        self, arguments: Sequence[str], log: Path, environment: Mapping[str, str], version: Version = THIS
    ) -> None:
        self.log = log
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_DSYNC, 0o644)
        try:
            self._process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "NO_COLOR": "1", **version.environment, **environment},
                cwd=version.source,
                start_new_session=True,
            )
        finally:
            os.close(output)
        orphans.started(self.pid)

    def stop(self) -> None:
        """SIGSTOP: it lives, and does nothing."""
        os.killpg(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        os.killpg(self.pid, signal.SIGCONT)


class Server(FaultyProcess):
    """`jobqueue-server` on a database.

    Attributes:
        name: Names its log.
        address: Where gRPC answers, after `ready`.
    """

    def __init__(
        self, name: str, dsn: str, folder: Path, version: Version = THIS, /, **settings: str
    ) -> None:
        self.name = name
        self.address = ""
        given = {"grpc_addr": "127.0.0.1:0", "metrics_addr": "off", "kinds": "open", "log_format": "json"}
        flags = [f"--{name.replace('_', '-')}={value}" for name, value in {**given, **settings}.items()]
        command = [str(version.programs / "jobqueue-server"), *flags]
        super().__init__(command, folder / f"{name}.log", {"DATABASE_URL": dsn}, version)
        if version is THIS:
            logged.will_be_read(self.log, lambda: self.runs)

    async def ready(self) -> Self:
        """Waits until it serves."""
        fields = json.loads(await self.line("jobqueue-server is ready"))
        self.address = f"127.0.0.1:{fields['port']}"
        return self


class FaultyWorker(FaultyProcess):
    """A worker with a journal of frames and handlers: in Python that of `worker_program.py`, else `any_worker.py`.

    Args:
        name: The worker's; names its log and its journal.
        addresses: Of the servers, in the order in which they are tried.
        folder: Where log and journal are made.
        slots: How many jobs it runs at once.
        ttl: Its session's, in seconds.
        grace: Its drain's, in seconds.
        language: A row of `tests/conformance/workers.toml`: its worker under test. Empty: our own program.
        version: Whose runtime it is.
    """

    def __init__(
        self,
        name: str,
        addresses: Sequence[str],
        folder: Path,
        *,
        slots: int = 8,
        ttl: float = 5,
        grace: float = 30,
        language: str = "",
        version: Version = THIS,
    ) -> None:
        self.name = name
        program = "tests.faults.any_worker" if language else "tests.faults.worker_program"
        arguments = [str(version.programs / "python"), "-m", program, *addresses, "--name", name]
        if language:
            arguments += ["--language", language]
        arguments += ["--folder", str(folder), "--slots", str(slots)]
        arguments += ["--ttl", str(ttl), "--grace", str(grace)]
        super().__init__(arguments, folder / f"{name}.log", {}, version)

    async def ready(self) -> Self:
        """Waits until its session is open."""
        await self.line(" opened at ")
        return self
