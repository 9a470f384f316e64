"""The clients, as `clients.toml` lists them: the one place where a client is added.

A client is a program that runs one case at a time. It takes the flags of gRPC's official interop clients:
`--server_host`, `--server_port`, `--test_case`, `--use_tls`. Its exit code says whether the case holds.
"""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

from .engines import HOST

ROOT = Path(__file__).parents[2]
LIST = Path(__file__).parent / "clients.toml"
SECONDS = 60


@dataclass(frozen=True, slots=True)
class Client:
    """One of them. What it starts is started from the repository's root.

    Attributes:
        name: Its column in the table.
        kind: Whether gRPC's project wrote its cases or this repository did, and what tells it from others.
        version: Of the library, as the lock has it.
        needs: What must be on PATH for it.
        build: What makes it, before it is started. Empty: nothing.
        command: Starts it, without the flags that say the case.
        tls: The flags for TLS.
        without: The cases that it can't do, and the reasons.
    """

    name: str
    kind: str
    version: str
    needs: tuple[str, ...]
    build: tuple[str, ...]
    command: tuple[str, ...]
    tls: tuple[str, ...]
    without: dict[str, str]

    def missing(self) -> list[str]:
        """What is not there of what it needs."""
        return [program for program in self.needs if shutil.which(program) is None]

    def make(self, files: Files) -> str:
        """Builds it, once in a process; what went wrong, or nothing."""
        return _make(files.named_in(self.build))

    def run(self, case: str, port: int, files: Files, *, tls: bool) -> str:
        """Runs a case against a server; what went wrong, or nothing."""
        flags = [f"--server_host={HOST}", f"--server_port={port}", f"--test_case={case}"]
        security = files.named_in(self.tls) if tls else ("--use_tls=false",)
        command = [*files.named_in(self.command), *flags, *security]
        try:
            done = subprocess.run(
                command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=SECONDS
            )
        except subprocess.TimeoutExpired:
            return f"not done after {SECONDS} s"
        return (
            "" if done.returncode == 0 else (done.stdout + done.stderr)[-2000:] or f"exit {done.returncode}"
        )


@dataclass(frozen=True, slots=True)
class Files:
    """What commands name in braces."""

    descriptors: Path
    ca: Path
    trust: Path

    def named_in(self, words: tuple[str, ...]) -> tuple[str, ...]:
        """The words, with paths in place of the braces."""
        known = {
            "python": sys.executable,
            "descriptors": self.descriptors,
            "ca": self.ca,
            "trust": self.trust,
        }
        return tuple(re.sub(r"\{(\w+)\}", lambda found: str(known[found[1]]), word) for word in words)


@functools.cache
def _make(build: tuple[str, ...]) -> str:
    if not build:
        return ""
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else (done.stdout + done.stderr)[-2000:]


@functools.cache
def clients() -> dict[str, Client]:
    """All of them by name, in the order of the table."""
    return {
        name: Client(
            name,
            row["kind"],
            _version(*row["version"]),
            tuple(row["needs"]),
            tuple(row["build"]),
            tuple(row["command"]),
            tuple(row["tls"]),
            row.get("without", {}),
        )
        for name, row in tomllib.loads(LIST.read_text()).items()
    }


def _version(file: str, pattern: str) -> str:
    found = re.search(pattern, (ROOT / file).read_text(), re.MULTILINE)
    assert found is not None, f"{file} has no {pattern}"
    return found[1]
