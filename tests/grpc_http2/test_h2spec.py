"""h2spec, the public suite for servers of HTTP/2 and HPACK, against a server with handlers of gRPC."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
import uvloop

from tests.go_programs import built

from .conftest import start

# The first run of all fetches and builds what go.sum names.
pytestmark = [pytest.mark.language("go"), pytest.mark.timeout(300)]

MODULE = Path(__file__).parent / "h2spec"
PACKAGE = "github.com/summerwind/h2spec/cmd/h2spec"

_NO_PRIORITIES = (
    "RFC 9113 has removed the dependencies between streams: servers pass over them (section 5.3.2)."
)
# What fails, and why that is right.
KNOWN = {
    ("http2/5.3.1", "Sends HEADERS frame that depend on itself"): _NO_PRIORITIES,
    ("http2/5.3.1", "Sends PRIORITY frame that depend on itself"): _NO_PRIORITIES,
    ("http2/4.2", "Sends a large size HEADERS frame that exceeds the SETTINGS_MAX_FRAME_SIZE"): (
        "h2spec takes 16 KiB for the most that a frame may have, which holds for servers that announce nothing else. "
        "This server announces 64 KiB, and test_floods.py holds it to those."
    ),
}


def failures(program: Path, port: int, path: str, report: Path) -> tuple[int, set[tuple[str, str]], str]:
    """How many cases there were, those that failed by section and title, and what was printed."""
    # Each of those that fail waits for as long.
    command = [str(program), "--strict", "--timeout", "4", "--port", str(port), "--path", path]
    done = subprocess.run(
        [*command, "--junit-report", str(report)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    cases = list(ElementTree.parse(report).iter("testcase"))
    failed = {(case.get("package", ""), case.get("classname", "")) for case in cases if len(case)}
    return len(cases), failed, done.stdout


async def serve(program: Path, report: Path) -> tuple[int, set[tuple[str, str]], str]:
    """The same, against a server of these tests."""
    served = await start()
    found = await asyncio.to_thread(failures, program, served.port, "/t.T/Echo", report)
    await served.server.stop(0)
    return found


def test_the_public_suite_finds_what_is_known_and_nothing_else(tmp_path: Path) -> None:
    count, failed, output = uvloop.run(serve(built(MODULE, PACKAGE), tmp_path / "report.xml"))
    assert count == 146
    assert failed == KNOWN.keys(), output
