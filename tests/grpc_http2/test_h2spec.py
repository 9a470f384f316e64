"""h2spec, the public suite for servers of HTTP/2 and HPACK, against a server with handlers of gRPC."""

from __future__ import annotations

import asyncio
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

KNOWN = {
    # RFC 9113 has removed the dependencies between streams: it tells servers to pass over them (section 5.3.2).
    ("http2/5.3.1", "Sends HEADERS frame that depend on itself"),
    ("http2/5.3.1", "Sends PRIORITY frame that depend on itself"),
    # It takes 16 KiB for the most a frame may have, which is what holds for whoever announces nothing else. This
    # server announces 64 KiB; test_floods.py holds it to those.
    ("http2/4.2", "Sends a large size HEADERS frame that exceeds the SETTINGS_MAX_FRAME_SIZE"),
}


async def failures(program: Path, report: Path) -> tuple[int, set[tuple[str, str]], str]:
    """How many cases there were, those that failed by section and title, and what was printed."""
    served = await start()
    command = ["--strict", "--timeout", "3", "--port", str(served.port), "--path", "/t.T/Echo"]
    process = await asyncio.create_subprocess_exec(
        program,
        *command,
        "--junit-report",
        report,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    await served.server.stop(0)
    cases = list(ElementTree.parse(report).iter("testcase"))
    failed = {(case.get("package", ""), case.get("classname", "")) for case in cases if len(case)}
    return len(cases), failed, output.decode()


def test_the_public_suite_finds_what_is_known_and_nothing_else(tmp_path: Path) -> None:
    count, failed, output = uvloop.run(failures(built(MODULE, PACKAGE), tmp_path / "report.xml"))
    assert count == 146
    assert failed == KNOWN, output
