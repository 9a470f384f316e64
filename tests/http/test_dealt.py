"""What many look at is made and rendered once: the overview, and the statistics of a chart."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobqueue_server.dealt import Dealt
from jobqueue_server.http.transcoding.render import Renderer
from tests.lease.place import Place

from .conftest import PATIENCE, Caller

WATCHERS = 3


@pytest.fixture
async def call(dsn: str) -> AsyncIterator[Caller]:
    async with Place(dsn, http_addr="127.0.0.1:0") as place:
        caller = Caller(place.app.http_port)
        yield caller
        await caller.session.close()


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often messages of each type were rendered."""
    counts = Counter[str]()
    render = Renderer.message

    def counted(self: Renderer, message: Any) -> bytes:
        counts[message.DESCRIPTOR.name] += 1
        return render(self, message)

    monkeypatch.setattr(Renderer, "message", counted)
    return counts


@pytest.mark.unit
def test_a_value_is_known_by_which_object_it_is_and_the_oldest_goes():
    dealt: Dealt[list[int], str] = Dealt(2)
    made: list[list[int]] = []

    def make(value: list[int]) -> str:
        made.append(value)
        return str(value)

    one, alike, third = [1], [1], [3]
    assert [dealt.get(each, make) for each in (one, alike, one, alike)] == ["[1]"] * 4
    assert [each is kept for each, kept in zip(made, (one, alike), strict=True)] == [True, True]
    dealt.get(third, make)
    assert [dealt.get(each, make) for each in (alike, third, one)] == ["[1]", "[3]", "[1]"]
    assert len(made) == 4


@pytest.mark.slow
async def test_all_who_watch_the_overview_get_the_same_bytes(call: Caller, rendered: Counter[str]):
    async def lines() -> list[bytes]:
        async with call.session.get(f"http://127.0.0.1:{call.port}/v1/overview:watch") as stream:
            return [await stream.content.readline() for _ in range(3)]

    async with asyncio.timeout(PATIENCE):
        seen = await asyncio.gather(*(lines() for _ in range(WATCHERS)))
    # Watchers that come apart may begin with two readings.
    assert len({line for each in seen for line in each}) <= rendered["WatchOverviewResponse"] <= 4
    assert seen[0][1:] == seen[1][1:] == seen[2][1:]
    assert json.loads(seen[0][0])["overview"]["read_at"]


async def test_a_chart_that_many_look_at_is_rendered_once(call: Caller, rendered: Counter[str]):
    # A chart that ends now is another one once the next 10 s have begun.
    since, until = (f"{datetime.now(UTC) - timedelta(minutes=ago):%Y-%m-%dT%H:%M:%SZ}" for ago in (10, 1))
    chart = f"/v1/stats?since={since}&until={until}"
    answers = [await call("GET", chart) for _ in range(WATCHERS)]
    assert {answer.status for answer in answers} == {200}
    assert rendered["QueryStatsResponse"] == 1
    other = await call("GET", f"{chart}&group_by=GROUP_BY_KIND")
    assert other.status == 200
    assert rendered["QueryStatsResponse"] == 2


async def test_an_answer_of_another_method_is_rendered_for_each_caller(call: Caller, rendered: Counter[str]):
    for _ in range(WATCHERS):
        assert (await call("GET", "/v1/queues")).status == 200
    assert rendered["ListQueuesResponse"] == WATCHERS
