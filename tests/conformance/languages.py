"""The languages that the clients are held to, as `workers.toml` lists them: the one place where a language is added.

Its row has two programs, which are written with its library. The worker under test (`command`) is specified in
docs/conformance.md; `make conformance`, `make faults` and `make check` run it. The producer and worker (`program`) is
what tests/clients pairs with that of each other language, against a real server, and what the bench of workers starts::

    PROGRAM enqueue --server ADDRESS --queue QUEUE --kind KIND [--roots PEM --cert PEM --key PEM]
        One job in one batch for each line of its input: the line's bytes, without its end, are the payload. Prints
        the bytes of the outputs, a line each, in the order of the jobs, once these have succeeded; exit code 0.
        With the kind `order` a line is read into the type of its payload, and the job is enqueued by the kind that the
        program declares. It prints the outputs that the kind reads, as JSON: an object with `customer`, `count` and
        `dearest`.
    PROGRAM work --server ADDRESS --queue QUEUE --name NAME --slots N [--workers N] [--health ADDRESS]
            [--roots PEM --cert PEM --key PEM]
        Runs so many workers (1), each with a stream and slots of its own, until SIGTERM or SIGINT, which drains. With
        `--health` there is one worker, and `/livez` and `/readyz` are answered at that address. The exit code is 0. A
        second signal ends it at once. Its kinds: `echo`, whose output is the payload, byte for byte; `noop`, which does
        nothing, as cheaply as the library can; `hold`, which ends when it is told to stop; `rest`, which sleeps so many
        seconds as its payload says, whatever it is told; and `order`, which is declared with types. The payload of
        that has a `customer`, a text; `lines`, each with a `sku` (text), a `count` (whole number) and a `price`
        (number); `paid`, true or false; and maybe a `note`. The output has the `customer`, behind whom ", paid" and
        ": " with the note stand where there is such; the sum of the counts, `count`; and the highest price, `dearest`,
        null without lines.

TLS: `--roots` is who signs the server's certificate, `--cert` and `--key` are what is shown to the server.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
_LIST = "tests/conformance/workers.toml"


@dataclass(frozen=True, slots=True)
class Language:
    """One of them. What it starts is started from its `folder`.

    Attributes:
        name: Its column in the table.
        needs: What must be on PATH for it.
        build: What makes both programs, before they are started. Empty: nothing.
        command: Starts the worker under test.
        program: Starts the producer and worker.
        lacks: The cases that ask for what its library does not have yet. They are not run.
        optimised: With the `build` and the `program` that are measured, where those that are tested were built to be
            built soon.
    """

    name: str
    needs: tuple[str, ...]
    build: tuple[str, ...]
    command: tuple[str, ...]
    program: tuple[str, ...]
    lacks: tuple[str, ...] = ()
    optimised: Language | None = None
    folder: Path = ROOT

    def missing(self) -> list[str]:
        """What is not there of what it needs."""
        return [program for program in self.needs if shutil.which(program) is None]

    def make(self) -> str:
        """Builds it, once in a process; what went wrong, or nothing."""
        return _make(self.build, self.folder)


@functools.cache
def _make(build: tuple[str, ...], folder: Path) -> str:
    if not build:
        return ""
    done = subprocess.run(build, cwd=folder, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else (done.stdout + done.stderr)[-2000:]


@functools.cache
def languages() -> dict[str, Language]:
    """All of them by name, in the order of the table."""
    return of_checkout(ROOT)


def of_checkout(folder: Path) -> dict[str, Language]:
    """Those that a checkout in this folder lists."""
    rows = tomllib.loads((folder / _LIST).read_text())
    return {name: _language(name, row, folder) for name, row in rows.items()}


def _language(name: str, row: dict[str, Any], folder: Path) -> Language:
    build, command, program = (_command(row[each]) for each in ("build", "command", "program"))
    lacks = tuple(row.get("lacks", ()))
    found = Language(name, tuple(row["needs"]), build, command, program, lacks, folder=folder)
    if (fast := row.get("optimised")) is None:
        return found
    optimised = replace(found, build=_command(fast["build"]), program=_command(fast["program"]))
    return replace(found, optimised=optimised)


def _command(words: list[str]) -> tuple[str, ...]:
    return tuple(word.replace("{python}", sys.executable) for word in words)
