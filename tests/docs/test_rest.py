"""docs/rest.md is true: each block is typed into a terminal, and every method and operational path is called in it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.longrunning import operations_pb2

from jobqueue.v1 import bulk_pb2, insight_pb2, jobqueue_pb2, queue_admin_pb2
from jobqueue_server.errors import QueueNotFound, registry
from jobqueue_server.http.contract import OPTIONS
from jobqueue_server.http.docs import PATHS as OF_DOCUMENTS
from jobqueue_server.http.errors import REASONS, STATUS_OF, ErrorForm
from jobqueue_server.http.ops import PATHS
from jobqueue_server.http.transcoding.transcoder import Transcoder

from .markdown import ROOT, Block, blocks
from .script import Script
from .test_readme import environment, process

NAME = "docs/rest.md"
TEXT = (ROOT / NAME).read_text()
# A call: all that is typed of it, and its path.
_CALL = re.compile(r"\bcurl (.*?127\.0\.0\.1:8080(/[^\s'\"?]*).*)")
_METHOD = re.compile(r"-X ([A-Z]+)")


def conversations() -> Iterator[Block]:
    return (block for block in blocks(TEXT) if block.language == "console")


@pytest.mark.curl
def test_every_block_of_the_rules_of_http_does_what_it_shows(tmp_path: Path, dsn: str) -> None:
    flags = ["--grpc-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0", "--metrics-addr", "off"]
    allowed = ["--cors-origins", "https://app.example.com"]
    with (
        process("jobqueue-server", "serve", *flags, *allowed, DATABASE_URL=dsn) as until,
        process("jobqueue-server", "serve", *flags, DATABASE_URL=dsn, JOBQUEUE_AUTH="keys") as until_guarded,
    ):
        ready, guarded = until("jobqueue-server is ready"), until_guarded("jobqueue-server is ready")
        there = environment(f"127.0.0.1:{ready['port']}", dsn)
        assert shutil.which("curl", path=there["PATH"]), "curl is missing: `make check` needs it"
        places = {
            "127.0.0.1:8080": f"127.0.0.1:{ready['http_port']}",
            "127.0.0.1:8081": f"127.0.0.1:{guarded['http_port']}",
        }
        script = Script(NAME, tmp_path, there, places)
        try:
            script.run(conversations())
        finally:
            script.close()


def called() -> set[tuple[str, str]]:
    """Method and path of each call by curl."""
    found = set()
    for block in conversations():
        for line in block.lines:
            call = _CALL.search(line) if line.startswith("$ ") else None
            if call:
                given = _METHOD.search(call[1])
                posts = "--json" in call[1] or "--data-binary" in call[1]
                found.add((given[1] if given else "POST" if posts else "GET", call[2]))
    return found


def test_every_method_of_the_contract_is_called() -> None:
    services = [
        jobqueue_pb2.DESCRIPTOR.services_by_name["JobQueue"],
        queue_admin_pb2.DESCRIPTOR.services_by_name["QueueAdmin"],
        insight_pb2.DESCRIPTOR.services_by_name["Insight"],
        bulk_pb2.DESCRIPTOR.services_by_name["Bulk"],
        operations_pb2.DESCRIPTOR.services_by_name["Operations"],
    ]
    transcoder = Transcoder(services, OPTIONS)
    left = {binding.selector for binding in transcoder.bindings}
    for method, path in called():
        for binding in transcoder.bindings:
            pattern = "/" + "/".join("[^/:]+" if part == "*" else part for part in binding.template.segments)
            pattern += f":{binding.template.verb}" if binding.template.verb else ""
            if method == binding.http_method and re.fullmatch(pattern, path):
                left.discard(binding.selector)
    assert not left


def test_the_statuses_are_those_that_are_answered() -> None:
    there = {int(status) for status in re.findall(r"^\| (\d{3}) \|", TEXT, re.MULTILINE)}
    errors = {error.http_status or STATUS_OF[error.code] for error in registry().values()} | set(REASONS)
    assert there == {200, 201, 202, 204, 304} | errors


def test_the_other_form_of_errors_is_as_it_is_shown() -> None:
    (shown,) = [json.loads(block.text) for block in blocks(TEXT) if block.language == "json"]
    error = QueueNotFound(shown["error"]["message"], metadata={"queue": "none"})
    assert ErrorForm(aip193=True).body(error) == shown


def test_every_operational_path_is_called_or_named() -> None:
    paths = {path for _, path in called()}
    assert not set(PATHS) - set(OF_DOCUMENTS) - paths
