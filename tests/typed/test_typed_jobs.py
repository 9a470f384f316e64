"""Typed kinds from a producer to its handler and back, over a real server, in all styles of handlers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import pytest

from jobqueue import AUTO, Client, JobContext, JobFilter, NewJob, PayloadInvalid, Status, Worker
from jobqueue.jobs import VERSION_HEADER
from jobqueue.typed.kind import JobKind, define_kind
from tests.client.conftest import RunningServer

pytestmark = pytest.mark.slow

WITHIN = timedelta(seconds=60)


@dataclass
class Sum:
    numbers: list[int]


@dataclass
class Total:
    total: int


on_loop = define_kind("sum-on-loop", Sum, output=Total)
in_thread = define_kind("sum-in-thread", Sum, output=Total, aliases=("sum-as-before",), max_attempts=7)
in_process = define_kind("sum-in-process", Sum, output=Total)


async def sum_on_loop(wanted: Sum, ctx: JobContext) -> Total:
    return Total(sum(wanted.numbers))


def sum_in_thread(wanted: Sum, ctx: JobContext) -> Total:
    if len(wanted.numbers) == 2:
        ctx.follow_up(on_loop.new(Sum([7]), labels={"by": ctx.job.id}))
    return Total(sum(wanted.numbers))


def sum_in_process(wanted: Sum, ctx: JobContext) -> Total:
    return Total(sum(wanted.numbers))


def new_worker(address: str) -> Worker:
    worker = Worker(address)
    worker.handler(on_loop)(sum_on_loop)
    worker.handler(in_thread)(sum_in_thread)
    worker.handler(in_process, run_in="process")(sum_in_process)
    return worker


async def test_a_payload_and_an_output_are_of_their_types_in_all_styles(
    server: RunningServer,
    client: Client,
    serve: Callable[[Worker], None],
):
    serve(new_worker(server.address))
    asked = await client.enqueue(in_thread, Sum([1, 2, 3]), priority=3, delay=timedelta(milliseconds=1))
    assert (asked.payload, asked.priority, asked.max_attempts) == ({"numbers": [1, 2, 3]}, 3, 7)
    for kind in (on_loop, in_thread, in_process):
        (result,) = await client.enqueue_many([kind.new(Sum([1, 2, 3]), idempotency_key=AUTO)])
        assert kind.output_of(await client.wait(result.id, timeout=WITHIN)) == Total(6)


async def test_a_follow_up_is_typed_and_an_older_name_is_served_too(
    server: RunningServer,
    client: Client,
    serve: Callable[[Worker], None],
):
    serve(new_worker(server.address))
    first = await client.enqueue("sum-as-before", {"numbers": [1, 2]})
    assert in_thread.output_of(await client.wait(first.id, timeout=WITHIN)) == Total(3)
    (then,) = (await client.list_page(labels={"by": first.id})).jobs
    assert on_loop.output_of(await client.wait(then.id, timeout=WITHIN)) == Total(7)


@pytest.mark.parametrize("kind", [on_loop, in_thread, in_process], ids=lambda kind: kind.name)
async def test_a_payload_that_can_not_be_read_ends_its_job_once_and_is_kept(
    server: RunningServer,
    client: Client,
    serve: Callable[[Worker], None],
    kind: JobKind[Sum, Total],
):
    serve(new_worker(server.address))
    (sent,) = await client.enqueue_many([NewJob(kind.name, payload_json=b'{"numbers":  ["secret"]}')])
    job = await client.wait(sent.id, timeout=WITHIN)
    assert (job.status, job.reason, job.attempts) == (Status.FAILED_PERMANENT, "NOT_RETRYABLE", 1)
    assert job.last_error == "payload.numbers[0]: must be a whole number"
    assert job.failed_attempts[0].error_type == "PayloadUnreadable"
    assert job.payload_json == b'{"numbers":  ["secret"]}'


async def test_after_the_fix_all_that_could_not_be_read_is_retried_by_one_call_and_succeeds(
    server: RunningServer,
    client: Client,
    serve: Callable[[Worker], None],
):
    of_texts = NewJob(on_loop.name, payload_json=b'{"numbers": ["1", "2"]}')
    others = NewJob(on_loop.name, payload_json=b'{"numbers": [3]}')
    broken = new_worker(server.address)
    serve(broken)
    sent = [each.id for each in await client.enqueue_many([of_texts] * 20 + [others] * 5)]
    ends = [(await client.wait(each, timeout=WITHIN)).status for each in sent]
    assert ends == [Status.FAILED_PERMANENT] * 20 + [Status.SUCCEEDED] * 5
    broken.stop()

    @dataclass
    class Lenient:
        numbers: list[int | str]

    fixed = define_kind(on_loop.name, Lenient, output=Total)
    worker = Worker(server.address)

    @worker.handler(fixed)
    async def sums(wanted: Lenient, ctx: JobContext) -> Total:
        return Total(sum(map(int, wanted.numbers)))

    serve(worker)
    unread = JobFilter(kind=on_loop.name, error_type="PayloadUnreadable")
    assert (await client.retry_jobs(unread)).estimate == 20
    await client.wait_operation((await client.retry_jobs(unread, force=True, expected=20)).name)
    for each in sent[:20]:
        assert fixed.output_of(await client.wait(each, timeout=WITHIN)) == Total(3)


async def test_a_payload_that_is_not_of_the_kinds_type_is_refused_before_a_call(client: Client):
    with pytest.raises(PayloadInvalid, match=r"payload\.numbers\[1\]: must be a whole number"):
        await client.enqueue(on_loop, Sum([1, "2"]))  # type: ignore[list-item]
    with pytest.raises(TypeError, match="a typed kind takes a payload of its type"):
        await client.enqueue(on_loop, None, payload_json=b"{}")  # type: ignore[call-overload]


async def test_a_payload_of_a_later_version_waits_and_is_charged_nothing(
    server: RunningServer,
    client: Client,
    serve: Callable[[Worker], None],
):
    serve(new_worker(server.address))
    later = NewJob(on_loop.name, {"many": [1]}, headers={VERSION_HEADER: "2"}, max_attempts=1)
    (sent,) = await client.enqueue_many([later])
    async with asyncio.timeout(WITHIN.total_seconds()):
        while (job := await client.get(sent.id)).attempts != 1 or job.status is not Status.QUEUED:
            await asyncio.sleep(0.05)
    assert (job.failures, job.last_error) == (0, "")
