"""The SyncClient is the Client, waiting."""

from __future__ import annotations

import inspect
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from jobqueue import Client, JobNotFound, NewJob, Status, SyncClient


def public(cls):
    return {name for name, value in vars(cls).items() if not name.startswith("_") and callable(value)}


def test_it_has_every_method_of_the_client_with_the_same_signature():
    assert public(SyncClient) == public(Client)
    for name in public(Client):
        assert inspect.signature(getattr(SyncClient, name)) == inspect.signature(getattr(Client, name))
        assert getattr(SyncClient, name).__doc__ == getattr(Client, name).__doc__
    assert inspect.signature(SyncClient) == inspect.signature(Client)


def test_it_enqueues_reads_lists_and_cancels(server):
    with SyncClient(server.address) as client:
        job = client.enqueue("hello", {"n": 1})
        assert client.get(job.id).payload == {"n": 1}
        client.enqueue_many(NewJob("hello") for _ in range(3))
        assert len(list(client.list(page_size=2))) == 4
        assert client.cancel(job.id).job.status is Status.CANCELLED
        assert client.wait(job.id, timeout=timedelta(seconds=5)).is_terminal
        with pytest.raises(JobNotFound):
            client.get("00000000-0000-7000-8000-000000000000")


def test_many_threads_share_one(server):
    with SyncClient(server.address) as client, ThreadPoolExecutor(8) as threads:
        jobs = list(threads.map(lambda n: client.enqueue("hello", n), range(50)))
        assert sorted(client.get(job.id).payload for job in jobs) == list(range(50))
