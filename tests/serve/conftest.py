"""A server for each test of what its callers see."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.lease.place import Place


@pytest.fixture
async def place(dsn: str) -> AsyncIterator[Place]:
    async with Place(dsn) as place:
        yield place
