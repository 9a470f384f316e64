"""What a release is checked for: one version, a section of the changelog, lists of components, and the table of it."""

from __future__ import annotations

import json
import re
import shutil
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tools import release, sbom, version
from tools.release import Step, report, run, wrong_changelog

ROOT = Path(__file__).parents[2]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The files that name the version."""
    for name in {"VERSION", *(place.file for place in version.PLACES)}:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, tmp_path / name)
    return tmp_path


@pytest.mark.unit
def test_all_packages_have_the_version_that_one_file_says():
    assert version.check(ROOT) == []


@pytest.mark.unit
def test_a_version_is_set_in_every_place_and_nothing_else_changes(copy: Path):
    old = version.version(ROOT)
    version.write(copy, "12.34.5")

    assert version.check(copy) == []
    for name in {place.file for place in version.PLACES}:
        before, after = (ROOT / name).read_text(), (copy / name).read_text()
        assert after != before
        assert after.replace("12.34.5", old).replace("12.34.*", f"{old.rpartition('.')[0]}.*") == before
    assert tomllib.loads((copy / "server/pyproject.toml").read_text())["project"]["version"] == "12.34.5"


@pytest.mark.unit
def test_a_place_with_another_version_or_none_is_named(copy: Path):
    pom, doc = copy / "clients/java/pom.xml", copy / "clients/go/jobqueue/doc.go"
    pom.write_text(pom.read_text().replace(f"<version>{version.version(ROOT)}<", "<version>9.9.9<"))
    doc.write_text("package jobqueue\n")

    wrong = version.check(copy)
    assert f"clients/java/pom.xml says 9.9.9, VERSION says {version.version(ROOT)}" in wrong
    assert any(line.startswith("clients/go/jobqueue/doc.go names no version") for line in wrong)
    assert len(wrong) == 2


def test_the_check_goes_on_after_a_failure_and_skips_nothing_silently(tmp_path: Path):
    ends = "import sys; print('as it said'); sys.exit(int(sys.argv[1]))"
    steps = [
        Step("bad", "it holds not", (sys.executable, "-c", ends, "1")),
        Step("absent", "needs what is not here", ("true",), needs=("a-program-of-no-name",)),
        Step("away", "could not be asked", (sys.executable, "-c", ends, "2"), unknown=2),
        Step("out", "not asked for", ("true",)),
        Step("good", "it holds", (sys.executable, "-c", ends, "0")),
    ]
    said: list[str] = []
    verdicts = run(steps, {"out"}, tmp_path, said.append)
    assert [verdict.word for verdict in verdicts] == ["FAILED", "NOT RUN", "NOT RUN", "left out", "passed"]

    assert report(verdicts, said.append) == 1
    text = "\n".join(said)
    assert "\nbad:\nas it said\n" in text
    assert "\nabsent:\na-program-of-no-name not on PATH\n" in text
    assert re.search(r"^good +\d+\.\d s  passed +it holds$", text, re.MULTILINE)
    assert said[-1].strip() == "Not ready: bad, absent, away; left out: out"
    assert report([verdict for verdict in verdicts if verdict.good], said.append) == 0
    assert said[-1].strip() == "Ready; left out: out"


@pytest.mark.unit
def test_a_step_runs_what_is_there():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    names = [step.name for step in release.steps(rehearsal=False)]
    assert len(names) == len(set(names))
    for step in release.steps(rehearsal=True):
        if step.command[0] == "make":
            assert set(step.command[1:]) <= targets
        for word in step.command:
            assert not word.startswith("tests/") or (ROOT / word).exists(), word
            assert not word.startswith("tools.") or find_spec(word) is not None


@pytest.mark.unit
@pytest.mark.parametrize(
    ("head", "rehearsal", "wrong"),
    [
        ("0.2.0 (2026-12-24)\n\n- a\n", False, ""),
        ("0.2.0\n\n- a\n", False, "begins with 0.2.0;"),
        ("0.1.9 (2026-12-24)\n\n- a\n", False, "begins with 0.1.9 (2026-12-24);"),
        ("0.2.0 (2026-12-24)\n", False, "is empty"),
        ("Unreleased\n\n- a\n", False, "begins with Unreleased"),
        ("Unreleased\n\n- a\n", True, ""),
    ],
)
def test_the_changelog_has_a_section_of_the_version(head: str, rehearsal: bool, wrong: str):
    said = wrong_changelog(f"# Changelog\n\nText.\n\n## {head}\n", "0.2.0", rehearsal)
    assert (wrong in said) if wrong else said == ""


@pytest.mark.parametrize("package", sbom.PACKAGES)
def test_the_list_of_components_is_that_of_the_lock(package: str):
    made = sbom.document(package)
    assert json.loads(sbom.path_of(package).read_text()) == made, "run `make sbom`"
    assert sbom.unknown(made) == []
    assert sbom.document(package) == made, "twice the same"

    refs = [made["metadata"]["component"]["bom-ref"], *(each["bom-ref"] for each in made["components"])]
    assert len(refs) == len(set(refs))
    assert {each["ref"] for each in made["dependencies"]} == set(refs)
    needed = {ref for each in made["dependencies"] for ref in each["dependsOn"]}
    assert needed == set(refs[1:]), "each component is there for something"
    names = {each["name"] for each in made["components"]}
    assert {"jobqueue", "grpcio", "protobuf"} <= names
    assert ({"htm", "preact", "swagger-ui-dist", "joserfc"} <= names) == (package == "server")


@pytest.mark.unit
def test_a_licence_that_nobody_has_looked_at_is_named():
    def one(expression: str) -> dict[str, Any]:
        return {"components": [{"name": "x", "version": "1", "licenses": [{"expression": expression}]}]}

    assert sbom.unknown(one("MIT OR Apache-2.0")) == []
    assert sbom.unknown(one("AGPL-3.0-only")) == [
        "x 1 has the licence 'AGPL-3.0-only': tools/sbom.py says which are fine"
    ]
    assert sbom.unknown(one(""))


@pytest.mark.unit
def test_the_images_carry_their_list_and_say_where():
    text = (ROOT / "deploy/Dockerfile").read_text()
    for package in sbom.PACKAGES:
        stage = text.partition(f" AS {package}\n")[2].partition("\nFROM ")[0]
        assert f"COPY {package}/sboms/jobqueue-{package}.cdx.json /opt/jobqueue/sbom.cdx.json\n" in stage
        assert "dev.jobqueue.sbom=/opt/jobqueue/sbom.cdx.json" in stage
        assert f"org.opencontainers.image.version={version.version(ROOT)}" in stage
