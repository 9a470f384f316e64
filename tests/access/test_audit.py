"""The audit log: who did what, from where, told with the change itself; and who was refused."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import grpc.aio
import pytest
from google.longrunning import operations_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from jobqueue.v1 import access_admin_pb2 as pb
from jobqueue.v1 import (
    access_pb2,
    bulk_pb2,
    job_pb2,
    jobqueue_pb2,
    lease_pb2,
    queue_admin_pb2,
    schedule_pb2,
    worker_pb2,
)
from jobqueue_server import logs
from jobqueue_server.core.access import denials
from jobqueue_server.core.access.denials import Denials
from jobqueue_server.core.tuning import Tuning
from jobqueue_server.errors import CredentialsInvalid, DatabaseAway, NotAllowed
from jobqueue_server.gate import audited_methods
from jobqueue_server.grants import Permission
from jobqueue_server.scope import Scope, Source
from jobqueue_server.store import database, statements
from jobqueue_server.store.access.audit import AuditStore
from tests.http.conftest import Caller as RestCaller
from tests.lease.hand_worker import reason_of
from tests.lease.place import Caller, Place, eventually

from .house import ALL, House, grant

_ACCESS = access_pb2.Access
MAILER = pb.Grant(permissions=[_ACCESS.ENQUEUE], queues=["mail*"])
SOURCE = Source("10.0.0.7", "grpc", "request")


@pytest.fixture
async def house(dsn: str) -> AsyncIterator[House]:
    async with House(dsn, http_addr="127.0.0.1:0") as house:
        yield house


@pytest.fixture
async def rest(house: House) -> AsyncIterator[RestCaller]:
    caller = RestCaller(house.app.http_port)
    yield caller
    await caller.session.close()


@pytest.fixture
def lines() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """The lines of the audit log among those of the server, where warnings alone are wanted."""
    stream = io.StringIO()
    root, ours = logging.getLogger(), logging.getLogger("jobqueue_server")
    before = (root.handlers[:], root.level, ours.level)
    logs.configure("warning", "json", stream)
    yield lambda: [
        line for line in map(json.loads, stream.getvalue().splitlines()) if line.get("audit") is True
    ]
    root.handlers[:], root.level = before[0], before[1]
    ours.setLevel(before[2])


async def listed(caller: Caller, **wanted: Any) -> list[pb.AuditRecord]:
    answer = await caller.access.ListAudit(pb.ListAuditRequest(page_size=1000, **wanted))
    return list(answer.records)


async def refused_for(call: Any) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return reason_of(raised.value)


async def ended(house: House) -> str:
    """The id of a job that was cancelled."""
    job = await house.enqueue(queue="mail")
    await house.stub.CancelJob(jobqueue_pb2.CancelJobRequest(id=job.id))
    return job.id


async def blocked_key(house: House) -> queue_admin_pb2.UnblockQueueKeyRequest:
    """A request for a key that a failed job blocks."""
    await house.enqueue(queue="ordered")
    await house.sql(
        "update queue set key_max_running = 1, key_order = 1, key_on_failure = 2 where name = 'ordered'"
    )
    await house.sql(
        "insert into semaphore (id, queue_id, taken, waiting, granted, blocked_by) "
        "select semaphore_of(id, 'ada'), id, 0, 0, 0, '01a20e70-3333-7f3e-9d52-000000000001' "
        "from queue where name = 'ordered'"
    )
    return queue_admin_pb2.UnblockQueueKeyRequest(queue="ordered", key="ada")


NIGHTLY = schedule_pb2.Schedule(
    name="nightly",
    spec=schedule_pb2.ScheduleSpec(cron=["0 0 1 1 *"]),
    job=job_pb2.NewJob(kind="work", queue="mail"),
)


async def one_of_each(house: House) -> dict[str, Any]:
    """A request for each method that is audited, by the method's name."""
    key = (await house.key(grant(Permission.READ))).id
    other = (await house.key(grant(Permission.READ))).id
    identity = pb.PutIdentityRequest(kind="jwt", pattern="mailer", grants=[MAILER])
    gone = (
        await house.access.PutIdentity(pb.PutIdentityRequest(kind="mtls", pattern="a*", grants=[MAILER]))
    ).identity
    await house.enqueue(queue="mail")
    # The jobs of this test are in other queues.
    chosen = bulk_pb2.JobFilter(queue="none")
    cancelled, deleted, rested = [
        (await house.bulk.DeleteJobs(bulk_pb2.DeleteJobsRequest(filter=chosen, force=True))).operation.name
        for _ in range(3)
    ]
    for name in (cancelled, deleted, rested):
        await house.operations.WaitOperation(operations_pb2.WaitOperationRequest(name=name))
    worker = await house.worker(queues={"of-a-worker": ["work"]})
    # One that goes on, on a server that does nothing.
    await house.sql(
        "update operation set state = 2, owner = 0, heard_at = now() + interval '9 seconds', ended_at = null"
        " where id = $1::text::uuid",
        cancelled.partition("/")[2],
    )
    await house.sql(
        "update operation set state = 1, ended_at = null, rests_for = 'PRINCIPAL_ENDED' where id = $1::text::uuid",
        rested.partition("/")[2],
    )
    return {
        "RetryJobs": bulk_pb2.RetryJobsRequest(filter=chosen, force=True),
        "CancelJobs": bulk_pb2.CancelJobsRequest(filter=chosen, force=True, reason="why"),
        "DeleteJobs": bulk_pb2.DeleteJobsRequest(filter=chosen, force=True),
        "UpdateJobs": bulk_pb2.UpdateJobsRequest(filter=chosen, force=True, priority=5),
        "DrainWorker": worker_pb2.DrainWorkerRequest(
            session_id=str(worker.welcome.session_id), reason="a new version"
        ),
        "ResumeOperation": bulk_pb2.ResumeOperationRequest(id=rested.partition("/")[2]),
        "CancelOperation": operations_pb2.CancelOperationRequest(name=cancelled),
        "DeleteOperation": operations_pb2.DeleteOperationRequest(name=deleted),
        "CancelJob": jobqueue_pb2.CancelJobRequest(id=(await house.enqueue(queue="mail")).id, reason="why"),
        "RetryJob": jobqueue_pb2.RetryJobRequest(id=await ended(house)),
        "ReleaseJob": jobqueue_pb2.ReleaseJobRequest(id=(await house.enqueue(queue="mail", hold=True)).id),
        "DeleteJob": jobqueue_pb2.DeleteJobRequest(id=await ended(house)),
        "PauseQueue": queue_admin_pb2.PauseQueueRequest(name="mail", reason="the printer burns"),
        "ResumeQueue": queue_admin_pb2.ResumeQueueRequest(name="mail"),
        "UpdateQueue": queue_admin_pb2.UpdateQueueRequest(
            queue=queue_admin_pb2.Queue(name="mail", key_policy=queue_admin_pb2.KeyPolicy(max_running=7))
        ),
        "UpdateQueueKey": queue_admin_pb2.UpdateQueueKeyRequest(
            queue_key=queue_admin_pb2.QueueKey(queue="mail", key="ada", max_running=7, paused=True)
        ),
        "UnblockQueueKey": await blocked_key(house),
        "CreateSchedule": schedule_pb2.CreateScheduleRequest(schedule=NIGHTLY),
        "UpdateSchedule": schedule_pb2.UpdateScheduleRequest(
            schedule=schedule_pb2.Schedule(name="nightly", labels={"a": "b"})
        ),
        "PauseSchedule": schedule_pb2.PauseScheduleRequest(name="nightly"),
        "ResumeSchedule": schedule_pb2.ResumeScheduleRequest(name="nightly"),
        "RunSchedule": schedule_pb2.RunScheduleRequest(name="nightly"),
        "BackfillSchedule": schedule_pb2.BackfillScheduleRequest(
            name="nightly",
            start_at=Timestamp(seconds=1_700_000_000),
            end_at=Timestamp(seconds=1_700_000_060),
        ),
        "DeleteSchedule": schedule_pb2.DeleteScheduleRequest(name="nightly"),
        "PutKind": queue_admin_pb2.PutKindRequest(kind=queue_admin_pb2.Kind(name="letter", max_attempts=5)),
        "CreateKey": pb.CreateKeyRequest(name="mailer", grants=[MAILER]),
        "RotateKey": pb.RotateKeyRequest(id=key),
        "RevokeKey": pb.RevokeKeyRequest(id=other, reason="it was in a log"),
        "PutIdentity": identity,
        "DeleteIdentity": pb.DeleteIdentityRequest(id=gone.id),
        "CreateNamespace": pb.CreateNamespaceRequest(name="beta"),
        "DisableNamespace": pb.DisableNamespaceRequest(name="beta"),
        "EnableNamespace": pb.EnableNamespaceRequest(name="beta"),
    }


OBJECTS = {
    "CancelJob": "job:{id}",
    "RetryJob": "job:{id}",
    "ReleaseJob": "job:{id}",
    "DrainWorker": "worker:{session_id}",
    "DeleteJob": "job:{id}",
    "PauseQueue": "queue:{name}",
    "ResumeQueue": "queue:{name}",
    "UpdateQueue": "queue:{queue.name}",
    "UpdateQueueKey": "queue:{queue_key.queue}",
    "UnblockQueueKey": "queue:{queue}",
    "CreateSchedule": "schedule:{schedule.name}",
    "UpdateSchedule": "schedule:{schedule.name}",
    **dict.fromkeys(("PauseSchedule", "ResumeSchedule", "RunSchedule", "DeleteSchedule"), "schedule:{name}"),
    "PutKind": "kind:{kind.name}",
    "RotateKey": "key:{id}",
    "RevokeKey": "key:{id}",
    "DeleteIdentity": "identity:{id}",
    "CreateNamespace": "namespace:{name}",
    "DisableNamespace": "namespace:{name}",
    "EnableNamespace": "namespace:{name}",
    "ResumeOperation": "operation:{id}",
    "CancelOperation": "{name}",
    "DeleteOperation": "{name}",
}


@pytest.mark.slow
async def test_each_audited_call_writes_one_row_of_who_what_where_and_when(house: House) -> None:
    requests = await one_of_each(house)
    assert {method.rpartition("/")[2] for method in audited_methods()} == requests.keys()
    own = await house.access.GetAccess(pb.GetAccessRequest())
    for name, request in requests.items():
        before = {record.id for record in await listed(house)}
        stubs = (
            house.stub, house.admin, house.access, house.bulk, house.schedules, house.operations, house.insight,
        )  # fmt: skip
        stub = next(each for each in stubs if hasattr(each, name))
        answer = await getattr(stub, name)(request, metadata=(("x-request-id", f"to {name}"),))
        (record,) = [record for record in await listed(house) if record.id not in before]
        assert (record.action, record.outcome, record.count) == (name, "OK", 1)
        assert (record.principal, record.credential) == (own.principal, own.credential)
        assert (record.address, record.transport) == ("127.0.0.1", "grpc")
        assert record.request_id == f"to {name}"
        assert record.namespace == ("beta" if "Namespace" in name else "default")
        made = {"CreateKey": "key:{key.id}", "PutIdentity": "identity:{identity.id}"} | dict.fromkeys(
            ("RetryJobs", "CancelJobs", "DeleteJobs", "UpdateJobs", "BackfillSchedule"), "{operation.name}"
        )
        wanted = made[name] if name in made else OBJECTS[name]
        wanted = wanted.format_map(_Fields(answer if name in made else request))
        assert record.object == wanted.replace("operations/", "operation:")
        assert record.reason == getattr(request, "reason", "")
        stored = await house.value("select now() - uuid_time($1::text::uuid)", record.id)
        assert timedelta(0) <= stored < timedelta(minutes=1)
    details = {record.action: dict(record.details) for record in reversed(await listed(house))}
    assert details["RetryJobs"] == {"queue": "none"}
    assert details["CreateSchedule"].items() >= {"queue": "mail", "cron": "0 0 1 1 *"}.items()
    assert details["RunSchedule"] == {"outcome": "FIRED"}
    assert details["DeleteJob"] == {"queue": "mail", "kind": "work"}
    assert json.loads(details["CreateKey"]["grants"])[0]["queues"] == ["mail*"]
    assert details["RotateKey"].keys() == {"successor", "grace"}
    assert details["PutIdentity"].items() >= {"kind": "jwt", "pattern": "mailer"}.items()
    assert details["DeleteIdentity"] == {"kind": "mtls", "pattern": "a*"}
    assert details["PutKind"] == {"max_attempts": "5"}
    assert details["UpdateQueue"] == {"key_max_running": "7"}
    assert details["UpdateQueueKey"] == {"key": "ada", "max_running": "7", "paused": "True"}
    assert details["UnblockQueueKey"] == {
        "key": "ada",
        "blocked_by": "01a20e70-3333-7f3e-9d52-000000000001",
        "waiting": "0",
    }


class _Fields(dict[str, Any]):
    def __init__(self, message: Any) -> None:
        super().__init__({field.name: value for field, value in message.ListFields()})


async def test_a_row_comes_and_goes_with_its_change(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the change and its row there are both or none: here the commit finds the row's table closed."""
    key = (await house.key(grant(Permission.READ))).id
    job = await house.enqueue(queue="mail")
    await house.sql("alter table audit add constraint closed check (false) not valid")
    for call in (
        house.access.RevokeKey(pb.RevokeKeyRequest(id=key)),
        house.stub.CancelJob(jobqueue_pb2.CancelJobRequest(id=job.id)),
        house.admin.PauseQueue(queue_admin_pb2.PauseQueueRequest(name="mail")),
        house.admin.UpdateQueue(
            queue_admin_pb2.UpdateQueueRequest(
                queue=queue_admin_pb2.Queue(name="mail", key_policy=queue_admin_pb2.KeyPolicy(max_running=7))
            )
        ),
        house.admin.UpdateQueueKey(
            queue_admin_pb2.UpdateQueueKeyRequest(
                queue_key=queue_admin_pb2.QueueKey(queue="mail", key="ada", paused=True)
            )
        ),
        house.admin.PutKind(queue_admin_pb2.PutKindRequest(kind=queue_admin_pb2.Kind(name="letter"))),
        house.access.CreateNamespace(pb.CreateNamespaceRequest(name="beta")),
    ):
        assert await refused_for(call) == "INTERNAL"
    assert not (await house.access.GetKey(pb.GetKeyRequest(id=key))).key.HasField("revoked_at")
    found = (await house.stub.GetJob(jobqueue_pb2.GetJobRequest(id=job.id))).job
    assert found.status == job_pb2.Job.QUEUED
    queue = (await house.admin.GetQueue(queue_admin_pb2.GetQueueRequest(name="mail"))).queue
    assert not queue.paused
    assert not queue.HasField("key_policy")
    assert not await house.value("select count(*) from queue_key")
    assert not await house.value("select count(*) from kind where name = 'letter'")
    assert not await house.value("select count(*) from namespace where name = 'beta'")


async def test_a_change_that_is_refused_by_its_state_leaves_no_row(house: House) -> None:
    job = await house.enqueue(queue="mail")
    assert (
        await refused_for(house.stub.RetryJob(jobqueue_pb2.RetryJobRequest(id=job.id))) == "JOB_NOT_TERMINAL"
    )
    released = jobqueue_pb2.ReleaseJobRequest(id=job.id)
    assert await refused_for(house.stub.ReleaseJob(released)) == "JOB_NOT_HELD"
    assert not await listed(house, object=f"job:{job.id}")


async def test_without_keys_a_row_says_whence_a_change_came(dsn: str) -> None:
    async with Place(dsn) as place:
        job = await place.enqueue()
        await place.stub.CancelJob(jobqueue_pb2.CancelJobRequest(id=job.id))
        (record,) = await listed(place)
        assert (record.action, record.principal, record.address) == ("CancelJob", "anonymous", "127.0.0.1")
        with pytest.raises(grpc.aio.AioRpcError):
            await place.stub.CancelJob(
                jobqueue_pb2.CancelJobRequest(id="01a20e75-6a11-7f3e-9d52-2f6c1b7a4e01")
            )
        assert not len(place.app.access.denials), "nobody is refused there"


async def test_jobs_that_come_and_go_write_no_row_and_run_no_statement_for_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    def noted(name: str) -> str:
        ran.append(name)
        return statements.statement(name)

    monkeypatch.setattr(database, "statement", noted)
    worker = await house.worker()
    await house.enqueue()
    await house.batch(10)
    for _ in range(11):
        await worker.succeed(await worker.job())
    await house.app.access.denials.write()
    assert "enqueue" in ran
    assert "insert_audit" not in ran
    assert not await house.value("select count(*) from audit where transport <> ''")


# ---- refused calls


async def test_refused_calls_are_counted_into_one_row_each(house: House) -> None:
    mailer = await house.caller(grant(Permission.ENQUEUE, "mail"))
    for _ in range(3):
        assert await refused_for(mailer.enqueue(queue="news")) == "NOT_ALLOWED"
    assert await refused_for(mailer.access.ListKeys(pb.ListKeysRequest())) == "NOT_ALLOWED"
    for _ in range(2):
        assert await refused_for(house.showing("Bearer jq_wrong").enqueue()) == "CREDENTIALS_INVALID"
    assert await refused_for(house.showing("").enqueue()) == "CREDENTIALS_MISSING"
    await house.app.access.denials.write()
    own = await mailer.access.GetAccess(pb.GetAccessRequest())
    rows = {(each.action, each.outcome): each for each in await listed(house) if each.outcome != "OK"}
    assert rows.keys() == {
        ("EnqueueJob", "NOT_ALLOWED"),
        ("ListKeys", "NOT_ALLOWED"),
        ("EnqueueJob", "CREDENTIALS_INVALID"),
        ("EnqueueJob", "CREDENTIALS_MISSING"),
    }
    row = rows["EnqueueJob", "NOT_ALLOWED"]
    assert (row.count, row.principal, row.namespace, row.address) == (
        3,
        own.principal,
        "default",
        "127.0.0.1",
    )
    assert row.object == "queue:news"
    assert dict(row.details) == {"permission": "ENQUEUE", "kind": "work"}
    row = rows["EnqueueJob", "CREDENTIALS_INVALID"]
    assert (row.count, row.principal, row.namespace) == (2, "unknown", "")
    assert (
        house.app.metrics.registry.get_sample_value("jobqueue_denials_total", {"reason": "NOT_ALLOWED"}) == 4
    )


async def test_a_key_that_has_ended_is_named_where_it_is_refused(house: House) -> None:
    key = await house.key(grant(ALL))
    await house.revoke(key)
    await house.known()
    assert await refused_for(house.with_key(key.text).enqueue()) == "CREDENTIALS_REVOKED"
    await house.app.access.denials.write()
    (row,) = await listed(house, outcome="CREDENTIALS_REVOKED")
    assert (row.principal, row.credential, row.namespace) == (f"key:{key.id}", f"key:{key.id}", "default")


async def test_a_known_key_that_lacks_a_permission_altogether_is_named_where_it_is_refused(
    house: House, rest: RestCaller
) -> None:
    """Who probes with a key that leaked is found: over both transports, by single calls and by streams."""
    beta = await house.namespace("beta")
    key = await house.key(grant(Permission.READ, "mail"), namespace=beta)
    probing = house.with_key(key.text)
    reading = house.with_key((await house.key(grant(Permission.ENQUEUE))).text)
    assert await refused_for(probing.access.ListKeys(pb.ListKeysRequest())) == "NOT_ALLOWED"
    assert await refused_for(probing.enqueue(queue="mail")) == "NOT_ALLOWED"
    assert await refused_for(anext(aiter(reading.stub.WatchJobs(jobqueue_pb2.WatchJobsRequest())))) == (
        "NOT_ALLOWED"
    )
    assert await refused_for(anext(aiter(probing.stub.Lease(iter([lease_pb2.LeaseRequest()]))))) == (
        "NOT_ALLOWED"
    )
    answer = await rest("GET", "/v1/keys", authorization=f"Bearer {key.text}")
    assert answer.status == 403
    await house.app.access.denials.write()
    rows = await listed(house, outcome="NOT_ALLOWED")
    assert {(row.action, row.namespace, row.principal == row.credential) for row in rows} == {
        ("ListKeys", "beta", True),
        ("EnqueueJob", "beta", True),
        ("WatchJobs", "default", True),
        ("Lease", "beta", True),
    }
    assert {row.credential for row in rows if row.namespace == "beta"} == {f"key:{key.id}"}
    own = await house.caller(grant(ALL), namespace=beta)
    assert {row.action for row in await listed(own, outcome="NOT_ALLOWED")} == {
        "ListKeys",
        "EnqueueJob",
        "Lease",
    }, "who administers the namespace of a key that leaked sees what was tried with it"


async def test_a_good_key_that_is_shown_from_elsewhere_is_named(house: House) -> None:
    """The caller is told no more than of a key that is not known: the audit log says which key it has."""
    key = await house.key(grant(ALL), networks=("10.0.0.0/8",))
    assert await refused_for(house.with_key(key.text).enqueue()) == "CREDENTIALS_INVALID"
    await house.app.access.denials.write()
    (row,) = await listed(house, outcome="CREDENTIALS_INVALID")
    assert (row.credential, row.namespace) == (f"key:{key.id}", "default")


async def test_refusals_of_different_keys_from_one_address_are_rows_of_their_own(house: House) -> None:
    made = await house.access.CreateKey(pb.CreateKeyRequest(name="mailer", grants=[MAILER]))
    rotated = await house.access.RotateKey(pb.RotateKeyRequest(id=made.key.id))
    other = await house.key(grant(Permission.ENQUEUE, "mail"))
    texts = {made.key.id: made.secret, rotated.key.id: rotated.secret, other.id: other.text}
    for text in (*texts.values(), made.secret):
        assert await refused_for(house.with_key(text).access.ListKeys(pb.ListKeysRequest())) == "NOT_ALLOWED"
    await house.app.access.denials.write()
    rows = await listed(house, outcome="NOT_ALLOWED")
    assert {row.credential: row.count for row in rows} == {
        f"key:{made.key.id}": 2,
        f"key:{rotated.key.id}": 1,
        f"key:{other.id}": 1,
    }
    assert len({row.principal for row in rows}) == 2


async def test_a_job_of_others_that_is_named_by_id_is_told_as_refused(house: House) -> None:
    """It answers as one that never was; the audit log has the try."""
    job = await house.enqueue(queue="news")
    other = await house.caller(grant(Permission.OPERATE, "mail"))
    assert (
        await refused_for(other.stub.CancelJob(jobqueue_pb2.CancelJobRequest(id=job.id))) == "JOB_NOT_FOUND"
    )
    await house.app.access.denials.write()
    (row,) = await listed(house, outcome="JOB_NOT_FOUND")
    assert (row.action, row.object) == ("CancelJob", f"job:{job.id}")


async def test_refused_calls_of_rest_are_told_too(house: House, rest: RestCaller) -> None:
    answer = await rest("GET", "/v1/keys", authorization="Bearer what")
    assert answer.status == 401
    assert (await rest("GET", "/docs", authorization="Bearer what")).status == 401
    await house.app.access.denials.write()
    rows = await listed(house, outcome="CREDENTIALS_INVALID")
    assert {(row.action, row.transport) for row in rows} == {("ListKeys", "http"), ("documents", "http")}


@pytest.mark.slow
async def test_refused_calls_are_written_without_being_asked_for(house: House) -> None:
    assert await refused_for(house.showing("").enqueue()) == "CREDENTIALS_MISSING"
    await eventually(lambda: listed(house, outcome="CREDENTIALS_MISSING"))


async def test_a_server_that_ends_has_written_who_was_refused(dsn: str) -> None:
    house = House(dsn)
    await house.start()
    assert await refused_for(house.showing("").enqueue()) == "CREDENTIALS_MISSING"
    await house.stop()
    connection = await asyncpg.connect(dsn)
    assert await connection.fetchval("select count from audit where outcome = 'CREDENTIALS_MISSING'") == 1
    await connection.close()


class _Counts:
    def __init__(self) -> None:
        self.dropped = 0

    def denied(self, reason: str) -> None:
        pass

    def denials_dropped(self) -> None:
        self.dropped += 1


class _Away:
    """A store whose database is away until it is said to be back."""

    def __init__(self) -> None:
        self.away = True
        self.rows: list[Any] = []

    async def write(self, entries: Any) -> None:
        await asyncio.sleep(0)
        if self.away:
            raise DatabaseAway("away")
        self.rows += entries


def note(line: Denials, number: int = 0) -> None:
    scope = Scope(1, f"key:{number:010}", credential=f"key:{number:010}")
    line.note(scope, SOURCE, "EnqueueJob", NotAllowed("no", metadata={"permission": "ENQUEUE", "queue": "q"}))


async def test_the_line_of_refused_calls_is_bounded_and_says_how_many_it_dropped() -> None:
    store, counts = _Away(), _Counts()
    line = Denials(store, counts, Tuning(), server_name="here")  # type: ignore[arg-type]
    for number in range(denials.MOST + 250):
        note(line, number)
    note(line, 3)
    assert len(line) == denials.MOST
    assert counts.dropped == 250
    with pytest.raises(DatabaseAway):
        await line.write()
    assert len(line) == denials.MOST, "nothing is lost"
    store.away = False
    await line.write()
    assert len(store.rows) == denials.MOST + 1
    last = store.rows[-1]
    assert (last.action, last.principal, last.count) == (denials.DROPPED, "server:here", 250)
    assert store.rows[3].count == 2
    await line.write()
    assert len(store.rows) == denials.MOST + 1, "each is written once"


def note_unknown(line: Denials, number: int) -> None:
    source = Source(f"10.0.{number // 250}.{number % 250}", "grpc", "request")
    line.note(None, source, "EnqueueJob", CredentialsInvalid("no"))


async def test_a_flood_of_unknown_callers_leaves_room_for_known_ones() -> None:
    """And a flood with one key that leaked leaves room for the others: none takes the whole line."""
    store, counts = _Away(), _Counts()
    store.away = False
    line = Denials(store, counts, Tuning(), server_name="here")  # type: ignore[arg-type]
    for number in range(3 * denials.MOST):
        note_unknown(line, number)
    assert len(line) == denials.MOST_UNKNOWN
    leaked = Scope(1, "key:leaked", credential="key:leaked")
    error = NotAllowed("no")
    for number in range(denials.MOST):
        line.note(leaked, Source(f"10.9.{number // 250}.{number % 250}", "grpc", "request"), "GetJob", error)
    note(line, 7)
    assert len(line) == denials.MOST_UNKNOWN + denials.MOST_OF_ONE + 1
    await line.write()
    credentials = {row.credential for row in store.rows} | {row.principal for row in store.rows}
    assert {"key:leaked", "key:0000000007"} <= credentials
    assert counts.dropped == 3 * denials.MOST - denials.MOST_UNKNOWN + denials.MOST - denials.MOST_OF_ONE
    for number in range(denials.MOST):
        note_unknown(line, number)
    assert len(line) == denials.MOST_UNKNOWN, "what was written makes room again"


async def test_what_is_refused_while_the_line_is_written_is_written_next() -> None:
    store = _Away()
    store.away = False
    line = Denials(store, _Counts(), Tuning(), server_name="here")  # type: ignore[arg-type]
    note(line)
    writing = asyncio.create_task(line.write())
    await asyncio.sleep(0)
    note(line)
    note(line, 1)
    await writing
    await line.write()
    assert [row.count for row in store.rows] == [1, 1, 1]


async def test_refusals_wait_for_a_database_that_is_away_and_hold_nobody_up(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(self: AuditStore, entries: object) -> None:
        raise DatabaseAway("away")

    with monkeypatch.context() as patch:
        patch.setattr(AuditStore, "write", away)
        assert await refused_for(house.showing("").enqueue()) == "CREDENTIALS_MISSING"
        with pytest.raises(DatabaseAway):
            await house.app.access.denials.write()
        assert await refused_for(house.showing("").enqueue()) == "CREDENTIALS_MISSING"
    await house.app.access.denials.write()
    (row,) = await listed(house, outcome="CREDENTIALS_MISSING")
    assert row.count == 2


# ---- lines


async def test_each_row_is_a_line_for_the_archive_at_any_level(
    house: House, lines: Callable[[], list[dict[str, Any]]]
) -> None:
    key = (await house.key(grant(Permission.READ))).id
    await house.access.RevokeKey(pb.RevokeKeyRequest(id=key, reason="it was in a log"))
    assert await refused_for(house.showing("").enqueue()) == "CREDENTIALS_MISSING"
    await house.app.access.denials.write()
    rows = {record.id: record for record in await listed(house)}
    said = lines()
    assert [line["action"] for line in said] == ["CreateKey", "RevokeKey", "EnqueueJob"]
    for line in said:
        record = rows[line["id"]]
        assert (line["principal"], line["object"], line["outcome"], line["reason"], line["count"]) == (
            record.principal,
            record.object,
            record.outcome,
            record.reason,
            record.count,
        )


async def test_what_was_rolled_back_is_no_line(
    house: House, lines: Callable[[], list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.sql(
        "create function refuse() returns trigger language plpgsql as $$ begin raise 'no'; end $$"
    )
    await house.sql(
        "create constraint trigger late after insert on audit deferrable initially deferred "
        "for each row execute function refuse()"
    )
    before = len(lines())
    assert (
        await refused_for(house.access.CreateNamespace(pb.CreateNamespaceRequest(name="beta"))) == "INTERNAL"
    )
    assert len(lines()) == before


async def test_no_secret_and_no_payload_is_in_a_row(house: House) -> None:
    made = await house.access.CreateKey(pb.CreateKeyRequest(name="mailer", grants=[MAILER]))
    rotated = await house.access.RotateKey(pb.RotateKeyRequest(id=made.key.id))
    job = await house.enqueue(queue="mail", payload=b'{"pass": "pay-load"}')
    await house.stub.CancelJob(jobqueue_pb2.CancelJobRequest(id=job.id))
    kind = queue_admin_pb2.Kind(name="letter")
    kind.schema.struct_value.update({"description": "pay-load"})
    await house.admin.PutKind(queue_admin_pb2.PutKindRequest(kind=kind))
    assert await refused_for(house.with_key(made.secret).enqueue(queue="news")) == "NOT_ALLOWED"
    assert await refused_for(house.with_key(made.secret + "x").enqueue(queue="mail")) == "CREDENTIALS_INVALID"
    await house.app.access.denials.write()
    rows = " ".join(row["row"] for row in await house.sql("select audit::text as row from audit"))
    assert made.key.id in rows
    for secret in (made.secret, rotated.secret):
        assert secret[14:-6] not in rows
    assert "pay-load" not in rows


# ---- the list


async def test_the_list_is_filtered_and_paged_newest_first(house: House) -> None:
    for name in ("a", "b", "c", "d", "e"):
        await house.enqueue(queue=name)
        await house.admin.PauseQueue(queue_admin_pb2.PauseQueueRequest(name=name))
    await house.admin.ResumeQueue(queue_admin_pb2.ResumeQueueRequest(name="a"))
    own = (await house.access.GetAccess(pb.GetAccessRequest())).principal
    request = pb.ListAuditRequest(page_size=2, action="PauseQueue", principal=own, outcome="OK")
    seen: list[str] = []
    pages = 0
    while True:
        page = await house.access.ListAudit(request)
        assert len(page.records) <= 2
        seen += [record.object for record in page.records]
        pages += 1
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert seen == [f"queue:{name}" for name in ("e", "d", "c", "b", "a")]
    assert pages == 3
    assert [each.action for each in await listed(house, object="queue:a")] == ["ResumeQueue", "PauseQueue"]
    assert not await listed(house, action="PauseQueue", principal="key:0123456789")
    other = pb.ListAuditRequest(page_size=2, action="ResumeQueue", page_token=request.page_token)
    assert await refused_for(house.access.ListAudit(other)) == "PAGE_TOKEN_INVALID"
    wrong = pb.ListAuditRequest(page_token="AAAA")
    assert await refused_for(house.access.ListAudit(wrong)) == "PAGE_TOKEN_INVALID"


async def test_the_list_is_of_a_span_of_time(house: House) -> None:
    await house.enqueue(queue="mail")
    await house.admin.PauseQueue(queue_admin_pb2.PauseQueueRequest(name="mail"))
    (record,) = await listed(house, object="queue:mail")
    at = record.occurred_at.ToDatetime(UTC)
    assert await listed(house, object="queue:mail", since=at, until=at + timedelta(seconds=1)) == [record]
    assert not await listed(house, object="queue:mail", since=at + timedelta(seconds=1))
    assert not await listed(house, object="queue:mail", until=at)
    assert abs(datetime.now(UTC) - at) < timedelta(minutes=1)


async def test_a_page_that_looked_at_enough_is_short_and_the_list_goes_on(house: House) -> None:
    house.app.access.audit_log._store._max_scanned = 3
    for name in ("a", "b", "c", "d", "e"):
        await house.enqueue(queue=name)
        await house.admin.PauseQueue(queue_admin_pb2.PauseQueueRequest(name=name))
    request, sizes = pb.ListAuditRequest(object="queue:a"), []
    while True:
        page = await house.access.ListAudit(request)
        sizes.append(len(page.records))
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert 0 in sizes
    assert sum(sizes) == 1


async def test_administrators_see_what_is_of_their_namespace_and_those_of_default_all(house: House) -> None:
    beta = await house.namespace("beta")
    theirs = await house.caller(grant(ALL), namespace=beta)
    for caller in (house, theirs):
        await caller.enqueue(queue="mail")
        await caller.admin.PauseQueue(queue_admin_pb2.PauseQueueRequest(name="mail"))
    assert await refused_for(house.showing("").enqueue()) == "CREDENTIALS_MISSING"
    await house.app.access.denials.write()
    seen = await listed(theirs)
    assert {record.namespace for record in seen} == {"beta"}
    assert [record.object for record in seen if record.action == "PauseQueue"] == ["queue:mail"]
    assert {record.namespace for record in await listed(house)} == {"beta", "default", ""}
    assert await listed(house, namespace="beta") == seen == await listed(theirs, namespace="beta")
    assert {record.namespace for record in await listed(house, namespace="default")} == {"default"}
    for name in ("default", "gamma"):
        call = theirs.access.ListAudit(pb.ListAuditRequest(namespace=name))
        assert await refused_for(call) == "NOT_ALLOWED"
    call = house.access.ListAudit(pb.ListAuditRequest(namespace="gamma"))
    assert await refused_for(call) == "NAMESPACE_NOT_FOUND"
    token = (await house.access.ListAudit(pb.ListAuditRequest(page_size=1))).next_page_token
    call = theirs.access.ListAudit(pb.ListAuditRequest(page_size=1, page_token=token))
    assert await refused_for(call) == "PAGE_TOKEN_INVALID"


async def test_the_list_over_rest(house: House, rest: RestCaller) -> None:
    text = (await house.key(grant(ALL))).text
    bearer = {"authorization": f"Bearer {text}"}
    await rest("POST", "/v1/namespaces", {"name": "beta"}, **bearer)
    answer = await rest("GET", "/v1/audit?action=CreateNamespace&since=2020-01-01T00:00:00Z", **bearer)
    assert answer.status == 200
    (record,) = answer.json["records"]
    assert (record["object"], record["transport"], record["count"]) == ("namespace:beta", "http", 1)
    assert record["address"] == "127.0.0.1"
