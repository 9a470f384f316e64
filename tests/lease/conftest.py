"""A server for each test of the lease protocol."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from .place import Place


@pytest.fixture
async def place(dsn: str) -> AsyncIterator[Place]:
    async with Place(dsn, cancel_grace="1s") as place:
        yield place
