"""A server for each test of what its callers see."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from tests.lease.place import Place

from .server_process import ServerProcess


@pytest.fixture
async def place(dsn: str) -> AsyncIterator[Place]:
    async with Place(dsn) as place:
        yield place


@pytest.fixture
async def processes() -> AsyncIterator[Callable[..., ServerProcess]]:
    """Makes server processes, and kills those that a test leaves."""
    made: list[ServerProcess] = []

    def make(dsn: str, **settings: str) -> ServerProcess:
        made.append(ServerProcess(dsn, **settings))
        return made[-1]

    yield make
    for process in made:
        await process.kill()


@pytest.fixture(autouse=True)
def over_each_engine(engine: str) -> None:
    """What callers see is so over each engine."""
