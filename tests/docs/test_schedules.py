"""docs/schedules.md is true: its blocks are typed into a terminal, and it names each outcome and each field."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from jobqueue.v1 import schedule_pb2 as pb

from .markdown import ROOT
from .test_readme import environment, process, run

NAME = "docs/schedules.md"
TEXT = (ROOT / NAME).read_text()


@pytest.mark.curl
@pytest.mark.slow
def test_every_block_does_what_it_shows(tmp_path: Path, dsn: str) -> None:
    flags = ["--grpc-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0", "--metrics-addr", "off"]
    with process("jobqueue-server", "serve", *flags, DATABASE_URL=dsn) as until:
        ready = until("jobqueue-server is ready")
        places = {"localhost:8080": f"127.0.0.1:{ready['http_port']}"}
        run(TEXT, tmp_path, environment(f"127.0.0.1:{ready['port']}", dsn), places, NAME)


def test_its_tables_have_each_field_of_a_spec_and_of_a_policy() -> None:
    rows = re.findall(r"^\| ([^|]+) \|", TEXT, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    for message in (pb.ScheduleSpec, pb.SchedulePolicy):
        assert {field.name for field in message.DESCRIPTOR.fields} <= named


def test_it_has_each_call_of_the_service() -> None:
    rows = "".join(re.findall(r"^\| ([^|]+) \|", TEXT, re.MULTILINE))
    service = pb.DESCRIPTOR.services_by_name["Schedules"]
    assert [method.name for method in service.methods if method.name not in rows] == []
