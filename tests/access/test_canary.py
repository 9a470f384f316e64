"""What is in one namespace is never seen from another, whatever is called: a canary would tell."""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import aiohttp
import grpc.aio
import pytest

from jobqueue.v1 import access_admin_pb2, job_pb2, jobqueue_pb2, lease_pb2, queue_admin_pb2
from jobqueue_server.grants import Permission
from tests.lease.hand_worker import span
from tests.lease.place import Caller, eventually

from .house import ALL, House, grant

CANARY = "canary"


@pytest.fixture
async def house(dsn: str) -> AsyncIterator[House]:
    async with House(dsn, http_addr="127.0.0.1:0", metrics_addr="127.0.0.1:0", kinds="declared") as house:
        yield house


class Nest:
    """A namespace in which all that has a name is called canary, and whose ids are known."""

    def __init__(self) -> None:
        self.ids: set[str] = set()

    async def fill(self, house: House) -> None:
        caller = await house.caller(grant(ALL), namespace=await house.namespace(CANARY))
        kind = queue_admin_pb2.Kind(
            name=f"{CANARY}-kind", schema_json=b'{"type": "object", "title": "canary"}'
        )
        await caller.admin.PutKind(queue_admin_pb2.PutKindRequest(kind=kind))
        job: dict[str, Any] = {
            "queue": f"{CANARY}-queue",
            "kind": f"{CANARY}-kind",
            "payload": b'{"bird": "canary"}',
            "labels": {CANARY: CANARY},
        }
        for number in range(30):
            more: dict[str, Any] = {"delay": 3600} if number % 3 == 0 else {}
            made = await caller.enqueue(**job, idempotency_key=f"{CANARY}-{number}", **more)
            self.ids.add(made.id)
        worker = await caller.worker(
            name=f"{CANARY}-worker", queues={f"{CANARY}-queue": [f"{CANARY}-kind"]}, slots=3
        )
        first, second, _ = await worker.jobs(3)
        await worker.succeed(first)
        await worker.fail(second, error="canary sings")

    def seen_in(self, raw: bytes) -> str:
        """What of it is in these bytes, also in the tokens that they carry; empty: nothing."""
        texts = [raw]
        for token in re.findall(rb"[A-Za-z0-9_-]{16,}", raw):
            decoded = base64.urlsafe_b64decode(token + b"=" * (-len(token) % 4))
            texts.append(decoded)
        for text in texts:
            if CANARY.encode() in text.lower():
                return repr(text)
            for job_id in self.ids:
                if job_id.encode() in text or UUID(job_id).bytes in text:
                    return f"{job_id} in {text!r}"
        return ""


async def said(call: Any) -> bytes:
    """All that a call answers, or all that its error says."""
    try:
        return bytes((await call).SerializeToString())
    except grpc.aio.AioRpcError as error:
        more = b" ".join(
            value if isinstance(value, bytes) else value.encode()
            for _, value in error.trailing_metadata() or ()
        )
        return f"{error.code()} {error.details()} ".encode() + more


async def pages(caller: Caller, request: jobqueue_pb2.ListJobsRequest) -> list[bytes]:
    """Every page of a list."""
    found = []
    while True:
        answer = await caller.stub.ListJobs(request)
        found.append(answer.SerializeToString())
        if not answer.next_page_token:
            return found
        request.page_token = answer.next_page_token


async def test_a_canary_is_never_seen_from_another_namespace(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Scans end within the other's jobs: that is where tokens could tell of them.
    monkeypatch.setattr(house.app.stores.reads, "_max_scanned", 3)
    await declared(house)
    mine = [await house.enqueue(kind="mine", queue="mine") for _ in range(3)]
    nest = Nest()
    await nest.fill(house)
    mine += [await house.enqueue(kind="mine", queue="mine") for _ in range(3)]
    watch = house.stub.WatchJobs(jobqueue_pb2.WatchJobsRequest())
    answers = [(await watch.read()).SerializeToString()]
    await nest_sings(house)
    await house.enqueue(kind="mine", queue="mine")
    answers.append((await watch.read()).SerializeToString())
    watch.cancel()
    full = {"view": job_pb2.JOB_VIEW_FULL}
    listed = []
    for wanted in ({}, {"labels": [f"{CANARY}={CANARY}"]}, {"status": [1]}, {"status": [5, 6]}):
        listed += await pages(house, jobqueue_pb2.ListJobsRequest(page_size=2, **full, **wanted))  # type: ignore[arg-type]
    ids = {job.id for job in mine}
    assert sum(job_id.encode() in b"".join(listed) for job_id in ids) == len(ids), "and its own are all there"
    answers += listed
    answers += [
        await said(house.admin.ListQueues(queue_admin_pb2.ListQueuesRequest())),
        await said(house.admin.ListKinds(queue_admin_pb2.ListKindsRequest())),
    ]
    # A name that is nearly the canary's: what is meant is not guessed from another namespace.
    near = job_pb2.NewJob(kind="canari-kind", payload_json=b"{}")
    wrong = await said(house.stub.EnqueueJob(jobqueue_pb2.EnqueueJobRequest(job=near)))
    assert b"canari-kind" in wrong
    answers.append(wrong)
    for raw in answers:
        assert nest.seen_in(raw) == ""


async def declared(house: House) -> None:
    """Declares the kind of this namespace."""
    await house.admin.PutKind(queue_admin_pb2.PutKindRequest(kind=queue_admin_pb2.Kind(name="mine")))


async def nest_sings(house: House) -> None:
    """Something happens in the other namespace."""
    found = await house.app.stores.access.find_namespace(CANARY)
    assert found is not None
    caller = await house.caller(grant(ALL), namespace=found.id)
    await caller.enqueue(queue=f"{CANARY}-queue", kind=f"{CANARY}-kind", payload=b'{"bird": "canary"}')


async def test_the_same_names_in_two_namespaces_are_two_things(house: House) -> None:
    await declared(house)
    them = await house.caller(grant(ALL), namespace=await house.namespace("beta"))
    await them.admin.PutKind(queue_admin_pb2.PutKindRequest(kind=queue_admin_pb2.Kind(name="mine")))
    first = await house.enqueue(kind="mine", queue="same", idempotency_key="k")
    second = await them.enqueue(kind="mine", queue="same", idempotency_key="k")
    assert first.id != second.id
    await them.pause("same")
    worker = await house.worker(queues={"same": ["mine"]})
    assert (await worker.job()).id == first.id
    queue = await them.admin.GetQueue(queue_admin_pb2.GetQueueRequest(name="same"))
    assert queue.queue.paused
    queue = await house.admin.GetQueue(queue_admin_pb2.GetQueueRequest(name="same"))
    assert not queue.queue.paused


async def test_the_audit_log_shows_no_canary_to_an_administrator_of_another_namespace(house: House) -> None:
    await Nest().fill(house)
    robin = await house.caller(grant(ALL), namespace=await house.namespace("robin"))
    canary = await house.app.stores.access.find_namespace(CANARY)
    assert canary is not None
    theirs = await house.caller(grant(ALL), namespace=canary.id)
    await theirs.pause(f"{CANARY}-queue")
    refused = await house.caller(grant(Permission.READ, f"{CANARY}-*"), namespace=canary.id)
    assert b"NOT_ALLOWED" in await said(refused.access.ListKeys(access_admin_pb2.ListKeysRequest()))
    await house.app.access.denials.write()
    answers = []
    wanted: list[dict[str, Any]] = [{}, {"object": f"queue:{CANARY}-queue"}, {"outcome": "NOT_ALLOWED"}]
    for each in wanted:
        request = access_admin_pb2.ListAuditRequest(page_size=1, **each)
        while True:
            answer = await robin.access.ListAudit(request)
            answers.append(answer.SerializeToString())
            if not answer.next_page_token:
                break
            request.page_token = answer.next_page_token
    own = await robin.access.ListAudit(access_admin_pb2.ListAuditRequest())
    assert {record.action for record in own.records} >= {"CreateNamespace", "CreateKey"}, (
        "and its own are there"
    )
    assert not [answer for answer in answers if CANARY.encode() in answer]


@pytest.mark.slow
async def test_metrics_tell_namespaces_apart_once_there_are_two(house: House) -> None:
    async def depths(*parts: str) -> list[str]:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{house.app.metrics_port}/metrics") as response,
        ):
            lines = (await response.text()).splitlines()
        return [
            line
            for line in lines
            if line.startswith("jobqueue_queue_depth{") and all(part in line for part in parts)
        ]

    await declared(house)
    await house.enqueue(kind="mine", queue="same")
    (alone,) = await eventually(lambda: depths('queue="same"', 'status="queued"'), 60)
    assert "namespace" not in alone
    them = await house.caller(grant(ALL), namespace=await house.namespace("beta"))
    await them.admin.PutKind(queue_admin_pb2.PutKindRequest(kind=queue_admin_pb2.Kind(name="mine")))
    await them.batch(2, kind="mine", queue="same")
    theirs = await eventually(lambda: depths('queue="same"', 'status="queued"', 'namespace="beta"'), 60)
    ours = await depths('queue="same"', 'status="queued"', 'namespace="default"')
    assert [line.rpartition(" ")[2] for line in (*theirs, *ours)] == ["2.0", "1.0"]


async def test_a_session_of_one_namespace_is_nothing_in_another(house: House) -> None:
    await declared(house)
    them = await house.caller(grant(ALL), namespace=await house.namespace("beta"))
    hello = lease_pb2.Hello(worker="w", subscriptions=[lease_pb2.Subscription(queue="same", kinds=["mine"])])
    opened = await house.stub.OpenSession(lease_pb2.OpenSessionRequest(hello=hello))
    token = opened.welcome.session_token
    answers = [
        await said(them.stub.ClaimJobs(lease_pb2.ClaimJobsRequest(session_token=token, wait=span(0.01)))),
        await said(them.stub.HeartbeatSession(lease_pb2.HeartbeatSessionRequest(session_token=token))),
        await said(them.stub.CloseSession(lease_pb2.CloseSessionRequest(session_token=token))),
        await said(them.stub.CloseSession(lease_pb2.CloseSessionRequest(session_token="17.1.none"))),
    ]
    assert all(b"SESSION_UNKNOWN" in answer for answer in answers)
