"""buf holds the contract's style and its compatibility, without network."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools import generate, mutants

ROOT = Path(__file__).resolve().parents[2]
BUF = Path(sys.executable).parent / "buf"
# A proxy that nobody listens on: whatever buf would fetch, it could not.
OFFLINE = {**os.environ, "HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}


@pytest.mark.parametrize(
    "command",
    [
        ("lint",),
        ("format", "proto", "--diff", "--exit-code"),
        ("breaking", "proto", "--against", "proto/baseline.binpb", "--exclude-imports"),
    ],
    ids=lambda command: command[0],
)
def test_the_contract_passes_buf(command: tuple[str, ...]) -> None:
    ran = subprocess.run([BUF, *command], cwd=ROOT, env=OFFLINE, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_on_a_bare_clone_buf_says_what_to_run_and_works_once_that_ran() -> None:
    with mutants.copy() as clone:
        ran = subprocess.run([BUF, "lint"], cwd=clone, env=OFFLINE, capture_output=True, text=True)
        assert ran.returncode != 0
        assert "(run make install)" in ran.stderr
        assert len(ran.stderr.splitlines()) == 1, "and not a line for each name that can't be found"

        # What `make install` does last; all else that it does takes a minute.
        last = "@$(BIN)/python -m tools.generate --googleapis"
        assert re.search(
            rf"^install:.*\n\t{re.escape(last)}$", (clone / "Makefile").read_text(), re.MULTILINE
        )
        subprocess.run([sys.executable, "-m", "tools.generate", "--googleapis"], cwd=clone, check=True)
        subprocess.run([BUF, "lint"], cwd=clone, env=OFFLINE, check=True)


def test_a_removed_field_is_a_break(tmp_path: Path) -> None:
    """The image is compared with, not just read."""
    for folder in (generate.PROTO / "jobqueue", generate.GOOGLEAPIS):
        shutil.copytree(folder, tmp_path / folder.relative_to(ROOT))
    (tmp_path / "buf.yaml").write_text((ROOT / "buf.yaml").read_text())
    file = tmp_path / "proto/jobqueue/v1/jobqueue.proto"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(line for line in lines if "bool pending" not in line))
    against = str(ROOT / "proto/baseline.binpb")
    ran = subprocess.run(
        [BUF, "breaking", "proto", "--against", against], cwd=tmp_path, capture_output=True, text=True
    )
    assert ran.returncode != 0
    assert "pending" in ran.stdout


def test_the_template_for_other_languages_is_one_that_buf_runs(tmp_path: Path) -> None:
    for plugin in ("protoc-gen-go", "protoc-gen-go-grpc", "protoc-gen-es"):
        # An empty CodeGeneratorResponse: made, without a file.
        (tmp_path / plugin).write_text("#!/bin/sh\ncat > /dev/null\n")
        (tmp_path / plugin).chmod(0o755)
    environment = {**OFFLINE, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    command: list[str | Path] = [BUF, "generate", "--output", tmp_path]
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
