"""The programs of `examples/`: in every language each shows what its row of `examples.toml` says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.go_programs import ENVIRONMENT

ROOT = Path(__file__).resolve().parents[2]
LIST: dict[str, Any] = tomllib.loads((ROOT / "tests" / "clients" / "examples.toml").read_text())
LANGUAGES, PROGRAMS = LIST["languages"], LIST["programs"]
#: Starts a server for the tests of the examples.
SERVER = str(Path(sys.executable).with_name("jobqueue-server"))

pytestmark = pytest.mark.timeout(600)


def each_language() -> list[Any]:
    return [
        pytest.param(name, marks=() if name == "python" else pytest.mark.language(name)) for name in LANGUAGES
    ]


def run(command: list[str], name: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """What a command of the table did, in the checkout."""
    names = {"python": sys.executable, "name": name, "Name": "".join(map(str.capitalize, name.split("_")))}
    given = {**os.environ, **ENVIRONMENT, **environment}
    filled = [part.format(**names) for part in command]
    return subprocess.run(
        filled, cwd=ROOT, env=given, capture_output=True, text=True, timeout=500, check=False
    )


@cache
def build(language: str) -> None:
    """Builds the programs of a language, once in a run."""
    if command := LANGUAGES[language]["build"]:
        done = run(command)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("language", each_language())
def test_a_program_shows_in_every_language_what_its_row_says(language: str, name: str, address: str) -> None:
    build(language)
    done = run(LANGUAGES[language]["run"], name, JOBQUEUE_SERVER=address)
    # What is counted is whole, and written as 3.0 in some.
    lines = [re.sub(r"(?<= \d)\.0$", "", line) for line in done.stdout.splitlines()]
    wanted = PROGRAMS[name]["shows"]
    if PROGRAMS[name].get("any_order"):
        lines, wanted = sorted(lines), sorted(wanted)
    assert (lines, done.returncode) == (wanted, 0), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("language", each_language())
def test_the_tests_of_the_examples_pass(language: str) -> None:
    build(language)
    done = run(LANGUAGES[language]["test"], "testing", JOBQUEUE_SERVER_COMMAND=SERVER)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_page_says_what_each_program_prints() -> None:
    page = (ROOT / "docs" / "examples.md").read_text()
    for name, row in PROGRAMS.items():
        (line,) = [line for line in page.splitlines() if line.startswith(f"| `{name}` |")]
        assert [shown for shown in row["shows"] if f"`{shown}`" not in line] == []
