"""The list of breaks that `make mutants` makes stays one that can be made."""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from tools import mutants

LISTED = mutants.read()
CONFTEST = """
import pytest
from made import VALUE

def pytest_addoption(parser):
    parser.addoption("--engine")

@pytest.fixture
def needed():
    assert VALUE
    return VALUE
"""


@pytest.mark.unit
@pytest.mark.parametrize("mutant", LISTED, ids=lambda mutant: mutant.name)
def test_what_is_to_be_broken_stands_there_once(mutant: mutants.Mutant) -> None:
    text = (mutants.ROOT / mutant.file).read_text()
    assert mutant.broken(text) != text
    for test in mutant.tests:
        file, _, name = test.partition("::")
        path = mutants.ROOT / file
        assert path.exists(), test
        assert not name or f"def {name.partition('[')[0]}(" in path.read_text(), test


@pytest.mark.unit
def test_each_promise_of_the_readme_and_each_rule_of_the_lease_has_a_break() -> None:
    held = " ".join(one.holds for one in LISTED)
    promises = re.findall(r"^\| (\d+)\. ", (mutants.ROOT / "README.md").read_text(), re.MULTILINE)
    assert len(promises) >= 10
    assert not {f"promise {number}" for number in promises} - set(re.findall(r"promise \d+", held))
    assert {f"rule {number}" for number in range(1, 9)} <= set(re.findall(r"rule \d+", held))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("value", "broken", "expects", "noticed"),
    [
        ("1", "2", "needed == 1", True),
        ("1", "2", "needed", False),
        ("1", "0", "needed", True),
        ("0", "0.0", "1", False),
    ],
    ids=["a test fails", "none fails", "what a test needs is not made", "nor is it without the break"],
)
def test_a_break_is_noticed_where_tests_go_red_by_it_and_not_without_it(
    tmp_path: Path, value: str, broken: str, expects: str, noticed: bool
) -> None:
    folder = tmp_path / "tests"
    folder.mkdir()
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "made.py").write_text(f"VALUE = {value}\n")
    (folder / "test_it.py").write_text(f"def test_it(needed):\n    assert {expects}\n")
    mutant = mutants.Mutant(
        name="a value",
        holds="it",
        file="tests/made.py",
        old=f"= {value}",
        new=f"= {broken}",
        tests=("tests/test_it.py",),
    )
    assert mutants.red(tmp_path, mutant)[0] is noticed
    assert (folder / "made.py").read_text() == f"VALUE = {value}\n"


def test_a_run_goes_on_where_it_ended_until_a_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mutants, "ROOT", tmp_path)
    files = [
        "clients/go/it.go",
        "clients/go/it_test.go",
        "tests/clients/test_go.py",
        "tests/clients/conftest.py",
    ]
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("VALUE = 1\n")
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)
    mutant = mutants.Mutant("a value", "it", files[0], "= 1", "= 2", ("tests/clients/test_go.py::test_it",))
    kept = tmp_path / "kept" / "mutants.json"
    first = mutants.Files().digest(mutant)
    assert not mutants.Ledger(kept).has(first)
    mutants.Ledger(kept).note(first, mutant, "FAILED tests/clients/test_go.py::test_it[a: b]")
    assert mutants.Ledger(kept).has(first)
    for name in files:
        (tmp_path / name).write_text("VALUE = 1\n\n")
        assert not mutants.Ledger(kept).has(mutants.Files().digest(mutant))
        (tmp_path / name).write_text("VALUE = 1\n")
    assert mutants.Ledger(kept).has(mutants.Files().digest(mutant))
    # Who noticed it is asked first, also in another state of its file.
    assert mutants.Ledger(kept).before(mutant) == "tests/clients/test_go.py::test_it[a: b]"
    assert mutants.Ledger(kept).before(replace(mutant, name="value")) is None


@pytest.mark.slow
def test_the_test_that_noticed_a_break_before_is_asked_first_and_then_all(tmp_path: Path) -> None:
    folder = tmp_path / "tests"
    folder.mkdir()
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "made.py").write_text("VALUE = 1\n")
    tests = ("a", "needed == 1"), ("b", "needed == 1"), ("c", "needed")
    (folder / "test_it.py").write_text(
        "\n".join(f"def test_{name}(needed):\n    assert {expects}\n" for name, expects in tests)
    )
    mutant = mutants.Mutant("a value", "it", "tests/made.py", "= 1", "= 2", ("tests/test_it.py",))
    by = {before: mutants.red(tmp_path, mutant, f"tests/test_it.py::test_{before}") for before in "bcd"}
    assert by == {
        "b": (True, "FAILED tests/test_it.py::test_b"),
        "c": (True, "FAILED tests/test_it.py::test_a"),
        "d": (True, "FAILED tests/test_it.py::test_a"),
    }


def test_breaks_at_once_have_a_copy_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = threading.Barrier(2)
    used: list[Path] = []

    def red(folder: Path, mutant: mutants.Mutant, before: str | None) -> tuple[bool, str]:
        used.append(folder)
        both.wait(30)
        return True, mutant.name

    @contextmanager
    def copy() -> Iterator[Path]:
        folder = tmp_path / uuid4().hex
        folder.mkdir()
        yield folder

    monkeypatch.setattr(mutants, "red", red)
    monkeypatch.setattr(mutants, "copy", copy)
    monkeypatch.setattr(mutants, "write_bytecode", lambda folder: None)
    given = [mutants.Mutant(name, "it", "it.py", "1", "2", ("test_it.py",)) for name in "abcd"]
    done = list(mutants.noticed(given, 2, lambda mutant: None))
    assert {one.name for one, *_ in done} == set("abcd")
    assert all(was_noticed and by == one.name for one, was_noticed, by, _ in done)
    assert len(set(used)) == 2
