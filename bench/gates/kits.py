"""The gate `kits`: what tests of users wait for, by the test kit of each language."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from ..checkout import ROOT
from ..errors import BenchError
from ..programs import PROGRAMS, Program, there
from .gate import Found, Part
from .round import Round

_LONGEST = 300.0
# By their names in the table: the name in the line, what it must be, what is hoped for, the unit, and units a second.
_FIGURES = {
    "cold start": ("start", 5, 3, "s", 1),
    "start": ("start", 2, 1, "s", 1),
    "scope": ("scope", 40, 15, "ms", 1000),
    "close": ("close", 1, 0.3, "s", 1),
    "200 by perform": ("perform", 2, 1, "s", 1),
    "100 scopes with a job": ("scopes", 20, 8, "s", 1),
}


class Kits:
    """The test kit of each language, on a server of its own."""

    name = "kits"
    title = "Test kits"
    method = (
        "A program of each language starts a TestServer, which is `jobqueue-server ephemeral`; first without a copy of "
        "a new database (cold), then with one. It opens and closes 20 scopes (the median), runs 200 handlers by "
        "`perform`, makes 100 scopes with one job each, enqueued and run until idle, and ends the server."
    )
    leaves_out = "The start of the program, and what a test runner takes."
    parts = tuple(
        Part(f"{program.language}, {figure}", must, goal, unit, less=True)
        for program in PROGRAMS
        for figure, (_, must, goal, unit, _) in _FIGURES.items()
    )

    async def measure(self, bench: Round) -> Found:
        """Each language twice, so that the second start finds the copy of the first."""
        values: dict[str, float | None] = {}
        told: dict[str, Any] = {}
        for program, missing in there():
            language = program.language
            if missing:
                values |= {f"{language}, {figure}": None for figure in _FIGURES}
                told[language] = {"missing": missing}
                continue
            bench.tell(f"kits: {language}, building")
            await asyncio.to_thread(program.make)
            with tempfile.TemporaryDirectory(prefix="jobqueue-kits-") as cache:
                bench.tell(f"kits: {language}, cold")
                cold = await _run(program, Path(cache))
                bench.tell(f"kits: {language}")
                warm = await _run(program, Path(cache))
            told[language] = {"cold": cold, "warm": warm}
            for figure, (name, _, _, _, times) in _FIGURES.items():
                seconds = (cold if figure == "cold start" else warm)[name]
                values[f"{language}, {figure}"] = round(times * seconds, 3)
        return Found(values, told)


async def _run(program: Program, cache: Path) -> dict[str, float]:
    """The line that it prints. `cache`: where copies of new databases are looked for and kept."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("JOBQUEUE_")},
        "XDG_CACHE_HOME": str(cache),
        "JOBQUEUE_SERVER_COMMAND": str(Path(sys.executable).with_name("jobqueue-server")),
    }
    process = await asyncio.create_subprocess_exec(
        *program.command, "kit",
        cwd=ROOT, env=environment, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(_LONGEST):
            out, err = await process.communicate()
    except TimeoutError:
        process.kill()
        raise BenchError(f"the test kit of {program.language} took over {_LONGEST:g} s") from None
    lines = out.decode().strip().splitlines()
    if process.returncode or not lines:
        raise BenchError(
            f"the test kit of {program.language} ended with {process.returncode}:\n"
            f"{(out + err).decode(errors='replace')[-2000:]}"
        )
    found: dict[str, float] = json.loads(lines[-1])
    return found
