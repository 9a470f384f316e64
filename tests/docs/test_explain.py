"""docs/explain.md is true: its blocks are typed into a terminal, and its table has each reason."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from jobqueue import ReasonCode
from jobqueue.v1 import insight_pb2
from jobqueue_server.core.insight.reasons import Code

from .markdown import ROOT
from .test_readme import environment, process, run

NAME = "docs/explain.md"
TEXT = (ROOT / NAME).read_text()


@pytest.mark.slow
def test_every_block_does_what_it_shows(tmp_path: Path, dsn: str) -> None:
    flags = ["--grpc-addr", "127.0.0.1:0", "--http-addr", "off", "--metrics-addr", "off"]
    with process("jobqueue-server", "serve", *flags, DATABASE_URL=dsn) as until:
        ready = until("jobqueue-server is ready")
        run(TEXT, tmp_path, environment(f"127.0.0.1:{ready['port']}", dsn), {}, NAME)


def test_the_table_the_contract_the_server_and_the_client_have_the_same_codes() -> None:
    contract = list(insight_pb2.Reason.Code.items())
    assert [(code.name, int(code)) for code in Code] == contract[1:]
    assert [str(code) for code in ReasonCode] == [name for name, _ in contract]
    assert re.findall(r"^\| ([A-Z_]+) \|", TEXT, re.MULTILINE) == [code.name for code in Code]
