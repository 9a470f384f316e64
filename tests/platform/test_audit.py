"""`make audit` never takes silence for an answer."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tools import audit

GOOD: dict[str, Any] = {"name": "good", "version": "1", "vulns": []}
BAD: dict[str, Any] = {"name": "bad", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"]}]}
UNASKED: dict[str, Any] = {"name": "odd", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("dependencies", "code", "says"),
    [
        ([GOOD], audit.CLEAN, "1 versions, no known vulnerability"),
        ([GOOD, BAD], audit.FOUND, "bad 2: PYSEC-1 (mended in 3)"),
        ([GOOD, BAD, UNASKED], audit.FOUND, "PYSEC-1"),
        ([GOOD, UNASKED], audit.UNKNOWN, "odd: not found"),
        ([], audit.UNKNOWN, "not all"),
    ],
)
def test_what_was_not_looked_up_is_not_well(dependencies: list[dict[str, Any]], code: int, says: str):
    found, text = audit.judge({"dependencies": dependencies})

    assert found == code
    assert says in text


@contextmanager
def service(answer: Callable[[dict[str, Any]], dict[str, Any]]) -> Iterator[str]:
    """A database of vulnerabilities on loopback, as OSV answers; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            body = json.dumps(answer(asked)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
    finally:
        server.shutdown()
        server.server_close()


def run(url: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools.audit", "--service", url]
    return subprocess.run(command, cwd=audit.ROOT, capture_output=True, text=True, check=False)


def nothing(asked: dict[str, Any]) -> dict[str, Any]:
    return {}


def one_for_grpcio(asked: dict[str, Any]) -> dict[str, Any]:
    if asked["package"]["name"] != "grpcio":
        return {}
    affected = [
        {
            "package": asked["package"],
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99"}]}],
            "versions": [asked["version"]],
        }
    ]
    vulnerability = {"id": "PYSEC-1", "summary": "bad", "details": "bad", "aliases": [], "affected": affected}
    return {"vulns": [vulnerability]}


@pytest.mark.network  # pip-audit is fetched
@pytest.mark.timeout(300)
def test_each_version_of_the_locks_is_asked_for():
    with service(nothing) as url:
        clean = run(url)
    with service(one_for_grpcio) as url:
        found = run(url)
    away = run(url)

    assert (clean.returncode, found.returncode, away.returncode) == (0, 1, 2), clean.stderr + found.stderr
    assert "grpcio" in found.stderr
    assert "PYSEC-1 (mended in 99)" in found.stderr
    assert f"make audit: {url} could not be asked: " in away.stderr
    assert "Traceback" not in away.stderr
