"""A run on several workers keeps what a run on one does: nothing skipped, all counted, some tests alone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]

_CONFTEST = """
from pathlib import Path
import pytest
from tests.parallel import Parallel, leave_out, mark_further_cases

def pytest_configure(config):
    config.pluginmanager.register(Parallel(config.option.markexpr), "parallel")

def pytest_collection_modifyitems(config, items):
    mark_further_cases(items)
    without = [item for item in items if "unbuilt" in item.name]
    if without:
        leave_out(config, items, without, f"NO TOOLCHAIN for {len(without)} tests")

@pytest.fixture
def runs(request, worker_id):
    log = Path(__file__).with_name("log")
    for what in ("begins", "ends"):
        with log.open("a") as file:
            file.write(f"{request.node.name} {what} {worker_id}\\n")
        if what == "begins":
            yield
"""
_QUICK = """
import time, pytest

@pytest.mark.parametrize("number", range(20))
def test_{name}(runs, number):
    time.sleep(0.02)

def test_unbuilt(): pass
"""
_ALONE = """
import time, pytest

@pytest.mark.alone
@pytest.mark.parametrize("number", range(3))
def test_alone(runs, number):
    time.sleep(0.05)

def test_beside(runs): pass
"""

_LANGUAGE = """
import time, pytest

@pytest.mark.language("go")
def test_builds(runs):
    time.sleep(0.1)

def test_besides(runs): pass
"""


_MARKERS = [f"{name}: x\n" for name in ("alone", "cases(n)", "fuzz", "language", "other_way", "slow")]
_NOTHING_SKIPPED = "from tests.conftest import pytest_make_collect_report, pytest_runtest_makereport\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "conftest.py").write_text(_CONFTEST)
    (tmp_path / "pytest.ini").write_text(f"[pytest]\npythonpath = {ROOT}\nmarkers =\n  {'  '.join(_MARKERS)}")
    for name in ("first", "second", "third"):
        (tmp_path / f"test_{name}.py").write_text(_QUICK.replace("{name}", name))
    # The first by its name.
    (tmp_path / "test_alone.py").write_text(_ALONE)
    return tmp_path


def run(folder: Path, *options: str) -> str:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-p",
        "xdist",
        "--dist=loadgroup",
        *options,
        str(folder),
    ]
    # Not as a worker of the run that this test is in.
    there = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    # All plugins that are installed take a second of each process.
    there["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    return subprocess.run(command, cwd=folder, env=there, capture_output=True, text=True, check=False).stdout


@pytest.mark.parametrize("workers", ["2", "3"])
def test_a_worker_runs_whole_files_and_tests_that_measure_run_when_no_other_does(folder: Path, workers: str):
    out = run(folder, "-n", workers)
    assert re.search(r"=+ 64 passed, 3 deselected, 1 warning in [0-9.]+s =+\n$", out), out
    assert out.count("NO TOOLCHAIN for 3 tests") == 1
    lines = [line.split() for line in (folder / "log").read_text().splitlines()]
    assert len({worker for _, _, worker in lines}) == int(workers)
    of_file: dict[str, set[str]] = {}
    for name, _, worker in lines:
        of_file.setdefault(name.partition("[")[0], set()).add(worker)
    assert all(len(each) == 1 for each in of_file.values())
    measuring = [at for at, (name, _, _) in enumerate(lines) if name.startswith("test_alone")]
    assert measuring == list(range(2 * 61, 2 * 64)), "they come last"


@pytest.mark.parametrize("why", ["slow", "fuzz"])
def test_what_builds_in_other_languages_is_run_by_one_worker_and_begun_first_with_what_is_slow(
    folder: Path, why: str
):
    for name in ("fourth", "fifth", "sixth"):
        (folder / f"test_{name}.py").write_text(_LANGUAGE.replace("test_", f"test_{name}_"))
    (folder / "test_seventh.py").write_text(f"import pytest\n@pytest.mark.{why}\ndef test_slow(runs): pass\n")
    out = run(folder, "-n", "2")
    assert "71 passed" in out.splitlines()[-1], out
    lines = [line.split() for line in (folder / "log").read_text().splitlines()]
    begun = {worker: name for name, what, worker in reversed(lines) if what == "begins"}
    assert sorted(begun.values()) == ["test_fifth_builds", "test_slow"]
    assert len({worker for name, _, worker in lines if name.endswith("_builds")}) == 1


@pytest.mark.parametrize("workers", ["0", "2"])
def test_what_markers_leave_out_is_said(folder: Path, workers: str):
    (folder / "test_language.py").write_text(_LANGUAGE + "@pytest.mark.slow\ndef test_slow(): pass\n")
    out = run(folder, "-n", workers, "-m", "not (slow or language)")
    assert "NOT run, by their markers (pyproject.toml says where they are): 1 language, 1 slow\n" in out
    assert "65 passed, 5 deselected, 1 warning" in out.splitlines()[-1], out


def test_a_marker_that_is_asked_for_is_not_said_to_be_left_out(folder: Path):
    (folder / "test_language.py").write_text(_LANGUAGE + "@pytest.mark.slow\ndef test_slow(): pass\n")
    out = run(folder, "-n", "0", "-m", "not (fuzz) and (slow or language)")
    assert "2 passed" in out.splitlines()[-1], out
    assert "NOT run, by" not in out


_CASES = """
import pytest
@pytest.mark.cases(4)
@pytest.mark.parametrize("number", range(10))
def test_cases(number): print(f"ran {number}.")
@pytest.mark.cases(4)
@pytest.mark.parametrize("number", range(3))
def test_few(number): print(f"few {number}.")
"""
_IN_TWO_WAYS = """
def pytest_generate_tests(metafunc):
    other = pytest.param("other", marks=pytest.mark.other_way)
    metafunc.fixturenames.append("way")
    metafunc.parametrize("way", ("usual", other))
"""


def test_of_many_cases_some_of_all_kinds_are_quick_and_the_rest_are_all_the_others_in_all_ways(folder: Path):
    for each in folder.glob("test_*.py"):
        each.unlink()
    (folder / "test_cases.py").write_text(_CASES)
    quick = run(folder, "-n", "0", "-s", "-m", "not (slow or other_way)")
    assert re.findall(r"ran (\d)", quick) == ["0", "3", "5", "8"]
    assert re.findall(r"few (\d)", quick) == ["0", "1", "2"]
    (folder / "conftest.py").write_text(_CONFTEST + _IN_TWO_WAYS)
    (folder / "test_cases.py").write_text(_CASES.replace("(number):", "(number, way):"))
    rest = run(folder, "-n", "0", "-v", "-m", "slow or other_way")
    ran = re.findall(r"test_cases\[(\d)-(\w+)\] PASSED|test_cases\[(\w+)-(\d)\] PASSED", rest)
    usual = {a or d for a, b, c, d in ran if "usual" in (b, c)}
    other = {a or d for a, b, c, d in ran if "other" in (b, c)}
    assert (usual, other) == (set("124679"), set("0123456789")), rest


def test_only_tests_that_want_to_be_alone_are_run_too(folder: Path):
    out = run(folder, "-n", "2", "-m", "alone")
    assert " 3 passed, " in out.splitlines()[-1], out


def test_what_skips_itself_fails_the_run(folder: Path):
    (folder / "conftest.py").write_text(_NOTHING_SKIPPED + _CONFTEST)
    (folder / "test_skips.py").write_text("import pytest\ndef test_it(): pytest.skip('no')")
    out = run(folder, "-n", "2")
    assert "nothing is skipped here" in out
    assert "1 failed, 64 passed" in out.splitlines()[-1], out
    (folder / "test_skips.py").write_text("import pytest\npytest.importorskip('nonesuch')")
    out = run(folder, "-n", "0")
    assert "nothing is skipped here" in out
    assert " error" in out.splitlines()[-1], out


def test_a_worker_that_dies_fails_the_run_and_the_others_go_on(folder: Path):
    (folder / "test_dies.py").write_text("import os\ndef test_it(): os._exit(1)")
    out = run(folder, "-n", "2")
    assert "1 failed, 64 passed" in out.splitlines()[-1], out
