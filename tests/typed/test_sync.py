"""Declared kinds are told to the server: what they name is changed there, once, and nothing else is."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from jobqueue import (
    Client,
    JobContext,
    Kind,
    Limits,
    NewJob,
    NotAllowed,
    NotSupported,
    PayloadInvalid,
    Rate,
    RetryPolicy,
    SyncClient,
    Upcast,
    Worker,
    define_kind,
)
from jobqueue.testing import RecordingClient
from jobqueue.v1 import queue_admin_pb2 as pb
from tests.client.conftest import RunningServer

pytestmark = pytest.mark.slow

WITHIN = timedelta(seconds=60)


@dataclass
class First:
    name: str


@dataclass
class Mail:
    first: str
    last: str


@dataclass
class Sent:
    id: str


first = define_kind("mail", First, max_attempts=4)
second = define_kind(
    "mail",
    Mail,
    output=Sent,
    version=2,
    upcasters={1: Upcast(lambda older: {"first": older["name"], "last": ""}, First)},
    timeout=timedelta(minutes=1),
)


async def stored(client: Client, name: str = "mail") -> Kind:
    return next(each for each in await client.list_kinds() if each.name == name)


async def test_a_declared_kind_is_known_to_the_server_and_a_second_sync_changes_nothing(client: Client):
    (synced,) = await client.sync_kinds([second])
    assert (synced.changed, synced.newer) == (True, False)
    kind = await stored(client)
    assert synced.kind == kind
    assert (kind.schema, kind.output_schema) == (second.schema(), second.output_schema())
    assert (kind.version, kind.timeout, kind.max_attempts) == (2, timedelta(minutes=1), None)
    (again,) = await client.sync_kinds([second])
    assert (again.changed, again.newer, again.kind) == (False, False, kind)
    with pytest.raises(PayloadInvalid):
        await client.enqueue("mail", {"first": 7})
    with pytest.raises(PayloadInvalid, match=r"payload\.last: is required"):
        await client.enqueue("mail", {"first": "Ada"}, headers={"x-payload-version": "2"})
    with pytest.raises(PayloadInvalid, match=r"payload\.name: is required"):
        await client.enqueue("mail", {"first": "Ada"})
    await client.enqueue(first, First("Ada"))


async def test_a_declaration_says_how_many_slots_a_job_takes(client: Client):
    await client.sync_kinds([define_kind("render", First, slot_weight=4)])
    assert (await stored(client, "render")).slot_weight == 4
    [synced] = await client.sync_kinds([define_kind("render", First, slot_weight=4)])
    assert not synced.changed


async def test_what_a_declaration_does_not_name_stays_as_an_operator_set_it(client: Client):
    limits = Limits(max_running=20, rate=Rate(100, timedelta(seconds=1)))
    policy = RetryPolicy(min_backoff=timedelta(seconds=3), max_backoff=timedelta(seconds=4))
    await client.put_kind(
        Kind(
            name="mail",
            retry_policy=policy,
            max_attempts=9,
            limits=limits,
            slot_weight=2,
            annotations={"owner": "post"},
        )
    )
    (synced,) = await client.sync_kinds([second])
    kind = synced.kind
    assert (kind.retry_policy, kind.max_attempts, kind.slot_weight) == (policy, 9, 2)
    assert kind.limits is not None
    assert (kind.limits.max_running, kind.annotations) == (20, {"owner": "post"})
    assert kind.timeout == timedelta(minutes=1)
    kind = await client.put_kind(Kind(name="mail", max_attempts=5), fields=["max_attempts"])
    assert (kind.max_attempts, kind.version, kind.schema) == (5, 2, second.schema())


async def test_a_program_of_an_older_version_undoes_nothing(client: Client):
    await client.sync_kinds([second])
    (synced,) = await client.sync_kinds([first])
    assert (synced.changed, synced.newer, synced.kind.version) == (False, True, 2)
    assert (await stored(client)).max_attempts is None


async def test_many_kinds_go_at_once_and_without_a_loop(server: RunningServer):
    def sync() -> list[str]:
        with SyncClient(server.address) as client:
            return [each.kind.name for each in client.sync_kinds([second, define_kind("other")])]

    assert await asyncio.to_thread(sync) == ["mail", "other"]


async def test_a_worker_declares_its_kinds_before_it_takes_jobs(server: RunningServer, client: Client):
    worker = Worker(server.address, sync_kinds=True)
    running = asyncio.Event()

    @worker.handler(second)
    async def send(mail: Mail, ctx: JobContext) -> Sent:
        running.set()
        return Sent(mail.first)

    @worker.handler("untyped")
    async def untyped(ctx: JobContext) -> None: ...

    await client.enqueue("mail", {"name": "Ada"})
    serving = asyncio.create_task(worker.serve())
    await asyncio.wait_for(running.wait(), 60)
    assert (await stored(client)).version == 2
    worker.stop()
    await serving


async def test_a_worker_does_not_declare_its_kinds_unless_it_is_told_to(
    server: RunningServer, client: Client
):
    worker = Worker(server.address)
    running = asyncio.Event()

    @worker.handler(second)
    async def send(mail: Mail, ctx: JobContext) -> Sent:
        running.set()
        return Sent(mail.first)

    await client.enqueue("mail", {"name": "Ada"})
    serving = asyncio.create_task(worker.serve())
    await asyncio.wait_for(running.wait(), 60)
    assert (await stored(client)).schema is None
    worker.stop()
    await serving


async def test_a_worker_that_is_to_declare_its_kinds_says_at_once_that_no_server_answers(caplog: Any):
    worker = Worker("127.0.0.1:1", sync_kinds=True)
    worker.handler(second)(lambda mail, ctx: Sent(""))
    serving = asyncio.create_task(worker.serve())
    async with asyncio.timeout(7):  # by the deadline of its calls it would be 10 s
        while not [
            each for each in caplog.messages if each.startswith("can't reach 127.0.0.1:1: UNAVAILABLE")
        ]:
            await asyncio.sleep(0.01)
    assert caplog.messages[-1].endswith("trying again until a server answers")
    assert worker.status().state == "starting"
    assert "127.0.0.1:1" in worker.status().last_error
    worker.stop()
    await asyncio.wait_for(serving, 60)
    assert worker.status().state == "ended"


async def test_a_worker_that_may_not_declare_its_kinds_ends_with_the_reason(monkeypatch: Any):
    async def refused(*_: Any, **__: Any) -> Any:
        raise NotAllowed("OPERATE on mail is wanted", code="PERMISSION_DENIED")

    monkeypatch.setattr(Client, "sync_kinds", refused)
    worker = Worker("127.0.0.1:1", sync_kinds=True)
    worker.handler(second)(lambda mail, ctx: Sent(""))
    with pytest.raises(NotAllowed, match="OPERATE on mail"):
        await worker.serve()
    assert worker.status().state == "refused"


async def test_a_server_that_is_too_old_for_it_is_named(client: Client, monkeypatch: Any):
    async def older(self: Client, name: str, request: Any, answer: Any, deadline: Any) -> Any:
        return pb.PutKindResponse(kind=pb.Kind(name="mail"))

    monkeypatch.setattr(Client, "_admin", older)
    with pytest.raises(NotSupported, match="it replaced all that was declared of the kind mail"):
        await client.sync_kinds([second])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (7, "of type int"),
        (None, "of type NoneType"),
        (Mail, "the class Mail"),
        (Kind(name="mail"), "of type Kind"),
    ],
    ids=["number", "none", "type", "kind"],
)
async def test_what_is_no_kind_is_refused_with_what_would_be_right(client: Client, given: Any, said: str):
    words = re.escape(
        f"the kind is {said}; it must be the name of a kind, what define_kind made, or a NewJob"
    )
    with pytest.raises(TypeError, match=words):
        await client.enqueue(given, {})
    with pytest.raises(TypeError, match=words):
        await RecordingClient().enqueue(given, {})


async def test_a_new_job_still_stands_for_a_kind(client: Client):
    name = f"any-{uuid4().hex[:8]}"
    assert (await client.enqueue(NewJob(name))).kind == name
