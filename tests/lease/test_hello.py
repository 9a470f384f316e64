"""The beginning of a stream: one Hello, checked in every field, and a Welcome that says what holds."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import grpc
import pytest

from jobqueue.v1 import lease_pb2, queue_admin_pb2
from jobqueue_server import __version__
from jobqueue_server.rpc import lease

from .hand_worker import HandWorker, StreamEnded, reason_of, span, violations_of
from .place import Place, eventually, leaving_nothing_to_the_collector


async def refused(place, **changes):
    """The error with which a Hello is refused that is right but for these changes."""
    worker = HandWorker(place.stub)
    hello: Any = worker.hello
    for name, value in changes.items():
        hello.ClearField(name)
        if isinstance(value, list):
            getattr(hello, name).extend(value)
        elif isinstance(value, dict):
            getattr(hello, name).update(value)
        elif hasattr(value, "DESCRIPTOR"):
            getattr(hello, name).CopyFrom(value)
        else:
            setattr(hello, name, value)
    with pytest.raises(StreamEnded) as raised:
        await worker.connect()
    await worker.close()
    assert raised.value.error is not None
    return raised.value.error


@pytest.mark.any_engine
async def test_welcome_says_who_answers_what_it_takes_and_how_often_to_be_heard(place):
    worker = await place.worker()
    welcome = worker.welcome
    assert welcome.session_id > 0
    assert welcome.session_token.startswith(f"{welcome.session_id}.")
    number, cell, secret = welcome.session_token.split(".")
    assert (int(number), cell) == (welcome.session_id, "0")
    assert len(secret) >= 40
    assert welcome.session_ttl.seconds == 30
    assert welcome.heartbeat_interval.seconds == 5
    assert __version__ in welcome.server
    assert (welcome.limits.payload_bytes, welcome.limits.output_bytes) == (1 << 20, 1 << 20)
    assert (welcome.limits.slots, welcome.limits.settle_outcomes, welcome.limits.batch_jobs) == (
        10_000,
        1000,
        1000,
    )
    assert (list(welcome.kept), list(welcome.revoked), list(welcome.features)) == ([], [], [])
    short = (await place.worker(ttl=8)).welcome
    assert (short.session_ttl.seconds, short.heartbeat_interval.seconds) == (8, 2)
    assert short.session_id != welcome.session_id


@pytest.mark.any_engine
@pytest.mark.parametrize(("ttl", "interval"), [(5, 1.25), (20, 5), (3600, 5)])
async def test_a_session_lives_as_long_as_its_worker_asked_for_from_5_s_to_1_h(place, ttl, interval):
    worker = await place.worker(ttl=ttl)
    for welcome in (worker.welcome, (await place.worker(resume=worker.resume())).welcome):
        assert welcome.session_ttl.ToTimedelta().total_seconds() == ttl
        assert welcome.heartbeat_interval.ToTimedelta().total_seconds() == interval
    silent = "update worker_session set silent_since = now() - $2::interval where id = $1"
    (session,) = place.app.session.sessions.all()
    session.link = None
    for ago, reaped in ((ttl - 4, False), (ttl + 1, True)):
        await place.sql(silent, session.id, timedelta(seconds=ago))
        await place.app.session.reaper.reap_lost()
        assert (
            await place.value("select ended_at is not null from worker_session where id = $1", session.id)
            is reaped
        )


async def test_of_streams_that_open_at_once_no_more_are_taken_than_there_may_be(dsn):
    async with Place(dsn, max_streams=3) as place:
        opened = await asyncio.gather(
            *(place.worker(name=f"worker-{n}") for n in range(12)), return_exceptions=True
        )
        refused = [each for each in opened if isinstance(each, StreamEnded)]
        assert [type(each) for each in opened if each not in refused] == [HandWorker] * 3, opened
        assert {each.reason for each in refused} == {"TOO_MANY_STREAMS"}


@pytest.mark.slow
async def test_a_stream_that_says_nothing_is_ended_in_time(place, monkeypatch):
    monkeypatch.setattr(lease, "HELLO_WITHIN", 1.0)
    call = place.stub.Lease()
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call.read()
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert reason_of(raised.value) == "PROTOCOL_VIOLATED"
    assert "no Hello came within 1 s" in str(raised.value.details())
    # One that says it in time stays.
    worker = await place.worker()
    await asyncio.sleep(1.2)
    assert not worker.ended


@pytest.mark.any_engine
async def test_of_a_token_only_its_digest_is_stored(place):
    worker = await place.worker()
    row = (await place.sql("select * from worker_session"))[0]
    secret = worker.welcome.session_token.rpartition(".")[2].encode()
    assert all(secret not in bytes(value) for value in row.values() if isinstance(value, bytes))
    assert worker.welcome.session_token not in str(dict(row))


async def test_the_first_frame_is_hello(place):
    frames: list[dict[str, Any]] = [
        {"heartbeat": lease_pb2.Heartbeat(seq=1)},
        {"settle": lease_pb2.Settle(seq=1)},
        {"capacity": lease_pb2.Capacity(slots=1)},
        {"drain": lease_pb2.Drain()},
        {},
    ]
    for frame in frames:
        call = place.stub.Lease()
        await call.write(lease_pb2.LeaseRequest(**frame))
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call.read()
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert reason_of(raised.value) == "PROTOCOL_VIOLATED"
    assert await place.value("select count(*) from worker_session") == 0


@pytest.mark.parametrize("welcomed", [False, True])
async def test_a_frame_that_is_none_ends_the_stream_with_what_was_wrong(place, welcomed):
    raised = await _says_what_is_none(place, welcomed)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert reason_of(raised.value) == "FIELD_INVALID"
    assert "not a valid jobqueue.v1.LeaseRequest" in str(raised.value.details())


@pytest.mark.parametrize("welcomed", [False, True])
async def test_a_frame_that_is_none_leaves_nothing_to_the_collector(place, welcomed):
    await _says_what_is_none(place, welcomed)
    with leaving_nothing_to_the_collector():
        for _ in range(3):
            await _says_what_is_none(place, welcomed)
        await asyncio.sleep(0.05)


async def _says_what_is_none(place: Place, welcomed: bool) -> pytest.ExceptionInfo[grpc.aio.AioRpcError]:
    stream: Any = place.channel.stream_stream("/jobqueue.v1.JobQueue/Lease")()
    if welcomed:
        subscription = lease_pb2.Subscription(kinds=["sleep"])
        hello = lease_pb2.Hello(worker="w", subscriptions=[subscription])
        await stream.write(lease_pb2.LeaseRequest(hello=hello).SerializeToString())
        assert lease_pb2.LeaseResponse.FromString(await stream.read()).HasField("welcome")
    await stream.write(b"\xff\xff")
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stream.read()
    return raised


async def test_a_stream_that_says_nothing_ends_well(place):
    call = place.stub.Lease()
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK


async def test_a_second_hello_ends_the_stream_and_the_session_lives_on(place):
    worker = await place.worker()
    await worker.send(hello=worker.hello)
    ended = await worker.end()
    assert ended.reason == "PROTOCOL_VIOLATED"
    again = await place.worker(resume=worker.resume())
    assert again.welcome.session_id == worker.welcome.session_id


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"worker": ""}, "hello.worker"),
    ({"worker": "w" * 129}, "hello.worker"),
    ({"worker": "a\0b"}, "hello.worker"),
    ({"client": "c" * 129}, "hello.client"),
    ({"labels": {"": "x"}}, "hello.labels"),
    ({"labels": {f"l{number}": "x" for number in range(33)}}, "hello.labels"),
    ({"labels": {"zone": "x" * 256}}, "hello.labels"),
    ({"session_ttl": span(4.999)}, "hello.session_ttl"),
    ({"session_ttl": span(3601)}, "hello.session_ttl"),
    ({"subscriptions": []}, "hello.subscriptions"),
    ({"subscriptions": [lease_pb2.Subscription()]}, "hello.subscriptions[0].kinds"),
    ({"subscriptions": [lease_pb2.Subscription(kinds=["A"])]}, "hello.subscriptions[0].kinds[0]"),
    ({"subscriptions": [lease_pb2.Subscription(kinds=["a", ""])]}, "hello.subscriptions[0].kinds[1]"),
    (
        {
            "subscriptions": [
                lease_pb2.Subscription(kinds=["a"]),
                lease_pb2.Subscription(queue="no/slash", kinds=["a"]),
            ]
        },
        "hello.subscriptions[1].queue",
    ),
    (
        {"subscriptions": [lease_pb2.Subscription(kinds=[f"k{number}" for number in range(1001)])]},
        "hello.subscriptions",
    ),
    ({"capacity": lease_pb2.Capacity(slots=-1)}, "hello.capacity.slots"),
    ({"capacity": lease_pb2.Capacity(slots=10_001)}, "hello.capacity.slots"),
    ({"capacity": lease_pb2.Capacity(bytes=-1)}, "hello.capacity.bytes"),
    ({"capacity": lease_pb2.Capacity(slots_by_kind={"work": -1})}, "hello.capacity.slots_by_kind['work']"),
    ({"payload_format": 99}, "hello.payload_format"),
    ({"resume": lease_pb2.Resume()}, "hello.resume.session_token"),
    (
        {
            "resume": lease_pb2.Resume(
                session_token="1.x", held=[lease_pb2.HeldLease(lease_id=1, job_id="no", attempt=1)]
            )
        },
        "hello.resume.held[0].job_id",
    ),
    (
        {
            "resume": lease_pb2.Resume(
                session_token="1.x",
                unanswered=[lease_pb2.HeldLease(lease_id=1, job_id="0" * 32, attempt=0)],
            )
        },
        "hello.resume.unanswered[0].attempt",
    ),
]


@pytest.mark.any_engine
async def test_each_field_of_hello_that_breaks_its_rule_is_named(place):
    for changes, path in WRONG:
        error = await refused(place, **changes)
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT, changes
        assert reason_of(error) == "FIELD_INVALID", changes
        named = violations_of(error)
        assert any(field == path or field.startswith(f"{path}[") for field in named), (changes, named)
    assert await place.value("select count(*) from worker_session") == 0


@pytest.mark.any_engine
async def test_every_wrong_field_is_named_at_once(place):
    error = await refused(place, worker="", subscriptions=[], session_ttl=span(1))
    assert set(violations_of(error)) == {"hello.worker", "hello.subscriptions", "hello.session_ttl"}


async def test_a_capacity_that_breaks_its_rule_ends_the_stream_and_names_the_field(place):
    worker = await place.worker()
    await worker.capacity(-1)
    ended = await worker.end()
    assert ended.reason == "FIELD_INVALID"
    assert list(violations_of(ended.error)) == ["capacity.slots"]


async def test_a_server_holds_as_many_streams_as_it_may(dsn):
    async with Place(dsn, max_streams=1) as place:
        first = await place.worker()
        with pytest.raises(StreamEnded) as raised:
            await place.worker()
        assert raised.value.reason == "TOO_MANY_STREAMS"
        await first.drain()
        await first.next("goodbye")
        await first.end()
        await place.worker()


async def test_streams_that_say_nothing_are_no_more_than_there_may_be_streams(dsn):
    async with Place(dsn, max_streams=2) as place:
        silent = [place.stub.Lease() for _ in range(2)]
        await asyncio.gather(*(call.wait_for_connection() for call in silent))

        async def refused():
            with pytest.raises(StreamEnded) as raised:
                await (await place.worker()).drain()
            return raised.value.reason == "TOO_MANY_STREAMS"

        # The server has begun with all of them.
        assert await eventually(refused)
        silent[0].cancel()
        await place.worker_within(5)
        silent[1].cancel()


async def test_pong_answers_each_heartbeat_by_its_number(place):
    worker = await place.worker(heartbeats=False)
    for seq in (1, 2, 7):
        await worker.send(heartbeat=lease_pb2.Heartbeat(seq=seq))
        assert (await worker.next("pong")).seq == seq


async def test_an_unknown_frame_and_a_bare_receipt_are_ignored(place):
    worker = await place.worker()
    # Field 99 of a newer contract, a message of two bytes.
    await worker.write(lease_pb2.LeaseRequest.FromString(b"\x9a\x06\x02\x08\x01"))
    await worker.send()
    await worker.heartbeat()


@pytest.mark.any_engine
async def test_a_worker_is_told_of_kinds_that_are_not_declared(dsn):
    async with Place(dsn, kinds="declared") as place, Place(dsn, kinds="declared") as other:
        first = await place.worker(queues={"": ["b", "a"], "mail": ["a", "known"]})
        assert list(first.welcome.unknown_kinds) == ["a", "b", "known"]
        # By one that learns of it from the database alone.
        for name in ("known", "b"):
            await other.admin.PutKind(queue_admin_pb2.PutKindRequest(kind=queue_admin_pb2.Kind(name=name)))
        again = await place.worker(queues={"": ["b", "a"], "mail": ["a", "known"]}, resume=first.resume())
        assert list(again.welcome.unknown_kinds) == ["a"]
        request = lease_pb2.OpenSessionRequest(hello=again.hello)
        request.hello.ClearField("resume")
        assert list((await place.stub.OpenSession(request)).welcome.unknown_kinds) == ["a"]


@pytest.mark.any_engine
async def test_a_kind_that_another_namespace_has_declared_is_not_declared_here(dsn):
    async with Place(dsn, kinds="declared") as place:
        # The database may be the one of the other engine's turn.
        await place.sql("insert into namespace (id, name) values (2, 'theirs') on conflict do nothing")
        await place.sql(
            "insert into kind (namespace_id, name, declared_at) values (2, 'report', now()) on conflict do nothing"
        )
        worker = await place.worker(kinds=["report"])
        assert list(worker.welcome.unknown_kinds) == ["report"]


@pytest.mark.any_engine
async def test_where_any_kind_is_taken_none_is_unknown(place):
    worker = await place.worker(kinds=["never-seen"])
    assert not worker.welcome.unknown_kinds
