"""docs/unique.md is true: its blocks are typed into a terminal, and it names each field of a name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from jobqueue.v1 import job_pb2

from .markdown import ROOT
from .test_readme import environment, process, run

NAME = "docs/unique.md"
TEXT = (ROOT / NAME).read_text()


@pytest.mark.curl
def test_every_block_does_what_it_shows(tmp_path: Path, dsn: str) -> None:
    flags = ["--grpc-addr", "127.0.0.1:0", "--http-addr", "off", "--metrics-addr", "off"]
    with process("jobqueue-server", "serve", *flags, DATABASE_URL=dsn) as until:
        address = f"127.0.0.1:{until('jobqueue-server is ready')['port']}"
        run(TEXT, tmp_path, environment(address, dsn), {"127.0.0.1:50051": address}, NAME)


def test_its_tables_have_each_field_of_a_name() -> None:
    rows = re.findall(r"^\| ([^|]+) \|", TEXT, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert {field.name for field in job_pb2.Unique.DESCRIPTOR.fields} <= named
