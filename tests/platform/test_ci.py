"""What CI runs is what a developer runs: targets of the Makefile, and nothing beside them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tools import docs

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):.*##", MAKEFILE, re.MULTILINE))


def made(text: str) -> list[str]:
    return re.findall(r"^\s*(?:exec )?make ([a-z-]+)$", text, re.MULTILINE)


@pytest.mark.unit
def test_the_workflow_runs_targets_that_exist_and_all_that_ci_runs():
    workflow: dict[str, Any] = YAML(typ="safe").load(ROOT / ".github/workflows/ci.yml")
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    made_there = {target for step in steps for target in made(step.get("run", ""))}
    assert made_there <= targets()
    assert set(made((ROOT / ".ci/run").read_text())) <= made_there
    assert all(job["timeout-minutes"] <= 60 for job in workflow["jobs"].values())


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
