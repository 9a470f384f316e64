"""What CI runs is what a developer runs: targets of the Makefile, and nothing beside them."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tools import docs

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()
CI = (ROOT / ".ci/run").read_text()


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):.*##", MAKEFILE, re.MULTILINE))


def made(text: str) -> list[str]:
    return re.findall(r"^\s*(?:counted )?make ([a-z-]+)$", text, re.MULTILINE)


@pytest.mark.unit
def test_the_workflow_runs_targets_that_exist_and_all_that_ci_runs():
    workflow: dict[str, Any] = YAML(typ="safe").load(ROOT / ".github/workflows/ci.yml")
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    made_there = {target for step in steps for target in made(step.get("run", ""))}
    assert made_there <= targets()
    assert set(made(CI)) <= made_there
    assert all(job["timeout-minutes"] <= 60 for job in workflow["jobs"].values())


@pytest.mark.unit
def test_the_commands_of_the_readme_run_before_anything_but_what_make_install_installs_is_there():
    assert made(CI) == ["install", "demo", "test", "rest"]
    assert "apt-get" not in CI[: CI.index("counted make test")].partition("\n\n")[2]
    for target in ("demo", "test"):
        assert re.search(rf"^{target}: install ##", MAKEFILE, re.MULTILINE), target
    assert re.search(r"^check: .*\btest rest ##", MAKEFILE, re.MULTILINE), "what CI runs"


@pytest.fixture
def with_a_make(tmp_path: Path) -> Path:
    """A checkout of `.ci/run` alone, where `make` does nothing but what a file says that is named as its target."""
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".ci/run").write_text(CI)
    (tmp_path / "bin").mkdir()
    for name, text in {
        "make": 'echo "made $1"; ! [ -e "$1" ] || { cat "$1"; echo "make: *** [$1] Error 1" >&2; exit 2; }',
        "apt-get": "exit 1",
    }.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    return tmp_path


def of_ci(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(folder / ".ci/run")],
        env={**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("target", ["test", "rest"])
def test_what_fails_ends_it_with_the_line_in_which_pytest_counts(with_a_make: Path, target: str):
    closing = "== 1 failed, 2 passed in 3.45s =="
    (with_a_make / target).write_text(f"FAILED test_x\n{closing}\n")
    done = of_ci(with_a_make)
    assert done.returncode != 0
    assert done.stdout.splitlines()[-1] == closing
    assert f"make: *** [{target}] Error 1" in done.stdout
    assert ("made rest" in done.stdout) == (target == "rest")
    (with_a_make / target).unlink()
    assert of_ci(with_a_make).returncode == 0


@pytest.mark.unit
def test_a_recipe_is_three_lines_of_shell_at_most_and_longer_ones_are_programs():
    for recipe in re.findall(r"(?:^\t.*\n)+", MAKEFILE, re.MULTILINE):
        for command in re.split(r"(?<!\\)\n", recipe):
            assert command.count("\\\n") < 3, command
    assert not re.findall(r"^\t@?(?:for|while)\b.*\\$", MAKEFILE, re.MULTILINE)


def tracked(pathspec: str) -> set[str]:
    listed = subprocess.run(
        ["git", "ls-files", "--", pathspec], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(listed.stdout.splitlines())


def test_what_is_generated_is_marked_so_and_each_pattern_finds_something():
    lines = (ROOT / ".gitattributes").read_text().splitlines()
    patterns = [line.split()[0] for line in lines if line and not line.startswith("#")]
    assert not [pattern for pattern in patterns if not tracked(pattern)]
    generated = {
        *docs.documents(),
        ".env.example",
        "locks/requirements.lock",
        "clients/rust/src/v1.rs",
        "clients/rust/src/longrunning.rs",
    }
    assert generated <= tracked(":(attr:linguist-generated)")
