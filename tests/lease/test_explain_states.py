"""Whatever state a queue and its workers are in: a job that is said to be about to start starts."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from jobqueue.v1 import insight_pb2, job_pb2

from .hand_worker import PATIENCE, HandWorker
from .place import Place

pytestmark = [pytest.mark.slow, pytest.mark.any_engine, pytest.mark.timeout(300)]

Code = insight_pb2.Reason.Code
Status = job_pb2.Job.Status
#: Within this time it starts.
SOON = 5.0

QUEUES = st.sampled_from(("p", "p", "q"))
KINDS = st.sampled_from(("a", "a", "b"))
WORKERS = st.fixed_dictionaries(
    {
        "queues": st.dictionaries(QUEUES, st.lists(KINDS, min_size=1, unique=True), min_size=1),
        "slots": st.integers(1, 3),
        "one_a": st.booleans(),
    }
)
JOBS = st.fixed_dictionaries(
    {
        "queue": QUEUES,
        "kind": KINDS,
        "count": st.integers(1, 3),
        "priority": st.integers(-1, 1),
        "hold": st.sampled_from((False, False, False, True)),
        "delay": st.sampled_from((0.0, 0.0, 0.0, 3600.0)),
    }
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("job"), JOBS),
        st.tuples(st.just("job"), JOBS),
        st.tuples(st.just("worker"), WORKERS),
        st.tuples(st.just("pause"), QUEUES),
        st.tuples(st.just("resume"), QUEUES),
        st.tuples(st.just("lose"), st.none()),
    ),
    min_size=4,
    max_size=14,
)

_numbers = itertools.count()


class World:
    """Queues of its own in a place, in which steps are taken."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._name = f"world-{next(_numbers)}"
        self._workers: list[HandWorker] = []
        self._used: set[str] = set()
        self.jobs: list[str] = []

    def _queue(self, queue: str) -> str:
        return f"{self._name}-{queue}"

    async def take(self, step: str, what: Any) -> None:
        place = self._place
        match step:
            case "job":
                fields = {**what, "queue": self._queue(what["queue"])}
                for _ in range(fields.pop("count")):
                    self.jobs.append((await place.enqueue(**fields)).id)
                self._used.add(what["queue"])
            case "worker":
                queues = {self._queue(queue): kinds for queue, kinds in what["queues"].items()}
                caps = {"a": 1} if what["one_a"] and "a" in set().union(*what["queues"].values()) else {}
                worker = await place.worker(queues=queues, slots=what["slots"], slots_by_kind=caps)
                self._workers.append(worker)
            case "pause" | "resume" if what in self._used:
                await (place.pause if step == "pause" else place.unpause)(self._queue(what))
            case "lose" if self._workers:
                await self._workers.pop(0).close()

    async def look(self, job_id: str) -> tuple[str, str]:
        """What a job is said to wait for, and its status."""
        request = insight_pb2.ExplainJobRequest(id=job_id)
        answer = await self._place.insight.ExplainJob(request, timeout=PATIENCE)
        return Code.Name(answer.reasons[0].code), Status.Name(answer.status)

    async def end(self) -> None:
        """Leaves nothing that another world could be disturbed by."""
        for worker in self._workers:
            await worker.close()


@given(steps=STEPS)
@example(
    steps=[
        ("worker", {"queues": {"p": ["a"]}, "slots": 3, "one_a": True}),
        ("job", {"queue": "p", "kind": "a", "count": 2, "priority": 0, "hold": False, "delay": 0.0}),
    ]
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_a_job_that_is_about_to_start_does_so_within_five_seconds(
    place: Place, steps: list[tuple[str, Any]]
) -> None:
    world = World(place)
    try:
        for step, what in steps:
            await world.take(step, what)
        until = time.monotonic() + SOON
        waiting = set(world.jobs)
        while waiting:
            found = {job_id: await world.look(job_id) for job_id in waiting}
            assert all((code == "IS_RUNNING") == (status == "RUNNING") for code, status in found.values())
            waiting = {job_id for job_id, (code, _) in found.items() if code == "ABOUT_TO_START"}
            assert not waiting or time.monotonic() < until, f"these did not start: {waiting}"
            await asyncio.sleep(0.02)
    finally:
        await world.end()
