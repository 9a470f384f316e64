"""Every method, by every sort of principal, on every sort of object, over gRPC and REST, on the fast path and off it.

What is expected is computed from what the contract declares of a method and from the rules in docs/start/access.md, by
code that shares nothing with the server's. A method that is added without a request here fails.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlencode
from uuid import uuid4

import aiohttp
import grpc.aio
import pytest
from google.longrunning import operations_pb2
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.json_format import MessageToDict
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
from jobqueue_server.core.access import keys
from jobqueue_server.core.access.failures import FailedAttempts
from jobqueue_server.core.catalog import queues
from jobqueue_server.gate import declared_access
from jobqueue_server.grants import EVERY, Permission
from jobqueue_server.http import contract
from jobqueue_server.http.transcoding.transcoder import Transcoder
from jobqueue_server.rpc.keda import externalscaler_pb2
from tests.lease.hand_worker import reason_of, span
from tests.lease.place import Caller

from .house import ALL, House, grant

FILES = (
    jobqueue_pb2,
    queue_admin_pb2,
    access_admin_pb2,
    insight_pb2,
    externalscaler_pb2,
    bulk_pb2,
    schedule_pb2,
    operations_pb2,
)
METHODS = [
    method
    for file in FILES
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
#: The binding of each method that has one, by its full name.
BINDINGS = {
    binding.selector: binding
    for binding in Transcoder(
        [service for file in FILES for service in file.DESCRIPTOR.services_by_name.values()], contract.OPTIONS
    ).bindings
}
OBJECTS = ("own", "other queue", "other namespace", "absent")
#: The methods that have a fast path; all others are the same with it and without.
FAST = {"EnqueueJob", "BatchEnqueueJobs"}
#: What a caller is told that may not, or that may not know.
REFUSALS = {
    "CREDENTIALS_MISSING", "CREDENTIALS_INVALID", "CREDENTIALS_EXPIRED", "CREDENTIALS_REVOKED", "NOT_ALLOWED",
    "JOB_NOT_FOUND", "QUEUE_NOT_FOUND", "SESSION_UNKNOWN", "KEY_NOT_FOUND",
    "IDENTITY_NOT_FOUND", "NAMESPACE_NOT_FOUND", "OPERATION_NOT_FOUND", "SCHEDULE_NOT_FOUND",
    "WORKER_NOT_FOUND",
}  # fmt: skip
#: By the object: a queue of that sort, and the namespaces in which it is there.
QUEUES = {
    "own": ("q1", {"default", "beta"}),
    "other queue": ("q2", {"default"}),
    "other namespace": ("only-beta", {"beta"}),
    "absent": ("nope", set[str]()),
}
#: By the object: the namespace and the queue of a job of that sort.
JOBS = {"own": ("default", "q1"), "other queue": ("default", "q2"), "other namespace": ("beta", "q1")}
#: By the object: the namespace of a key of that sort.
KEYS = {"own": "default", "other queue": "default", "other namespace": "beta"}


OF_SCHEDULES = {"CreateSchedule"} | {
    method.name for method in METHODS if declared_access(method).object == access_pb2.Access.QUEUE_OF_SCHEDULE
}

#: Each of these names an operation that does not exist. The answer is the same as for one that was deleted.
ABSENT = dict.fromkeys(
    ("GetOperation", "WaitOperation", "CancelOperation", "DeleteOperation", "ResumeOperation"),
    "OPERATION_NOT_FOUND",
)


@dataclass
class Principal:
    """Who calls, and what the caller may do: permission -> queues, `*` for all."""

    name: str
    header: str
    namespace: str = "default"
    may: dict[str, str] = field(default_factory=dict)
    refused: str = ""
    token: str = ""

    def has(self, permission: str, queue: str) -> bool:
        return self.may.get(permission) in ("*", queue)


def declared(method: MethodDescriptor) -> tuple[set[str], str]:
    """The permissions of which one is enough, and the rule of the object."""
    access = declared_access(method)
    return (
        {access_pb2.Access.Permission.Name(each) for each in access.any_of},
        access_pb2.Access.ObjectRule.Name(access.object),
    )


def expected_of_schedule(principal: Principal, method: MethodDescriptor, queue: str, there: set[str]) -> str:
    if method.name == "CreateSchedule":
        may = principal.has("OPERATE", queue) and principal.has("ENQUEUE", queue)
        return "OK" if may else "NOT_ALLOWED"
    if principal.namespace not in there:
        return "SCHEDULE_NOT_FOUND"
    if any(principal.has(each, queue) for each in declared(method)[0]):
        return "OK"
    return "NOT_ALLOWED" if principal.has("READ", queue) else "SCHEDULE_NOT_FOUND"


def expected(principal: Principal, method: MethodDescriptor, thing: str) -> str:
    """The reason with which a call is refused; OK where it is not."""
    if principal.refused:
        return principal.refused
    if not declared(method)[0] & principal.may.keys():
        return "NOT_ALLOWED"
    if method.name in OF_SCHEDULES:
        return expected_of_schedule(principal, method, *QUEUES[thing])
    return expected_of_object(principal, method, thing)


def expected_of_object(principal: Principal, method: MethodDescriptor, thing: str) -> str:
    """The same, of a principal that may call the method somewhere."""
    any_of, rule = declared(method)
    queue, there = QUEUES[thing]
    match rule:
        case "NAMESPACE" if method.name in ("GetKey", "RotateKey", "RevokeKey"):
            return "OK" if KEYS.get(thing) == principal.namespace else "KEY_NOT_FOUND"
        case "NAMESPACE" if method.name in ("CreateNamespace", "DisableNamespace", "EnableNamespace"):
            return "OK" if principal.namespace == "default" else "NOT_ALLOWED"
        case "NAMESPACE" if method.name == "PutIdentity":
            return "OK" if principal.namespace == "default" else "NOT_ALLOWED"
        case "NAMESPACE" if method.name == "DeleteIdentity":
            return "IDENTITY_NOT_FOUND" if principal.namespace == "default" else "NOT_ALLOWED"
        case "NAMESPACE" if method.name == "ListAudit" and thing == "absent":
            return "NAMESPACE_NOT_FOUND" if principal.namespace == "default" else "NOT_ALLOWED"
        case "FILTERED" | "QUEUES_OF_SESSION" if method.name in ("GetWorker", "DrainWorker"):
            namespace, queue = JOBS.get(thing, ("", ""))
            if namespace != principal.namespace or not principal.has("READ", queue):
                return "WORKER_NOT_FOUND"
            return "OK" if any(principal.has(each, queue) for each in any_of) else "NOT_ALLOWED"
        case "FILTERED" | "NAMESPACE":
            return ABSENT.get(method.name, "OK")
        # What a trigger says is checked and nothing is looked up; else a queue that is not there wants nothing.
        case "QUEUE_OF_REQUEST" if method.name.endswith("MetricSpec"):
            return "OK"
        case "QUEUE_OF_REQUEST" if method.containing_service.name == "ExternalScaler":
            return "OK" if principal.has("READ", queue) else "QUEUE_NOT_FOUND"
        case "QUEUE_OF_REQUEST" if method.name == "PutKind":
            return "OK" if principal.may["OPERATE"] == "*" else "NOT_ALLOWED"
        case "QUEUE_OF_REQUEST" if (
            method.name.endswith("Queue") or "QueueKey" in method.name or method.name == "GetQueueDemand"
        ):
            seen = principal.has("READ", queue)
            if not any(principal.has(each, queue) for each in any_of):
                return "NOT_ALLOWED" if seen else "QUEUE_NOT_FOUND"
            return "OK" if principal.namespace in there else "QUEUE_NOT_FOUND"
        case "QUEUE_OF_REQUEST":
            return "OK" if principal.has("ENQUEUE", queue) else "NOT_ALLOWED"
        case "QUEUE_OF_JOB":
            namespace, queue = JOBS.get(thing, ("", ""))
            if namespace != principal.namespace:
                return "JOB_NOT_FOUND"
            if any(principal.has(each, queue) for each in any_of):
                return "OK"
            return "NOT_ALLOWED" if principal.has("READ", queue) else "JOB_NOT_FOUND"
        case "QUEUES_OF_SESSION" if method.name in ("Lease", "OpenSession"):
            return "OK" if principal.has("WORK", queue) else "NOT_ALLOWED"
        case "QUEUES_OF_SESSION":
            return "OK" if thing == "own" else "SESSION_UNKNOWN"
    raise AssertionError(f"{rule} is a rule that the matrix does not know")


class World:
    """Servers with the fast path on and off, on one database, with jobs, sessions and principals."""

    def __init__(self, houses: list[House]) -> None:
        self.houses = houses
        self.principals: list[Principal] = []
        # By the object.
        self._jobs: dict[str, list[str]] = {}
        self._tokens: dict[str, str] = {}
        self.keys = {"absent": "0123456789"}
        self.workers = {"absent": "987654321"}

    async def furnish(self) -> None:
        house = self.houses[0]
        beta = await house.namespace("beta")
        await house.namespace("scratch")
        for thing, where in KEYS.items():
            key = await house.key(grant(Permission.ADMIN), namespace=1 if where == "default" else beta)
            self.keys[thing] = key.id
        them = await house.caller(grant(ALL), namespace=beta)
        for caller, queue in ((house, "q1"), (house, "q2"), (them, "q1"), (them, "only-beta")):
            await caller.enqueue(queue=queue)
        for caller, queue in ((house, "q1"), (house, "q2"), (them, "q1"), (them, "only-beta")):
            schedule = a_schedule(queue, f"of-{queue}", rest=False)
            await caller.schedules.CreateSchedule(schedule_pb2.CreateScheduleRequest(schedule=schedule))
        for thing, (namespace, queue) in JOBS.items():
            caller = house if namespace == "default" else them
            self._jobs[thing] = await caller.batch(600, queue=queue)
            self.workers[thing] = await a_worker(caller, queue)
        self._tokens = {
            "other queue": await opened(house, "q2"),
            "other namespace": await opened(them, "q1"),
            "absent": "17.1.nonsense",
        }
        every = dict.fromkeys(("ENQUEUE", "READ", "WORK", "OPERATE", "ADMIN"), "*")
        expired = await house.key(grant(ALL), lifetime=timedelta(milliseconds=1))
        revoked = await house.key(grant(ALL))
        await house.revoke(revoked)
        wrong = (await house.key(grant(ALL))).id
        body = f"jq_{wrong}_{'a' * 43}"
        self.principals = [
            Principal("none", "", refused="CREDENTIALS_MISSING"),
            Principal("malformed", "Bearer what?", refused="CREDENTIALS_INVALID"),
            Principal("unknown", f"Bearer {keys.mint().text}", refused="CREDENTIALS_INVALID"),
            Principal("wrong secret", f"Bearer {body}{keys._checksum(body)}", refused="CREDENTIALS_INVALID"),
            Principal("expired", f"Bearer {expired.text}", refused="CREDENTIALS_EXPIRED"),
            Principal("revoked", f"Bearer {revoked.text}", refused="CREDENTIALS_REVOKED"),
            await self.with_key("other namespace", every, ALL, "*", namespace="beta", number=beta),
            await self.with_key("ENQUEUE q1", {"ENQUEUE": "q1"}, Permission.ENQUEUE, "q1"),
            await self.with_key("WORK q1", {"WORK": "q1"}, Permission.WORK, "q1"),
            await self.with_key("READ q1", {"READ": "q1"}, Permission.READ, "q1"),
            await self.with_key(
                "READ and OPERATE q1",
                {"READ": "q1", "OPERATE": "q1"},
                Permission.READ | Permission.OPERATE,
                "q1",
            ),
            await self.with_key("all of default", every, EVERY, "*"),
            await self.with_key("ADMIN", {"ADMIN": "*"}, Permission.ADMIN, "*"),
        ]
        for other in self.houses:
            await other.known()

    async def with_key(
        self,
        name: str,
        may: dict[str, str],
        permissions: Permission,
        queues: str,
        namespace: str = "default",
        number: int = 1,
    ) -> Principal:
        house = self.houses[0]
        key = await house.key(grant(permissions, queues), namespace=number)
        principal = Principal(name, f"Bearer {key.text}", namespace, may)
        if "WORK" in may:
            principal.token = await opened(house.with_key(key.text), "q1")
        return principal

    def job(self, thing: str) -> str:
        """The id of a job that no other cell names."""
        return self._jobs[thing].pop() if thing in self._jobs else str(uuid4())

    def token(self, principal: Principal, thing: str) -> str:
        return principal.token or "17.1.none" if thing == "own" else self._tokens[thing]


async def opened(caller: Caller, queue: str) -> str:
    """The token of a new session of the caller's."""
    answer = await caller.stub.OpenSession(lease_pb2.OpenSessionRequest(hello=hello(queue)))
    token: str = answer.welcome.session_token
    return token


async def a_worker(caller: Caller, queue: str) -> str:
    """The number of a session of a worker without a stream, which stays."""
    opening = hello(queue)
    opening.session_ttl.CopyFrom(span(3600.0))
    answer = await caller.stub.OpenSession(lease_pb2.OpenSessionRequest(hello=opening))
    return str(answer.welcome.session_id)


def hello(queue: str) -> lease_pb2.Hello:
    return lease_pb2.Hello(
        worker="matrix", subscriptions=[lease_pb2.Subscription(queue=queue, kinds=["work"])]
    )


def job(queue: str, rest: bool) -> job_pb2.NewJob:
    new = job_pb2.NewJob(kind="work", queue=queue)
    if rest:
        new.payload.number_value = 1
    else:
        new.payload_json = b"1"
    return new


def a_schedule(queue: str, name: str, rest: bool) -> schedule_pb2.Schedule:
    return schedule_pb2.Schedule(
        name=name, spec=schedule_pb2.ScheduleSpec(cron=["0 0 1 1 *"]), job=job(queue, rest)
    )


def of_schedule(request: Any, **fields: Any) -> Callable[[World, Principal, str, bool], Any]:
    """A request that names a schedule whose job goes into the queue of the object."""
    return lambda w, p, thing, rest: request(name=f"of-{QUEUES[thing][0]}", **fields)


def trigger(thing: str) -> externalscaler_pb2.ScaledObjectRef:
    return externalscaler_pb2.ScaledObjectRef(scalerMetadata={"queue": QUEUES[thing][0]})


#: By the method: its request, of the world, the principal, the object, and whether it goes over REST.
REQUESTS: dict[str, Callable[[World, Principal, str, bool], Any]] = {
    "EnqueueJob": lambda w, p, thing, rest: jobqueue_pb2.EnqueueJobRequest(
        job=job(QUEUES[thing][0], rest),
        payload_format=job_pb2.PAYLOAD_FORMAT_UNSPECIFIED if rest else job_pb2.PAYLOAD_FORMAT_JSON,
    ),
    "BatchEnqueueJobs": lambda w, p, thing, rest: jobqueue_pb2.BatchEnqueueJobsRequest(
        jobs=[job(QUEUES[thing][0], rest)]
    ),
    "GetJob": lambda w, p, thing, rest: jobqueue_pb2.GetJobRequest(id=w.job(thing)),
    "ListJobs": lambda w, p, thing, rest: jobqueue_pb2.ListJobsRequest(queue=QUEUES[thing][0], page_size=1),
    "CancelJob": lambda w, p, thing, rest: jobqueue_pb2.CancelJobRequest(id=w.job(thing)),
    "RetryJob": lambda w, p, thing, rest: jobqueue_pb2.RetryJobRequest(id=w.job(thing)),
    "ReleaseJob": lambda w, p, thing, rest: jobqueue_pb2.ReleaseJobRequest(id=w.job(thing)),
    "DeleteJob": lambda w, p, thing, rest: jobqueue_pb2.DeleteJobRequest(id=w.job(thing)),
    "WaitJob": lambda w, p, thing, rest: jobqueue_pb2.WaitJobRequest(id=w.job(thing), timeout=span(0.001)),
    "WatchJobs": lambda w, p, thing, rest: jobqueue_pb2.WatchJobsRequest(queue=QUEUES[thing][0]),
    "Lease": lambda w, p, thing, rest: lease_pb2.LeaseRequest(hello=hello(QUEUES[thing][0])),
    "OpenSession": lambda w, p, thing, rest: lease_pb2.OpenSessionRequest(hello=hello(QUEUES[thing][0])),
    "ClaimJobs": lambda w, p, thing, rest: lease_pb2.ClaimJobsRequest(
        session_token=w.token(p, thing), wait=span(0.001)
    ),
    "SettleJobs": lambda w, p, thing, rest: lease_pb2.SettleJobsRequest(
        session_token=w.token(p, thing),
        outcomes=[lease_pb2.Outcome(job_id=str(uuid4()), attempt=1, success=lease_pb2.Success())],
    ),
    "HeartbeatSession": lambda w, p, thing, rest: lease_pb2.HeartbeatSessionRequest(
        session_token=w.token(p, thing)
    ),
    # Its own is closed with the last cell, and another one's never.
    "CloseSession": lambda w, p, thing, rest: lease_pb2.CloseSessionRequest(session_token=w.token(p, thing)),
    "ExplainJob": lambda w, p, thing, rest: insight_pb2.ExplainJobRequest(id=w.job(thing)),
    "GetQueueDemand": lambda w, p, thing, rest: insight_pb2.GetQueueDemandRequest(queue=QUEUES[thing][0]),
    "ListWorkers": lambda w, p, thing, rest: worker_pb2.ListWorkersRequest(queue=QUEUES[thing][0]),
    "GetWorker": lambda w, p, thing, rest: worker_pb2.GetWorkerRequest(session_id=w.workers[thing]),
    "DrainWorker": lambda w, p, thing, rest: worker_pb2.DrainWorkerRequest(session_id=w.workers[thing]),
    "GetOverview": lambda w, p, thing, rest: overview_pb2.GetOverviewRequest(),
    "WatchOverview": lambda w, p, thing, rest: overview_pb2.WatchOverviewRequest(),
    "ListServers": lambda w, p, thing, rest: overview_pb2.ListServersRequest(),
    "QueryStats": lambda w, p, thing, rest: stats_pb2.QueryStatsRequest(queue=QUEUES[thing][0]),
    "CountJobs": lambda w, p, thing, rest: stats_pb2.CountJobsRequest(queue=QUEUES[thing][0]),
    **dict.fromkeys(
        ("IsActive", "StreamIsActive", "GetMetricSpec", "StreamMetricSpec"),
        lambda w, p, thing, rest: trigger(thing),
    ),
    "GetMetrics": lambda w, p, thing, rest: externalscaler_pb2.GetMetricsRequest(
        scaledObjectRef=trigger(thing), metricName="wanted_slots"
    ),
    # Without force; nothing of what others count on is changed.
    "RetryJobs": lambda w, p, thing, rest: bulk_pb2.RetryJobsRequest(
        filter=bulk_pb2.JobFilter(queue=QUEUES[thing][0])
    ),
    "CancelJobs": lambda w, p, thing, rest: bulk_pb2.CancelJobsRequest(
        filter=bulk_pb2.JobFilter(queue=QUEUES[thing][0])
    ),
    "DeleteJobs": lambda w, p, thing, rest: bulk_pb2.DeleteJobsRequest(
        filter=bulk_pb2.JobFilter(queue=QUEUES[thing][0])
    ),
    "UpdateJobs": lambda w, p, thing, rest: bulk_pb2.UpdateJobsRequest(
        filter=bulk_pb2.JobFilter(queue=QUEUES[thing][0]), priority=1
    ),
    "ResumeOperation": lambda w, p, thing, rest: bulk_pb2.ResumeOperationRequest(id=str(uuid4())),
    "CreateSchedule": lambda w, p, thing, rest: schedule_pb2.CreateScheduleRequest(
        schedule=a_schedule(QUEUES[thing][0], f"made-{uuid4().hex}", rest)
    ),
    "ListSchedules": lambda w, p, thing, rest: schedule_pb2.ListSchedulesRequest(),
    "UpdateSchedule": lambda w, p, thing, rest: schedule_pb2.UpdateScheduleRequest(
        schedule=schedule_pb2.Schedule(name=f"of-{QUEUES[thing][0]}", labels={"a": "b"})
    ),
    "GetSchedule": of_schedule(schedule_pb2.GetScheduleRequest),
    # With another etag than it has: it stays.
    "DeleteSchedule": of_schedule(schedule_pb2.DeleteScheduleRequest, etag="OTk5"),
    "PauseSchedule": of_schedule(schedule_pb2.PauseScheduleRequest),
    "ResumeSchedule": of_schedule(schedule_pb2.ResumeScheduleRequest),
    "RunSchedule": of_schedule(schedule_pb2.RunScheduleRequest),
    "ListScheduleRuns": of_schedule(schedule_pb2.ListScheduleRunsRequest),
    "BackfillSchedule": of_schedule(
        schedule_pb2.BackfillScheduleRequest,
        start_at=Timestamp(seconds=1_700_000_000),
        end_at=Timestamp(seconds=1_700_000_060),
        validate_only=True,
    ),
    "PreviewSchedule": lambda w, p, thing, rest: schedule_pb2.PreviewScheduleRequest(
        spec=schedule_pb2.ScheduleSpec(cron=["0 0 1 1 *"])
    ),
    "ListOperations": lambda w, p, thing, rest: operations_pb2.ListOperationsRequest(name="operations"),
    **{
        f"{verb}Operation": lambda w, p, thing, rest, verb=verb: getattr(  # type: ignore[misc]
            operations_pb2, f"{verb}OperationRequest"
        )(name=f"operations/{uuid4()}")
        for verb in ("Get", "Wait", "Cancel", "Delete")
    },
    "ListQueues": lambda w, p, thing, rest: queue_admin_pb2.ListQueuesRequest(),
    "GetQueue": lambda w, p, thing, rest: queue_admin_pb2.GetQueueRequest(name=QUEUES[thing][0]),
    "PauseQueue": lambda w, p, thing, rest: queue_admin_pb2.PauseQueueRequest(name=QUEUES[thing][0]),
    "ResumeQueue": lambda w, p, thing, rest: queue_admin_pb2.ResumeQueueRequest(name=QUEUES[thing][0]),
    "UpdateQueue": lambda w, p, thing, rest: queue_admin_pb2.UpdateQueueRequest(
        queue=queue_admin_pb2.Queue(
            name=QUEUES[thing][0], key_policy=queue_admin_pb2.KeyPolicy(max_running=7)
        )
    ),
    "ListQueueKeys": lambda w, p, thing, rest: queue_admin_pb2.ListQueueKeysRequest(queue=QUEUES[thing][0]),
    "GetQueueKey": lambda w, p, thing, rest: queue_admin_pb2.GetQueueKeyRequest(
        queue=QUEUES[thing][0], key="ada"
    ),
    "UpdateQueueKey": lambda w, p, thing, rest: queue_admin_pb2.UpdateQueueKeyRequest(
        queue_key=queue_admin_pb2.QueueKey(queue=QUEUES[thing][0], key="ada", max_running=7)
    ),
    "UnblockQueueKey": lambda w, p, thing, rest: queue_admin_pb2.UnblockQueueKeyRequest(
        queue=QUEUES[thing][0], key="ada"
    ),
    "PutKind": lambda w, p, thing, rest: queue_admin_pb2.PutKindRequest(
        kind=queue_admin_pb2.Kind(name="work")
    ),
    "ListKinds": lambda w, p, thing, rest: queue_admin_pb2.ListKindsRequest(),
    "GetAccess": lambda w, p, thing, rest: access_admin_pb2.GetAccessRequest(),
    "CreateKey": lambda w, p, thing, rest: access_admin_pb2.CreateKeyRequest(
        name="made", grants=[access_admin_pb2.Grant(permissions=[access_pb2.Access.ADMIN])]
    ),
    "GetKey": lambda w, p, thing, rest: access_admin_pb2.GetKeyRequest(id=w.keys[thing]),
    "ListKeys": lambda w, p, thing, rest: access_admin_pb2.ListKeysRequest(page_size=1),
    "RotateKey": lambda w, p, thing, rest: access_admin_pb2.RotateKeyRequest(id=w.keys[thing]),
    "RevokeKey": lambda w, p, thing, rest: access_admin_pb2.RevokeKeyRequest(id=w.keys[thing]),
    "PutIdentity": lambda w, p, thing, rest: access_admin_pb2.PutIdentityRequest(
        kind="mtls", pattern="name", grants=[access_admin_pb2.Grant(permissions=[access_pb2.Access.ADMIN])]
    ),
    "ListIdentities": lambda w, p, thing, rest: access_admin_pb2.ListIdentitiesRequest(page_size=1),
    "DeleteIdentity": lambda w, p, thing, rest: access_admin_pb2.DeleteIdentityRequest(id="999999"),
    "CreateNamespace": lambda w, p, thing, rest: access_admin_pb2.CreateNamespaceRequest(name="scratch"),
    "ListNamespaces": lambda w, p, thing, rest: access_admin_pb2.ListNamespacesRequest(),
    "DisableNamespace": lambda w, p, thing, rest: access_admin_pb2.DisableNamespaceRequest(name="scratch"),
    "EnableNamespace": lambda w, p, thing, rest: access_admin_pb2.EnableNamespaceRequest(name="scratch"),
    "ListAudit": lambda w, p, thing, rest: access_admin_pb2.ListAuditRequest(
        page_size=1, namespace={"other namespace": "beta", "absent": "never"}.get(thing, "")
    ),
}


async def over_grpc(channel: grpc.aio.Channel, method: MethodDescriptor, request: Any, header: str) -> str:
    """The reason of the refusal; OK where there was none."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    kind = f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
    callable_: Any = getattr(channel, kind)(path, lambda message: message.SerializeToString(), bytes)
    metadata = (("authorization", header),) if header else ()
    try:
        if method.client_streaming:
            call = callable_(metadata=metadata)
            with contextlib.suppress(asyncio.InvalidStateError):
                await call.write(request)
            first = await call.read()
            if first is grpc.aio.EOF:
                await call
            call.cancel()
        elif method.server_streaming:
            call = callable_(request, metadata=metadata)
            await call.read()
            call.cancel()
        else:
            await callable_(request, metadata=metadata)
    except grpc.aio.AioRpcError as error:
        return reason_of(error)
    return "OK"


def over_rest(method: MethodDescriptor, request: Any) -> tuple[str, str, bytes | None]:
    """Verb, path and body of a request, by the binding of the method."""
    binding = BINDINGS[method.full_name]
    verb, path = binding.http_method, binding.template.text
    fields = MessageToDict(request, preserving_proto_field_name=True)
    for variable in [part.partition("}")[0] for part in path.split("{")[1:]]:
        holder, steps = fields, variable.partition("=")[0].split(".")
        for step in steps[:-1]:
            holder = holder[step]
        path = path.replace(f"{{{variable}}}", quote(str(holder.pop(steps[-1]))))
    if binding.body == "*":
        return verb, path, json.dumps(fields).encode()
    if binding.body:
        body = fields.pop(binding.body, {})
        return verb, path, json.dumps(body).encode()
    return verb, f"{path}?{urlencode(fields, doseq=True)}" if fields else path, None


async def answered(
    session: aiohttp.ClientSession, base: str, method: MethodDescriptor, request: Any, header: str
) -> str:
    verb, path, body = over_rest(method, request)
    headers = {"authorization": header} if header else {}
    if body is not None:
        headers["content-type"] = "application/json"
    async with session.request(verb, base + path, data=body, headers=headers) as response:
        if response.status < 400:
            return "OK"
        reasons = [each["reason"] for each in (await response.json())["details"] if "reason" in each]
        if reasons[0].startswith("CREDENTIALS"):
            assert response.status == 401
        if reasons[0] == "NOT_ALLOWED":
            assert response.status == 403
        return str(reasons[0])


@pytest.fixture
async def world(dsn: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    # All of the matrix comes from one address.
    monkeypatch.setattr(FailedAttempts, "refuses", lambda *_: False)
    # Each change of a queue would wait until the other server knows it.
    monkeypatch.setattr(queues, "KNOWN_WITHIN", timedelta())
    async with (
        House(dsn, http_addr="127.0.0.1:0", fast_path="on") as on,
        House(dsn, http_addr="127.0.0.1:0", fast_path="off") as off,
    ):
        world = World([on, off])
        await world.furnish()
        yield world


def test_every_method_has_a_request_in_the_matrix() -> None:
    assert {method.name for method in METHODS} == REQUESTS.keys()
    assert all(declared(method)[0] for method in METHODS)


def cells(world: World) -> Iterator[tuple[House, bool, Principal, MethodDescriptor, str]]:
    # What makes queues comes after what looks for them, and what closes a session comes last.
    order = {
        "ListQueues": 0,
        "GetQueue": 0,
        "GetQueueDemand": 0,
        "PauseQueue": 0,
        "ResumeQueue": 0,
        "UpdateQueue": 0,
        "ListQueueKeys": 0,
        "GetQueueKey": 0,
        "UpdateQueueKey": 0,
        "UnblockQueueKey": 0,
        "CloseSession": 2,
        "RevokeKey": 2,
    }
    for method in sorted(METHODS, key=lambda method: order.get(method.name, 1)):
        for house in world.houses if method.name in FAST else world.houses[:1]:
            for rest in (False, True):
                if rest and method.full_name not in BINDINGS:
                    continue
                for number, principal in enumerate(world.principals):
                    # Whose credentials are refused is so whatever is asked for: each object has two of these.
                    only = OBJECTS[number % len(OBJECTS)] if principal.refused else ""
                    for thing in (only,) if only else OBJECTS:
                        yield house, rest, principal, method, thing


@pytest.mark.slow
async def test_each_principal_may_do_what_the_contract_says_and_no_more(world: World) -> None:
    wrong: list[str] = []
    seen: Counter[str] = Counter()
    async with aiohttp.ClientSession() as session:
        for house, rest, principal, method, thing in cells(world):
            if method.name == "CloseSession" and thing == "own" and "WORK" in principal.may:
                principal.token = await opened(house.showing(principal.header), "q1")
            request = REQUESTS[method.name](world, principal, thing, rest)
            if rest:
                base = f"http://127.0.0.1:{house.app.http_port}"
                reason = await answered(session, base, method, request, principal.header)
            else:
                reason = await over_grpc(house.plain, method, request, principal.header)
            want = expected(principal, method, thing)
            got = reason if reason in REFUSALS else "OK"
            seen[want] += 1
            if got != want:
                way = f"{'REST' if rest else 'gRPC'}, fast path {house.app.settings.fast_path}"
                wrong.append(f"{principal.name}: {method.name} of {thing} ({way}): {reason}, not {want}")
    assert not wrong, f"{len(wrong)} of {seen.total()}:\n" + "\n".join(wrong[:40])
    assert seen.total() > 4_000
    assert set(seen) == REFUSALS | {"OK"}
