"""A primary that waits for its synchronous standby in vain: what it alone has committed is answered to nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from datetime import timedelta

import grpc
import pytest

from jobqueue.v1 import job_pb2, lease_pb2
from jobqueue_server.embedded import EmbeddedPostgres
from jobqueue_server.store import migrate
from tests.lease.hand_worker import HandWorker, reason_of
from tests.lease.place import Place
from tests.standby import run

pytestmark = [pytest.mark.slow, pytest.mark.any_engine]


class Primary:
    """A PostgreSQL that may be told that it has a standby, which never comes."""

    def __init__(self, postgres: EmbeddedPostgres) -> None:
        self.dsn = postgres.dsn

    async def waits_for(self, standby: str) -> None:
        await run(self.dsn, f"alter system set synchronous_standby_names = '{standby}'")
        await run(self.dsn, "select pg_reload_conf()")
        # It is the checkpointer that tells the backends, a moment later.
        while standby and await self._commits():
            pass

    async def waiting(self) -> int:
        """How many commits wait now."""
        return int(await run(self.dsn, "select count(*) from pg_stat_activity where wait_event = 'SyncRep'"))

    async def _commits(self) -> bool:
        """Whether a commit does not wait."""
        commit = asyncio.create_task(run(self.dsn, "select pg_logical_emit_message(true, 'test', '')"))
        try:
            while not commit.done():
                # It is seen to wait: that it is slow says nothing.
                if await self.waiting():
                    return False
            await commit
            return True
        finally:
            commit.cancel()
            await asyncio.gather(commit, return_exceptions=True)


@pytest.fixture
async def primary() -> AsyncIterator[Primary]:
    async with EmbeddedPostgres(listen=True) as postgres:
        await migrate.up(postgres.dsn)
        yield Primary(postgres)


async def reasons(*calls: Awaitable[object]) -> list[str]:
    """Why each of the calls was refused; `OK` of one that was not, or what it says itself."""
    answers = await asyncio.gather(*calls, return_exceptions=True)
    return [
        reason_of(answer)
        if isinstance(answer, grpc.aio.AioRpcError)
        else answer
        if isinstance(answer, str)
        else "OK"
        for answer in answers
    ]


def held(name: str) -> job_pb2.Unique:
    """A name that stays held, also where the worker, whose slot is free once the outcome counts, is handed its job."""
    return job_pb2.Unique(key=name, until=job_pb2.Unique.ENDS)


async def verdict(worker: HandWorker, job: lease_pb2.LeasedJob) -> str:
    """What becomes of a success that is sent, as after an answer that got lost."""
    worker.held[job.lease_id] = job
    answers = await worker.succeed(job)
    return lease_pb2.SettleResult.Verdict.Name(answers[0].verdict) if answers else "APPLIED"


async def test_what_only_this_host_has_is_answered_to_nobody(
    primary: Primary, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each answer waits for as long.
    monkeypatch.setattr("jobqueue_server.store.database.STATEMENT_TIMEOUT", timedelta(seconds=2))
    async with Place(primary.dsn) as place:
        # Names are looked up without a lock once most of them are held.
        for _ in range(2):
            await place.enqueue(unique=held("before"))
        worker = await place.worker(slots=1)
        leased = await worker.job()
        await worker.heartbeat()
        await primary.waits_for("nobody")

        def asked() -> Awaitable[list[str]]:
            return reasons(
                place.enqueue(idempotency_key="key"),
                # The same while the first is under way: what comes of that decides about it.
                place.enqueue(idempotency_key="key"),
                place.enqueue(unique=held("name")),
                verdict(worker, leased),
            )

        assert await asked() == ["DATABASE_AWAY"] * 3 + ["TRY_AGAIN"]
        # Their waiting was given up, so that all of it can be seen here, and on no other host.
        assert await run(primary.dsn, "select count(*) from job") == 3
        assert await run(primary.dsn, "select count(*) from finished_job") == 1

        async def asked_alone() -> list[str]:
            # In an insert of its own, which reads its name without a lock: one with keys locks it.
            while not await primary.waiting():
                pass
            return await reasons(place.enqueue(unique=held("name")))

        again, alone = await asyncio.gather(asked(), asked_alone())
        assert again == ["DATABASE_AWAY"] * 3 + ["TRY_AGAIN"]
        assert alone == ["DATABASE_AWAY"]
        await primary.waits_for("")
        assert await asked() == ["OK"] * 3 + ["ALREADY_APPLIED"]
        assert await run(primary.dsn, "select count(*) from job") == 3
