"""A peer that is a program: built once, started for each measurement, bounded in time, and ended with all it started.

The program is called `PROGRAM WORKLOAD JOBS PAYLOAD`, finds its database in DATABASE_URL, and prints a line of JSON
for each stage: `stored` (a backlog is there), `ready` (connected, about to start), `ended` with the seconds measured.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from .peer import PeerFailed, PeerResult

ROOT = Path(__file__).resolve().parents[2]
BUILDS = ROOT / ".cache" / "bench"

#: Seconds that a build may take; a Rust program with all it stands on takes some minutes on two cores.
_BUILD_LIMIT = 1200


class Program:
    """What peers have in common. A subclass says what it is, how it is built and how it is called."""

    name: str
    workloads: frozenset[str]
    does: str
    lacks: str
    #: Programs that must be on PATH.
    needs: tuple[str, ...] = ()
    #: What it is built from, in its folder.
    sources: tuple[str, ...] = ()
    #: Jobs that a measurement takes at most: where a peer does some hundred a second, more only take longer.
    most: int | None = None
    #: Seconds that a measurement may take.
    limit: float = 600

    def missing(self) -> str | None:
        """The toolchain that is not here, or None."""
        absent = [program for program in self.needs if shutil.which(program) is None]
        return f"{self.name} needs {' and '.join(absent)} on PATH" if absent else None

    def build(self) -> dict[str, str]:
        """Builds it unless what it is built from is as it was, and asks it for its versions."""
        if missing := self.missing():
            raise PeerFailed(missing)
        self.home.mkdir(parents=True, exist_ok=True)
        stamp = self.home / "built"
        digest = self._digest()
        if not stamp.is_file() or stamp.read_text() != digest:
            stamp.unlink(missing_ok=True)
            self.make()
            stamp.write_text(digest)
        return self.versions()

    async def measure(self, dsn: str, workload: str, jobs: int, payload: int) -> PeerResult:
        """Runs the program once, with as many jobs as the result says."""
        if workload not in self.workloads:
            raise PeerFailed(f"{self.name} does not do {workload}")
        if self.most is not None:
            jobs = min(jobs, self.most)
        stages = await self.run([workload, str(jobs), str(payload)], dsn)
        detail = {name: value for name, value in stages["ended"].items() if name not in ("stage", "seconds")}
        if "stored" in stages:
            detail["stored_in"] = stages["stored"]["seconds"]
        return PeerResult(jobs, float(stages["ended"]["seconds"]), detail)

    @property
    def home(self) -> Path:
        """Where it is built."""
        return BUILDS / self.name

    @property
    def folder(self) -> Path:
        """Where its sources are."""
        return Path(__file__).parent / self.name

    def command(self) -> Sequence[str]:
        """How the built program is called."""
        raise NotImplementedError

    def make(self) -> None:
        """Builds the program into `home`."""
        raise NotImplementedError

    def versions(self) -> dict[str, str]:
        """Those of the peer, its driver and its language, as the program says them."""
        said = tool([*self.command(), "versions"], self.home)
        versions: dict[str, str] = json.loads(said)
        return versions

    def copy(self, names: Iterable[str]) -> None:
        """Puts sources into `home`, for tools that write beside what they build."""
        for name in names:
            target = self.home / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.folder / name, target)

    def _digest(self) -> str:
        digest = hashlib.sha256()
        for name in sorted(self.sources):
            digest.update(f"{name}\0".encode() + (self.folder / name).read_bytes() + b"\0")
        return digest.hexdigest()

    async def run(self, arguments: Sequence[str], dsn: str) -> dict[str, dict[str, Any]]:
        """The lines that the program printed, by stage."""
        process = await asyncio.create_subprocess_exec(
            *self.command(),
            *arguments,
            env={**os.environ, "DATABASE_URL": url_of(dsn)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # What it starts is in its group, and ends with it.
            start_new_session=True,
        )
        try:
            out, err = await asyncio.wait_for(process.communicate(), self.limit)
        except TimeoutError as error:
            raise PeerFailed(f"{self.name} {' '.join(arguments)}: not done in {self.limit:.0f} s") from error
        finally:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # all of the group have ended
            await process.wait()
        lines = [json.loads(line) for line in out.splitlines() if line.startswith(b"{")]
        stages: dict[str, dict[str, Any]] = {line["stage"]: line for line in lines}
        if process.returncode or "ended" not in stages:
            said = err.decode(errors="replace")[-2000:]
            raise PeerFailed(f"{self.name} {' '.join(arguments)}: ended with {process.returncode}\n{said}")
        return stages


def tool(command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None) -> str:
    """What a tool printed.

    Raises:
        PeerFailed: with the end of what it said.
    """
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_BUILD_LIMIT,
        check=False,
    )
    if done.returncode:
        raise PeerFailed(f"{' '.join(command)}: ended with {done.returncode}\n{done.stderr[-2000:]}")
    return done.stdout


def url_of(dsn: str) -> str:
    """The DSN as every driver reads it: a URL with a host, which a socket's folder in the query goes before."""
    parts = urlsplit(dsn)
    if parts.hostname:
        return dsn
    user = parts.netloc or "postgres@"
    return urlunsplit(parts._replace(netloc=f"{user}localhost"))
