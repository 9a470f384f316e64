"""A test fails that makes our code log what docs/logs.md does not list, or a secret, also in a server of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from jobqueue_server.core.access import keys
from tools.logs import SECRETS

ROOT = Path(__file__).parents[2]

_CONFTEST = """
from tests.logged import Logged

def pytest_configure(config):
    config.pluginmanager.register(Logged(), "logged")
"""
_TESTS = """
import json, threading
import pytest
from jobqueue_server import logs
from tests.logged import will_be_read

log = logs.get("jobqueue_server.core.catalog.catalog")
LINE = {
    "at": "2026-11-28T09:30:00.123Z", "level": "warning", "logger": "jobqueue_server.core.catalog.catalog",
    "message": "waiting for the database",
}

def listed():
    with logs.bound(request_id="r1"):
        log.warning("waiting for the database", host="h", port=5, database="d", cause="c")

def unknown():
    log.warning("waiting for a bus")

def of_a_thread():
    thread = threading.Thread(target=unknown)
    thread.start()
    thread.join()

def other_level():
    log.error("waiting for the database")

def other_field():
    log.warning("waiting for the database", colour="red")

def secret():
    log.warning("waiting for the database", cause="can't reach postgres://me:hunter2@host/jobs")

def of_a_client():
    import logging
    logging.getLogger("jobqueue.worker").warning("waiting for a bus")

@pytest.mark.parametrize(
    "act", [unknown, of_a_thread, other_level, other_field, secret, of_a_client], ids=lambda act: act.__name__
)
def test_wrong(act):
    act()

def test_fixture(request):
    request.addfinalizer(unknown)

def test_listed():
    listed()

@pytest.fixture(scope="module")
def output(tmp_path_factory):
    path = tmp_path_factory.mktemp("out") / "out.log"
    path.write_text("Welcome\\n" + json.dumps(LINE) + "\\n")
    will_be_read(path, lambda: True)
    return path

def test_process(output):
    pass

def test_process_that_goes_on(output):
    with output.open("a") as file:
        file.write(json.dumps(LINE | {"message": "waiting for a process"}) + '\\n{"half": ')

def test_that_comes_later(output):
    pass
"""


@pytest.mark.slow
def test_a_test_that_logs_what_is_not_listed_fails(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(_CONFTEST)
    (tmp_path / "pytest.ini").write_text(f"[pytest]\npythonpath = {ROOT}\n")
    (tmp_path / "test_some.py").write_text(_TESTS)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rfE", str(tmp_path)]
    out = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False).stdout
    assert "6 failed, 5 passed, 2 errors" in out.splitlines()[-1], out
    names = [
        line.split("::")[1].split()[0]
        for line in out.splitlines()
        if line.startswith(("FAILED test_", "ERROR test_"))
    ]
    assert [name for name in names if "[" not in name] == ["test_fixture", "test_process_that_goes_on"]
    for wrong in (
        "no line of jobqueue_server of the level warning has this text",
        "no line of jobqueue_server of the level error has this text",
        "no line of jobqueue of the level warning has this text",
        "the field colour is none of this line",
        "it has a password of an address",
    ):
        assert wrong in out


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (f"the key {keys.mint().text} is one", "an API key"),
        ("eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovL2lkIn0.c2lnbmF0dXJlLW9mLWl0", "a signed token"),
        ("authorization: Bearer 0123456789abcdef0123", "credentials of a request"),
        ("postgresql://jobs:hunter2@10.0.0.1:5432/jobs", "a password of an address"),
        ("-----BEGIN PRIVATE KEY-----\nMII", "a private key"),
        ("jq_0123456789_*** at https://id.example.com:8443/keys, grpc://127.0.0.1:50051, eyJ", ""),
        ("postgresql://jobs@10.0.0.1:5432/jobs: the bearer of it waits; 12:00:01", ""),
    ],
    ids=lambda text: text.split()[-1] if text and text in SECRETS else "x",
)
def test_secrets_are_found_and_what_only_looks_like_one_is_not(text: str, what: str) -> None:
    assert [name for name, pattern in SECRETS.items() if pattern.search(text)] == ([what] if what else [])
