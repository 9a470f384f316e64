"""Holds each line that a test's servers and workers log to docs/logs.md, and to have no secret in it.

A test that logged something else fails, and is told which line. Servers and workers that run in the test's own process
are heard as they log; processes of their own are read when a test has ended, where they log as JSON.
"""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Generator, Iterable
from pathlib import Path

import pytest

from jobqueue_server import logs as of_server
from jobqueue_worker import logs as of_worker
from tools.logs import OURS, wrong_with

#: A logger of a test's own, whose lines are about logging itself.
_OF_TEST = ".test"
# The outputs of processes, how much of each was read, and whether more may come.
_outputs: dict[Path, tuple[int, Callable[[], bool]]] = {}


def wrong_lines(lines: Iterable[str]) -> Iterable[str]:
    """Each line that is wrong, with why. What is no JSON object is no line of a log."""
    for line in lines:
        if not line.startswith("{"):
            continue
        try:
            told = json.loads(line)
        except ValueError:
            continue  # the program was killed amid a line
        if isinstance(told, dict) and "logger" in told and not str(told["logger"]).endswith(_OF_TEST):
            for wrong in wrong_with(told):
                yield f"{wrong}: {line.rstrip()}"


def will_be_read(output: Path, runs: Callable[[], bool]) -> None:
    """A program of this version writes its lines there, while it runs; they are read at the end of each test."""
    _outputs[output] = (0, runs)


def _read() -> Iterable[str]:
    """What has come since, in whole lines."""
    for path, (offset, runs) in list(_outputs.items()):
        # First the look at the process: what it wrote before its end is then in the file.
        goes_on = runs()
        # A folder that a test has made for itself may be gone.
        text = path.read_bytes()[offset:] if path.exists() else b""
        whole = text[: text.rfind(b"\n") + 1]
        if goes_on:
            _outputs[path] = (offset + len(whole), runs)
        else:
            del _outputs[path]
        yield from whole.decode(errors="replace").splitlines()


class _Written(io.TextIOBase):
    """Keeps lines until they are asked for; threads write too."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[str] = []

    def write(self, text: str) -> int:
        self._lines.append(text)
        return len(text)

    def taken(self) -> list[str]:
        lines, self._lines = self._lines, []
        return lines


class Logged:
    """The hooks of it."""

    def __init__(self) -> None:
        self._written = _Written()
        for name in OURS:
            module = of_server if name in {"jobqueue_server", "grpc_http2"} else of_worker
            # At the logger itself: programs under test replace the handlers of the root.
            logging.getLogger(name).addHandler(module.writer("json", self._written))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Generator[None, object, object]:
        """What was logged in the test's own process; before that, by its fixtures."""
        result = yield
        _hold(self._written.taken())
        return result

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self) -> Generator[None, object, object]:
        """The rest of it, and what processes wrote, which have ended with the test's fixtures."""
        result = yield
        _hold([*self._written.taken(), *_read()])
        return result


def _hold(lines: Iterable[str]) -> None:
    wrong = list(wrong_lines(lines))
    assert not wrong, "logged, and not as docs/logs.md says (`make generate` renews it):\n" + "\n".join(wrong)
