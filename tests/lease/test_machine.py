"""A model of jobs, sessions and leases beside the real server: after every step it and the database agree.

Hypothesis draws what producers, operators and workers do; the model knows the table of lifecycle.py and nothing of how
the server keeps it. Who gets which job is the server's choice; that it is one with a free slot, once, is not.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc.aio
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from jobqueue.v1 import job_pb2, jobqueue_pb2, lease_pb2

from .hand_worker import HandWorker, reason_of, span
from .place import Place, eventually

pytestmark = [pytest.mark.slow, pytest.mark.any_engine, pytest.mark.timeout(180)]

Verdict = lease_pb2.SettleResult.Verdict
AT_ONCE = job_pb2.RetryPolicy(min_backoff=span(0.001), max_backoff=span(0.001))
LOSSES_ALLOWED = 3
MAX_WORKERS = 3
TERMINAL = {"SUCCEEDED", "FAILED_PERMANENT", "CANCELLED"}
_queues = itertools.count(1)

# Of each job of a queue what the database says, whether it lives or has ended.
_LOOK = """
select j.id::text, coalesce(l.attempts, f.attempts) as attempts, coalesce(l.failures, f.failures) as failures,
    coalesce(l.losses, f.losses) as losses, l.session_id, l.cancel_requested_at is not null as cancelling, f.reason,
    case f.status when 3 then 'SUCCEEDED' when 5 then 'FAILED_PERMANENT' when 6 then 'CANCELLED'
        else case when l.state = 2 then 'RUNNING' when l.failures + l.losses > 0 then 'RETRYING' else 'QUEUED' end
    end as status
from job j
left join live_job l on l.id = j.id
left join finished_job f on f.id = j.id
join lane on lane.id = j.lane_id join queue q on q.id = lane.queue_id
where q.name = $1
"""


@dataclass
class ModelJob:
    """What must be true of a job."""

    max_attempts: int
    status: str = "QUEUED"
    attempts: int = 0
    failures: int = 0
    losses: int = 0
    cancelling: bool = False
    holder: int | None = None

    def waits(self) -> None:
        """It left RUNNING and is to run again, unless somebody asked for its end."""
        self.holder = None
        if self.cancelling:
            self.status = "CANCELLED"
        else:
            self.status = "RETRYING" if self.failures + self.losses else "QUEUED"

    def ends(self, status: str) -> None:
        self.holder, self.status = None, status

    def facts(self) -> tuple[object, ...]:
        return self.status, self.attempts, self.failures, self.losses, self.holder


@dataclass
class ModelWorker:
    """A worker, with the stream that stands for it, and what it was ever given."""

    hand: HandWorker
    slots: int
    cut: bool = False
    given: dict[tuple[str, int], lease_pb2.LeasedJob] = field(default_factory=dict)
    settled: dict[tuple[str, int], str] = field(default_factory=dict)

    @property
    def session(self) -> int:
        number: int = self.hand.welcome.session_id
        return number


class Loop:
    """A server on a loop of its own, which goes on while Hypothesis thinks."""

    def __init__(self, dsn: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.place = Place(dsn, cancel_grace="60s")
        self.run(self.place.start())

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def close(self) -> None:
        self.run(self.place.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


class LeaseMachine(RuleBasedStateMachine):
    """What can happen, and what must then be true."""

    loop: Loop

    def __init__(self) -> None:
        super().__init__()
        self.queue = f"machine-{next(_queues)}"
        self.jobs: dict[str, ModelJob] = {}
        self.workers: list[ModelWorker] = []
        self.run, self.place = self.loop.run, self.loop.place

    def teardown(self) -> None:
        async def leave() -> None:
            for worker in self.workers:
                await worker.hand.close()

        self.run(leave())

    # ---- producers and operators

    @rule(max_attempts=st.integers(1, 3))
    def enqueue(self, max_attempts: int) -> None:
        job = self.run(self.place.enqueue(queue=self.queue, max_attempts=max_attempts, retry_policy=AT_ONCE))
        self.jobs[job.id] = ModelJob(max_attempts)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        job_id, job = self._any_job(data)
        error = self._refused(self.place.cancel(job_id))
        if job.status in TERMINAL:
            assert error == "JOB_TERMINAL"
            return
        assert error is None
        if job.status == "RUNNING":
            job.cancelling = True
        else:
            job.ends("CANCELLED")

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        job_id, job = self._any_job(data)
        error = self._refused(self.place.retry(job_id))
        if job.status not in TERMINAL:
            assert error == "JOB_NOT_TERMINAL"
            return
        assert error is None
        self.jobs[job_id] = ModelJob(job.max_attempts, attempts=job.attempts)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        job_id, job = self._any_job(data)
        error = self._refused(self._delete(job_id))
        if job.status not in TERMINAL:
            assert error == "JOB_NOT_TERMINAL"
            return
        assert error is None
        del self.jobs[job_id]

    # ---- workers

    @precondition(lambda self: len(self.workers) < MAX_WORKERS)
    @rule(slots=st.integers(1, 3))
    def connect(self, slots: int) -> None:
        hand = self.run(self.place.worker(queues={self.queue: ["work"]}, slots=slots))
        self.workers.append(ModelWorker(hand, slots))

    @precondition(lambda self: any(self._held()))
    @rule(
        data=st.data(),
        which=st.sampled_from(["success", "failure", "permanent", "cancellation", "snooze", "release"]),
        twice=st.booleans(),
    )
    def settle(self, data: st.DataObject, which: str, twice: bool) -> None:
        worker, leased = data.draw(st.sampled_from(list(self._held())))
        outcome = _outcome(leased, which)
        results = self.run(worker.hand.settle(outcomes=[outcome, outcome] if twice else [outcome]))
        self._left(leased.id, which)
        worker.settled[leased.id, leased.attempt] = which
        verdicts = [Verdict.Name(result.verdict) for result in results]
        wanted = [] if which == "success" else ["APPLIED"]
        assert verdicts == wanted + (["ALREADY_APPLIED"] if twice else [])

    @precondition(lambda self: any(self._over()))
    @rule(
        data=st.data(),
        which=st.sampled_from(["success", "failure", "cancellation", "snooze", "release"]),
    )
    def settle_what_is_over(self, data: st.DataObject, which: str) -> None:
        """Late, again, or another's: nothing changes, and the answer says so."""
        worker, leased = data.draw(st.sampled_from(list(self._over())))
        outcome = _outcome(leased, which)
        outcome.lease_id = 0
        (result,) = self.run(worker.hand.settle(outcomes=[outcome]))
        if leased.id not in self.jobs:
            assert result.verdict == Verdict.NOT_FOUND
            return
        before = worker.settled.get((leased.id, leased.attempt), "")
        same = before.replace("permanent", "failure") == which
        assert Verdict.Name(result.verdict) == ("ALREADY_APPLIED" if same else "STALE_LEASE")

    @precondition(lambda self: any(not worker.cut for worker in self.workers))
    @rule(data=st.data())
    def cut(self, data: st.DataObject) -> None:
        """The connection breaks; the session lives on."""
        worker = data.draw(st.sampled_from([worker for worker in self.workers if not worker.cut]))
        self.run(self._cut(worker))

    @precondition(lambda self: any(worker.cut for worker in self.workers))
    @rule(data=st.data())
    def resume(self, data: st.DataObject) -> None:
        """It comes back, and names some of what it held; the rest goes back uncharged."""
        worker = data.draw(st.sampled_from([worker for worker in self.workers if worker.cut]))
        held = list(worker.hand.held.values())
        keeps = data.draw(st.lists(st.sampled_from(held), unique_by=id)) if held else []
        for leased in held:
            if leased not in keeps:
                self.jobs[leased.id].waits()
        resume = worker.hand.resume(held=keeps)
        hand = self.run(self.place.worker(queues={self.queue: ["work"]}, slots=worker.slots, resume=resume))
        assert {lease.lease_id for lease in hand.welcome.kept} == {leased.lease_id for leased in keeps}
        # Beside what may have been delivered to it since.
        hand.held.update({leased.lease_id: leased for leased in keeps})
        worker.hand, worker.cut = hand, False

    @precondition(lambda self: any(worker.cut for worker in self.workers))
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        """It never comes back, and its ttl ends."""
        worker = data.draw(st.sampled_from([worker for worker in self.workers if worker.cut]))
        self.run(self._end_ttl(worker))
        for leased in worker.hand.held.values():
            job = self.jobs[leased.id]
            job.losses += 1
            if job.losses >= LOSSES_ALLOWED and not job.cancelling:
                job.ends("FAILED_PERMANENT")
            else:
                job.waits()
        self.workers.remove(worker)

    @precondition(lambda self: any(not worker.cut for worker in self.workers))
    @rule(data=st.data())
    def drain(self, data: st.DataObject) -> None:
        """It leaves by a half-close, with what it holds."""
        worker = data.draw(st.sampled_from([worker for worker in self.workers if not worker.cut]))

        async def leave() -> set[str]:
            await worker.hand.half_close()
            goodbye = await worker.hand.next("goodbye")
            return {lease.job_id for lease in goodbye.released}

        assert self.run(leave()) == {leased.id for leased in worker.hand.held.values()}
        for leased in worker.hand.held.values():
            self.jobs[leased.id].waits()
        self.workers.remove(worker)

    # ---- what must be true

    @invariant()
    def model_and_database_agree(self) -> None:
        self.run(self._settled_down())

    # ---- how

    def _any_job(self, data: st.DataObject) -> tuple[str, ModelJob]:
        job_id = data.draw(st.sampled_from(sorted(self.jobs)))
        return job_id, self.jobs[job_id]

    def _held(self) -> Iterator[tuple[ModelWorker, lease_pb2.LeasedJob]]:
        """What workers with a stream hold."""
        for worker in self.workers:
            if not worker.cut:
                for leased in worker.hand.held.values():
                    yield worker, leased

    def _over(self) -> Iterator[tuple[ModelWorker, lease_pb2.LeasedJob]]:
        """What workers with a stream were given once and do not hold, and what others hold."""
        for worker in self.workers:
            if worker.cut:
                continue
            for other in self.workers:
                for (job_id, attempt), leased in other.given.items():
                    job = self.jobs.get(job_id)
                    holds = job is not None and job.holder == worker.session and job.attempts == attempt
                    if not holds:
                        yield worker, leased

    def _left(self, job_id: str, which: str) -> None:
        job = self.jobs[job_id]
        if which == "success":
            job.ends("SUCCEEDED")
        elif which == "cancellation":
            job.ends("CANCELLED")
        elif which in ("failure", "permanent"):
            job.failures += 1
            if not job.cancelling and (which == "permanent" or job.failures >= job.max_attempts):
                job.ends("FAILED_PERMANENT")
            else:
                job.waits()
        else:
            job.waits()

    def _refused(self, call: Any) -> str | None:
        async def ask() -> str | None:
            try:
                await call
            except grpc.aio.AioRpcError as error:
                return reason_of(error)
            return None

        reason: str | None = self.run(ask())
        return reason

    async def _delete(self, job_id: str) -> None:
        # Called on the loop: a call that is made on another thread looks for that one's loop, and may find none.
        await self.place.stub.DeleteJob(jobqueue_pb2.DeleteJobRequest(id=job_id))

    async def _cut(self, worker: ModelWorker) -> None:
        # What it was given is known to be seen, and nothing is under way.
        await worker.hand.heartbeat()
        worker.hand.cut()
        worker.cut = True
        await eventually(
            lambda: self.place.value(
                "select silent_since is not null from worker_session where id = $1", worker.session
            )
        )

    async def _end_ttl(self, worker: ModelWorker) -> None:
        await self.place.sql(
            "update worker_session set silent_since = now() - ttl where id = $1", worker.session
        )
        await eventually(
            lambda: self.place.value(
                "select ended_at is not null from worker_session where id = $1", worker.session
            )
        )

    async def _settled_down(self) -> None:
        """Waits until no credit stands beside work, and then compares."""
        # Sooner than the audit, which would mend what is wrong.
        (rows,) = await eventually(self._quiet, 8)
        for row in rows:
            job = self.jobs[row["id"]]
            if row["session_id"] is not None and job.holder is None:
                # The server's choice: who. Whether, and as which attempt, is not.
                job.holder, job.status, job.attempts = row["session_id"], "RUNNING", job.attempts + 1
            seen = (row["status"], row["attempts"], row["failures"], row["losses"], row["session_id"])
            assert seen == job.facts(), row["id"]
        assert {row["id"] for row in rows} == set(self.jobs)
        for worker in self.workers:
            mine = {
                (job_id, job.attempts) for job_id, job in self.jobs.items() if job.holder == worker.session
            }
            assert {(leased.id, leased.attempt) for leased in worker.hand.held.values()} == mine
            assert len(mine) <= worker.slots
            assert sum(self.jobs[job_id].losses > 0 for job_id, _ in mine) <= 1
            for leased in worker.hand.held.values():
                if worker.given.setdefault((leased.id, leased.attempt), leased) is not leased:
                    assert worker.given[leased.id, leased.attempt].lease_id == leased.lease_id

    async def _quiet(self) -> tuple[list[Any]] | None:
        rows = await self.place.sql(_LOOK, self.queue)
        held = [row for row in rows if row["session_id"] is not None]
        told = {
            (leased.id, leased.attempt, worker.session)
            for worker in self.workers
            for leased in worker.hand.held.values()
        }
        if {(row["id"], row["attempts"], row["session_id"]) for row in held} != told:
            return None
        for worker in self.workers:
            mine = [row for row in held if row["session_id"] == worker.session]
            if worker.cut or len(mine) >= worker.slots:
                continue
            alone = any(row["losses"] for row in mine)
            if any(row["status"] in ("QUEUED", "RETRYING") and not (row["losses"] and alone) for row in rows):
                return None
        return (rows,)


def _outcome(leased: lease_pb2.LeasedJob, which: str) -> lease_pb2.Outcome:
    outcome = lease_pb2.Outcome(lease_id=leased.lease_id, job_id=leased.id, attempt=leased.attempt)
    if which == "permanent":
        outcome.failure.permanent = True
    elif which == "snooze":
        outcome.snooze.delay.seconds = 0
        outcome.snooze.delay.SetInParent()
    else:
        getattr(outcome, which).SetInParent()
    return outcome


@pytest.fixture
def machine_loop(dsn: str) -> Iterator[Loop]:
    loop = Loop(dsn)
    yield loop
    loop.close()


def test_whatever_happens_the_server_does_what_the_table_says(machine_loop: Loop) -> None:
    LeaseMachine.loop = machine_loop
    run_state_machine_as_test(
        LeaseMachine,
        settings=settings(
            max_examples=12,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
