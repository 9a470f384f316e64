"""What failed is run again, alone, after all others (`--again`). What passes then has flaked: it is not hidden.

A run with three of these is green at most, and names each as `flaked: NAME` before its closing line, which counts them
as passed. Each is written down, in a file of this machine that no clone and no `make clean` takes away. A test that has
flaked three times is red, until tests/flakes.toml says that it was mended, or why it flakes.

python -m tests.flakes      prints what flaked on this machine; ends with 1 where a test is red by it
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tomllib
from collections.abc import Generator, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

ROOT = Path(__file__).resolve().parents[1]
EXPLAINED = ROOT / "tests" / "flakes.toml"
#: More at once are no chance: they are not run again.
MOST_AGAIN = 10
#: As many in a run are borne.
MOST_FLAKES = 3
#: When a test flakes in so many runs, it has to be mended, or what it flakes by has to be known.
TOO_OFTEN = 3
#: Names the run to all of its pytests: `make test` and `make rest` are one run of CI.
RUN = "FLAKES_RUN"
# Seconds. A test has a bound of its own, which a call that can't be interrupted may keep it from.
_TIME_FOR_ONE = 900


@dataclass(frozen=True, slots=True)
class Flake:
    """One time that a test failed among others and passed alone.

    Attributes:
        name: The test, with its parameters.
        day: When, as an ISO date (UTC).
        run: Which run.
        why: The line that says what was wrong.
    """

    name: str
    day: str
    run: str
    why: str

    @property
    def test(self) -> str:
        """The test without its parameters: one flaw may show in any of them."""
        return bare(self.name)


def bare(name: str) -> str:
    """The test of a name with parameters."""
    return name.partition("[")[0]


def kept_at() -> Path:
    """The file of this machine."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "jobqueue" / "flakes.jsonl"


def read() -> list[Flake]:
    """All that flaked on this machine."""
    if not kept_at().exists():
        return []
    return [Flake(**json.loads(line)) for line in kept_at().read_text().splitlines()]


def keep(flakes: Iterable[Flake]) -> None:
    """Writes them down; runs beside each other write whole lines."""
    kept_at().parent.mkdir(parents=True, exist_ok=True)
    with kept_at().open("a") as file:
        file.write("".join(json.dumps(asdict(flake)) + "\n" for flake in flakes))


def explanations(path: Path = EXPLAINED) -> dict[str, dict[str, Any]]:
    """What became of tests that flaked, by their names."""
    told: list[dict[str, Any]] = tomllib.loads(path.read_text()).get("flake", [])
    for each in told:
        assert set(each) == {"test", "day", "what", "cause"}, f"{path.name}: {each}: test, day, what, cause"
        assert isinstance(each["day"], date), (
            f"{path.name}: {each['test']}: day is a date, such as 2026-12-03"
        )
        assert each["what"] in {"mended", "explained"}, f"{path.name}: {each['test']}: mended or explained"
    return {each["test"]: each for each in told}


def unexplained(flakes: Iterable[Flake], told: dict[str, dict[str, Any]]) -> dict[str, int]:
    """In how many runs a test has flaked that is neither explained nor mended since."""
    runs: dict[str, set[str]] = {}
    for flake in flakes:
        became = told.get(flake.test)
        if became is None or (became["what"] == "mended" and flake.day > became["day"].isoformat()):
            runs.setdefault(flake.test, set()).add(flake.run)
    return {test: len(of_test) for test, of_test in runs.items()}


class Again:
    """The hooks of `--again`, for the process that deals the tests, or runs all of them."""

    def __init__(self, *options: str, environment: Mapping[str, str], explained: Path = EXPLAINED) -> None:
        """What else a pytest that runs one again is told."""
        self._options = options
        self._environment = environment
        self._told = explanations(explained)
        self._run = os.environ.get(RUN) or uuid4().hex
        self._last: list[str] = []
        self._first: list[pytest.TestReport] = []

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        """All tests are over, and all workers have ended: before pytest counts."""
        result = yield
        # An interrupt, an internal error or `-x` is no run of all tests.
        if session.exitstatus == pytest.ExitCode.TESTS_FAILED and not session.shouldfail:
            reporter = session.config.pluginmanager.get_plugin("terminalreporter")
            assert reporter is not None
            self._run_again(session, reporter)
        return result

    def _run_again(self, session: pytest.Session, reporter: pytest.TerminalReporter) -> None:
        failed = [report for key in ("failed", "error") for report in reporter.stats.get(key, ())]
        names = list(dict.fromkeys(report.nodeid for report in failed))
        if len(failed) != session.testsfailed or not all(
            isinstance(report, pytest.TestReport) for report in failed
        ):
            self._last.append("nothing was run again: not only tests have failed")
            return
        if len(names) > MOST_AGAIN:
            self._last.append(f"nothing was run again: more than {MOST_AGAIN} tests have failed")
            return
        reporter.write_sep("=", "what failed is run again, alone")
        before = read()
        flaked = []
        for name in names:
            mine = [report for report in failed if report.nodeid == name]
            passes, output = self._passes(session.config.rootpath, name)
            reporter.write_line(f"{name}: {'passed' if passes else 'failed again'}")
            if passes:
                day = datetime.now(UTC).date().isoformat()
                flaked.append(Flake(name, day, self._run, _why(mine[0].longreprtext)))
            else:
                mine[-1].sections.append(("run again, alone", output))
        try:
            if flaked:
                keep(flaked)
        except OSError as error:
            self._last.append(f"what flaked can't be written down: {error}")
        for flake in self._borne(flaked, before):
            self._passed(reporter, flake.name)
        if not reporter.stats.keys() & {"failed", "error"}:
            session.testsfailed = 0
            session.exitstatus = pytest.ExitCode.OK

    def _passes(self, root: Path, name: str) -> tuple[bool, str]:
        """Whether it passes in a process of its own, and the end of what that says."""
        command = [sys.executable, "-m", "pytest", name, "-n0", *self._options]
        process = subprocess.Popen(
            command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            stdin=subprocess.DEVNULL, start_new_session=True, env={**os.environ, **self._environment},
        )  # fmt: skip
        try:
            output, _ = process.communicate(timeout=_TIME_FOR_ONE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
        return process.returncode == 0, output[-4000:]

    def _borne(self, flaked: list[Flake], before: list[Flake]) -> list[Flake]:
        """Those that don't make the run red; says of the others why they do."""
        self._last.extend(f"flaked: {flake.name}" for flake in flaked)
        of_run = len(flaked) + sum(flake.run == self._run for flake in before)
        if of_run > MOST_FLAKES:
            self._last.append(f"red: {of_run} tests have flaked in this run, and {MOST_FLAKES} are borne")
            return []
        counted = unexplained([*before, *flaked], self._told)
        too_often = {flake.test for flake in flaked if counted.get(flake.test, 0) >= TOO_OFTEN}
        self._last.extend(map(_red, sorted(too_often)))
        return [flake for flake in flaked if flake.test not in too_often]

    def _passed(self, reporter: pytest.TerminalReporter, name: str) -> None:
        """Counts a test as one that has passed, once, and keeps what it failed with to be shown."""
        for key in ("failed", "error"):
            reports = reporter.stats.pop(key, [])
            self._first += [report for report in reports if report.nodeid == name]
            if left := [report for report in reports if report.nodeid != name]:
                reporter.stats[key] = left
        passed = reporter.stats.setdefault("passed", [])
        # One that failed in its teardown alone is there.
        if all(report.nodeid != name for report in passed):
            location = self._first[-1].location
            passed.append(pytest.TestReport(name, location, {}, "passed", None, "call"))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter
    ) -> Generator[None, object, object]:
        """How they failed, then all that pytest says, then their names."""
        for report in self._first:
            terminalreporter.write_sep("=", f"flaked: {report.nodeid} ({report.when})")
            terminalreporter.write_line(report.longreprtext)
            for title, text in report.sections:
                terminalreporter.write_sep("-", title)
                terminalreporter.write_line(text)
        result = yield
        for line in self._last:
            terminalreporter.write_line(line)
        return result


def _why(text: str) -> str:
    """The line in which it says what was wrong: the first that pytest marks, else the last."""
    lines = text.strip().splitlines() or [""]
    return next((line for line in lines if line.startswith("E ")), lines[-1])[:300]


def _red(test: str) -> str:
    return (
        f"red: {test} has flaked {TOO_OFTEN} times: mend it, or find out why it flakes, and say so in "
        f"{EXPLAINED.relative_to(ROOT)}"
    )


def main() -> int:
    """Prints what flaked on this machine, and what is red by it."""
    told = explanations()
    flakes = read()
    if not flakes:
        print("No test has flaked on this machine.")
        return 0
    still_open = unexplained(flakes, told)
    print(f"Tests that failed once and passed alone on this machine ({kept_at()}):")
    for test in sorted({flake.test for flake in flakes}):
        mine = [flake for flake in flakes if flake.test == test]
        became = told.get(test)
        said = f"{became['what']} {became['day']}: {became['cause']}" if became else "not explained"
        print(f"  {len({flake.run for flake in mine})}, the last {mine[-1].day}: {test}: {said}")
        print(f"      {mine[-1].why}")
    too_often = sorted(test for test, times in still_open.items() if times >= TOO_OFTEN)
    for test in too_often:
        print(_red(test))
    return 1 if too_often else 0


if __name__ == "__main__":
    sys.exit(main())
