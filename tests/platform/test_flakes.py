"""What failed by chance is run again, alone, and neither costs a run nor is hidden; what fails twice is red."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from tests import flakes
from tests.flakes import Flake

ROOT = Path(__file__).parents[2]

_CONFTEST = """
from pathlib import Path
import pytest
from tests.flakes import Again
from tests.parallel import Parallel

def pytest_addoption(parser):
    parser.addoption("--again", action="store_true")

def pytest_configure(config):
    config.pluginmanager.register(Parallel(config.option.markexpr), "parallel")
    if config.getoption("again") and not hasattr(config, "workerinput"):
        again = Again("-p", "xdist", environment={}, explained=Path(__file__).with_name("flakes.toml"))
        config.pluginmanager.register(again, "again")

@pytest.fixture
def first(request):
    # Whether this test runs for the first time.
    seen = Path(__file__).with_name("seen." + request.node.name)
    try:
        seen.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True

@pytest.fixture
def broken_at_first(first):
    assert not first, "the fixture"

@pytest.fixture
def left_open_at_first(first):
    yield
    assert not first, "left open"
"""
_PASSES = "import pytest\n@pytest.mark.parametrize('n', range(9))\ndef test_passes(n): pass\n"
_FLAKES = "def test_flakes(first): assert not first, 'by chance'\n"
_FAILS = "def test_fails(): assert False, 'always'\n"

pytestmark = pytest.mark.timeout(300)
slow = pytest.mark.slow


class Folder:
    """Tests in a folder of their own, which some runs go over, on a machine that knows of no flake."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "conftest.py").write_text(_CONFTEST)
        (path / "flakes.toml").touch()
        markers = "  cases(n): x\n  slow: x\n  alone: x\n"
        strict = "cache_dir = .cache\naddopts = --strict-config\n"
        (path / "pytest.ini").write_text(f"[pytest]\n{strict}pythonpath = {ROOT}\nmarkers =\n{markers}")
        self.has(passes=_PASSES)

    def has(self, **files: str) -> None:
        for name, text in files.items():
            (self.path / f"test_{name}.py").write_text(text)

    def run(self, *options: str, run: str = "") -> tuple[int, list[str]]:
        """The exit status, and what was said."""
        there = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        there |= {
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "XDG_STATE_HOME": str(self.path / "state"),
            flakes.RUN: run,
        }
        for seen in self.path.glob("seen.*"):
            seen.unlink()
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "xdist",
            "--again",
            *options,
        ]
        done = subprocess.run(
            command, cwd=self.path, env=there, capture_output=True, text=True, check=False, timeout=300
        )
        return done.returncode, done.stdout.splitlines()


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def counts(lines: list[str]) -> str:
    """What the last line of all counts."""
    closing = re.fullmatch(r"=+ (.+) in [0-9.]+s =+", lines[-1])
    assert closing, lines
    return closing[1]


@slow
@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_test_that_passes_alone_has_flaked_is_named_and_counts_as_passed(folder: Folder, workers: str):
    folder.has(flakes=_FLAKES)
    status, lines = folder.run(f"-n{workers}")
    assert (status, counts(lines)) == (0, "10 passed"), lines
    assert lines[-2] == "flaked: test_flakes.py::test_flakes"
    assert "E   AssertionError: by chance" in lines, "how it failed is told"


@slow
@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_test_that_fails_twice_is_red_and_what_flaked_beside_it_is_named(folder: Folder, workers: str):
    folder.has(flakes=_FLAKES, fails=_FAILS)
    status, lines = folder.run(f"-n{workers}")
    assert (status, counts(lines)) == (1, "1 failed, 10 passed"), lines
    assert lines[-2] == "flaked: test_flakes.py::test_flakes"
    assert "test_fails.py::test_fails: failed again" in lines


@slow
def test_what_is_run_again_runs_when_no_other_test_does(folder: Folder):
    log = f"open({str(folder.path / 'log')!r}, 'a').write"
    folder.has(
        flakes=f"def test_flakes(first):\n    {log}('f')\n    assert not first\n",
        beside=f"import time, pytest\n@pytest.mark.parametrize('n', range(5))\n"
        f"def test_beside(n):\n    time.sleep(0.3)\n    {log}('b')\n",
    )
    status, lines = folder.run("-n2")
    assert status == 0, lines
    ran = (folder.path / "log").read_text()
    assert (ran.count("f"), ran[-2:]) == (2, "bf"), ran


@slow
@pytest.mark.parametrize("workers", ["0", "2"])
def test_fixtures_that_fail_by_chance_are_failures_as_others(folder: Folder, workers: str):
    folder.has(
        fixtures="def test_begins(broken_at_first): pass\ndef test_ends(left_open_at_first): pass\n"
        "def test_both(first, left_open_at_first): assert not first\n"
    )
    status, lines = folder.run(f"-n{workers}")
    assert (status, counts(lines)) == (0, "12 passed"), lines
    assert sum(line.startswith("flaked: ") for line in lines[-4:]) == 3


@slow
def test_a_worker_that_dies_by_chance_is_no_more_than_a_flake_and_one_that_dies_twice_is_red(folder: Folder):
    folder.has(dies="import os\ndef test_dies(first):\n    if first: os._exit(1)\n")
    status, lines = folder.run("-n2")
    assert (status, counts(lines)) == (0, "10 passed"), lines
    assert lines[-2] == "flaked: test_dies.py::test_dies"
    folder.has(dies="import os\ndef test_dies(): os._exit(1)\n")
    status, lines = folder.run("-n2")
    assert (status, counts(lines)) == (1, "1 failed, 9 passed"), lines


@slow
def test_more_flakes_than_three_are_red_in_all_pytests_of_a_run_together(folder: Folder):
    folder.has(**{f"flakes{n}": _FLAKES.replace("test_", f"test_{n}_") for n in range(4)})
    status, lines = folder.run("-n0")
    assert (status, counts(lines)) == (1, "4 failed, 9 passed"), lines
    assert lines[-2] == "red: 4 tests have flaked in this run, and 3 are borne"
    status, lines = folder.run("-n0", "test_flakes0.py", "test_flakes1.py", run="of CI")
    assert (status, counts(lines)) == (0, "2 passed"), lines
    status, lines = folder.run("-n0", "test_flakes2.py", "test_flakes3.py", run="of CI")
    assert (status, counts(lines)) == (1, "2 failed"), lines


@slow
def test_many_failures_are_not_run_again(folder: Folder):
    folder.has(flakes="".join(_FLAKES.replace("test_", f"test_{n}_") for n in range(11)))
    status, lines = folder.run("-n0")
    assert (status, counts(lines)) == (1, "11 failed, 9 passed"), lines
    assert lines[-2] == "nothing was run again: more than 10 tests have failed"
    assert not [line for line in lines if line.startswith("flaked: ")]


@slow
@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_file_that_can_not_be_imported_is_red_whatever_else_fails(folder: Folder, workers: str):
    folder.has(flakes=_FLAKES, broken="import nonesuch\n")
    status, lines = folder.run(f"-n{workers}")
    assert status != 0
    assert "1 error" in counts(lines)
    assert not [line for line in lines if line.startswith("flaked: ")]


@slow
def test_a_run_that_was_ended_early_is_not_made_green(folder: Folder):
    folder.has(flakes=_FLAKES)
    status, lines = folder.run("-n0", "-x", "test_flakes.py", "test_passes.py")
    assert (status, counts(lines)) == (1, "1 failed"), lines


@slow
def test_the_third_time_is_red_until_it_is_said_what_became_of_it(folder: Folder):
    folder.has(flakes=_FLAKES)
    for _ in range(2):
        assert folder.run("-n0")[0] == 0
    status, lines = folder.run("-n0")
    assert (status, counts(lines)) == (1, "1 failed, 9 passed"), lines
    assert "red: test_flakes.py::test_flakes has flaked 3 times: mend it, or" in lines[-2]
    told = "[[flake]]\ntest = 'test_flakes.py::test_flakes'\nday = {day}\nwhat = '{what}'\ncause = 'chance'\n"
    (folder.path / "flakes.toml").write_text(told.format(day="2000-01-01", what="mended"))
    assert folder.run("-n0")[0] == 1, "it was mended before it flaked"
    (folder.path / "flakes.toml").write_text(told.format(day="2000-01-01", what="explained"))
    assert folder.run("-n0")[0] == 0


ONCE = Flake("tests/a/test_b.py::test_c[x-1]", "2026-12-01", "run", "E  assert 1 == 2")


@pytest.mark.unit
def test_what_is_mended_is_counted_from_the_day_after_and_by_the_test_whatever_its_parameters():
    flaked = [
        replace(ONCE, day=f"2026-12-0{day}", name=f"{ONCE.test}[{day}]", run=str(day)) for day in (1, 2, 3)
    ]
    assert flakes.unexplained(flaked, {}) == {ONCE.test: 3}
    assert flakes.unexplained([*flaked, replace(flaked[0], name=f"{ONCE.test}[4]")], {}) == {ONCE.test: 3}, (
        "runs"
    )
    mended = {ONCE.test: {"what": "mended", "day": date(2026, 12, 2)}}
    assert flakes.unexplained(flaked, mended) == {ONCE.test: 1}
    assert flakes.unexplained(flaked, {ONCE.test: {"what": "explained", "day": date(2026, 1, 1)}}) == {}


def test_the_report_names_each_with_how_often_and_fails_where_one_flaked_too_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert flakes.main() == 0
    assert capsys.readouterr().out == "No test has flaked on this machine.\n"
    flakes.keep([ONCE])
    flakes.keep([replace(ONCE, day="2026-12-02", run="another")])
    assert flakes.main() == 0
    out = capsys.readouterr().out
    assert "  2, the last 2026-12-02: tests/a/test_b.py::test_c: not explained\n" in out
    assert "E  assert 1 == 2" in out
    flakes.keep([replace(ONCE, name="tests/a/test_b.py::test_c[y]", run="a third")])
    assert flakes.main() == 1
    assert "red: tests/a/test_b.py::test_c has flaked 3 times" in capsys.readouterr().out


def test_what_became_of_flakes_is_told_of_tests_that_are_there():
    for test, told in flakes.explanations().items():
        file, _, function = test.rpartition("::")
        assert re.search(rf"def {re.escape(function)}\b", (ROOT / file).read_text()), test
        assert told["cause"]


@pytest.mark.parametrize("wrong", ["what = 'gone'", "day = '2026-12-03'", "seen = 3"])
def test_a_wrong_entry_is_refused_with_what_would_be_right(tmp_path: Path, wrong: str):
    entry = {"test": "'a::b'", "day": "2026-12-03", "what": "'mended'", "cause": "'c'"}
    name, _, value = wrong.partition(" = ")
    text = "".join(f"{key} = {each}\n" for key, each in {**entry, name: value}.items())
    (tmp_path / "flakes.toml").write_text("[[flake]]\n" + text)
    with pytest.raises(AssertionError, match=r"mended or explained|day is a date|test, day, what, cause"):
        flakes.explanations(tmp_path / "flakes.toml")
