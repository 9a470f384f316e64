"""How `TestServer` starts and ends the process of a server, with processes that are none."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jobqueue.testing import TestServer, server

pytestmark = pytest.mark.timeout(60)

_PROCESS = """
import os, pathlib, signal, sys
pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))
if sys.argv[3] == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(sys.argv[2], flush=True)
while os.read(0, 4096):
    pass
"""
_ANSWER = '{"grpc": "127.0.0.1:1", "key": "k"}'


class Command:
    """A process that answers so, and ends with its input."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._pid = folder / "pid"
        self._monkeypatch = monkeypatch
        monkeypatch.delenv("JOBQUEUE_TEST_SERVER", raising=False)

    def answers(self, line: str, *, how: str = "") -> None:
        command = [sys.executable, "-c", _PROCESS, str(self._pid), line, how]
        self._monkeypatch.setenv("JOBQUEUE_SERVER_COMMAND", shlex.join(command))

    def runs(self) -> bool:
        try:
            os.kill(int(self._pid.read_text()), 0)
        except ProcessLookupError:
            return False
        return True


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    return Command(tmp_path, monkeypatch)


@pytest.mark.parametrize("how", ["", "deaf"])
def test_a_server_ends_though_another_process_holds_its_input(
    command: Command, monkeypatch: pytest.MonkeyPatch, how: str
):
    monkeypatch.setattr(server, "_ENDS_WITHIN", 0.2)
    monkeypatch.setattr(server, "_ENDS_AT_THE_LATEST", 0.2 if how else 50.0)
    command.answers(_ANSWER, how=how)
    # As a child has it that is made by a fork.
    inputs: list[int] = []
    processes: list[subprocess.Popen[str]] = []
    popen = subprocess.Popen

    def started(*args: Any, **options: Any) -> Any:
        process = popen(*args, **options)
        processes.append(process)
        assert process.stdin is not None
        inputs.append(os.dup(process.stdin.fileno()))
        return process

    monkeypatch.setattr(subprocess, "Popen", started)
    found = TestServer.start()
    try:
        assert command.runs()
        found.close()
        assert processes[0].returncode == -(signal.SIGKILL if how else signal.SIGTERM)
        found.close()
    finally:
        os.close(inputs[0])


@pytest.mark.parametrize("line", ["no JSON", '{"grpc": "127.0.0.1:1"}'])
def test_a_server_whose_answer_can_not_be_read_is_ended(command: Command, line: str):
    command.answers(line)
    with pytest.raises((ValueError, KeyError)):
        TestServer.start()
    assert not command.runs()


def test_a_start_that_is_given_up_leaves_no_server(command: Command, monkeypatch: pytest.MonkeyPatch):
    command.answers(_ANSWER)

    def given_up(_line: str) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(json, "loads", given_up)
    with pytest.raises(KeyboardInterrupt):
        TestServer.start()
    assert not command.runs()


def test_a_server_that_ends_with_its_input_gets_no_signal(command: Command, monkeypatch: pytest.MonkeyPatch):
    def unwanted(process: subprocess.Popen[str], number: int) -> None:
        raise AssertionError(f"signal {number}")

    monkeypatch.setattr(subprocess.Popen, "send_signal", unwanted)
    command.answers(_ANSWER)
    with TestServer.start() as found:
        assert (found.target, found.key) == ("127.0.0.1:1", "k")
        assert command.runs()
    assert not command.runs()
