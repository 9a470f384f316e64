"""Breaks the code on purpose, one line at a time, and looks whether the tests that hold the promise go red.

    .venv/bin/python -m tools.mutants            all of tests/mutants.toml
    .venv/bin/python -m tools.mutants fence      those whose name holds a word
    .venv/bin/python -m tools.mutants --under server --under clients/python
    .venv/bin/python -m tools.mutants --jobs 2   so many at once
    .venv/bin/python -m tools.mutants --resume   leaves out what was noticed before, by the same tests in the same file

Every break is made in a copy of the checkout, which is removed again: the files that you work on are never touched.
What was noticed is kept in .cache/mutants.json, so that a run of hours can be ended and gone on with.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

ROOT = Path(__file__).parents[1]
LIST = ROOT / "tests" / "mutants.toml"
NOTICED = ROOT / ".cache" / "mutants.json"
CRATES = ROOT / ".cache" / "rust"
PACKAGES = ("server/src", "clients/python/src", "clients/python-django/src", "worker/src")
# A break may also make a test hang, which is as good as red.
SECONDS = 300
# Which may also come of a busy machine, so it is not kept as noticed.
NO_END = "no end within"
UNUSED = re.compile(r'("noUnused\w+": )true')
LINTER = '"clippy-driver"'
# A package of a module in Java beside the client.
MODULE = re.compile(r"clients/java/[\w-]+/src/main/java/(.+)/\w+\.java")
# A test in Java that went red. Maven ran it for a fixture, whose error it would be otherwise.
JUNIT = re.compile(r"\[ERROR\] ((?:\w+\.)+\w+)\S* -- Time elapsed: .* <<< (?:FAILURE|ERROR)!")
# What is said of a break in another language that its compiler refuses.
UNBUILT = ("can't be built:", "could not compile", "COMPILATION ERROR", "[build failed]", "vet: ", "error TS")


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
        # A break may leave a name without use, which is no matter here.
        for config in Path(folder).glob("clients/*/tsconfig.json"):
            config.write_text(UNUSED.sub(r"\1false", config.read_text()))
        # Nor what a linter says of it, which takes half of a build.
        tests = Path(folder) / "tests" / "clients" / "test_rust.py"
        if tests.exists():
            tests.write_text(tests.read_text().replace(LINTER, '""'))
        yield Path(folder)


def write_bytecode(folder: Path) -> None:
    """Writes the bytecode of a copy, which its thousands of processes would otherwise each make again.

    Python holds it to the hash of its source and not to its time, so a file that is broken is compiled anew; pytest
    holds its own of the tests to time and length, which a copy of the copy keeps, and breaks none that it runs.
    """
    python = (sys.executable, "-m")
    compiling = ("compileall", "-q", "--invalidation-mode", "checked-hash", *PACKAGES, "tests", "tools")
    collecting = ("pytest", "-q", "--collect-only", "tests")
    for command in (compiling, collecting):
        subprocess.run(
            [*python, *command], cwd=folder, env=_environment(folder), capture_output=True, check=False
        )


def build_crates(folder: Path) -> None:
    """Builds the crates of a copy, beginning with what others' were built to: each break builds what it changes."""
    if CRATES.is_dir():
        shutil.copytree(CRATES, folder / CRATES.relative_to(ROOT))
    command = (sys.executable, "-m", "tools.cargo", "test", "--workspace", "--all-features", "--no-run")
    subprocess.run(command, cwd=folder, env=_environment(folder), capture_output=True, check=False)


def red(folder: Path, mutant: Mutant, before: str | None = None) -> tuple[bool, str]:
    """Whether the tests go red with it, and the first that did.

    Args:
        folder: A copy of the checkout.
        mutant: The break.
        before: The test that noticed it last, which is run alone at first: its file may take a minute.
    """
    path = folder / mutant.file
    whole = path.read_text()
    path.write_text(mutant.broken(whole))
    try:
        noticed, by = _run(folder, mutant, (before,)) if before else (False, "")
        if not noticed:
            noticed, by = _run(folder, mutant, mutant.tests)
    finally:
        path.write_text(whole)
    # What a test needs could not be made. On a busy machine that happens without the break as well.
    if noticed and by.startswith("ERROR") and _run(folder, mutant, mutant.tests)[0]:
        return False, f"{by}, without the break as well, which proves nothing"
    return noticed, by


def _run(folder: Path, mutant: Mutant, tests: tuple[str, ...]) -> tuple[bool, str]:
    """Whether these tests are red in this copy as it is, and the first that was."""
    # Python takes a file of the same length and second for the one whose bytecode it has.
    environment = {**_environment(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    if package := MODULE.fullmatch(mutant.file):
        # Those of the client, on which it rests, would run before its own each time.
        own = f" -Dtest={package[1]}/**/*Test -Dsurefire.failIfNoSpecifiedTests=false"
        environment["MAVEN_OPTS"] += own
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--engine", mutant.engine, *tests]
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            said, _ = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            return True, f"{NO_END} {SECONDS} s"
        finally:
            # With what it has started, which would go on beside all that follow.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    if any(words in said for words in UNBUILT):
        return False, "it can't be built, which proves nothing"
    if process.returncode == 1 and (junit := JUNIT.search(said)):
        return True, junit[1]
    failed = [line for line in said.splitlines() if line.startswith(("FAILED tests", "ERROR tests"))]
    # 1 is failed tests; all else, such as an error while collecting, proves nothing.
    return process.returncode == 1 and bool(failed), failed[0].split(" - ")[0] if failed else said[-300:]


def _environment(folder: Path) -> dict[str, str]:
    """What processes in this copy are started with."""
    return {
        **os.environ,
        # Before what is installed: the copy's packages, for the processes that tests start, too.
        "PYTHONPATH": os.pathsep.join(str(folder / package) for package in PACKAGES),
        # How a break looks is no matter, and one failed test is enough.
        "MAVEN_OPTS": "-Dspotless.check.skip=true -Dsurefire.skipAfterFailureCount=1",
        "GOFLAGS": "-vet=off -ldflags=-w -failfast",
        # A copy is compiled again for each break, a line of which is new.
        "CARGO_INCREMENTAL": "1",
        # The copy has none, and the upgrades want the version before.
        "CHECKOUT_WITH_HISTORY": str(ROOT),
    }


class Ledger:
    """What was noticed before, by which test; a break counts as another one once its file or its tests have changed.

    Args:
        path: Where it is kept.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._noticed: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}

    def has(self, digest: str) -> bool:
        """Whether this break was noticed."""
        return digest in self._noticed

    def before(self, mutant: Mutant) -> str | None:
        """The test that noticed it last, in whatever state its file was then."""
        for noticed in reversed(self._noticed.values()):
            name, _, by = noticed.rpartition(": FAILED ")
            if name == mutant.name:
                return by
        return None

    def note(self, digest: str, mutant: Mutant, by: str) -> None:
        """Keeps that it was."""
        self._noticed[digest] = f"{mutant.name}: {by}"
        self._path.parent.mkdir(exist_ok=True)
        self._path.write_text(json.dumps(self._noticed, indent=1))


class Files:
    """The files of the checkout that git knows, as they are when they are first asked for."""

    def __init__(self) -> None:
        command = ["git", "ls-files", "-z"]
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()
        self._names = [name for name in listed.split("\0") if name and (ROOT / name).is_file()]
        self._known: dict[str, bytes] = {}

    def digest(self, mutant: Mutant) -> str:
        """A break with its file, the folders of its tests, and all of the client that it breaks."""
        places = {mutant.file, *(str(Path(test.partition("::")[0]).parent) for test in mutant.tests)}
        if mutant.file.startswith("clients/") and not mutant.file.startswith("clients/python"):
            places.add("/".join(mutant.file.split("/")[:2]))
        return hashlib.sha256(b"".join([repr(mutant).encode(), *map(self._of, sorted(places))])).hexdigest()

    def _of(self, place: str) -> bytes:
        if place not in self._known:
            found = hashlib.sha256()
            for name in self._names:
                if name == place or name.startswith(f"{place}/"):
                    found.update(name.encode() + (ROOT / name).read_bytes())
            self._known[place] = found.digest()
        return self._known[place]


def noticed(
    chosen: Collection[Mutant], jobs: int, before: Callable[[Mutant], str | None]
) -> Iterator[tuple[Mutant, bool, str, float]]:
    """Runs them, so many at once, each in a copy that no other one uses meanwhile.

    Args:
        chosen: The breaks.
        jobs: How many at once.
        before: Tells the test that noticed one last.

    Yields:
        As they end: the break, whether the tests went red, the first that did, and after how many seconds.
    """
    copies: SimpleQueue[Path] = SimpleQueue()

    def run(mutant: Mutant, by: str | None) -> tuple[Mutant, bool, str, float]:
        folder = copies.get()
        started = time.monotonic()
        try:
            return (mutant, *red(folder, mutant, by), time.monotonic() - started)
        finally:
            copies.put(folder)

    with ExitStack() as stack:
        first = stack.enter_context(copy())
        write_bytecode(first)
        if any(one.file.startswith("clients/rust/") for one in chosen):
            build_crates(first)
        copies.put(first)
        for _ in range(1, jobs):
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="jobqueue-mutants-"))
            copies.put(Path(shutil.copytree(first, folder, dirs_exist_ok=True)))
        pool = stack.enter_context(ThreadPoolExecutor(jobs))
        # Those that have not begun are left out when this is ended.
        stack.callback(pool.shutdown, cancel_futures=True)
        for done in as_completed([pool.submit(run, each, before(each)) for each in chosen]):
            yield done.result()


def main() -> int:
    """Runs them; 1 where one was not noticed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*", help="only those whose name or rule holds one of them")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="how many at once; default 1")
    parser.add_argument("--resume", action="store_true", help="leave out those that were noticed before")
    parser.add_argument(
        "--under",
        action="append",
        metavar="FOLDER",
        help="only those of files in it; more than once: in any of them",
    )
    options = parser.parse_args()
    ledger = Ledger(NOTICED)
    wanted = [
        one
        for one in read()
        if not options.words or any(word in f"{one.name} {one.holds}" for word in options.words)
        if not options.under or any(Path(one.file).is_relative_to(folder) for folder in options.under)
    ]
    # Of the files as they are copied: they may be edited in the hours that follow.
    files = Files()
    digests = {one: files.digest(one) for one in wanted}
    chosen = [one for one in wanted if not (options.resume and ledger.has(digests[one]))]
    console = Console()
    table = Table("rule or promise", "broken", "red", "by", "s", title="Mutants")
    missed = 0
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=len(chosen))
        for one, was_noticed, by, seconds in noticed(chosen, options.jobs, ledger.before):
            if was_noticed and not by.startswith(NO_END):
                ledger.note(digests[one], one, by)
            if not was_noticed:
                missed += 1
                # At once: the table may be hours away.
                progress.console.print(f"[bold red]not noticed[/]: {escape(one.name)}: {escape(by)}")
            word = "yes" if was_noticed else "[bold red]NO"
            table.add_row(one.holds, one.name, word, escape(by), f"{seconds:.0f}")
            progress.update(task, advance=1, description=one.name)
    console.print(table)
    before = f", {len(wanted) - len(chosen)} before" if options.resume else ""
    console.print(f"{len(chosen) - missed} of {len(chosen)} were noticed{before}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
