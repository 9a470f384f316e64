"""After a restore nothing is handed out and no schedule fires, on any server, until an operator resumes."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from datetime import UTC, datetime
from typing import Any

import pytest

from jobqueue.v1 import insight_pb2, overview_pb2
from jobqueue_server.core.tuning import Tuning
from tests.conftest import of_server
from tests.lease.hand_worker import PATIENCE, span
from tests.lease.place import Place, eventually
from tests.platform.test_cli import run

from .schedules import create, minutely, policy, spec

pytestmark = pytest.mark.any_engine


async def command(place: Place, *words: str) -> str:
    """What the command says."""
    done = await asyncio.to_thread(run, *words, DATABASE_URL=place.dsn)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def ready(place: Place) -> dict[str, Any]:
    def read() -> dict[str, Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{place.app.http_port}/readyz", timeout=10) as answer:
            found: dict[str, Any] = json.loads(answer.read())
            return found

    return await asyncio.to_thread(read)


async def reasons(place: Place, job_id: str) -> list[Any]:
    request = insight_pb2.ExplainJobRequest(id=job_id)
    return list((await place.insight.ExplainJob(request, timeout=PATIENCE)).reasons)


async def warnings(place: Place) -> list[Any]:
    answer = await place.insight.GetOverview(overview_pb2.GetOverviewRequest(), timeout=PATIENCE)
    return list(answer.overview.warnings)


async def fired(place: Place) -> int:
    count: int = await place.value("select coalesce(sum(fired), 0) from schedule")
    return count


@pytest.mark.slow
async def test_nothing_is_handed_out_on_any_server_until_an_operator_resumes(dsn: str, caplog: Any) -> None:
    async with Place(dsn) as before:
        await create(before, "often", spec(every=3600), policy=policy(3600))
        await before.sql("update schedule set next_at = now() + interval '1 hour'")
        waits = await before.enqueue()
    async with Place(dsn, start="paused", http_addr="127.0.0.1:0") as first, Place(dsn) as second:
        await first.sql("update schedule set next_at = now()")
        workers = [await place.worker() for place in (first, second)]
        new = [await place.enqueue() for place in (first, second) for _ in range(3)]
        await asyncio.sleep(2.5)  # A sweep, a heartbeat, ticks.
        assert {await first.status(job.id) for job in (waits, *new)} == {"QUEUED"}
        assert await fired(first) == 0

        told = await ready(first)
        assert told["status"] == "ready"
        assert "jobqueue-server resume" in told["standstill"]
        for place in (first, second):
            reason = (await reasons(place, waits.id))[0]
            assert (reason.code, list(reason.unblocked_by)) == (24, ["jobqueue-server resume"])
            assert reason.pause.HasField("since")
            warning = (await warnings(place))[0]
            assert (warning.code, warning.remedy) == (10, "jobqueue-server resume")
            demand = await place.insight.GetQueueDemand(insight_pb2.GetQueueDemandRequest(queue="default"))
            assert (demand.runnable, demand.wanted_slots) == (0, 0)
        lines = [line.getMessage() for line in of_server(caplog)]
        assert lines.count("nothing is handed out and no schedule fires until an operator resumes") == 2

        assert "jobs are handed out again" in await command(first, "resume")
        got = [await worker.job() for worker in workers]
        assert {each.id for each in got} <= {job.id for job in (waits, *new)}

        async def has_fired() -> bool:
            return await fired(first) > 0

        await eventually(has_fired)

        async def unnoted() -> bool:
            return await ready(first) == {"status": "ready"}

        await eventually(unnoted)
        assert await command(first, "resume") == "nothing stands\n"


@pytest.mark.slow
async def test_it_begins_once_for_each_restore_and_not_at_each_restart(dsn: str) -> None:
    async def stands(**settings: Any) -> bool:
        async with Place(dsn, **settings) as place:
            return place.app.upkeep.standstill.since is not None

    async with Place(dsn) as place:
        assert not await stands()
        assert await stands(start="paused")
        assert await stands()  # It outlives servers.
        await command(place, "resume")
        assert not await stands(start="paused")
        # PostgreSQL has started anew, as with each restore of its files.
        await place.sql("update standstill set resumed_in = resumed_in - interval '1 s', resumed_xid = null")
        assert await stands(start="paused")
        await command(place, "resume")
        # A dump is restored: the rows are the same, written by another transaction.
        await place.sql("create table dumped as table standstill")
        await place.sql("delete from standstill")
        await place.sql("insert into standstill table dumped")
        assert await stands(start="paused")


async def test_an_enqueue_does_not_wait_for_claims_that_are_not_made(dsn: str) -> None:
    async with Place(dsn, start="paused", tuning=Tuning(admission_patience=1.0)) as place:
        await place.worker()
        await place.enqueue()
        await eventually(lambda: _swept(place))
        started = asyncio.get_running_loop().time()
        for _ in range(20):
            await place.enqueue()
        # With the patience of admission for each it would be 20 s and more.
        assert asyncio.get_running_loop().time() - started < 10


async def _swept(place: Place) -> bool:
    return any(group.waiting(place.app.claim.lines) for group in place.app.claim.takers.groups)


@pytest.mark.slow
async def test_the_report_says_what_would_run_again_and_what_had_ended(dsn: str) -> None:
    async with Place(dsn) as place:
        worker = await place.worker(kinds=("work", "slow"))
        for _ in range(2):
            await place.enqueue()
            assert await worker.succeed(await worker.job()) == []
        await place.enqueue("slow")
        await worker.job()  # It runs.
        await worker.close()
        await create(place, "often", minutely(), policy=policy(3600), kind="report")
        await create(place, "later")
    since = datetime.now(UTC)
    async with Place(dsn, start="paused") as place:
        await place.batch(3)
        await place.batch(2, delay=span(3600))
        await place.enqueue(hold=True)
        # Its next tick is less than a minute from now: five before that are due, and one more.
        await place.sql("update schedule set next_at = next_at - interval '6 min' where name = 'often'")
        said = json.loads(await command(place, "report", "--since", "2026-01-01T00:00:00Z", "--json"))
        assert said["standing_since"] is not None
        rows = {row["kind"]: row for row in said["waiting"]}
        assert (rows["slow"]["running"], rows["slow"]["due"]) in ((1, 0), (0, 1))
        assert {name: rows["work"][name] for name in ("running", "due", "later", "held")} == {
            "running": 0, "due": 3, "later": 2, "held": 1
        }  # fmt: skip
        [ended] = said["ended"]
        assert (ended["kind"], ended["succeeded"], ended["failed"]) == ("work", 2, 0)
        [ticks] = said["ticks"]
        assert (ticks["schedule"], ticks["kind"], ticks["fires"], ticks["skipped"]) == (
            "often",
            "report",
            1,
            5,
        )

        later = json.loads(await command(place, "report", "--since", since.isoformat(), "--json"))
        assert later["ended"] == []
        table = await command(place, "report", "--since", since.isoformat())
        assert "Nothing is handed out until: jobqueue-server resume" in table
        assert "often" in table
        refused = await asyncio.to_thread(run, "report", "--since", "yesterday", DATABASE_URL=dsn)
        assert (refused.returncode, "--since should be a time such as" in refused.stderr) == (2, True)
