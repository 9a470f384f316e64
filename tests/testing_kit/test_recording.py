"""The recording client: what code enqueues, without a server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobqueue import (
    AUTO,
    Hold,
    IdempotencyKeyReused,
    InvalidRequest,
    NewJob,
    PayloadInvalid,
    RetryPolicy,
    Status,
    Unique,
)
from jobqueue.testing import RecordingClient, SyncRecordingClient

from .handlers import Ask, typed


async def test_what_was_enqueued_is_kept_in_order_as_a_server_would_have_it():
    client = RecordingClient()
    job = await client.enqueue("mail", {"to": "a"}, labels={"a": "b"}, delay=timedelta(hours=1))
    assert (job.status, job.kind, job.payload, job.queue) == (Status.QUEUED, "mail", {"to": "a"}, "default")
    many = await client.enqueue_many([typed.new(Ask(7), key="k"), NewJob("mail", unique=Unique(key="u"))])
    assert len({job.id, *(each.id for each in many)}) == 3
    assert client.jobs == [
        NewJob("mail", payload_json=b'{"to":"a"}', labels={"a": "b"}, delay=timedelta(hours=1)),
        typed.new(Ask(7), key="k"),
        NewJob("mail", payload_json=b"null", unique=Unique(key="u")),
    ]


async def test_the_job_that_is_answered_has_all_that_was_said_of_it():
    client = RecordingClient()
    policy = RetryPolicy(max_backoff=timedelta(seconds=9))
    job = await client.enqueue(
        "mail",
        queue="q",
        priority=3,
        max_attempts=5,
        timeout=timedelta(minutes=1),
        retry_policy=policy,
        run_at=datetime(2030, 1, 1, tzinfo=UTC),
        key="k",
        unique=Unique(key="u"),
        hold=True,
    )
    assert (job.queue, job.priority, job.max_attempts, job.key, job.unique_key) == ("q", 3, 5, "k", "u")
    assert (job.timeout, job.retry_policy and job.retry_policy.max_backoff) == (
        timedelta(minutes=1),
        timedelta(seconds=9),
    )
    assert (job.run_at, job.hold) == (datetime(2030, 1, 1, tzinfo=UTC), Hold.HAND)
    plain, later = await client.enqueue("mail"), await client.enqueue("mail", delay=timedelta(hours=1))
    assert (plain.run_at, plain.hold, plain.timeout) == (plain.created_at, None, None)
    assert later.created_at is not None
    assert later.run_at == later.created_at + timedelta(hours=1)


async def test_a_key_that_is_repeated_answers_its_job_and_is_refused_for_another_request():
    client = RecordingClient()
    first = await client.enqueue("mail", 1, idempotency_key="k", headers={"a": "b"})
    again = await client.enqueue("mail", 1, idempotency_key="k", headers={"a": "c"})
    assert (again.id, again.replayed, first.replayed, len(client.jobs)) == (first.id, True, False, 1)
    with pytest.raises(IdempotencyKeyReused, match=first.id):
        await client.enqueue("mail", 2, idempotency_key="k")
    for _ in range(2):
        await client.enqueue("mail", 1, idempotency_key=AUTO)
    assert len(client.jobs) == 3


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"kind": "Mail"}, "job.kind"),
        ({"kind": ""}, "job.kind"),
        ({"queue": "a b"}, "job.queue"),
        ({"priority": 11}, "job.priority"),
        ({"max_attempts": 1001}, "job.max_attempts"),
        ({"payload": "x" * (1 << 20)}, "job.payload"),
    ],
)
async def test_what_each_server_refuses_is_refused_alike(wrong: Any, field: str):
    client = RecordingClient()
    with pytest.raises(InvalidRequest) as raised:
        await client.enqueue(**{"kind": "mail", **wrong})
    assert [each.field for each in raised.value.violations] == [field]
    assert client.jobs == []


async def test_a_typed_payload_that_does_not_fit_is_refused():
    with pytest.raises(PayloadInvalid):
        await RecordingClient().enqueue(typed, {"number": 7})


async def test_what_it_can_not_know_it_does_not_guess():
    client = RecordingClient()
    with pytest.raises(NotImplementedError, match="wait: the recording client has no server"):
        client.wait("id")
    with pytest.raises(AttributeError, match="no attribute 'enqeue'"):
        client.enqeue("mail")


def test_the_same_without_asyncio():
    with SyncRecordingClient() as client:
        job = client.enqueue(typed, Ask(7))
        client.enqueue_many([NewJob("mail")])
        assert job.payload == {"number": 7}
        assert [each.kind for each in client.jobs] == ["typed", "mail"]
