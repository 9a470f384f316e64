"""docs/bulk.md is true: its blocks are typed into a terminal, its Python is compiled, and its metrics are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from jobqueue_server.metrics import Metrics

from .markdown import ROOT
from .test_readme import environment, process, run

NAME = "docs/bulk.md"
TEXT = (ROOT / NAME).read_text()


@pytest.mark.slow
def test_every_block_does_what_it_shows(tmp_path: Path, dsn: str) -> None:
    flags = ["--grpc-addr", "127.0.0.1:0", "--http-addr", "off", "--metrics-addr", "off"]
    with process("jobqueue-server", "serve", *flags, DATABASE_URL=dsn) as until:
        ready = until("jobqueue-server is ready")
        run(TEXT, tmp_path, environment(f"127.0.0.1:{ready['port']}", dsn), {}, NAME)


def test_its_metrics_are_those_of_the_server() -> None:
    metrics = Metrics()
    metrics.bulk_jobs("retry", "changed", 1)
    metrics.operations("retry", "running", 1)
    text = metrics.exposition("")[0].decode()
    named = re.findall(r"`(jobqueue_[a-z_]+)\{([a-z,]+)\}`", TEXT)
    assert len(named) == 2
    for name, labels in named:
        (line,) = re.findall(rf"^{name}{{(.*)}} 1\.0$", text, re.MULTILINE)
        assert {part.partition("=")[0] for part in line.split(",")} == set(labels.split(","))
