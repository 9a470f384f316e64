"""A server for each test of what its callers see."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from tests.lease.place import Place
from tests.parallel import leave_out
from tests.pgbouncer import PROGRAM

from .server_process import ServerProcess


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what wants pgbouncer where that is not installed, and says so."""
    without = [item for item in items if item.get_closest_marker("pgbouncer") and PROGRAM is None]
    if without:
        leave_out(
            config, items, without, f"pgbouncer: NOT installed; {len(without)} tests behind it were NOT run"
        )


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
