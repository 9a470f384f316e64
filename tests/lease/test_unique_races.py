"""A job that is kept is never one that had let go of its name: calls of one name race with all that lets go."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from jobqueue.v1 import jobqueue_pb2

from .hand_worker import HandWorker
from .place import Caller, Place
from .test_unique import U, ask, new, unique

pytestmark = pytest.mark.any_engine

CALLERS = 2
_WAYS = ("starts", "is cancelled", "ends at once", "is cancelled and deleted")


class Race:
    """Callers of one name, who ask again and again, and what is known of the jobs that they are answered.

    Attributes:
        stored: The jobs, as they come.
        kept: Of each call that was answered another one's job: that job, and when the call began.
        gone: When it was known, by an answer, that a job had let go.
    """

    def __init__(self, until: Any) -> None:
        self.stored: asyncio.Queue[str] = asyncio.Queue()
        self.kept: list[tuple[str, float]] = []
        self.gone: dict[str, float] = {}
        self._job = new(unique=unique(until=until))
        self._until = until

    async def call(self, caller: Caller) -> None:
        """Asks until it is cancelled."""
        while True:
            began = time.monotonic()
            answer = await ask(caller, self._job)
            if answer.unique_action == U.KEPT:
                self.kept.append((answer.job.id, began))
            else:
                self.stored.put_nowait(answer.job.id)

    async def let_go(self, way: str, job_id: str, caller: Caller, worker: HandWorker) -> None:
        """A job that waits lets go of its name."""
        if way in ("starts", "ends at once"):
            await worker.capacity(1)
            leased = await worker.job()
            assert leased.id == job_id
            if self._until == U.STARTS:
                self.gone[job_id] = time.monotonic()
            await worker.capacity(0)
            if way == "starts":
                await asyncio.sleep(0.005)
            await worker.succeed(leased)
        else:
            await caller.stub.CancelJob(jobqueue_pb2.CancelJobRequest(id=job_id))
            self.gone[job_id] = time.monotonic()
            if way == "is cancelled and deleted":
                await caller.stub.DeleteJob(jobqueue_pb2.DeleteJobRequest(id=job_id))
        self.gone.setdefault(job_id, time.monotonic())

    @property
    def stale(self) -> list[str]:
        """The jobs that were answered to calls which began after those jobs had let go."""
        return [job_id for job_id, began in self.kept if began > self.gone.get(job_id, began)]


async def never_stale(place: Place, until: Any, rounds: int) -> None:
    """On two servers, in so many rounds, no call is answered a job that had let go before it began."""
    race = Race(until)
    worker = await place.worker(slots=0)
    async with Place(place.dsn) as other:
        callers = [asyncio.create_task(race.call(at)) for at in (place, other) for _ in range(CALLERS)]
        for number in range(rounds):
            job_id = await asyncio.wait_for(race.stored.get(), 30)
            await race.let_go(_WAYS[number % len(_WAYS)], job_id, (place, other)[number % 2], worker)
        for task in callers:
            assert not task.done(), task
            task.cancel()
        await asyncio.gather(*callers, return_exceptions=True)
    assert not race.stale
    assert len(race.gone) == rounds
    assert len(race.kept) > rounds


@pytest.mark.slow
@pytest.mark.parametrize("until", [U.STARTS, U.ENDS])
async def test_a_kept_job_has_not_let_go_before_the_call_that_it_answers(place: Place, until: Any) -> None:
    await never_stale(place, until, 40)


@pytest.mark.slow
@pytest.mark.parametrize("until", [U.STARTS, U.ENDS])
async def test_in_two_hundred_rounds_no_answer_is_stale(place: Place, until: Any) -> None:
    await never_stale(place, until, 200)
