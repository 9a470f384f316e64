"""Middleware around enqueues: order, count, what it may change; by the recording clients and by a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from jobqueue import (
    AUTO,
    Client,
    EnqueueResult,
    Middleware,
    NewJob,
    NextEnqueue,
    Observer,
    SyncClient,
    Worker,
    define_kind,
    for_kinds,
    with_headers,
)
from jobqueue.jobs import VERSION_HEADER
from jobqueue.testing import RecordingClient, SyncRecordingClient
from tests.client.conftest import RunningServer

from .around import tenant

pytestmark = pytest.mark.any_engine


class Marks(Middleware):
    """Adds its name to the header `by`, and keeps what it saw."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.seen: list[int] = []
        self.answered: list[Sequence[EnqueueResult]] = []

    async def enqueue(self, jobs: Sequence[NewJob], call_next: NextEnqueue) -> Sequence[EnqueueResult]:
        self.seen.append(len(jobs))
        changed = [with_headers(job, by=(job.headers or {}).get("by", "") + self.name) for job in jobs]
        answered = await call_next(changed)
        self.answered.append(answered)
        return answered


class Does(Middleware):
    """Does what a test gives it."""

    def __init__(self, does: Callable[..., Any]) -> None:
        self.enqueue = does  # type: ignore[method-assign]

    async def enqueue(self, jobs: Sequence[NewJob], call_next: NextEnqueue) -> Any:
        raise NotImplementedError


async def twice(jobs: Any, call_next: Any) -> Any:
    await call_next(jobs)
    return await call_next(jobs)


async def twice_and_caught(jobs: Any, call_next: Any) -> Any:
    answered = await call_next(jobs)
    try:
        await call_next(jobs)
    except RuntimeError:
        pass
    return answered


async def never(jobs: Any, call_next: Any) -> Any:
    return [EnqueueResult("mine", False) for _ in jobs]


async def catches(jobs: Any, call_next: Any) -> Any:
    try:
        return await call_next([*jobs, *jobs])
    except RuntimeError:
        return []


async def answers_other(jobs: Any, call_next: Any) -> Any:
    return list(await call_next(jobs))


def changing(**changes: Any) -> Callable[..., Any]:
    async def changed(jobs: Any, call_next: Any) -> Any:
        return await call_next([replace(job, **changes) for job in jobs])

    return changed


#: What a middleware does; what is said of it; whether the jobs are enqueued all the same.
REFUSED: list[tuple[Any, str, bool]] = [
    (twice, "Does.enqueue called call_next twice; what it called first with counts", True),
    (twice_and_caught, "Does.enqueue called call_next twice", True),
    (never, "Does.enqueue did not call call_next, so nothing says that the jobs are enqueued", False),
    (catches, "Does.enqueue has dropped an error of call_next, so nothing says", False),
    (answers_other, "Does.enqueue must answer what call_next answered; the jobs are enqueued", True),
    (changing(payload={"n": 2}), "has changed a job of kind mail: headers and labels alone may be others", False),
    (changing(payload=None, payload_json=b"2"), "headers and labels alone", False),
    (changing(idempotency_key="other"), "another payload under its idempotency key would be another", False),
    (changing(kind="other"), "has changed a job of kind mail", False),
    (changing(queue="other"), "has changed a job of kind mail", False),
]  # fmt: skip


@pytest.mark.parametrize("row", REFUSED, ids=[str(number) for number in range(len(REFUSED))])
async def test_a_middleware_that_does_not_keep_to_its_part_is_refused(row: Any):
    does, words, enqueued = row
    client = RecordingClient(middleware=[Does(does)])
    with pytest.raises(RuntimeError, match=words):
        await client.enqueue("mail", {"n": 1}, idempotency_key="k")
    assert len(client.jobs) == enqueued


async def test_nothing_is_enqueued_once_a_middleware_has_given_up():
    late: list[asyncio.Task[Any]] = []
    told = asyncio.Event()

    async def gives_up(jobs: Any, call_next: Any) -> Any:
        async def later() -> None:
            await told.wait()
            await call_next(jobs)

        late.append(asyncio.create_task(later()))
        raise TimeoutError("the tenant is not known yet")

    client = RecordingClient(middleware=[Does(gives_up)])
    with pytest.raises(TimeoutError, match="the tenant"):
        await client.enqueue("mail", 1)
    told.set()
    with pytest.raises(RuntimeError, match=r"Does\.enqueue called call_next after it had ended"):
        await late[0]
    assert client.jobs == []


async def test_the_version_of_a_payload_stays_whatever_becomes_of_the_headers():
    kind = define_kind("typed", int, version=2, upcasters={1: lambda old: old})

    async def others(jobs: Any, call_next: Any) -> Any:
        return await call_next([replace(job, headers={"tenant": "a", VERSION_HEADER: "7"}) for job in jobs])

    client = RecordingClient(middleware=[Does(others), Does(changing(headers=None))])
    await client.enqueue_many([kind.new(1), NewJob("mail")])
    assert [each.headers for each in client.jobs] == [{VERSION_HEADER: "2"}, None]
    client = RecordingClient(middleware=[Does(others)])
    await client.enqueue_many([kind.new(1), NewJob("mail")])
    assert [each.headers for each in client.jobs] == [{"tenant": "a", VERSION_HEADER: "2"}, {"tenant": "a"}]


async def test_the_first_is_outermost_and_each_is_called_once_for_a_call():
    three = [Marks("a"), Marks("b"), Marks("c")]
    client = RecordingClient(middleware=three)
    job = await client.enqueue("mail", 1, headers={"x": "1"})
    many = await client.enqueue_many(NewJob("mail", number) for number in range(2500))
    assert [each.seen for each in three] == [[1, 2500]] * 3
    assert job.headers == {"x": "1", "by": "abc"}
    assert {each.headers["by"] for each in client.jobs if each.headers} == {"abc"}
    assert [[one.id for one in three[0].answered[0]], three[2].answered[1]] == [[job.id], many]


async def test_what_is_sent_is_what_was_given_however_a_payload_is_changed_in_its_place():
    async def spoils(jobs: Any, call_next: Any) -> Any:
        jobs[0].payload["n"] = 2
        return await call_next(jobs)

    client = RecordingClient(middleware=[Does(spoils)])
    assert (await client.enqueue("mail", {"n": 1})).payload == {"n": 1}


async def test_labels_are_added_and_taken_away():
    async def labels(jobs: Any, call_next: Any) -> Any:
        return await call_next([replace(job, labels={"b": "2"}, headers=None) for job in jobs])

    client = RecordingClient(middleware=[Does(labels)])
    job = await client.enqueue("mail", 1, labels={"a": "1"}, headers={"h": "1"})
    assert (job.labels, job.headers) == ({"b": "2"}, {})


async def test_one_for_some_kinds_sees_their_jobs_alone_and_is_held_to_the_same():
    kind = define_kind("typed", int, aliases=("before",))
    marks, other = Marks("a"), Marks("b")
    client = RecordingClient(
        middleware=[for_kinds(marks, "mail", kind), for_kinds(other, "none"), Marks("c")]
    )
    jobs = [NewJob("mail"), NewJob("post"), kind.new(1), NewJob("before")]
    results = await client.enqueue_many(jobs)
    assert [each.headers for each in client.jobs] == [{"by": "ac"}, {"by": "c"}, {"by": "ac"}, {"by": "ac"}]
    assert (marks.seen, other.seen) == ([3], [])
    assert [each.id for each in marks.answered[0]] == [results[place].id for place in (0, 2, 3)]
    for does, words, enqueued in REFUSED:
        client = RecordingClient(middleware=[for_kinds(Does(does), "mail")])
        with pytest.raises(RuntimeError, match=words):
            await client.enqueue_many([NewJob("mail", {"n": 1}), NewJob("post")])
        assert len(client.jobs) == enqueued * 2


def test_without_asyncio_the_callers_context_variables_are_seen():
    async def of_tenant(jobs: Any, call_next: Any) -> Any:
        await asyncio.sleep(0)
        return await call_next([with_headers(job, tenant=tenant.get()) for job in jobs])

    client = SyncRecordingClient(middleware=[Does(of_tenant)])
    token = tenant.set("t1")
    try:
        assert client.enqueue("mail").headers == {"tenant": "t1"}
        client.enqueue_many([NewJob("mail")])
    finally:
        tenant.reset(token)
    assert [each.headers for each in client.jobs] == [{"tenant": "t1"}] * 2


@pytest.mark.parametrize("made", [Client, SyncClient, Worker])
def test_what_is_no_middleware_is_refused_where_a_client_or_worker_is_made(made: Any):
    with pytest.raises(TypeError, match="must be an object of a class that inherits jobqueue.Middleware"):
        made("127.0.0.1:1", middleware=[Marks])


class Counts(Observer):
    """Counts the calls that were sent."""

    def __init__(self) -> None:
        self.sent: list[int] = []

    def enqueued(self, count: int, kind: str, queue: str, seconds: float, error: str) -> None:
        self.sent.append(count)


@pytest.mark.slow
async def test_a_real_server_gets_what_the_middleware_has_added_and_nothing_of_what_it_refused(
    server: RunningServer,
):
    async def refuses(jobs: Any, call_next: Any) -> Any:
        if any((job.headers or {}).get("no") for job in jobs):
            raise PermissionError("not these")
        return await call_next(jobs)

    counts, marks = Counts(), Marks("a")
    async with Client(server.address, middleware=[marks, Does(refuses)], observer=counts) as client:
        with pytest.raises(PermissionError):
            await client.enqueue("mail", 1, headers={"no": "1"})
        with pytest.raises(PermissionError):
            await client.enqueue_many([NewJob("mail"), NewJob("mail", headers={"no": "1"})])
        one = await client.enqueue("mail", 1, idempotency_key="k")
        again = await client.enqueue("mail", 1, idempotency_key="k")
        assert (one.id, again.replayed) == (again.id, True)
        await client.enqueue_many([NewJob("mail", number, idempotency_key=AUTO) for number in range(1500)])
        stored = [job async for job in client.list(full=True, page_size=1000)]
        assert len(stored) == 1501
        assert {job.headers["by"] for job in stored} == {"a"}
    assert marks.seen == [1, 2, 1, 1, 1500]
    assert counts.sent == [1, 1, 1000, 500]


@pytest.mark.slow
def test_a_sync_client_has_it_too(server: RunningServer):
    with SyncClient(server.address, middleware=[Marks("a"), Marks("b")]) as client:
        assert client.enqueue("mail", 1).headers["by"] == "ab"
        (result,) = client.enqueue_many([NewJob("mail")])
        assert client.get(result.id).headers["by"] == "ab"
