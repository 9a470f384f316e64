"""Workers with encodings: what handlers of each style see, and what of them is on the wire."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest

from jobqueue import (
    AesGcm,
    Client,
    Encoded,
    Encodings,
    EncodingUnknown,
    JobContext,
    JobFilter,
    JsonText,
    KeyUnknown,
    NewJob,
    Snooze,
    Status,
    Worker,
    Zstd,
    define_kind,
)
from jobqueue.jobs import LeasedJob
from jobqueue.testing import perform
from jobqueue.typed.kind import MOST_SNOOZES
from jobqueue.v1 import lease_pb2 as pb
from tests.client.conftest import RunningServer

from .conftest import Wire
from .made import (
    HANDLERS,
    KEY,
    NEXT,
    SECRET,
    STYLES,
    TAKERS,
    UNOPENED,
    WITHIN,
    Broken,
    both,
    envelope,
    handled_async,
    serving,
    slow,
    strict,
)

pytestmark = [pytest.mark.slow, pytest.mark.any_engine]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("keys", [{"a": KEY}, slow], ids=["mapping", "function"])
async def test_a_handler_sees_all_and_the_wire_nothing(client: Client, wire: Wire, style: str, keys: Any):
    async with Client(wire.address, encodings=both(keys)) as encoding, serving(wire.address, both(keys)):
        job = await encoding.enqueue(style, {"text": SECRET}, delay=None)
        done = await encoding.wait(job.id, timeout=WITHIN)
        assert done.output == {"got": SECRET, "checkpoint": f"half of {SECRET}"}
        assert done.failures == 1
        (following,) = (await encoding.list_page(kind="next", full=True)).jobs
        assert following.payload == {"text": SECRET}
    assert SECRET.encode() not in wire.sent
    assert envelope((await client.get(job.id)).output_json)["encodings"] == ["aes256gcm"]
    envelope((await client.get(following.id)).payload_json)
    (plain,) = (await client.list_page(kind="never", full=True)).jobs
    assert plain.payload == {"text": "in plain text"}


@pytest.mark.parametrize("style", STYLES)
async def test_what_an_encoder_raises_fails_the_attempt_and_nothing_is_sent(
    client: Client, wire: Wire, style: str
):
    job = await client.enqueue(style, {"text": "a checkpoint", "output": True}, max_attempts=1)
    async with serving(wire.address, Encodings([Broken()])):
        found = await client.wait(job.id, timeout=WITHIN)
    assert SECRET.encode() not in wire.sent
    assert found.output_json is None
    assert found.failed_attempts[-1].error_type in ("OSError", "Retry")


@pytest.mark.parametrize("style", STYLES)
async def test_an_output_a_checkpoint_or_a_follow_up_that_is_not_encoded_is_not_sent(style: str):
    encodings = Encodings([Broken()])
    worker = Worker("127.0.0.1:1", encodings=encodings)
    worker.handler("k", run_in=style)(HANDLERS[style])  # type: ignore[call-overload]
    for payload in ({"checkpoint": True}, {"output": True}, {"text": ""}):
        done = await perform(worker, payload, kind="k", catch=True, attempt=2, within=WITHIN)
        assert (done.outcome, done.error_type, done.output_json) == ("failed", "OSError", None)
        assert (done.follow_ups, done.checkpoints) == ((), ())


@pytest.mark.parametrize("style", STYLES)
async def test_a_test_of_a_handler_goes_through_the_encodings_of_its_worker(style: str):
    worker = Worker("127.0.0.1:1", encodings=both())
    worker.handler("k", run_in=style)(HANDLERS[style])  # type: ignore[call-overload]
    first = await perform(worker, {"text": "x"}, kind="k", catch=True, within=WITHIN)
    assert first.checkpoints == (b"half of x",)
    done = await first.again()
    assert done.output == {"got": "x", "checkpoint": "half of x"}
    assert [each.payload_json for each in done.follow_ups] == [
        b'{"text":"the eagle has landed"}',
        b'{"text":"in plain text"}',
    ]


async def test_a_job_whose_key_is_missing_waits_for_it_and_then_runs(
    server: RunningServer, client: Client, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("jobqueue.typed.kind._SNOOZE", timedelta(milliseconds=200))
    known: dict[str, bytes] = {"a": KEY}
    async with Client(server.address, encodings=both({"b": NEXT}, "b")) as encoding:
        job = await encoding.enqueue("loop", {"text": "x"})
        async with serving(server.address, both(known)):
            while (await client.get(job.id)).attempts < 2:
                await asyncio.sleep(0.05)
            assert (await client.get(job.id)).failures == 0
            known["b"] = NEXT
            done = await encoding.wait(job.id, timeout=WITHIN)
    assert done.status is Status.SUCCEEDED


async def test_a_job_whose_key_or_encoding_does_not_come_fails_by_its_name():
    encodings = both()
    worker = Worker("127.0.0.1:1", encodings=encodings)
    worker.handler("k")(handled_async)
    coding = worker.handlers.get("k").coding  # type: ignore[union-attr]
    assert coding is not None
    for other, error in (
        (both({"b": NEXT}, "b"), KeyUnknown),
        (Encodings([Renamed(over=0)]), EncodingUnknown),
    ):
        sealed = await other.payloads([NewJob("k", {"text": "x" * 500})])
        for waited, outcome in ((1, "snoozed"), (MOST_SNOOZES, "snoozed"), (MOST_SNOOZES + 1, "failed")):
            message = _leased(sealed[0], waited)
            with pytest.raises(Snooze if outcome == "snoozed" else error):
                await coding.begin(_context(message))


async def test_what_an_attempt_has_begun_with_shows_neither_its_key_nor_its_job():
    worker = Worker("127.0.0.1:1", encodings=both())
    worker.handler("k")(handled_async)
    coding = worker.handlers.get("k").coding  # type: ignore[union-attr]
    assert coding is not None
    (sealed,) = await both().payloads([NewJob("k", {"text": SECRET})])
    begun = await coding.begin(_context(_leased(sealed, 1)))
    assert SECRET.encode() in begun.message.payload_json
    assert SECRET not in repr(begun)
    assert repr(KEY) not in repr(begun)


class Renamed(Zstd):
    """Zstandard by another name."""

    name = "other"


def _leased(text: bytes | None, attempt: int) -> pb.LeasedJob:
    assert text is not None
    return pb.LeasedJob(lease_id=1, id="1", attempt=attempt, kind="k", payload_json=text)


def _context(message: pb.LeasedJob) -> JobContext:
    return JobContext(LeasedJob(message), lambda *_: None, 1)


async def test_what_can_not_be_decoded_ends_for_good_and_keeps_its_payload(
    server: RunningServer, client: Client
):
    async with Client(server.address, encodings=both()) as encoding:
        good = await client.get((await encoding.enqueue("elsewhere", {"text": "x"})).id)
    assert good.payload_json is not None
    moved = await client.enqueue("loop", payload_json=good.payload_json)
    cut = json.loads(good.payload_json)
    cut["data"] = cut["data"][:-4]
    damaged = await client.enqueue("loop", cut)
    plain = await client.enqueue("loop", {"text": "y"})
    async with serving(server.address, both()):
        for job in (moved, damaged):
            found = await client.wait(job.id, timeout=WITHIN)
            assert found.status is Status.FAILED_PERMANENT
            assert found.failed_attempts[-1].error_type == "PayloadUnreadable"
            assert found.payload_json == job.payload_json
        assert (await client.wait(plain.id, timeout=WITHIN)).status is Status.SUCCEEDED
    # After the fix they may run again.
    assert (await client.retry_jobs(JobFilter(kind="loop", status=[Status.FAILED_PERMANENT]))).estimate == 2


async def test_an_output_of_another_job_is_not_read(server: RunningServer, client: Client):
    async def echo(ctx: JobContext) -> Any:
        return ctx.job.payload

    async with (
        Client(server.address, encodings=both()) as encoding,
        serving(server.address, both(), echo=echo),
    ):
        first = await encoding.wait((await encoding.enqueue("echo", 1)).id, timeout=WITHIN)
        assert first.output == 1
        stolen = (await client.get(first.id)).output_json

    async def answers(ctx: JobContext) -> Any:
        return json.loads(stolen or b"")

    async with (
        Client(server.address, encodings=both()) as encoding,
        serving(server.address, None, echo=answers),
    ):
        second = await encoding.wait((await client.enqueue("echo", 2)).id, timeout=WITHIN)
    assert "Undecodable" in str(second.output)


async def test_a_handler_without_encodings_is_told_by_an_error_that_its_payload_is_encoded(
    server: RunningServer, client: Client
):
    async with Client(server.address, encodings=both()) as encoding:
        job = await encoding.enqueue("loop", {"text": "x"}, max_attempts=1)
    async with serving(server.address, None):
        found = await client.wait(job.id, timeout=WITHIN)
    assert found.failed_attempts[-1].error_type == "Encoded"
    assert "key a" in found.last_error


async def test_what_a_producer_put_into_an_envelope_is_not_decoded_twice(server: RunningServer):
    inner = {"$jobqueue.encoded": 1, "content_type": "application/json", "encodings": ["zstd"], "data": ""}
    payload = {"text": "x", **inner}
    async with Client(server.address, encodings=both()) as encoding:
        async with serving(server.address, both()):
            jobs = [await encoding.enqueue(style, payload) for style in STYLES]
            for job in jobs:
                assert job.payload == payload
                assert (await encoding.wait(job.id, timeout=WITHIN)).output["got"] == "x"


def test_a_worker_that_does_not_encrypt_takes_no_kind_that_requires_it():
    required = define_kind("required", dict, encodings="required")
    for encodings in (None, Encodings([Zstd()])):
        with pytest.raises(ValueError, match="encrypt"):
            Worker("127.0.0.1:1", encodings=encodings).handler(required)(lambda payload, ctx: None)
    Worker("127.0.0.1:1", encodings=both()).handler(required)(lambda payload, ctx: None)


@pytest.mark.parametrize("style", STYLES)
async def test_a_kind_that_requires_encryption_is_not_handled_in_plain_text_by_any_of_its_names(
    client: Client, server: RunningServer, style: str
):
    # No server was told of the kind: the worker looks by itself.
    worker = Worker(server.address, encodings=both())
    worker.handler(strict, run_in=style)(TAKERS[style])  # type: ignore[call-overload]
    (sealed,) = await both().payloads([NewJob(strict.name, {"text": "x"})])
    (packed,) = await Encodings([Zstd(over=10)]).payloads([NewJob(strict.name, {"text": "x" * 500})])
    plain = b'{"text":"evil"}'
    escaped = (
        rb'{"\u0024jobqueue.encoded":1,"content_type":"application/json","encodings":["aes256gcm"],"key_id":"a","data":"",'
        rb'"text":"evil"}'
    )
    refused = [
        await client.enqueue(kind, payload_json=text)
        for kind in (strict.name, "strict.old")
        for text in (plain, escaped, b"null", packed)
    ]
    good = await client.enqueue(strict.name, payload_json=sealed)
    task = asyncio.create_task(worker.serve())
    try:
        for job in refused:
            found = await client.wait(job.id, timeout=WITHIN)
            assert (found.status, found.output_json) == (Status.FAILED_PERMANENT, None)
            assert found.failed_attempts[-1].error_type == "PayloadUnreadable"
            assert found.payload_json == job.payload_json
        assert "the kind takes encrypted payloads alone" in (await client.get(refused[0].id)).last_error
        assert (await client.wait(good.id, timeout=WITHIN)).status is Status.SUCCEEDED
    finally:
        worker.stop(grace=timedelta(0))
        await task


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("rule", ["no encodings", "never"])
@pytest.mark.parametrize("of", ["dict", "defaults"])
async def test_a_typed_kind_does_not_take_an_envelope_for_its_payload(style: str, rule: str, of: str):
    kind = UNOPENED[of]
    worker = Worker("127.0.0.1:1", encodings=None if rule == "no encodings" else both())
    worker.handler(kind, run_in=style)(TAKERS[style])  # type: ignore[call-overload]
    (sealed,) = await both().payloads([NewJob(kind.name, {"text": SECRET})])
    for text in (sealed or b"", (sealed or b"").replace(b"$", rb"\u0024")):
        done = await perform(worker, JsonText(text), kind=kind, within=WITHIN)
        assert (done.outcome, done.error_type, done.output_json) == ("discarded", "PayloadUnreadable", None)
        assert "encoded, aes256gcm, key a" in done.error


@pytest.mark.parametrize("style", STYLES)
async def test_a_typed_kind_takes_what_a_producer_put_into_an_envelope_and_looks_like_one(style: str):
    inner = {"$jobqueue.encoded": 1, "encodings": ["zstd"], "text": "x"}
    worker = Worker("127.0.0.1:1", encodings=both())
    worker.handler(strict, run_in=style)(TAKERS[style])  # type: ignore[call-overload]
    assert (await perform(worker, inner, kind=strict, within=WITHIN)).output == inner


async def test_an_output_and_a_payload_that_were_not_decoded_are_none_of_a_typed_kind(
    client: Client, server: RunningServer
):
    worker = Worker(server.address, encodings=both())
    worker.handler(strict)(TAKERS["loop"])
    task = asyncio.create_task(worker.serve())
    try:
        async with Client(server.address, encodings=both()) as encoding:
            job = await encoding.enqueue(strict, {"text": "x"})
            done = await encoding.wait(job.id, timeout=WITHIN)
            assert strict.payload_of(done) == strict.output_of(done) == {"text": "x"}
        unread = await client.get(job.id)
        for read in (strict.payload_of, strict.output_of):
            with pytest.raises(Encoded, match="aes256gcm, key a"):
                read(unread)
    finally:
        worker.stop(grace=timedelta(0))
        await task


async def test_a_worker_without_encodings_does_not_follow_up_by_a_kind_that_requires_them():
    required = define_kind("required", dict, encodings="required")

    async def follows(ctx: JobContext) -> None:
        ctx.follow_up(required.new({"text": SECRET}))

    done = await perform(follows, catch=True)
    assert (done.error_type, done.follow_ups) == ("EncodingRequired", ())
    for encodings, outcome in ((Encodings([Zstd()]), "failed"), (both(), "succeeded")):
        worker = Worker("127.0.0.1:1", encodings=encodings)
        worker.handler("k")(follows)
        assert (await perform(worker, kind="k", catch=True)).outcome == outcome


async def test_a_checkpoint_that_is_a_value_is_one_again_where_it_is_decoded():
    worker = Worker("127.0.0.1:1", queues=["default"], encodings=both({"a": KEY}))
    read = []
    # It looks as if it were encoded, and is what the handler saved.
    saved = {"$jobqueue.encoded": 1, "page": 2}

    @worker.handler("k")
    def step(ctx: JobContext) -> None:
        read.append(ctx.job.checkpoint_as(dict[str, int]))
        ctx.save_checkpoint(saved)

    first = await perform(worker, None, kind="k")
    await first.again()
    assert read == [None, saved]


async def test_a_checkpoint_that_is_too_long_once_it_is_encoded_is_refused():
    async def saves(ctx: JobContext) -> None:
        ctx.save_checkpoint(bytes(range(256)) * 250)

    worker = Worker("127.0.0.1:1", encodings=Encodings([AesGcm({"a": KEY}, primary="a")]))
    worker.handler("k")(saves)
    with pytest.raises(ValueError, match="at most 65536"):
        await perform(worker, kind="k")
