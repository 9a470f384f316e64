"""The READMEs and docs/start do what they say: each block is typed, against a real server and worker."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.ports import free_address

from .markdown import ROOT, Block, blocks
from .script import NotAsWritten, Script

pytestmark = pytest.mark.slow

BIN = ROOT / ".venv" / "bin"
# A reader waits half a minute for a dead worker's jobs; this server gives them back sooner.
SESSION_TTL = "10s"
# The pages of docs/start that need no more than Python and make.
STARTS = ("generated-code.md", "grpcurl.md", "own-kind.md")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a reader sits: a folder with the project's `.venv` in it."""
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    return tmp_path


@pytest.fixture
def server(dsn: str) -> Iterator[dict[str, str]]:
    """A server, a process of its own, as `make run` has one: the usual addresses and what they are in this run."""
    flags = ["--grpc-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0", "--metrics-addr", "off"]
    flags += ["--session-ttl", SESSION_TTL]
    with process("jobqueue-server", "serve", *flags, DATABASE_URL=dsn) as until:
        ready = until("jobqueue-server is ready")
        yield {
            "127.0.0.1:50051": f"127.0.0.1:{ready['port']}",
            "127.0.0.1:8080": f"127.0.0.1:{ready['http_port']}",
        }


@pytest.fixture
def address(server: dict[str, str]) -> str:
    """Where it answers gRPC."""
    return server["127.0.0.1:50051"]


@pytest.fixture
def worker(address: str) -> Iterator[None]:
    """A worker for the built-in kinds, as `make run` has one."""
    with process("jobqueue-worker", "--server", address, "--metrics-bind-addr", "127.0.0.1:0") as until:
        until("session 1 opened")
        yield


@contextmanager
def process(program: str, *arguments: str, **environment: str) -> Iterator[Callable[[str], dict[str, Any]]]:
    """Runs a program that logs JSON; gives the means to wait for a line of it, and drains it at the end."""
    command = [str(BIN / program), *arguments, "--log-format", "json"]
    with subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as running:
        lines = running.stdout
        assert lines is not None

        def until(message: str) -> dict[str, Any]:
            said = []
            for line in lines:
                said.append(line)
                entry: dict[str, Any] = json.loads(line)
                if entry["message"].startswith(message):
                    # What it says from now on does not matter, but must not fill the pipe.
                    threading.Thread(target=lines.read, daemon=True).start()
                    return entry
            pytest.fail(f"{program} ended:\n" + "".join(said))

        try:
            yield until
        finally:
            running.terminate()


def environment(address: str, dsn: str = "") -> dict[str, str]:
    """A terminal's: the commands on the path, and the server of this run as the one of 127.0.0.1:50051."""
    return {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "HOME": os.environ.get("HOME", "/"),
        "LANG": "C.UTF-8",
        "JOBQUEUE_SERVER": address,
        "DATABASE_URL": dsn,
        "WORKER_METRICS_BIND_ADDR": "127.0.0.1:0",
        "PYTHONUNBUFFERED": "1",
    }


def run(
    text: str, folder: Path, environment: dict[str, str], places: dict[str, str], name: str = "README.md"
) -> None:
    script = Script(name, folder, environment, places)
    try:
        script.run(blocks(text))
    finally:
        script.close()


def test_every_page_of_the_first_steps_is_typed() -> None:
    assert {path.name for path in (ROOT / "docs/start").glob("*.md")} == {
        "README.md",
        "access.md",
        "curl.md",
        "identities.md",
        *STARTS,
    }


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("name", ["README.md", *(f"docs/start/{page}" for page in STARTS)])
def test_every_block_of_a_first_page_does_what_it_shows(
    folder: Path, server: dict[str, str], address: str, dsn: str, name: str
) -> None:
    there = environment(address, dsn)
    assert shutil.which("grpcurl", path=there["PATH"]), "grpcurl is missing: it comes with `make install`"

    run((ROOT / name).read_text(), folder, there, server, name)


@pytest.mark.curl
@pytest.mark.usefixtures("worker")
def test_every_block_of_the_page_for_curl_does_what_it_shows(
    folder: Path, server: dict[str, str], address: str, dsn: str
) -> None:
    there = environment(address, dsn)
    assert shutil.which("curl", path=there["PATH"]), (
        "curl is missing: `make check` needs it, `make test` does not"
    )

    run((ROOT / "docs/start/curl.md").read_text(), folder, there, server, "docs/start/curl.md")


@pytest.mark.curl
def test_every_block_of_the_page_about_keys_does_what_it_shows(folder: Path, dsn: str) -> None:
    run_with_its_own_server(folder, dsn, "docs/start/access.md")


@pytest.mark.curl
def test_every_block_of_the_page_about_identities_does_what_it_shows(folder: Path, dsn: str) -> None:
    assert shutil.which("openssl"), "openssl is missing: `make check` needs it, `make test` does not"

    run_with_its_own_server(folder, dsn, "docs/start/identities.md")


def run_with_its_own_server(folder: Path, dsn: str, page: str) -> None:
    """Types a page that starts its server itself."""
    grpc, http = free_address(), free_address()
    there = {
        **environment(grpc, dsn),
        "JOBQUEUE_GRPC_ADDR": grpc,
        "JOBQUEUE_HTTP_ADDR": http,
        "JOBQUEUE_METRICS_ADDR": "off",
        "JOBQUEUE_SHUTDOWN_GRACE": "0s",
        "COLUMNS": "120",
    }
    places = {"127.0.0.1:50051": grpc, "127.0.0.1:8080": http}

    run((ROOT / page).read_text(), folder, there, places, page)


@pytest.mark.parametrize("package", ["clients/python", "server", "worker"])
def test_every_block_of_a_packages_readme_does_what_it_shows(
    folder: Path, server: dict[str, str], address: str, dsn: str, package: str
) -> None:
    name = f"{package}/README.md"

    run((ROOT / name).read_text(), folder, environment(address, dsn), server, name)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("```console\n$ echo one\ntwo\n```\n", "line 2"),
        ("```console\n$ echo one\n```\n", "line 2"),
        ("```console\n$ true\n$ echo one; echo two\none\n```\n", "line 3"),
        ("```console\nshown by nothing\n```\n", "nothing was typed"),
        ("```sh\necho one\n```\n", "a block is"),
    ],
)
def test_a_block_that_shows_something_else_is_noticed(folder: Path, text: str, complaint: str) -> None:
    with pytest.raises(NotAsWritten, match=complaint):
        run(text, folder, environment("127.0.0.1:1"), {})


def test_an_id_is_the_same_wherever_the_document_shows_it(folder: Path) -> None:
    one, other = "01a20e73-10c7-7256-8792-b71999e1b2bb", "01a20e74-10c7-7256-8792-b71999e1b2bb"
    real = "01b00000-0000-7000-8000-000000000000"
    script = Script("README.md", folder, environment("127.0.0.1:1"), {})
    try:
        script.run([Block("console", [f"$ echo {real}", one, f"$ echo {one}", one], 1)])
        with pytest.raises(NotAsWritten):
            script.run([Block("console", [f"$ echo {real}x", f"{other}"], 1)])
    finally:
        script.close()
