"""The README does what it says: each of its blocks is typed into a terminal, against a real server."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from .markdown import ROOT, Block, blocks
from .script import NotAsWritten, Script

BIN = ROOT / ".venv" / "bin"
# A reader waits half a minute for a dead worker's jobs; this server gives them back sooner.
SESSION_TTL = "5s"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a reader sits: a folder with the project's `.venv` in it."""
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    return tmp_path


@pytest.fixture
def address(dsn: str) -> Iterator[str]:
    """A server, as a process of its own."""
    command = [str(BIN / "jobqueue-server"), "serve", "--grpc-addr", "127.0.0.1:0", "--metrics-addr", "off"]
    options = ["--session-ttl", SESSION_TTL, "--log-format", "json"]
    environment = {**os.environ, "DATABASE_URL": dsn}
    with subprocess.Popen(
        [*command, *options], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as server:
        assert server.stdout is not None
        said: list[str] = []
        for line in server.stdout:
            said.append(line)
            entry = json.loads(line)
            if entry["message"] == "jobqueue-server is ready":
                break
        else:
            pytest.fail("the server did not start:\n" + "".join(said))
        drain = threading.Thread(target=server.stdout.read, daemon=True)
        drain.start()
        yield f"127.0.0.1:{entry['port']}"
        server.terminate()
        server.wait(40)
        drain.join()


def environment(address: str) -> dict[str, str]:
    """A terminal's: the commands on the path, and the server of this run as the one of 127.0.0.1:50051."""
    return {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "HOME": os.environ.get("HOME", "/"),
        "LANG": "C.UTF-8",
        "JOBQUEUE_SERVER": address,
        "WORKER_METRICS_BIND_ADDR": "127.0.0.1:0",
        "PYTHONUNBUFFERED": "1",
    }


def run(text: str, folder: Path, address: str) -> None:
    places = {"127.0.0.1:50051": address, "127.0.0.1:9091": "127.0.0.1:..."}
    script = Script("README.md", folder, environment(address), places)
    try:
        script.run(blocks(text))
    finally:
        script.close()


def test_every_block_of_the_readme_does_what_it_shows(folder: Path, address: str) -> None:
    assert (BIN / "grpcurl").exists(), "grpcurl is missing: it comes with `make install`"

    run((ROOT / "README.md").read_text(), folder, address)


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
        run(text, folder, "127.0.0.1:1")


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
