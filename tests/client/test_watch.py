"""Client.watch: against a real server, and against one that says what a test wants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import grpc.aio
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status as RpcStatus

from jobqueue import Client, JobNotFound, Status, SyncClient, Unavailable, WatchTokenExpired
from jobqueue import watch as watches
from jobqueue.v1 import job_pb2, jobqueue_pb2
from tests.ports import free_address

from .conftest import RunningServer

NOWHERE = "0199aaaa-0000-7000-8000-000000000000"
WITHIN = 20


@pytest.mark.slow
async def test_what_changes_inside_of_the_block_is_told(client):
    async with asyncio.timeout(WITHIN), client.watch(queue="mail", labels={"team": "a"}) as watch:
        await client.enqueue("hello", queue="mail")
        job = await client.enqueue("hello", queue="mail", labels={"team": "a"})
        assert (await anext(watch)).id == job.id
        await client.cancel(job.id)
        told = await anext(watch)
        assert (told.id, told.status, told.is_terminal) == (job.id, Status.CANCELLED, True)


async def test_a_watch_of_ids_ends_when_all_are_over_and_names_those_that_were_deleted(client):
    one, two = [await client.enqueue("hello", {"n": n}) for n in range(2)]
    told = []
    async with asyncio.timeout(WITHIN):
        watch = client.watch(ids=[one.id, two.id], full=True)
        async for job in watch:
            told.append((job.id, job.status, job.payload["n"]))
            if len(told) == 2:
                await client.cancel(one.id)
            elif len(told) == 3:
                await client.delete(one.id)
                await client.cancel(two.id)
    assert told[0][1:] in ((Status.QUEUED, 0), (Status.QUEUED, 1))
    assert told[2:] == [(one.id, Status.CANCELLED, 0), (two.id, Status.CANCELLED, 1)]
    assert watch.deleted == {one.id}


async def test_another_watch_goes_on_by_the_token(client):
    async with asyncio.timeout(WITHIN):
        async with client.watch() as watch:
            first = await client.enqueue("hello")
            assert (await anext(watch)).id == first.id
        second = await client.enqueue("hello")
        async with client.watch(resume_token=watch.resume_token) as again:
            assert (await anext(again)).id == second.id


async def test_an_id_that_is_not_there_is_an_error_at_once(client):
    with pytest.raises(JobNotFound):
        await anext(client.watch(ids=[NOWHERE]))


@pytest.mark.slow
async def test_a_server_that_restarts_costs_the_watch_nothing(dsn):
    server = RunningServer(dsn, free_address())
    async with (
        asyncio.timeout(60),
        Client(server.address, deadline=timedelta(seconds=30)) as client,
        client.watch() as watch,
    ):
        first = await client.enqueue("hello")
        assert (await anext(watch)).id == first.id
        waiting = asyncio.create_task(anext(watch))
        await asyncio.to_thread(server.stop)
        server = await asyncio.to_thread(RunningServer, dsn, server.address)
        second = await client.enqueue("hello", idempotency_key="k")
        assert (await waiting).id == second.id
    server.stop()


def test_it_waits_for_threads_too(server):
    with SyncClient(server.address) as client:
        with client.watch(queue="mail") as watch:
            job = client.enqueue("hello", queue="mail")
            assert next(watch).id == job.id
            assert watch.resume_token
        client.cancel(job.id)
        assert [told.status for told in client.watch(ids=[job.id])] == [Status.CANCELLED]


# ---- a server that says what a test wants


class Script:
    """Each stream does what is next: answers (token, id of a job, its kind), then an error or the end.

    Attributes:
        asked: The tokens that streams came with.
    """

    def __init__(self, *streams: list[Any]) -> None:
        self.asked: list[str] = []
        self._streams = list(streams)

    async def watch(self, request: Any, context: Any) -> Any:
        """Answers one stream."""
        self.asked.append(request.resume_token)
        for step in self._streams.pop(0):
            if isinstance(step, tuple):
                token, job_id, kind = (*step, "hello")[:3]
                job = job_pb2.Job(id=job_id, kind=kind) if job_id else None
                yield jobqueue_pb2.WatchJobsResponse(resume_token=token, job=job)
            elif isinstance(step, float):
                await asyncio.sleep(step)
            else:
                code, reason, retry = step
                details = RpcStatus(code=code.value[0])
                for detail in (ErrorInfo(reason=reason, domain="jobqueue"), RetryInfo(retry_delay=retry)):
                    packed = AnyMessage()
                    packed.Pack(detail)
                    details.details.append(packed)
                said = (("grpc-status-details-bin", details.SerializeToString()),) if reason else ()
                await context.abort(code, "the script says so", said)


def ends(code: str, reason: str = "", seconds: float = 0.0) -> list[Any]:
    """The end of a stream."""
    return [grpc.StatusCode[code], reason, Duration(nanos=int(seconds * 1e9))]


@asynccontextmanager
async def scripted(*streams: list[Any], deadline: float = 10) -> AsyncIterator[tuple[Client, Script]]:
    server = grpc.aio.server()
    script = Script(*streams)
    watch = grpc.unary_stream_rpc_method_handler(
        script.watch,
        jobqueue_pb2.WatchJobsRequest.FromString,
        jobqueue_pb2.WatchJobsResponse.SerializeToString,
    )
    handler = grpc.method_handlers_generic_handler("jobqueue.v1.JobQueue", {"WatchJobs": watch})
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with Client(f"127.0.0.1:{port}", deadline=timedelta(seconds=deadline)) as client:
            yield client, script
    finally:
        await server.stop(0)


@pytest.mark.parametrize(
    "end",
    [
        ends("UNAVAILABLE", "DRAINING", 0.05),
        ends("UNAVAILABLE"),
        ends("RESOURCE_EXHAUSTED", "TOO_MANY_WATCHES", 0.05),
        ends("INTERNAL"),
        ends("CANCELLED"),
        ends("UNKNOWN"),
    ],
    ids=lambda end: f"{end[0].name} {end[1]}",
)
async def test_a_stream_that_ends_without_need_is_opened_again_after_what_was_told_last(end):
    streams = ([("a", ""), ("b", "one"), end], [end], [("c", ""), ("d", "two")])
    async with asyncio.timeout(WITHIN), scripted(*streams) as (client, script):
        assert [job.id async for job in client.watch()] == ["one", "two"]
        assert script.asked == ["", "b", "b"]


@pytest.mark.parametrize("end", [ends("INTERNAL", "INTERNAL"), ends("INVALID_ARGUMENT", "FIELD_INVALID")])
async def test_an_end_that_another_stream_would_not_mend_is_raised(end):
    async with asyncio.timeout(WITHIN), scripted([("a", "one"), end]) as (client, script):
        watch = client.watch()
        assert (await anext(watch)).id == "one"
        with pytest.raises(Exception, match="the script says so"):
            await anext(watch)
        assert len(script.asked) == 1


@pytest.mark.slow
async def test_it_gives_up_where_no_server_answers_for_as_long_as_the_deadline():
    streams: list[list[Any]] = [[("a", "one"), ends("UNAVAILABLE")]]
    streams += [[ends("UNAVAILABLE")] for _ in range(50)]
    async with asyncio.timeout(WITHIN), scripted(*streams, deadline=3) as (client, script):
        watch = client.watch()
        assert (await anext(watch)).id == "one"
        with pytest.raises(Unavailable) as given_up:
            await anext(watch)
        assert "deadline of 3 s" in str(given_up.value.__notes__)
        assert 2 <= len(script.asked) < 50


@pytest.mark.slow
async def test_a_long_silence_before_a_break_does_not_count_against_the_deadline():
    streams = ([("a", "one"), 3.5, ends("UNAVAILABLE")], [("b", "two")])
    async with asyncio.timeout(WITHIN), scripted(*streams, deadline=3) as (client, _):
        assert [job.id async for job in client.watch()] == ["one", "two"]


@pytest.mark.slow
async def test_a_server_that_falls_silent_is_left(monkeypatch):
    monkeypatch.setattr(watches, "_SILENCE", timedelta(seconds=3))
    async with asyncio.timeout(WITHIN), scripted([("a", "one"), 30.0], [("b", "two")]) as (client, script):
        assert [job.id async for job in client.watch()] == ["one", "two"]
        assert script.asked == ["", "a"]


async def test_an_expired_token_is_raised_and_with_ids_the_jobs_are_told_as_they_are():
    expired = ends("OUT_OF_RANGE", "WATCH_TOKEN_EXPIRED")
    async with asyncio.timeout(WITHIN):
        async with scripted([expired]) as (client, _):
            with pytest.raises(WatchTokenExpired):
                await anext(client.watch(resume_token="old"))
        async with scripted([expired], [("a", "one")]) as (client, script):
            told = [job.id async for job in client.watch(ids=["one"], resume_token="old")]
            assert (told, script.asked) == (["one"], ["old", ""])


async def test_a_cancelled_wait_loses_nothing():
    streams = ([("a", "one"), 30.0], [("b", "two")])
    async with asyncio.timeout(WITHIN), scripted(*streams) as (client, script):
        watch = client.watch()
        assert (await anext(watch)).id == "one"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await anext(watch)
        assert (await anext(watch)).id == "two"
        assert script.asked == ["", "a"]


async def test_a_deleted_job_is_named_and_not_told():
    async with asyncio.timeout(WITHIN), scripted([("a", NOWHERE, "")]) as (client, _):
        watch = client.watch(ids=[NOWHERE])
        assert [job async for job in watch] == []
        assert watch.deleted == {NOWHERE}
