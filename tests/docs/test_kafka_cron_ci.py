"""docs/recipes/kafka-cron-ci.md: what it types works, and the step of CI that it shows is one that bash takes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from .markdown import ROOT, blocks
from .script import Script
from .test_readme import environment, process

NAME = "docs/recipes/kafka-cron-ci.md"
BLOCKS = list(blocks((ROOT / NAME).read_text()))


@pytest.mark.curl
@pytest.mark.slow
def test_every_conversation_goes_as_it_is_shown(tmp_path: Path, dsn: str) -> None:
    flags = ["--grpc-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0", "--metrics-addr", "off"]
    with process("jobqueue-server", "serve", *flags, DATABASE_URL=dsn) as until:
        ready = until("jobqueue-server is ready")
        address = f"127.0.0.1:{ready['port']}"
        places = {"127.0.0.1:8080": f"127.0.0.1:{ready['http_port']}"}
        worker = ["--server", address, "--metrics-bind-addr", "127.0.0.1:0"]
        with process("jobqueue-worker", *worker) as until_worker:
            until_worker("session 1 opened")
            script = Script(NAME, tmp_path, environment(address, dsn), places)
            try:
                script.run(block for block in BLOCKS if block.language == "console")
            finally:
                script.close()


def test_the_line_of_cron_is_what_is_typed() -> None:
    """But that cron takes `%` for the end of the line, and that nothing of the answer is kept."""
    (line,) = (block.lines[0] for block in BLOCKS if block.language == "text")
    (typed,) = (line for block in BLOCKS for line in block.lines if line.startswith("$ nightly() {"))
    command = line.removeprefix("30 2 * * * ").replace("\\%", "%").replace("-o /dev/null", "")
    asked = typed.removeprefix("$ nightly() { ").removesuffix("; }")
    assert command.split() == asked.replace("-o job.json -w '%{http_code}\\n'", "").split()


def test_the_step_of_ci_can_be_read() -> None:
    (text,) = (block.text for block in BLOCKS if block.language == "yaml")
    (step,) = YAML(typ="safe").load(text)["jobs"]["digest"]["steps"]
    done = subprocess.run(["bash", "-n"], input=step["run"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
