"""The workers of all servers, one by one: what is shown of them, and that one that is drained gets no more jobs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc.aio
import pytest

from jobqueue.v1 import insight_pb2, lease_pb2, worker_pb2
from jobqueue_server.core.insight import worker_list

from .hand_worker import PATIENCE, HandWorker, StreamEnded, reason_of, violations_of
from .place import Caller, Place, eventually
from .test_servers import two
from .test_unary_sessions import CallWorker, outcome

State = worker_pb2.Worker.State


@pytest.fixture(autouse=True)
def _counted_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is held is read again by each call."""
    monkeypatch.setattr(worker_list, "KEPT_FOR", 0.0)


@pytest.fixture
async def servers(dsn: str) -> AsyncIterator[tuple[Place, Place]]:
    async with two(dsn) as pair:
        yield pair


async def listed(place: Caller, **fields: Any) -> list[worker_pb2.Worker]:
    answer = await place.insight.ListWorkers(worker_pb2.ListWorkersRequest(**fields), timeout=PATIENCE)
    return list(answer.workers)


async def names(place: Caller, **fields: Any) -> list[str]:
    return [worker.name for worker in await listed(place, **fields)]


async def seen(place: Caller, session_id: object) -> worker_pb2.Worker:
    request = worker_pb2.GetWorkerRequest(session_id=str(session_id))
    worker: worker_pb2.Worker = (await place.insight.GetWorker(request, timeout=PATIENCE)).worker
    return worker


async def drain(place: Caller, session_id: object, reason: str = "") -> worker_pb2.Worker:
    request = worker_pb2.DrainWorkerRequest(session_id=str(session_id), reason=reason)
    worker: worker_pb2.Worker = (await place.insight.DrainWorker(request, timeout=PATIENCE)).worker
    return worker


async def until_state(place: Caller, session_id: object, state: int) -> worker_pb2.Worker:
    async def look() -> worker_pb2.Worker | None:
        worker = await seen(place, session_id)
        return worker if worker.state == state else None

    worker: worker_pb2.Worker = await eventually(look)
    return worker


def number(worker: HandWorker | CallWorker) -> int:
    return worker.welcome.session_id


@pytest.mark.any_engine
async def test_a_worker_is_shown_with_what_it_said_what_it_takes_and_what_it_holds(place: Place) -> None:
    before = datetime.now(UTC) - timedelta(seconds=5)
    worker = HandWorker(place.stub, name="mailer", queues={"mail": ["send", "sort"], "": ["work"]}, slots=3)
    worker.hello.labels["zone"] = "a"
    worker.hello.client = "jobqueue-tests/1"
    await worker.connect()
    job = await place.enqueue("send", queue="mail", timeout=60.0)
    await worker.job()

    for shown in (await seen(place, number(worker)), (await listed(place))[0]):
        assert (shown.session_id, shown.name, shown.client) == (
            str(number(worker)),
            "mailer",
            "jobqueue-tests/1",
        )
        assert (dict(shown.labels), shown.address, shown.principal) == (
            {"zone": "a"},
            "127.0.0.1",
            "anonymous",
        )
        assert [(each.queue, list(each.kinds)) for each in shown.takes] == [
            ("default", ["work"]), ("mail", ["send", "sort"]),
        ]  # fmt: skip
        assert (shown.slots, shown.free_slots, shown.held, shown.state) == (3, 2, 1, State.CONNECTED)
        assert shown.server == worker.welcome.server.split(" ")[0]
        assert before < shown.opened_at.ToDatetime(UTC) < datetime.now(UTC) + timedelta(seconds=5)
        assert not shown.HasField("silent_since")
        assert not shown.HasField("drain")
    (held,) = (await seen(place, number(worker))).jobs
    assert (held.job_id, held.queue, held.kind, held.attempt) == (job.id, "mail", "send", 1)
    assert held.deadline_at.ToDatetime() - held.since.ToDatetime() == timedelta(seconds=60)
    assert not held.cancel_requested
    assert not (await listed(place))[0].jobs
    await place.cancel(job.id)
    assert (await seen(place, number(worker))).jobs[0].cancel_requested
    await worker.close()


@pytest.mark.any_engine
async def test_workers_of_every_server_are_listed_newest_first_page_by_page(
    servers: tuple[Place, Place],
) -> None:
    first, second = servers
    for index in range(5):
        await (first, second)[index % 2].worker(name=f"worker-{index}")
    for place in servers:
        found: list[str] = []
        token = ""
        while True:
            request = worker_pb2.ListWorkersRequest(page_size=2, page_token=token)
            page = await place.insight.ListWorkers(request)
            found += [worker.name for worker in page.workers]
            token = page.next_page_token
            if not token:
                break
        assert found == [f"worker-{index}" for index in reversed(range(5))]


@pytest.mark.any_engine
async def test_filters_are_by_queue_kind_the_beginning_of_a_name_and_state(place: Place) -> None:
    await place.worker(name="mail-1", queues={"mail": ["send"]})
    await place.worker(name="mail_2", queues={"mail": ["sort"], "images": ["send"]})
    await place.worker(name="image-1", queues={"images": ["scale"]})
    assert await names(place, queue="mail") == ["mail_2", "mail-1"]
    assert await names(place, kind="send") == ["mail_2", "mail-1"]
    assert await names(place, queue="mail", kind="send") == ["mail-1"], "of that queue, not of another one"
    assert await names(place, name="mail-") == ["mail-1"]
    assert await names(place, name="mail_") == ["mail_2"], "no pattern"
    assert await names(place, state=[State.SILENT]) == []
    assert len(await names(place, state=[State.CONNECTED, State.SILENT])) == 3


async def test_a_worker_whose_stream_broke_is_silent_with_the_time_of_its_end(place: Place) -> None:
    worker = await place.worker(ttl=30)
    worker.cut()
    shown = await until_state(place, number(worker), State.SILENT)
    silent, ends = shown.silent_since.ToDatetime(), shown.ends_at.ToDatetime()
    assert ends - silent == timedelta(seconds=30)
    assert shown.free_slots == 0
    assert [each.session_id for each in await listed(place, state=[State.SILENT])] == [shown.session_id]


@pytest.mark.any_engine
async def test_a_worker_that_shuts_down_is_shown_so_by_every_server_while_it_has_jobs(
    servers: tuple[Place, Place],
) -> None:
    first, second = servers
    worker = await first.worker()
    await first.enqueue()
    leased = await worker.job()
    await worker.send(drain=lease_pb2.Drain(reason="SIGTERM"))
    shown = await until_state(second, number(worker), State.DRAINING)
    assert (shown.drain.by, shown.drain.reason, shown.free_slots) == ("", "SIGTERM", 0)
    await worker.succeed(leased)
    await worker.next("goodbye")
    assert await names(second) == []


@pytest.mark.slow
@pytest.mark.any_engine
async def test_a_drained_worker_finishes_what_it_holds_and_gets_no_more(place: Place) -> None:
    worker = await place.worker(slots=4)
    await place.enqueue()
    leased = await worker.job()
    shown = await drain(place, number(worker), "a new version")
    assert (shown.state, shown.held, shown.free_slots) == (State.DRAINING, 1, 0)
    assert (shown.drain.by, shown.drain.reason) == ("anonymous", "a new version")
    job = await place.enqueue()
    await worker.no_job()
    await worker.succeed(leased)
    assert await place.status(leased.id) == "SUCCEEDED"
    # It is not sent away: it would open another session, which takes jobs.
    await worker.heartbeat()
    with pytest.raises(TimeoutError):
        await worker.next("goodbye", 2.0)
    assert not worker.has("go_away")
    assert not worker.has_job
    another = await place.worker()
    assert (await another.job()).id == job.id


@pytest.mark.any_engine
async def test_the_first_drain_stands_and_one_is_drained_for_good(place: Place) -> None:
    worker = await place.worker()
    first = await drain(place, number(worker), "the first")
    again = await drain(place, number(worker), "the second")
    assert again.drain == first.drain
    # More slots are not taken for less draining.
    await worker.send(capacity=lease_pb2.Capacity(slots=9))
    await place.enqueue()
    await worker.no_job()


@pytest.mark.any_engine
async def test_a_worker_of_another_server_is_drained_by_a_notice(servers: tuple[Place, Place]) -> None:
    first, second = servers
    worker = await first.worker()
    await drain(second, number(worker))

    async def withheld() -> bool:
        session = first.app.session.sessions.get(number(worker))
        return session is not None and not session.takes_jobs

    await eventually(withheld, 5.0)
    await first.enqueue()
    await worker.no_job()


@pytest.mark.any_engine
async def test_without_notices_a_drain_is_found_by_the_audit(dsn: str) -> None:
    async with two(dsn, notify="off") as (first, second):
        worker = await first.worker()
        await drain(second, number(worker))
        await first.app.session.audit.audit()
        await first.enqueue()
        await worker.no_job()


@pytest.mark.any_engine
async def test_a_drain_survives_a_resume_on_another_server(servers: tuple[Place, Place]) -> None:
    first, second = servers
    worker = await first.worker(slots=2)
    await first.enqueue()
    leased = await worker.job()
    await drain(first, number(worker))
    again = await second.worker(slots=2, resume=worker.resume(held=[leased]))
    assert number(again) == number(worker)
    await second.enqueue()
    await again.no_job()
    await again.succeed(leased)
    assert (await seen(first, number(worker))).state == State.DRAINING
    assert await second.status(leased.id) == "SUCCEEDED"


@pytest.mark.any_engine
async def test_a_drained_worker_that_finds_no_other_server_stays_and_is_still_drained(place: Place) -> None:
    worker = await place.worker()
    await drain(place, number(worker))
    session = place.app.session.sessions.get(number(worker))
    assert session is not None
    assert session.too_old(0.0)
    place.app.session.streams.check()
    await place.enqueue()
    await worker.no_job()


@pytest.mark.any_engine
async def test_jobs_that_only_a_drained_worker_takes_are_explained_so(place: Place) -> None:
    worker = await place.worker()
    await drain(place, number(worker))
    job = await place.enqueue()

    async def look() -> bool:
        answer = await place.insight.ExplainJob(insight_pb2.ExplainJobRequest(id=job.id))
        return [reason.code for reason in answer.reasons] == [insight_pb2.Reason.WORKERS_DRAINING]

    await eventually(look)


@pytest.mark.slow
@pytest.mark.any_engine
async def test_a_drained_worker_without_a_stream_claims_in_vain_and_settles_what_it_holds(
    servers: tuple[Place, Place],
) -> None:
    first, second = servers
    script = await CallWorker(first.stub).open(slots=3)
    await first.enqueue()
    (leased,) = await script.claim()
    shown = await drain(second, number(script))
    assert (shown.state, shown.slots, shown.held) == (State.DRAINING, 3, 1)
    await first.enqueue()
    for place in servers:
        assert await CallWorker(place.stub, script.token).claim(wait=0.3) == []
    (result,) = await script.settle(outcome(leased))
    assert lease_pb2.SettleResult.Verdict.Name(result.verdict) == "APPLIED"


@pytest.mark.slow
@pytest.mark.any_engine
async def test_a_claim_that_waits_on_another_server_gets_nothing_after_a_drain(
    servers: tuple[Place, Place],
) -> None:
    first, second = servers
    script = await CallWorker(first.stub).open()
    claiming = asyncio.create_task(script.claim(wait=6.0))

    async def claims() -> bool:
        return bool(first.app.session.drains._claiming)

    await eventually(claims)
    await drain(second, number(script))
    (waiting,) = first.app.session.drains._claiming.values()

    async def withheld() -> bool:
        return not waiting.takes_jobs

    await eventually(withheld, 5.0)
    job = await first.enqueue()
    assert await claiming == []
    assert await first.status(job.id) == "QUEUED"
    assert not first.app.session.drains._claiming


@pytest.mark.any_engine
async def test_a_worker_without_a_stream_is_silent_after_three_intervals(place: Place) -> None:
    # It is told to be heard every 5 s, and is not lost long after three of these.
    script = await CallWorker(place.stub).open(ttl=40)
    assert (await seen(place, number(script))).state == State.CONNECTED
    await place.sql("update worker_session set silent_since = now() - interval '16 seconds'")
    shown = await seen(place, number(script))
    assert shown.state == State.SILENT
    assert shown.ends_at.ToDatetime() - shown.silent_since.ToDatetime() == timedelta(seconds=40)


@pytest.mark.any_engine
async def test_workers_of_a_server_that_died_are_silent(place: Place) -> None:
    worker = await place.worker()
    await place.sql("update worker_session set server_id = 0")
    shown = await seen(place, number(worker))
    assert (shown.state, shown.server) == (State.SILENT, "")


@pytest.mark.any_engine
async def test_what_is_held_is_read_once_for_all_who_look_within_two_seconds(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = 0
    store = type(place.app.stores.workers)
    made = store.held

    async def counted(self: Any, most: int) -> Any:
        nonlocal reads
        reads += 1
        return await made(self, most)

    monkeypatch.setattr(store, "held", counted)
    monkeypatch.setattr(place.app.insight.workers._held, "_seconds", 2.0)
    await place.worker()
    for _ in range(10):
        await listed(place)
    assert reads <= 2


@pytest.mark.any_engine
async def test_what_is_no_worker_is_not_found_and_wrong_fields_are_named(place: Place) -> None:
    worker = await place.worker()
    await worker.send(drain=lease_pb2.Drain())
    await worker.next("goodbye")
    for call in (seen, drain):
        for absent in (number(worker), 999_999):
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await call(place, absent)
            assert reason_of(error.value) == "WORKER_NOT_FOUND"
        for wrong in ("", "0", "-1", "1.5", "abc", "9" * 19, "٣"):
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await call(place, wrong)
            assert set(violations_of(error.value)) == {"session_id"}
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await drain(place, number(worker), "x" * 256)
    assert set(violations_of(error.value)) == {"reason"}
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await listed(place, queue="No", kind="no!", name="n" * 129, state=[7, 0], page_size=-1)
    assert set(violations_of(error.value)) == {"queue", "kind", "name", "state[0]", "state[1]", "page_size"}
    page = await place.insight.ListWorkers(worker_pb2.ListWorkersRequest(page_size=1))
    assert page.next_page_token == ""
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await listed(place, page_token="x")
    assert reason_of(error.value) == "PAGE_TOKEN_INVALID"


@pytest.mark.any_engine
async def test_a_drained_worker_that_shuts_down_says_goodbye_and_a_new_session_takes_jobs(
    place: Place,
) -> None:
    worker = await place.worker()
    await drain(place, number(worker))
    await worker.send(drain=lease_pb2.Drain())
    await worker.next("goodbye")
    with pytest.raises(StreamEnded):
        await worker.job()
    another = await place.worker()
    await place.enqueue()
    await another.job()
