"""What is in another namespace is not there: every call on it answers as on what never was, and changes nothing.

All callers of a server without keys are in one namespace. Here the access step puts them into the one that their
user agent names.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from uuid import uuid4

import asyncpg
import grpc.aio
import pytest
from google.longrunning import operations_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from jobqueue.v1 import (
    access_admin_pb2,
    access_pb2,
    bulk_pb2,
    insight_pb2,
    job_pb2,
    jobqueue_pb2,
    lease_pb2,
    overview_pb2,
    queue_admin_pb2,
    schedule_pb2,
    stats_pb2,
    worker_pb2,
)
from jobqueue_server.chain import Anybody, Call
from jobqueue_server.rpc.keda import externalscaler_pb2
from jobqueue_server.scope import Scope
from tests.lease import keda
from tests.lease.hand_worker import HandWorker, reason_of, span
from tests.lease.place import Caller, Place, eventually

from .watcher import Watcher

OURS, THEIRS = Scope(1, "ours"), Scope(2, "theirs")
STATUSES = ("waiting", "running", "ended")
_OF_US = "queue_id in (select id from queue where namespace_id = 1)"
# A job that is there is delivered within milliseconds; on a machine that is busy otherwise, later.
SOON = 1.5
Verdict = lease_pb2.SettleResult.Verdict


class ByUserAgent(Anybody):
    """Knows all callers, so that enqueues take the fast path too."""

    def verdict(self, call: Call) -> Scope:
        return THEIRS if call.text("user-agent").startswith(THEIRS.principal) else OURS

    async def decide(self, call: Call) -> Scope:
        raise AssertionError("there was a verdict")


@dataclass(frozen=True)
class Things:
    """Names and ids, of things that are there for somebody or for nobody."""

    waiting: str
    running: str
    ended: str
    queue: str
    kind: str
    labels: dict[str, str]
    key: str
    api_key: str
    namespace: str
    operation: str
    schedule: str = "s-none"
    worker: str = "987654321"

    def out_of(self, text: str) -> str:
        """A text that shows nothing but that it named one of these."""
        for name in ("waiting", "running", "ended", "operation"):
            text = text.replace(getattr(self, name), "<id>")
        for name in ("queue", "kind", "api_key", "schedule", "worker"):
            text = text.replace(getattr(self, name), f"<{name}>")
        return text


@dataclass
class World:
    """A server with a job in each status in our namespace, and a caller in theirs.

    Attributes:
        ours: The things that are there for us.
        nothing: Things of nobody.
        us, them: Callers.
        worker: Ours, which holds `ours.running`.
    """

    place: Place
    us: Caller
    them: Caller
    ours: Things
    nothing: Things
    worker: HandWorker

    async def everything(self) -> dict[str, list[Any]]:
        """All that is stored of ours."""
        connection: asyncpg.Connection = await self.place.connection()
        return {
            table: [str(row[0]) for row in await connection.fetch(f"select t from {table} t where {which}")]
            for table, which in {
                "job": f"lane_id in (select id from lane where {_OF_US})",
                "live_job": f"lane_id in (select id from lane where {_OF_US})",
                "finished_job": "true",
                "attempt": "true",
                "idempotency_key": "namespace_id = 1",
                "queue": "namespace_id = 1",
                "kind": "namespace_id = 1",
                "lane": _OF_US,
                "api_key": "namespace_id = 1",
                "namespace": "true",
                "operation": "namespace_id = 1",
                "schedule": "namespace_id = 1",
                "schedule_run": "schedule_id in (select id from schedule where namespace_id = 1)",
            }.items()
        }


@pytest.fixture
async def world(dsn: str, monkeypatch: Any) -> AsyncIterator[World]:
    async with Place(dsn, kinds="declared") as place:
        monkeypatch.setattr(place.app.chain, "_access", ByUserAgent())
        await place.sql("insert into namespace (id, name) values (2, 'theirs')")
        # A number that stands in no other text.
        await place.sql("select setval(pg_get_serial_sequence('worker_session', 'id'), 876543210)")
        await place.app.access.access.load()
        us, them = Caller(place.address, OURS.principal), Caller(place.address, THEIRS.principal)
        ours = Things("", "", "", "q-ours", "k-ours", {"of": "ours"}, "key", "", "default", "")
        await put_kind(us, ours.kind)
        job: dict[str, Any] = {"queue": ours.queue, "kind": ours.kind, "labels": ours.labels}
        running = await us.enqueue(**job)
        ended = await us.enqueue(**job, priority=-1)
        worker = await us.worker(queues={ours.queue: [ours.kind]})
        assert (await worker.job()).id == running.id
        await us.cancel(ended.id)
        waiting = await us.enqueue(**job, idempotency_key=ours.key)
        api_key = (await us.access.CreateKey(new_key())).key.id
        nobodys = bulk_pb2.JobFilter(queue="q-empty")
        made = await us.bulk.RetryJobs(bulk_pb2.RetryJobsRequest(filter=nobodys, force=True))
        operation = made.operation.name
        await us.schedules.CreateSchedule(
            schedule_pb2.CreateScheduleRequest(schedule=new_schedule("s-ours", ours.queue, ours.kind))
        )
        # WaitOperation would look again after half a second.
        asked = operations_pb2.GetOperationRequest(name=operation)
        await eventually(partial(is_done, us, asked))
        ours = replace(
            ours,
            waiting=waiting.id,
            running=running.id,
            ended=ended.id,
            api_key=api_key,
            operation=operation.partition("/")[2],
            schedule="s-ours",
            worker=str(worker.welcome.session_id),
        )
        nothing = Things(
            str(uuid4()),
            str(uuid4()),
            str(uuid4()),
            "q-none",
            "k-none",
            {"of": "nobody"},
            "none",
            "0123456789",
            "never",
            str(uuid4()),
        )
        yield World(place, us, them, ours, nothing, worker)
        await us.close()
        await them.close()


async def is_done(caller: Caller, asked: operations_pb2.GetOperationRequest) -> bool:
    return bool((await caller.operations.GetOperation(asked)).done)


async def put_kind(caller: Caller, name: str) -> None:
    await caller.admin.PutKind(queue_admin_pb2.PutKindRequest(kind=queue_admin_pb2.Kind(name=name)))


def new_schedule(name: str, queue: str, kind: str) -> schedule_pb2.Schedule:
    return schedule_pb2.Schedule(
        name=name,
        spec=schedule_pb2.ScheduleSpec(cron=["0 0 1 1 *"]),
        job=job_pb2.NewJob(kind=kind, queue=queue),
    )


def new_key(**more: Any) -> access_admin_pb2.CreateKeyRequest:
    return access_admin_pb2.CreateKeyRequest(
        name="key", grants=[access_admin_pb2.Grant(permissions=[access_pb2.Access.READ])], **more
    )


async def answer_of(call: Awaitable[Any]) -> tuple[Any, ...]:
    """What a call comes to: its answer, or its error with all that it says."""
    try:
        return ("OK", str(await call))
    except grpc.aio.AioRpcError as error:
        return (error.code().name, reason_of(error), error.details())


# ---- what each call does with things of another namespace: `things` are ours, or of nobody

Case = Callable[[World, Caller, Things], Awaitable[list[tuple[Any, ...]]]]
CASES: dict[str, Case] = {}


def case(method: str) -> Callable[[Case], Case]:
    def keep(made: Case) -> Case:
        CASES[method] = made
        return made

    return keep


def by_id(method: str, request: Any) -> None:
    @case(method)
    async def ask(world: World, caller: Caller, things: Things) -> list[tuple[Any, ...]]:
        call = getattr(caller.stub, method)
        return [await answer_of(call(request(id=getattr(things, status)))) for status in STATUSES]


by_id("GetJob", jobqueue_pb2.GetJobRequest)
by_id("CancelJob", jobqueue_pb2.CancelJobRequest)
by_id("RetryJob", jobqueue_pb2.RetryJobRequest)
by_id("ReleaseJob", jobqueue_pb2.ReleaseJobRequest)
by_id("DeleteJob", jobqueue_pb2.DeleteJobRequest)
by_id("WaitJob", lambda id: jobqueue_pb2.WaitJobRequest(id=id, timeout=span(0.01)))


def by_queue(method: str, request: Any) -> None:
    @case(method)
    async def ask(world: World, caller: Caller, things: Things) -> list[tuple[Any, ...]]:
        return [await answer_of(getattr(caller.admin, method)(request(name=things.queue)))]


by_queue("GetQueue", queue_admin_pb2.GetQueueRequest)
by_queue("PauseQueue", queue_admin_pb2.PauseQueueRequest)
by_queue("ResumeQueue", queue_admin_pb2.ResumeQueueRequest)


@case("UpdateQueue")
async def update_queue(world: World, caller: Caller, things: Things) -> list[tuple[Any, ...]]:
    policy = queue_admin_pb2.KeyPolicy(max_running=7)
    queue = queue_admin_pb2.Queue(name=things.queue, key_policy=policy)
    request = queue_admin_pb2.UpdateQueueRequest(queue=queue)
    return [await answer_of(caller.admin.UpdateQueue(request))]


def by_schedule(method: str, request: Any, **fields: Any) -> None:
    @case(method)
    async def ask(world: World, caller: Caller, things: Things) -> list[tuple[Any, ...]]:
        wanted = request(name=things.schedule, **fields)
        return [await answer_of(getattr(caller.schedules, method)(wanted))]


by_schedule("GetSchedule", schedule_pb2.GetScheduleRequest)
by_schedule("DeleteSchedule", schedule_pb2.DeleteScheduleRequest)
by_schedule("PauseSchedule", schedule_pb2.PauseScheduleRequest)
by_schedule("ResumeSchedule", schedule_pb2.ResumeScheduleRequest)
by_schedule("RunSchedule", schedule_pb2.RunScheduleRequest)
by_schedule("ListScheduleRuns", schedule_pb2.ListScheduleRunsRequest)
by_schedule(
    "BackfillSchedule",
    schedule_pb2.BackfillScheduleRequest,
    start_at=Timestamp(seconds=1_700_000_000),
    end_at=Timestamp(seconds=1_700_000_060),
)


@case("UpdateSchedule")
async def update_schedule(world: World, caller: Caller, things: Things) -> list[tuple[Any, ...]]:
    schedule = schedule_pb2.Schedule(name=things.schedule, labels={"a": "b"})
    request = schedule_pb2.UpdateScheduleRequest(schedule=schedule)
    return [await answer_of(caller.schedules.UpdateSchedule(request))]


@case("CreateSchedule")
async def create_schedule(world: World, caller: Caller, things: Things) -> list[tuple[Any, ...]]:
    schedule = new_schedule(things.schedule, things.queue, things.kind)
    request = schedule_pb2.CreateScheduleRequest(schedule=schedule)
    return [await answer_of(caller.schedules.CreateSchedule(request))]


@case("ListSchedules")
async def list_schedules(world: World, caller: Caller, things: Things) -> list[tuple[Any, ...]]:
    requests = [
        schedule_pb2.ListSchedulesRequest(),
        schedule_pb2.ListSchedulesRequest(queue=things.queue),
        schedule_pb2.ListSchedulesRequest(kind=things.kind),
    ]
    return [await answer_of(caller.schedules.ListSchedules(request)) for request in requests]


@case("PreviewSchedule")
async def preview_schedule(world: World, caller: Caller, things: Things) -> list[tuple[Any, ...]]:
    request = schedule_pb2.PreviewScheduleRequest(
        spec=schedule_pb2.ScheduleSpec(cron=["0 0 1 1 *"]), since=Timestamp(seconds=1_700_000_000)
    )
    return [await answer_of(caller.schedules.PreviewSchedule(request))]


@case("ListQueueKeys")
async def list_queue_keys(world: World, caller: Caller, things: Things) -> list[tuple[Any, ...]]:
    request = queue_admin_pb2.ListQueueKeysRequest(queue=things.queue)
    return [await answer_of(caller.admin.ListQueueKeys(request))]


@case("GetQueueKey")
async def get_queue_key(world: World, caller: Caller, things: Things) -> list[tuple[Any, ...]]:
    request = queue_admin_pb2.GetQueueKeyRequest(queue=things.queue, key="ada")
    return [await answer_of(caller.admin.GetQueueKey(request))]


@case("UpdateQueueKey")
async def update_queue_key(world: World, caller: Caller, things: Things) -> list[tuple[Any, ...]]:
    key = queue_admin_pb2.QueueKey(queue=things.queue, key="ada", max_running=7)
    request = queue_admin_pb2.UpdateQueueKeyRequest(queue_key=key)
    return [await answer_of(caller.admin.UpdateQueueKey(request))]


@case("UnblockQueueKey")
async def unblock_queue_key(world: World, caller: Caller, things: Things) -> list[tuple[Any, ...]]:
    request = queue_admin_pb2.UnblockQueueKeyRequest(queue=things.queue, key="ada")
    return [await answer_of(caller.admin.UnblockQueueKey(request))]


@case("ExplainJob")
async def explain_job(world: World, caller: Caller, things: Things) -> list[tuple[Any, ...]]:
    requests = [insight_pb2.ExplainJobRequest(id=getattr(things, status)) for status in STATUSES]
    return [await answer_of(caller.insight.ExplainJob(request)) for request in requests]


@case("GetQueueDemand")
async def get_queue_demand(world: World, caller: Caller, things: Things) -> list[tuple[Any, ...]]:
    request = insight_pb2.GetQueueDemandRequest(queue=things.queue)
    return [await answer_of(caller.insight.GetQueueDemand(request))]


@case("GetOverview")
async def get_overview(world: World, caller: Caller, things: Things) -> list[tuple[Any, ...]]:
    answer = await caller.insight.GetOverview(overview_pb2.GetOverviewRequest())
    named = {queue.queue for queue in answer.overview.queues} | {
        each.queue for each in answer.overview.warnings
    }
    return [(things.queue in named, things.queue in str(answer))]


@case("WatchOverview")
async def watch_overview(world: World, caller: Caller, things: Things) -> list[tuple[Any, ...]]:
    call = caller.insight.WatchOverview(overview_pb2.WatchOverviewRequest())
    answer = await call.read()
    call.cancel()
    return [(things.queue in str(answer),)]


@case("QueryStats")
async def query_stats(world: World, caller: Caller, things: Things) -> list[tuple[Any, ...]]:
    # What was counted is written at once.
    await world.place.app.stats.slices.stop()
    requests = (
        stats_pb2.QueryStatsRequest(queue=things.queue),
        stats_pb2.QueryStatsRequest(kind=things.kind),
        stats_pb2.QueryStatsRequest(group_by=stats_pb2.GROUP_BY_QUEUE_AND_KIND),
    )
    answers = [await caller.insight.QueryStats(request) for request in requests]
    return [(len(answers[0].series), len(answers[1].series), things.queue in str(answers[2]))]


@case("CountJobs")
async def count_jobs(world: World, caller: Caller, things: Things) -> list[tuple[Any, ...]]:
    requests = (
        stats_pb2.CountJobsRequest(queue=things.queue),
        stats_pb2.CountJobsRequest(kind=things.kind),
        stats_pb2.CountJobsRequest(labels=[f"{name}={value}" for name, value in things.labels.items()]),
    )
    return [((await caller.insight.CountJobs(request)).count,) for request in requests]


@case("ListServers")
async def list_servers(world: World, caller: Caller, things: Things) -> list[tuple[Any, ...]]:
    answer = await caller.insight.ListServers(overview_pb2.ListServersRequest())
    return [(len(answer.servers), answer.servers[0].sessions)]


@case("ListWorkers")
async def list_workers(world: World, caller: Caller, things: Things) -> list[tuple[Any, ...]]:
    request = worker_pb2.ListWorkersRequest(queue=things.queue)
    return [await answer_of(caller.insight.ListWorkers(request))]


@case("GetWorker")
async def get_worker(world: World, caller: Caller, things: Things) -> list[tuple[Any, ...]]:
    request = worker_pb2.GetWorkerRequest(session_id=things.worker)
    return [await answer_of(caller.insight.GetWorker(request))]


@case("DrainWorker")
async def drain_worker(world: World, caller: Caller, things: Things) -> list[tuple[Any, ...]]:
    request = worker_pb2.DrainWorkerRequest(session_id=things.worker)
    return [await answer_of(caller.insight.DrainWorker(request))]


@case("IsActive")
async def is_active(world: World, caller: Caller, things: Things) -> list[tuple[Any, ...]]:
    return [await answer_of(keda.ask(caller, "IsActive", keda.ref(queue=things.queue)))]


@case("GetMetrics")
async def get_metrics(world: World, caller: Caller, things: Things) -> list[tuple[Any, ...]]:
    request = externalscaler_pb2.GetMetricsRequest(
        scaledObjectRef=keda.ref(queue=things.queue), metricName="wanted_slots"
    )
    return [await answer_of(keda.ask(caller, "GetMetrics", request))]


@case("GetMetricSpec")
async def get_metric_spec(world: World, caller: Caller, things: Things) -> list[tuple[Any, ...]]:
    return [await answer_of(keda.ask(caller, "GetMetricSpec", keda.ref(queue=things.queue)))]


@case("StreamIsActive")
async def stream_is_active(world: World, caller: Caller, things: Things) -> list[tuple[Any, ...]]:
    return [await first_of(keda.stream(caller, "StreamIsActive", keda.ref(queue=things.queue)))]


@case("StreamMetricSpec")
async def stream_metric_spec(world: World, caller: Caller, things: Things) -> list[tuple[Any, ...]]:
    return [await first_of(keda.stream(caller, "StreamMetricSpec", keda.ref(queue=things.queue)))]


async def first_of(call: Any) -> tuple[Any, ...]:
    answer = await answer_of(call.read())
    call.cancel()
    return answer


def by_filter(method: str, request: Any) -> None:
    """A change of many jobs: all of its filters name things, and nothing of another namespace is counted."""

    async def ask(world: World, caller: Caller, things: Things) -> list[tuple[Any, ...]]:
        ids = [getattr(things, status) for status in STATUSES]
        filters = [
            bulk_pb2.JobFilter(ids=ids),
            bulk_pb2.JobFilter(queue=things.queue),
            bulk_pb2.JobFilter(kind=things.kind),
            bulk_pb2.JobFilter(labels=[f"{name}={value}" for name, value in things.labels.items()]),
        ]
        answers: list[tuple[Any, ...]] = []
        for each in filters:
            counted = bulk_pb2.BulkMetadata()
            (await getattr(caller.bulk, method)(request(filter=each))).operation.metadata.Unpack(counted)
            answers.append((counted.estimate, str(list(counted.sample_ids))))
        return answers

    CASES[method] = ask


by_filter("RetryJobs", bulk_pb2.RetryJobsRequest)
by_filter("CancelJobs", bulk_pb2.CancelJobsRequest)
by_filter("DeleteJobs", bulk_pb2.DeleteJobsRequest)
by_filter("UpdateJobs", partial(bulk_pb2.UpdateJobsRequest, priority=1))


def by_operation(method: str, request: Any) -> None:
    """A method that names an operation."""

    async def ask(world: World, caller: Caller, things: Things) -> list[tuple[Any, ...]]:
        wanted = request(name=f"operations/{things.operation}")
        return [await answer_of(getattr(caller.operations, method)(wanted))]

    CASES[method] = ask


for _verb in ("Get", "Wait", "Cancel", "Delete"):
    by_operation(f"{_verb}Operation", getattr(operations_pb2, f"{_verb}OperationRequest"))


@case("ResumeOperation")
async def resume_operation(world: World, caller: Caller, things: Things) -> list[tuple[Any, ...]]:
    return [
        await answer_of(caller.bulk.ResumeOperation(bulk_pb2.ResumeOperationRequest(id=things.operation)))
    ]


@case("ListOperations")
async def list_operations(world: World, caller: Caller, things: Things) -> list[tuple[Any, ...]]:
    return [await answer_of(caller.operations.ListOperations(operations_pb2.ListOperationsRequest()))]


@case("ListQueues")
async def list_queues(world: World, caller: Caller, things: Things) -> list[tuple[Any, ...]]:
    return [await answer_of(caller.admin.ListQueues(queue_admin_pb2.ListQueuesRequest()))]


@case("ListKinds")
async def list_kinds(world: World, caller: Caller, things: Things) -> list[tuple[Any, ...]]:
    return [await answer_of(caller.admin.ListKinds(queue_admin_pb2.ListKindsRequest()))]


@case("PutKind")
async def put_the_kind(world: World, caller: Caller, things: Things) -> list[tuple[Any, ...]]:
    kind = queue_admin_pb2.Kind(name=things.kind, max_attempts=7)
    return [await answer_of(caller.admin.PutKind(queue_admin_pb2.PutKindRequest(kind=kind)))]


@case("ListJobs")
async def list_jobs(world: World, caller: Caller, things: Things) -> list[tuple[Any, ...]]:
    requests = [
        jobqueue_pb2.ListJobsRequest(**wanted)
        for wanted in (
            {},
            {"queue": things.queue},
            {"kind": things.kind},
            {"labels": things.labels},
            {"status": [job_pb2.Job.RUNNING, job_pb2.Job.QUEUED]},
            {"status": [job_pb2.Job.CANCELLED]},
        )
    ]
    return [await answer_of(caller.stub.ListJobs(request)) for request in requests]


@case("WatchJobs")
async def watch_jobs(world: World, caller: Caller, things: Things) -> list[tuple[Any, ...]]:
    answers = []
    for status in STATUSES:
        call = caller.stub.WatchJobs(jobqueue_pb2.WatchJobsRequest(ids=[getattr(things, status)]))
        answers.append(await answer_of(call.read()))
        call.cancel()
    return answers


@case("EnqueueJob")
async def enqueue(world: World, caller: Caller, things: Things) -> list[tuple[Any, ...]]:
    job = job_pb2.NewJob(kind=things.kind, queue=things.queue, idempotency_key=things.key, payload_json=b"{}")
    return [await answer_of(caller.stub.EnqueueJob(jobqueue_pb2.EnqueueJobRequest(job=job)))]


@case("BatchEnqueueJobs")
async def batch_enqueue(world: World, caller: Caller, things: Things) -> list[tuple[Any, ...]]:
    job = job_pb2.NewJob(kind=things.kind, queue=things.queue, idempotency_key=things.key, payload_json=b"{}")
    request = jobqueue_pb2.BatchEnqueueJobsRequest(jobs=[job])
    return [await answer_of(caller.stub.BatchEnqueueJobs(request))]


def leases(things: Things) -> list[lease_pb2.HeldLease]:
    """What a worker would name that thinks it holds these."""
    return [
        lease_pb2.HeldLease(lease_id=7 + number, job_id=getattr(things, status), attempt=1)
        for number, status in enumerate(STATUSES)
    ]


def outcomes(things: Things) -> list[lease_pb2.Outcome]:
    success, failure = lease_pb2.Success(), lease_pb2.Failure(error="no")
    return [
        outcome
        for job_id in (things.waiting, things.running, things.ended)
        for outcome in (
            lease_pb2.Outcome(job_id=job_id, attempt=1, success=success),
            lease_pb2.Outcome(job_id=job_id, attempt=1, failure=failure),
        )
    ]


def verdicts(results: Any) -> list[tuple[Any, ...]]:
    return [(Verdict.Name(one.verdict), one.status, one.message) for one in results]


def hello(things: Things, **more: Any) -> lease_pb2.Hello:
    return lease_pb2.Hello(
        worker="theirs",
        subscriptions=[lease_pb2.Subscription(queue=things.queue, kinds=[things.kind])],
        capacity=lease_pb2.Capacity(slots=10),
        **more,
    )


async def opened(caller: Caller, message: lease_pb2.Hello) -> lease_pb2.Welcome:
    welcome: lease_pb2.Welcome = (
        await caller.stub.OpenSession(lease_pb2.OpenSessionRequest(hello=message))
    ).welcome
    return welcome


async def has_job(worker: HandWorker) -> bool:
    with contextlib.suppress(TimeoutError):
        return bool(await worker.job(SOON))
    return False


@case("Lease")
async def lease(world: World, caller: Caller, things: Things) -> list[tuple[Any, ...]]:
    worker = await caller.worker(queues={things.queue: [things.kind]}, slots=10)
    delivered = await has_job(worker)
    settled = await worker.settle(outcomes=outcomes(things))
    worker.cut()
    resume = lease_pb2.Resume(session_token=worker.welcome.session_token, held=leases(things))
    again = await caller.worker(queues={things.queue: [things.kind]}, slots=10, resume=resume)
    resumed = len(again.welcome.kept), len(again.welcome.revoked), await has_job(again)
    return [("delivered", delivered), *verdicts(settled), ("resumed", *resumed)]


@case("OpenSession")
async def open_session(world: World, caller: Caller, things: Things) -> list[tuple[Any, ...]]:
    welcome = await opened(caller, hello(things))
    resume = lease_pb2.Resume(session_token=welcome.session_token, held=leases(things))
    again = await opened(caller, hello(things, resume=resume))
    return [("resumed", len(again.kept), len(again.revoked))]


@case("ClaimJobs")
async def claim(world: World, caller: Caller, things: Things) -> list[tuple[Any, ...]]:
    token = (await opened(caller, hello(things))).session_token
    request = lease_pb2.ClaimJobsRequest(session_token=token, max_jobs=10, wait=span(SOON))
    return [await answer_of(caller.stub.ClaimJobs(request))]


@case("SettleJobs")
async def settle(world: World, caller: Caller, things: Things) -> list[tuple[Any, ...]]:
    token = (await opened(caller, hello(things))).session_token
    request = lease_pb2.SettleJobsRequest(session_token=token, outcomes=outcomes(things))
    return verdicts((await caller.stub.SettleJobs(request)).results)


@case("HeartbeatSession")
async def heartbeat(world: World, caller: Caller, things: Things) -> list[tuple[Any, ...]]:
    token = (await opened(caller, hello(things))).session_token
    held = lease_pb2.HeldLeases(leases=leases(things))
    request = lease_pb2.HeartbeatSessionRequest(session_token=token, held=held)
    return [await answer_of(caller.stub.HeartbeatSession(request))]


@case("CloseSession")
async def close(world: World, caller: Caller, things: Things) -> list[tuple[Any, ...]]:
    token = (await opened(caller, hello(things))).session_token
    return [await answer_of(caller.stub.CloseSession(lease_pb2.CloseSessionRequest(session_token=token)))]


def by_key(method: str) -> None:
    @case(method)
    async def ask(world: World, caller: Caller, things: Things) -> list[tuple[Any, ...]]:
        call, request = getattr(caller.access, method), getattr(access_admin_pb2, f"{method}Request")
        return [
            await answer_of(call(request(id=things.api_key))),
            await answer_of(call(request(id=things.api_key, namespace=things.namespace))),
        ]


by_key("GetKey")
by_key("RotateKey")
by_key("RevokeKey")


def by_namespace(method: str) -> None:
    @case(method)
    async def ask(world: World, caller: Caller, things: Things) -> list[tuple[Any, ...]]:
        request = getattr(access_admin_pb2, f"{method}Request")
        return [await answer_of(getattr(caller.access, method)(request(name=things.namespace)))]


@case("PutIdentity")
async def put_identity(world: World, caller: Caller, things: Things) -> list[tuple[Any, ...]]:
    request = access_admin_pb2.PutIdentityRequest(
        kind="mtls",
        pattern="name",
        grants=[access_admin_pb2.Grant(permissions=[access_pb2.Access.READ])],
        namespace=things.namespace,
    )
    return [await answer_of(caller.access.PutIdentity(request))]


@case("ListIdentities")
async def list_identities(world: World, caller: Caller, things: Things) -> list[tuple[Any, ...]]:
    requests = [access_admin_pb2.ListIdentitiesRequest(namespace=name) for name in ("", things.namespace)]
    return [await answer_of(caller.access.ListIdentities(request)) for request in requests]


@case("DeleteIdentity")
async def delete_identity(world: World, caller: Caller, things: Things) -> list[tuple[Any, ...]]:
    requests = [
        access_admin_pb2.DeleteIdentityRequest(id="1", namespace=name) for name in ("", things.namespace)
    ]
    return [await answer_of(caller.access.DeleteIdentity(request)) for request in requests]


by_namespace("CreateNamespace")
by_namespace("DisableNamespace")
by_namespace("EnableNamespace")


@case("GetAccess")
async def get_access(world: World, caller: Caller, things: Things) -> list[tuple[Any, ...]]:
    return [await answer_of(caller.access.GetAccess(access_admin_pb2.GetAccessRequest()))]


@case("CreateKey")
async def create_key(world: World, caller: Caller, things: Things) -> list[tuple[Any, ...]]:
    return [await answer_of(caller.access.CreateKey(new_key(namespace=things.namespace)))]


@case("ListKeys")
async def list_keys(world: World, caller: Caller, things: Things) -> list[tuple[Any, ...]]:
    requests = [access_admin_pb2.ListKeysRequest(namespace=name) for name in ("", things.namespace)]
    return [await answer_of(caller.access.ListKeys(request)) for request in requests]


@case("ListNamespaces")
async def list_namespaces(world: World, caller: Caller, things: Things) -> list[tuple[Any, ...]]:
    return [await answer_of(caller.access.ListNamespaces(access_admin_pb2.ListNamespacesRequest()))]


@case("ListAudit")
async def list_audit(world: World, caller: Caller, things: Things) -> list[tuple[Any, ...]]:
    filters: list[dict[str, Any]] = [
        {"namespace": things.namespace},
        {"object": f"key:{things.api_key}"},
        {"object": f"job:{things.ended}"},
        {"principal": OURS.principal},
    ]
    requests = [access_admin_pb2.ListAuditRequest(**wanted) for wanted in filters]
    return [await answer_of(caller.access.ListAudit(request)) for request in requests]


@pytest.mark.any_engine
def test_no_call_is_left_out() -> None:
    services = (
        jobqueue_pb2.DESCRIPTOR.services_by_name["JobQueue"],
        queue_admin_pb2.DESCRIPTOR.services_by_name["QueueAdmin"],
        access_admin_pb2.DESCRIPTOR.services_by_name["AccessAdmin"],
        insight_pb2.DESCRIPTOR.services_by_name["Insight"],
        keda.SERVICE,
        bulk_pb2.DESCRIPTOR.services_by_name["Bulk"],
        schedule_pb2.DESCRIPTOR.services_by_name["Schedules"],
        operations_pb2.DESCRIPTOR.services_by_name["Operations"],
    )
    assert set(CASES) == {method.name for service in services for method in service.methods}


#: What answers the owner alike: these make a thing, are about a session of the caller's own, or look nothing up.
ALIKE = {
    *("PutKind", "OpenSession", "HeartbeatSession", "CloseSession", "GetMetricSpec", "StreamMetricSpec"),
    "PreviewSchedule",
}


#: Over http2 they take the fast path, over grpcio the general one.
ENQUEUES = {"EnqueueJob", "BatchEnqueueJobs"}


#: What only reads, so that one world is enough for all of it.
READS = {
    name
    for name in CASES
    if name.startswith(("Count", "Explain", "Get", "List", "Preview", "Query", "Watch"))
}


@pytest.mark.any_engine
async def test_a_thing_of_another_namespace_is_read_as_one_that_never_was(world: World) -> None:
    for method in sorted(READS):
        await is_answered_as_one_that_never_was(world, method)


@pytest.mark.cases(12)
@pytest.mark.any_engine
@pytest.mark.parametrize("method", sorted(CASES.keys() - ENQUEUES - READS))
async def test_a_thing_of_another_namespace_is_answered_as_one_that_never_was(
    world: World, method: str
) -> None:
    await is_answered_as_one_that_never_was(world, method)


@pytest.mark.parametrize("method", sorted(ENQUEUES))
async def test_an_enqueue_is_answered_alike_whatever_another_namespace_has(world: World, method: str) -> None:
    await is_answered_as_one_that_never_was(world, method)


async def is_answered_as_one_that_never_was(world: World, method: str) -> None:
    ask = CASES[method]
    before = await world.everything()
    to_ours = [
        tuple(world.ours.out_of(str(part)) for part in answer)
        for answer in await ask(world, world.them, world.ours)
    ]
    to_nothing = [
        tuple(world.nothing.out_of(str(part)) for part in answer)
        for answer in await ask(world, world.them, world.nothing)
    ]
    assert (method, to_ours) == (method, to_nothing)
    assert (method, await world.everything()) == (method, before)
    if method not in ALIKE:
        # The case asks for what is there.
        to_us = [
            tuple(world.ours.out_of(str(part)) for part in answer)
            for answer in await ask(world, world.us, world.ours)
        ]
        assert (method, to_us) != (method, to_ours)


async def test_the_same_key_in_two_namespaces_is_two_keys(world: World) -> None:
    await put_kind(world.them, world.ours.kind)
    names: dict[str, Any] = {"queue": world.ours.queue, "kind": world.ours.kind}
    new = job_pb2.NewJob(**names, idempotency_key="of both", payload_json=b"{}")
    request = jobqueue_pb2.EnqueueJobRequest(job=new, payload_format=job_pb2.PAYLOAD_FORMAT_JSON)
    found = []
    for caller in (world.us, world.them, world.us, world.them):
        await caller.enqueue(**names)  # makes the lane: the next one takes the fast path
        found.append((await caller.stub.EnqueueJob(request)).job.id)
    assert found[:2] == found[2:]
    assert len(set(found)) == 2


@pytest.mark.slow
@pytest.mark.any_engine
async def test_the_same_names_in_two_namespaces_are_two_queues(world: World) -> None:
    ours = world.ours
    await put_kind(world.them, ours.kind)
    names: dict[str, Any] = {"queue": ours.queue, "kind": ours.kind}
    theirs = await world.them.enqueue(**names, idempotency_key=ours.key)
    assert theirs.id != ours.waiting, "their key is not ours"
    assert (await world.them.enqueue(**names, idempotency_key=ours.key)).id == theirs.id
    await world.them.pause(ours.queue)
    worker = await world.them.worker(queues={ours.queue: [ours.kind]}, slots=10)
    await world.worker.capacity(10)
    assert (await world.worker.job()).id == ours.waiting, "our queue is not paused"
    await worker.no_job()
    await world.them.unpause(ours.queue)
    job = await worker.job()
    assert job.id == theirs.id
    await worker.no_job()
    await world.worker.no_job()
    follow_up = job_pb2.NewJob(**names, payload_json=b"[1]")
    await worker.outcome(job, success=lease_pb2.Success(follow_ups=[follow_up]))
    assert (await worker.job()).payload_json == b"[1]", "a follow-up is of its session's namespace"
    await world.worker.no_job()


@pytest.mark.any_engine
async def test_a_kind_of_another_namespace_is_not_suggested(world: World) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match=world.ours.kind):
        await world.us.enqueue(kind=world.ours.kind + "s")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await world.them.enqueue(kind=world.ours.kind + "s")
    assert reason_of(caught.value) == "KIND_UNKNOWN"
    assert "did you mean" not in (caught.value.details() or "")


@pytest.mark.any_engine
async def test_a_watch_tells_nothing_of_another_namespace(world: World) -> None:
    await put_kind(world.them, world.ours.kind)
    async with Watcher(world.them) as watcher:
        await world.us.cancel(world.ours.waiting)
        theirs = await world.them.enqueue(queue=world.ours.queue, kind=world.ours.kind)
        await watcher.until(lambda: bool(watcher.told))
        assert {job.id for job in watcher.told} == {theirs.id}


@pytest.mark.any_engine
async def test_a_token_of_a_list_or_a_watch_of_another_namespace_is_refused(world: World) -> None:
    page = jobqueue_pb2.ListJobsRequest(page_size=1)
    page.page_token = (await world.us.stub.ListJobs(page)).next_page_token
    assert len((await world.us.stub.ListJobs(page)).jobs) == 1
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await world.them.stub.ListJobs(page)
    assert reason_of(caught.value) == "PAGE_TOKEN_INVALID"
    async with Watcher(world.us) as watcher:
        token = watcher.token
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await world.them.stub.WatchJobs(jobqueue_pb2.WatchJobsRequest(resume_token=token)).read()
    assert reason_of(caught.value) == "FIELD_INVALID"
