"""Breaks the code on purpose, one line at a time, and looks whether the tests that hold the promise go red.

    .venv/bin/python -m tools.mutants            all of tests/mutants.toml
    .venv/bin/python -m tools.mutants fence      those whose name holds a word

Every break is made in a copy of the checkout, which is removed again: the files that you work on are never touched.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

ROOT = Path(__file__).parents[1]
LIST = ROOT / "tests" / "mutants.toml"
PACKAGES = ("server/src", "clients/python/src", "clients/python-django/src", "worker/src")
# A break may also make a test hang, which is as good as red.
SECONDS = 300
# What is said of a break in another language that its compiler refuses.
UNBUILT = ("can't be built:", "could not compile")


@dataclass(frozen=True, slots=True)
class Mutant:
    """One break.

    Attributes:
        name: What is broken, in words.
        holds: The rule or promise that is broken with it.
        file: Its path in the checkout.
        old: What stands there, once.
        new: What stands there instead.
        tests: What must go red.
        engine: What serves gRPC in these tests.
    """

    name: str
    holds: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    engine: str = "http2"

    def broken(self, text: str) -> str:
        """The file with the break.

        Raises:
            ValueError: What is to be broken does not stand there, or not only once.
        """
        if text.count(self.old) != 1:
            raise ValueError(f"{self.name}: {self.file} has the line {text.count(self.old)} times, not once")
        return text.replace(self.old, self.new)


def read() -> list[Mutant]:
    """The list."""
    listed = tomllib.loads(LIST.read_text())["mutant"]
    return [Mutant(**{**one, "tests": tuple(one["tests"])}) for one in listed]


@contextmanager
def copy() -> Iterator[Path]:
    """The files of the checkout that git knows or would add, in a folder that goes again."""
    with tempfile.TemporaryDirectory(prefix="jobqueue-mutants-") as folder:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=True,
        ).stdout
        for name in listed.decode().split("\0"):
            if name and (ROOT / name).is_file():
                (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, Path(folder) / name)
        yield Path(folder)


def red(folder: Path, mutant: Mutant) -> tuple[bool, str]:
    """Whether the tests go red with it, and the first that did."""
    path = folder / mutant.file
    whole = path.read_text()
    path.write_text(mutant.broken(whole))
    try:
        noticed, by = _run(folder, mutant)
    finally:
        path.write_text(whole)
    # What a test needs could not be made. On a busy machine that happens without the break as well.
    if noticed and by.startswith("ERROR") and _run(folder, mutant)[0]:
        return False, f"{by}, without the break as well, which proves nothing"
    return noticed, by


def _run(folder: Path, mutant: Mutant) -> tuple[bool, str]:
    """Whether its tests are red in this copy as it is, and the first that was."""
    # Before what is installed: the copy's packages, for the processes that tests start, too.
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(str(folder / package) for package in PACKAGES),
        # Python takes a file of the same length and second for the one whose bytecode it has.
        "PYTHONDONTWRITEBYTECODE": "1",
        # The copy has none, and the upgrades want the version before.
        "CHECKOUT_WITH_HISTORY": str(ROOT),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--engine", mutant.engine, *mutant.tests]
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return True, f"no end within {SECONDS} s"
    if any(words in done.stdout for words in UNBUILT):
        return False, "it can't be built, which proves nothing"
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED tests", "ERROR tests"))]
    # 1 is failed tests; all else, such as an error while collecting, proves nothing.
    return done.returncode == 1 and bool(failed), failed[0].split(" - ")[0] if failed else done.stdout[-300:]


def main() -> int:
    """Runs them; 1 where one was not noticed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*", help="only those whose name or rule holds one of them")
    options = parser.parse_args()
    chosen = [
        one
        for one in read()
        if not options.words or any(word in f"{one.name} {one.holds}" for word in options.words)
    ]
    console = Console()
    table = Table("rule or promise", "broken", "red", "by", "s", title="Mutants")
    missed = 0
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with copy() as folder, Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=len(chosen))
        for one in chosen:
            progress.update(task, description=one.name)
            started = time.monotonic()
            noticed, by = red(folder, one)
            missed += not noticed
            seconds = f"{time.monotonic() - started:.0f}"
            table.add_row(one.holds, one.name, "yes" if noticed else "[bold red]NO", escape(by), seconds)
            progress.advance(task)
    console.print(table)
    console.print(f"{len(chosen) - missed} of {len(chosen)} were noticed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
