"""Whatever state a queue and its workers are in: a job that is said to be about to start starts."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Any

import grpc.aio
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from jobqueue.v1 import insight_pb2, job_pb2, queue_admin_pb2

from .hand_worker import PATIENCE, HandWorker, span
from .place import Place

pytestmark = [pytest.mark.slow, pytest.mark.any_engine, pytest.mark.timeout(300)]

Code = insight_pb2.Reason.Code
Status = job_pb2.Job.Status
#: Within this time it starts.
SOON = 5.0
#: Nothing starts anew within a test.
RARELY = queue_admin_pb2.Rate(count=1, period=span(3600), burst=1)
LIMITS = {
    "none": queue_admin_pb2.Limits(),
    "one at once": queue_admin_pb2.Limits(max_running=1),
    "rarely": queue_admin_pb2.Limits(rate=RARELY),
}
POLICIES = {
    "none": queue_admin_pb2.KeyPolicy(),
    "one at once": queue_admin_pb2.KeyPolicy(max_running=1),
    "rarely": queue_admin_pb2.KeyPolicy(rate=RARELY),
    "both": queue_admin_pb2.KeyPolicy(max_running=2, rate=RARELY),
    "in turn": queue_admin_pb2.KeyPolicy(fair=True),
    "in order": queue_admin_pb2.KeyPolicy(
        order=queue_admin_pb2.KEY_ORDER_STRICT, on_failure=queue_admin_pb2.ON_KEY_FAILURE_HOLD
    ),
}
#: A queue that has live jobs takes some policies only with a change of its own, and some jobs do not go with one.
REFUSED = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION}

QUEUES = st.sampled_from(("p", "p", "q"))
KINDS = st.sampled_from(("a", "a", "b"))
KEYS = st.sampled_from(("", "x", "x", "y"))
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
        "key": KEYS,
        "count": st.integers(1, 3),
        "priority": st.integers(-1, 1),
        "hold": st.sampled_from((False, False, False, True)),
        "delay": st.sampled_from((0.0, 0.0, 0.0, 3600.0)),
    }
)
#: What a queue or a kind has from the first job on.
FIRST = st.tuples(
    *(
        st.tuples(st.just("policy"), st.tuples(st.just(queue), st.sampled_from(tuple(POLICIES))))
        for queue in "pq"
    ),
    *(
        st.tuples(st.just("limit"), st.tuples(st.just(queue), st.sampled_from(tuple(LIMITS))))
        for queue in "pq"
    ),
    *(st.tuples(st.just("kind"), st.tuples(st.just(kind), st.sampled_from(tuple(LIMITS)))) for kind in "ab"),
    st.tuples(
        st.just("worker"),
        st.fixed_dictionaries(
            {
                "queues": st.just({"p": ["a", "b"], "q": ["a", "b"]}),
                "slots": st.integers(1, 9),
                "one_a": st.booleans(),
            }
        ),
    ),
    *(st.tuples(st.just("job"), JOBS) for _ in range(4)),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("job"), JOBS),
        st.tuples(st.just("job"), JOBS),
        st.tuples(st.just("job"), JOBS),
        st.tuples(st.just("worker"), WORKERS),
        st.tuples(st.just("pause"), QUEUES),
        st.tuples(st.just("resume"), QUEUES),
        st.tuples(st.just("lose"), st.none()),
        st.tuples(st.just("limit"), st.tuples(QUEUES, st.sampled_from(tuple(LIMITS)))),
        st.tuples(st.just("kind"), st.tuples(KINDS, st.sampled_from(tuple(LIMITS)))),
        st.tuples(st.just("policy"), st.tuples(QUEUES, st.sampled_from(tuple(POLICIES)))),
        st.tuples(st.just("key"), st.tuples(QUEUES, st.sampled_from("xy"), st.booleans())),
        st.tuples(st.just("end"), st.booleans()),
    ),
    min_size=2,
    max_size=12,
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

    def _named(self, what: str) -> str:
        return f"{self._name}-{what}"

    async def take(self, step: str, what: Any) -> None:
        """Takes a step, unless it is refused."""
        try:
            await self._take(step, what)
        except grpc.aio.AioRpcError as error:
            if error.code() not in REFUSED:
                raise

    async def _take(self, step: str, what: Any) -> None:
        place = self._place
        match step:
            case "job":
                fields = {**what, "queue": self._named(what["queue"]), "kind": self._named(what["kind"])}
                for _ in range(fields.pop("count")):
                    self.jobs.append((await place.enqueue(**fields)).id)
                self._used.add(what["queue"])
            case "limit":
                await self._update(what[0], limits=LIMITS[what[1]])
            case "kind":
                kind = queue_admin_pb2.Kind(name=self._named(what[0]), limits=LIMITS[what[1]])
                await place.admin.PutKind(
                    queue_admin_pb2.PutKindRequest(kind=kind, update_mask=FieldMask(paths=["limits"]))
                )
            case "policy":
                await self._update(what[0], key_policy=POLICIES[what[1]])
            case "key" if what[0] in self._used:
                key = queue_admin_pb2.QueueKey(queue=self._named(what[0]), key=what[1], paused=what[2])
                request = queue_admin_pb2.UpdateQueueKeyRequest(
                    queue_key=key, update_mask=FieldMask(paths=["paused"])
                )
                await place.admin.UpdateQueueKey(request)
            case "end":
                for worker in self._workers:
                    if worker.has_job:
                        leased = await worker.job()
                        await (worker.succeed(leased) if what else worker.fail(leased, permanent=True))
            case "worker":
                queues = {
                    self._named(queue): [self._named(kind) for kind in kinds]
                    for queue, kinds in what["queues"].items()
                }
                caps = (
                    {self._named("a"): 1}
                    if what["one_a"] and "a" in set().union(*what["queues"].values())
                    else {}
                )
                worker = await place.worker(queues=queues, slots=what["slots"], slots_by_kind=caps)
                self._workers.append(worker)
            case "pause" | "resume" if what in self._used:
                await (place.pause if step == "pause" else place.unpause)(self._named(what))
            case "lose" if self._workers:
                await self._workers.pop(0).close()

    async def _update(self, queue: str, **fields: Any) -> None:
        await self._place.admin.UpdateQueue(
            queue_admin_pb2.UpdateQueueRequest(
                queue=queue_admin_pb2.Queue(name=self._named(queue), **fields),
                update_mask=FieldMask(paths=list(fields)),
                allow_missing=True,
            )
        )
        self._used.add(queue)

    async def look(self) -> dict[str, list[tuple[str, int]]]:
        """What each job is said to wait for, and when that lets it start."""
        found = {}
        for job_id in self.jobs:
            request = insight_pb2.ExplainJobRequest(id=job_id)
            answer = await self._place.insight.ExplainJob(request, timeout=PATIENCE)
            assert (answer.reasons[0].code == Code.IS_RUNNING) == (answer.status == job_pb2.Job.RUNNING)
            found[job_id] = [(Code.Name(each.code), next_at(each)) for each in answer.reasons]
        return found

    async def end(self) -> None:
        """Leaves nothing that another world could be disturbed by."""
        for worker in self._workers:
            await worker.close()


@given(first=FIRST, steps=STEPS)
@example(
    first=(),
    steps=[
        ("worker", {"queues": {"p": ["a"]}, "slots": 3, "one_a": True}),
        (
            "job",
            {"queue": "p", "kind": "a", "key": "", "count": 2, "priority": 0, "hold": False, "delay": 0.0},
        ),
    ],
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_a_job_that_is_about_to_start_does_so_within_five_seconds(
    place: Place, first: tuple[tuple[str, Any], ...], steps: list[tuple[str, Any]]
) -> None:
    world = World(place)
    try:
        for step, what in (*first, *steps):
            await world.take(step, what)
        until = time.monotonic() + SOON
        before, found = None, await world.look()
        # Once nothing starts any more, what is told stays as it is, with each time.
        while found != before or any(codes[0][0] == "ABOUT_TO_START" for codes in found.values()):
            assert time.monotonic() < until, f"one of these did not start, or is told something new: {found}"
            await asyncio.sleep(0.02)
            before, found = found, await world.look()
    finally:
        await world.end()


def next_at(reason: insight_pb2.Reason) -> int:
    """When a key, a queue or a kind lets the next one start, in milliseconds; 0: it tells no time."""
    detail = reason.WhichOneof("detail")
    return getattr(reason, detail).next_at.ToMilliseconds() if detail in ("key", "total") else 0
