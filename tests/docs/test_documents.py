"""What holds for every document: links lead somewhere, named files exist, nothing of one machine is in it."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib

import pytest
from packaging.requirements import Requirement

from tools import docs

from .markdown import ROOT, anchors, code_words, documents, links, prose

DOCUMENTS = {str(path.relative_to(ROOT)): path for path in documents()}

_TOP = (
    "bench/",
    "clients/",
    "deploy/",
    "docs/",
    "examples/",
    "migrations/",
    "locks/",
    "proto/",
    "server/",
    "tests/",
    "tools/",
    "worker/",
)
_PROMISE = re.compile(r"^\| \d+\. .* \|$", re.MULTILINE)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_link_leads_to_a_file_and_a_heading_that_are_there(name: str) -> None:
    path = DOCUMENTS[name]
    dead = []
    for link in links(path.read_text()):
        target, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        there = (path.parent / target).resolve() if target else path
        if not there.exists() or (anchor and anchor not in anchors(there.read_text())):
            dead.append(link)

    assert not dead


# These shorten paths; test_architecture.py knows how.
_MAPS = {"ARCHITECTURE.md", "docs/code-map.md"}


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if name not in _MAPS])
def test_every_file_of_the_repository_that_is_named_exists(name: str) -> None:
    named = {
        word.partition("::")[0] for word in code_words(DOCUMENTS[name].read_text()) if word.startswith(_TOP)
    }

    assert not {word for word in named if "NNNN" not in word and not (ROOT / word).exists()}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_target_of_make_that_is_named_exists(name: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        word.split()[1]
        for word in code_words(DOCUMENTS[name].read_text())
        if re.fullmatch(r"make [a-z-]+", word)
    }

    assert not named - targets


@pytest.mark.parametrize("name", DOCUMENTS)
def test_nothing_of_one_machine_or_one_registry_is_in_it(name: str) -> None:
    text = DOCUMENTS[name].read_text()

    assert not re.findall(r"/(?:work|root|home|tmp|Users)/\S*", text)
    assert not re.findall(r"\S*(?:pypi|pythonhosted|docker\.io|ghcr\.io|registry\.(?!py\b))\S*", text)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_lines_are_short_and_nothing_is_left_for_later(name: str) -> None:
    lines = [line for line in prose(DOCUMENTS[name].read_text()).splitlines() if not line.startswith("|")]

    assert not [line for line in lines if len(line) > 130]
    assert not [line for line in lines if re.search(r"\b(TODO|FIXME|TBD|XXX)\b", line)]


def test_each_promise_of_the_readme_names_the_tests_that_hold_it() -> None:
    promises = _PROMISE.findall((ROOT / "README.md").read_text())

    assert len(promises) >= 7
    for promise in promises:
        assert re.findall(r"`tests/[\w/]+\.py`", promise), promise


@pytest.mark.parametrize("name", docs.documents() | docs.partly())
def test_a_document_that_is_made_from_code_is_up_to_date(name: str) -> None:
    assert (ROOT / name).read_text() == (docs.documents() | docs.partly())[name], "run `make generate`"


def test_docs_check_is_what_it_says() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "tools.docs", "--check"], cwd=ROOT, capture_output=True, text=True
    )

    assert ran.returncode == 0, ran.stdout


def test_each_folder_of_tests_has_its_line() -> None:
    text = (ROOT / "tests/README.md").read_text()
    folders = {path.parent.name for path in ROOT.glob("tests/*/test_*.py")}

    assert not {folder for folder in folders if f"`tests/{folder}`" not in text}


def test_each_marker_has_its_line() -> None:
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]["markers"]
    section = (ROOT / "tests/README.md").read_text().partition("## Markers")[2].partition("## ")[0]
    named = re.findall(r"`(\w+)`", "".join(re.findall(r"^\|(.*?)\|", section, re.MULTILINE)))

    assert sorted(named) == sorted(marker.partition(":")[0] for marker in told)


def dependencies() -> set[str]:
    """The direct dependencies of the three packages and of the repository's tools."""
    wanted: list[str] = []
    for package in ("clients/python", "server", "worker"):
        project = tomllib.loads((ROOT / package / "pyproject.toml").read_text())["project"]
        wanted += project["dependencies"]
        for extra in project.get("optional-dependencies", {}).values():
            wanted += extra
    for path in ROOT.glob("locks/*.in"):
        lines = (line.partition("#")[0].strip() for line in path.read_text().splitlines())
        wanted += [line for line in lines if line]
    return {Requirement(each).name for each in wanted}


def test_each_dependency_has_its_reason() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text().partition("## Dependencies")[2]
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]

    assert set(re.findall(r"`([^`]+)`", "".join(rows))) == dependencies()


def test_the_changelog_speaks_of_what_comes_and_of_the_contract() -> None:
    unreleased = (ROOT / "CHANGELOG.md").read_text().partition("## Unreleased")[2]

    assert "### Contract" in unreleased
