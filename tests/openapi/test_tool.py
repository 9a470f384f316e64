"""The tool that makes the documents: what is stale is found with and without the programs of other languages."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tools.openapi import __main__ as tool
from tools.openapi import programs, version2, version31

ROOT = Path(__file__).resolve().parents[2]


def test_the_documents_are_what_they_are_made_from(monkeypatch: pytest.MonkeyPatch) -> None:
    # The linters take seconds, and run in `make contract`.
    monkeypatch.setattr(programs, "linter", lambda name: None)
    tool.check()


def test_sha256sum_reads_the_hashes() -> None:
    ran = subprocess.run(
        ["sha256sum", "--check", "--strict", "proto/openapi.sum"], cwd=ROOT, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    named = [line.partition(":")[0] for line in ran.stdout.splitlines()]
    protos = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "proto").rglob("*.proto"))
    assert [*protos, "proto/openapi.yaml", "tools/openapi/go.mod", "tools/openapi/go.sum"] == named[:-1]


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without the programs of other languages."""
    monkeypatch.setattr(programs, "plugin", lambda: None)
    monkeypatch.setattr(programs, "linter", lambda name: None)


@pytest.mark.usefixtures("bare")
def test_without_go_and_node_the_hashes_are_compared_and_it_says_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tool.check()
    said = capsys.readouterr().err
    assert "NOT MADE ANEW" in said
    assert "NOT LINTED by redocly" in said
    assert "NOT LINTED by spectral" in said


@pytest.mark.usefixtures("bare")
def test_without_go_a_changed_source_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sums = tmp_path / "openapi.sum"
    lines = version2.SUMS.read_text().splitlines(keepends=True)
    sums.write_text("".join([lines[0].replace(lines[0][:4], "0000"), *lines[1:]]))
    monkeypatch.setattr(version2, "SUMS", sums)
    with pytest.raises(SystemExit, match=r"proto/jobqueue/v1/access.proto changed .*make tools generate"):
        tool.check()
    with pytest.raises(SystemExit, match="can't be renewed"):
        tool.write()


@pytest.mark.usefixtures("bare")
def test_a_document_that_was_edited_by_hand_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    edited = tmp_path / "openapi.json"
    edited.write_text(version31.DOCUMENT.read_text().replace('"QUEUED"', '"QUEUE"'))
    monkeypatch.setattr(version31, "DOCUMENT", edited)
    monkeypatch.setattr(tool, "ROOT", tmp_path)
    with pytest.raises(SystemExit, match="openapi.json is not what it is made from: run `make generate`"):
        tool.check()


def test_what_is_not_there_is_said_and_not_fatal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(programs, "plugin", lambda: None)
    monkeypatch.setattr(programs, "linter", lambda name: None)
    monkeypatch.setenv("PATH", "")
    programs.install()
    said = capsys.readouterr().err
    assert "go is not on PATH: protoc-gen-openapiv2 can't be installed" in said
    assert "npm is not on PATH: redocly and spectral can't be installed" in said
