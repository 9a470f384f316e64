"""docs/limits.md is true: its blocks are typed into a terminal, and its table has each field of a policy."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from jobqueue.v1 import queue_admin_pb2

from .markdown import ROOT
from .test_readme import environment, process, run

NAME = "docs/limits.md"
TEXT = (ROOT / NAME).read_text()


@pytest.mark.curl
def test_every_block_does_what_it_shows(tmp_path: Path, dsn: str) -> None:
    flags = ["--grpc-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0", "--metrics-addr", "off"]
    with process("jobqueue-server", "serve", *flags, DATABASE_URL=dsn) as until:
        ready = until("jobqueue-server is ready")
        there = environment(f"127.0.0.1:{ready['port']}", dsn)
        assert shutil.which("curl", path=there["PATH"]), "curl is missing: `make check` needs it"
        assert shutil.which("grpcurl", path=there["PATH"])
        places = {
            "127.0.0.1:8080": f"127.0.0.1:{ready['http_port']}",
            "127.0.0.1:50051": f"127.0.0.1:{ready['port']}",
        }
        run(TEXT, tmp_path, there, places, NAME)


def test_the_table_has_each_field_of_a_policy() -> None:
    named = re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE)
    assert named == [field.name for field in queue_admin_pb2.KeyPolicy.DESCRIPTOR.fields]
