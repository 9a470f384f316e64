"""Clients with encodings: what is on the wire, what is stored, and what is read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from jobqueue import (
    AUTO,
    AesGcm,
    Client,
    Encoded,
    EncodingRequired,
    Encodings,
    EnqueueResult,
    IdempotencyKeyReused,
    JobContext,
    KeyUnknown,
    Middleware,
    NewJob,
    NextEnqueue,
    ScheduleSpec,
    SyncClient,
    Unique,
    define_kind,
)
from tests.client.conftest import RunningServer

from .conftest import Wire
from .made import KEY, NEXT, SECRET, WITHIN, Broken, both, envelope, never, serving

pytestmark = [pytest.mark.slow, pytest.mark.any_engine]

MAIL = {"text": SECRET}


async def test_a_payload_is_read_by_every_call_and_only_where_its_key_is(
    server: RunningServer, client: Client, wire: Wire
):
    async with Client(wire.address, encodings=both()) as encoding:
        made = await encoding.enqueue("mail", MAIL)
        assert made.payload == MAIL
        assert (await encoding.get(made.id)).payload == MAIL
        assert [each.payload async for each in encoding.list(full=True)] == [MAIL]
        assert (await encoding.list_page()).jobs[0].payload is None
        async with encoding.watch(ids=[made.id], full=True) as watch:
            assert (await anext(watch)).payload == MAIL
        assert (await encoding.cancel(made.id)).job.payload == MAIL
        assert (await encoding.wait(made.id)).payload == MAIL
        assert (await encoding.retry(made.id)).payload == MAIL
    assert SECRET.encode() not in wire.sent
    stored = await client.get(made.id)
    assert envelope(stored.payload_json)["key_id"] == "a"
    assert stored.payload == Encoded(("aes256gcm",), "a")
    with pytest.raises(Encoded, match="key a"):
        stored.payload["text"]
    async with Client(server.address, encodings=both({"b": NEXT}, "b")) as other:
        found = await other.get(made.id)
        assert "KeyUnknown" in str(found.payload)
        assert found.payload_json == stored.payload_json


async def test_the_wire_of_these_tests_shows_what_is_in_plain_text(wire: Wire):
    async with Client(wire.address) as plain:
        await plain.enqueue("mail", MAIL)
    assert SECRET.encode() in wire.sent


CALLS: list[Callable[[Client], Any]] = [
    lambda client: client.enqueue("mail", MAIL),
    lambda client: client.enqueue("mail", MAIL, idempotency_key="k"),
    lambda client: client.enqueue(NewJob("mail", MAIL)),
    lambda client: client.enqueue_many([*(NewJob("mail", n) for n in range(2500)), NewJob("mail", MAIL)]),
    lambda client: client.schedules.create("s", ScheduleSpec(cron="0 0 1 1 *"), NewJob("mail", MAIL)),
    lambda client: client.schedules.update("s", job=NewJob("mail", MAIL)),
]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("around", [(), (Middleware(),)], ids=["", "middleware"])
async def test_what_an_encoder_raises_fails_the_call_before_a_byte_is_sent(
    wire: Wire, call: Callable[[Client], Any], around: Sequence[Middleware]
):
    async with Client(wire.address, encodings=Encodings([Broken()]), middleware=around) as broken:
        with pytest.raises(OSError, match="no key today"):
            await call(broken)
    assert wire.sent == b""


@pytest.mark.parametrize("call", CALLS)
async def test_without_the_primary_key_no_call_sends_a_byte(wire: Wire, call: Callable[[Client], Any]):
    async with Client(wire.address, encodings=both(lambda name: None)) as keyless:
        with pytest.raises(KeyUnknown):
            await call(keyless)
    assert wire.sent == b""


async def test_the_same_keyed_call_of_two_clients_is_one_job_and_another_payload_is_refused(
    server: RunningServer,
):
    async with (
        Client(server.address, encodings=both()) as one,
        Client(server.address, encodings=both()) as two,
    ):
        long = {"text": SECRET * 100}
        first = await one.enqueue("mail", long, idempotency_key="order-7")
        second = await two.enqueue("mail", long, idempotency_key="order-7")
        assert (second.id, second.replayed, second.payload) == (first.id, True, long)
        (third,) = await two.enqueue_many([NewJob("mail", long, idempotency_key="order-7")])
        assert (third.id, third.replayed) == (first.id, True)
        with pytest.raises(IdempotencyKeyReused):
            await two.enqueue("mail", MAIL, idempotency_key="order-7")
        made = await one.enqueue("mail", long, idempotency_key=AUTO)
        assert made.id != first.id
    async with Client(server.address) as plain:
        assert envelope((await plain.get(first.id)).payload_json)["encodings"] == ["aes256gcm"]
        assert envelope((await plain.get(made.id)).payload_json)["encodings"] == ["zstd", "aes256gcm"]


async def test_a_kind_says_whether_its_payloads_are_encoded(client: Client, wire: Wire):
    required = define_kind("required", dict, encodings="required")
    for call in (
        lambda: client.enqueue(required, MAIL),
        lambda: client.enqueue_many([required.new(MAIL)]),
        lambda: client.schedules.create("s", ScheduleSpec(cron="0 0 1 1 *"), required.new(MAIL)),
    ):
        with pytest.raises(EncodingRequired, match="required takes encrypted"):
            await call()
    async with Client(wire.address, encodings=both()) as encoding:
        job = await encoding.enqueue(required, MAIL)
        assert job.payload == MAIL
        await encoding.enqueue_many([required.new(MAIL)])
        assert SECRET.encode() not in wire.sent
        job = await encoding.enqueue(never, MAIL)
        assert (await client.get(job.id)).payload == MAIL


async def test_a_job_that_its_payload_makes_unique_is_refused_before_a_byte_is_sent(wire: Wire):
    async with Client(wire.address, encodings=both()) as encoding:
        with pytest.raises(ValueError, match=r"unique\.key"):
            await encoding.enqueue("mail", MAIL, unique=Unique(payload_fields=["/text"]))
        assert wire.sent == b""
        by_text = define_kind("by_text", dict, unique=lambda mail: Unique(mail["text"]))
        first = await encoding.enqueue(by_text, MAIL)
        assert (await encoding.enqueue(by_text, MAIL)).id == first.id


class Sees(Middleware):
    """Keeps what it sees."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    @contextmanager
    def handle(self, ctx: JobContext) -> Iterator[None]:
        self.seen.append(ctx.job.payload)
        yield

    async def enqueue(self, jobs: Sequence[NewJob], call_next: NextEnqueue) -> Sequence[EnqueueResult]:
        self.seen += [job.payload for job in jobs]
        return await call_next(jobs)


async def test_middleware_sees_what_is_not_encoded(wire: Wire):
    sees = Sees()
    async with Client(wire.address, encodings=both(), middleware=[sees]) as encoding:
        job = await encoding.enqueue("mail", MAIL)
        assert job.payload == MAIL
        await encoding.enqueue_many([NewJob("mail", MAIL)])
    assert sees.seen == [MAIL, MAIL]
    assert SECRET.encode() not in wire.sent


async def test_a_client_without_asyncio_encodes_too(client: Client, wire: Wire):
    def threaded() -> Any:
        with SyncClient(wire.address, encodings=both()) as encoding:
            return encoding.get(encoding.enqueue("mail", MAIL).id).payload

    assert await asyncio.to_thread(threaded) == MAIL
    assert SECRET.encode() not in wire.sent


async def test_a_schedule_is_encoded_and_applied_again_it_does_not_change(wire: Wire, client: Client):
    got: list[Any] = []

    async def handle(ctx: JobContext) -> None:
        got.append(ctx.job.payload)

    spec = ScheduleSpec(cron="0 0 1 1 *")
    async with Client(wire.address, encodings=both()) as encoding:
        made = await encoding.schedules.create("s", spec, NewJob("mail", MAIL))
        same = await encoding.schedules.update("s", job=NewJob("mail", MAIL))
        assert made.job.payload_json == same.job.payload_json == b'{"text":"the eagle has landed"}'
        assert SECRET.encode() not in wire.sent
        stored = (await client.schedules.get("s")).job.payload_json
        await encoding.schedules.update("s", job=NewJob("mail", MAIL))
        assert (await client.schedules.get("s")).job.payload_json == stored
        assert [each.name async for each in encoding.schedules.list()] == ["s"]
        run = await encoding.schedules.run("s")
        async with serving(wire.address, both(), mail=handle):
            await encoding.wait(run.job_id, timeout=WITHIN)
    assert got == [MAIL]


class Oneway(Broken):
    """Encodes, and can't decode."""

    def decode(self, data: bytes, key: bytes, authenticated: bytes) -> bytes:
        raise OSError("no key to read by")


async def test_a_schedule_whose_payload_can_not_be_decoded_is_answered_and_is_not_encoded_twice(
    server: RunningServer, client: Client
):
    spec = ScheduleSpec(cron="0 0 1 1 *")
    async with Client(server.address, encodings=Encodings([Oneway()])) as oneway:
        calls: list[Callable[[], Any]] = [
            lambda: oneway.schedules.create("s", spec, NewJob("mail", {"text": "x"})),
            lambda: oneway.schedules.update("s", job=NewJob("mail", {"text": "y"})),
            lambda: oneway.schedules.update("s", labels={"a": "b"}),
            lambda: oneway.schedules.pause("s"),
            lambda: oneway.schedules.resume("s"),
            lambda: oneway.schedules.get("s"),
        ]
        for call in calls:
            found = await call()
            assert "OSError: no key to read by" in str(found.job.payload)
            assert envelope(found.job.payload_json)["encodings"] == ["broken"]
        with pytest.raises(Encoded, match="no key to read by"):
            await oneway.schedules.update("s", job=found.job)
    stored = await client.schedules.get("s")
    assert (stored.labels, stored.paused) == ({"a": "b"}, False)
    assert stored.job.payload_json == found.job.payload_json


async def test_what_was_there_before_is_read_as_it_is(server: RunningServer, client: Client):
    job = await client.enqueue("mail", MAIL, delay=timedelta(hours=1))
    async with Client(server.address, encodings=Encodings([AesGcm({"a": KEY}, primary="a")])) as encoding:
        assert (await encoding.get(job.id)).payload == MAIL


async def test_a_schedule_that_was_read_without_encodings_is_put_back_as_it_is_and_never_encoded_twice(
    server: RunningServer, client: Client
):
    async with Client(server.address, encodings=both()) as encoding:
        await encoding.schedules.create("s", ScheduleSpec(cron="0 0 1 1 *"), NewJob("mail", MAIL))
        found = await client.schedules.get("s")
        assert isinstance(found.job.payload, Encoded)
        again = await client.schedules.update("s", job=found.job)
        assert again.job.payload_json == found.job.payload_json
        assert (await encoding.schedules.get("s")).job.payload_json == b'{"text":"the eagle has landed"}'
        with pytest.raises(Encoded):
            await encoding.schedules.update("s", job=found.job)
        with pytest.raises(Encoded):
            await encoding.enqueue_many([found.job])
