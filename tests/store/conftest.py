"""What the tests of the store ask for: the stores over a database of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from .stored import Stored, stored


@pytest.fixture
async def s(dsn: str) -> AsyncIterator[Stored]:
    """The stores over a migrated database for this test alone."""
    async with stored(dsn) as made:
        yield made
