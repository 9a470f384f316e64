"""The bridge for River: workers come to the same by River itself on PostgreSQL and as jobs."""

from __future__ import annotations

import pytest

from jobqueue.testing import TestServer

from .go_modules import go, unformatted

# River is compiled by the first.
pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.language("go"),
    pytest.mark.any_engine,
    pytest.mark.timeout(600),
]

BRIDGE = "river_bridge"


def test_the_bridge_is_formatted_and_vetted() -> None:
    assert unformatted(BRIDGE) == ""
    go(BRIDGE, "vet", "./...")


def test_fourteen_jobs_come_to_the_same_by_river_itself_and_by_the_bridge(
    jobqueue_server: TestServer, empty_dsn: str
) -> None:
    said = go(
        BRIDGE,
        *("test", "-count=1", "-v", "./..."),
        RIVER_DATABASE_URL=empty_dsn,
        JOBQUEUE_TEST_SERVER=jobqueue_server.target,
        JOBQUEUE_TEST_KEY=jobqueue_server.key,
    )
    for name in ("TestRiverItselfComesToThis", "TestAsJobsTheyComeToTheSame"):
        assert f"--- PASS: {name}" in said
    assert "--- SKIP" not in said
