"""The server of `tests/e2e`, and the programs of each language."""

from __future__ import annotations

import asyncio
import contextlib
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conformance.languages import languages
from tests.conftest import languages_of
from tests.e2e.conftest import address, bench, client, queue, shared
from tests.e2e.processes import Process

__all__ = ["address", "bench", "client", "queue", "shared"]


@pytest.fixture(autouse=True)
def _built(request: pytest.FixtureRequest) -> None:
    """The programs of the languages that a test needs; each is built once in a run."""
    for name in languages_of(request.node):
        trouble = languages()[name].make()
        assert not trouble, f"{name} can't be built:\n{trouble}"


@pytest.fixture
def processes() -> Iterator[list[Process]]:
    """Those that a test has started; they are ended after it."""
    started: list[Process] = []
    yield started
    for process in started:
        process.kill()
        print(f"--- {process.log.name}\n{process.tail()}")


Work = Callable[..., Process]


@pytest.fixture
def work(processes: list[Process], tmp_path: Path) -> Work:
    """Starts the worker of a language: `work(language, address, queue, *flags)`."""

    def start(language: str, address: str, queue: str, *flags: str) -> Process:
        program = languages()[language].program
        options = ("--server", address, "--queue", queue, "--name", language, "--slots", "8", *flags)
        process = Process([*program, "work", *options], tmp_path / f"{language}-{len(processes)}.log", {})
        processes.append(process)
        return process

    return start


async def shown(url: str, *wanted: str) -> None:
    """Waits until a page shows all of these: the worker hears of the end of a job a little later than its producer."""

    def read() -> str:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=10) as answer:
            return str(answer.read().decode())
        return ""

    text = ""
    async with asyncio.timeout(30):
        while not all(each in text for each in wanted):
            await asyncio.sleep(0.02)
            text = await asyncio.to_thread(read)


async def enqueue(
    language: str, address: str, queue: str, payloads: list[bytes], *flags: str, kind: str = "echo"
) -> list[bytes]:
    """The outputs of jobs of a kind, one for each payload, as the producer of a language reads them."""
    program = languages()[language].program
    options = ("--server", address, "--queue", queue, "--kind", kind, *flags)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *program, "enqueue", *options, stdin=pipe, stdout=pipe, stderr=pipe
    )
    out, err = await asyncio.wait_for(process.communicate(b"".join(text + b"\n" for text in payloads)), 60)
    assert process.returncode == 0, err.decode()
    return out.removesuffix(b"\n").split(b"\n")
