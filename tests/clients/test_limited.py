"""A client that calls more often than it may comes again when the server says, with what it may send twice."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.conformance.languages import languages

from .conftest import Work, enqueue
from .limited import Limited

# The first build of a language compiles its gRPC.
pytestmark = pytest.mark.timeout(600)

WAIT = timedelta(seconds=0.7)
EACH = [pytest.param(each, marks=pytest.mark.language(each)) for each in languages()]


@pytest.mark.parametrize("language", EACH)
async def test_a_read_that_is_rate_limited_is_asked_again_when_the_server_says(
    work: Work, address: str, queue: str, language: str
) -> None:
    work("python", address, queue)
    limited = Limited(address, {"WaitJob"}, WAIT)
    async with limited as before:
        assert await enqueue(language, before, queue, [b"[1]"]) == [b"[1]"]
    first, second, *_ = limited.calls["WaitJob"]
    assert WAIT.total_seconds() <= second - first < WAIT.total_seconds() + 5
    assert len(limited.calls["BatchEnqueueJobs"]) == 1


@pytest.mark.parametrize("language", EACH)
async def test_an_enqueue_without_a_key_that_is_rate_limited_is_not_sent_again(
    address: str, queue: str, language: str
) -> None:
    limited = Limited(address, {"BatchEnqueueJobs"}, WAIT)
    async with limited as before:
        with pytest.raises(AssertionError, match="RATE_LIMITED"):
            await enqueue(language, before, queue, [b"[1]"])
    assert len(limited.calls["BatchEnqueueJobs"]) == 1
