"""A principal calls as often as it may, all servers taken together, and is told when to come back."""

from __future__ import annotations

import pytest

from jobqueue_server.errors import RateLimited
from jobqueue_server.rates import Bucket

pytestmark = pytest.mark.unit


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


def refused(bucket: Bucket, tokens: int = 1) -> float:
    """After how many seconds a refused request may come again."""
    with pytest.raises(RateLimited) as raised:
        bucket.take(tokens)
    assert raised.value.retry_after is not None
    return raised.value.retry_after.total_seconds()


def test_a_burst_passes_at_once_and_then_the_rate() -> None:
    clock = Clock()
    bucket = Bucket(10, 5, now=clock)
    for _ in range(5):
        bucket.take()
    assert refused(bucket) == pytest.approx(0.1)
    assert not bucket.try_take()
    clock.time = 0.1
    assert bucket.try_take()
    assert not bucket.try_take()


def test_what_is_refused_takes_nothing() -> None:
    clock = Clock()
    bucket = Bucket(10, 5, now=clock)
    bucket.take(3)
    for _ in range(3):
        assert refused(bucket, 3) == pytest.approx(0.1)
    bucket.take(2)


def test_a_request_of_more_than_the_burst_passes_and_is_paid_off() -> None:
    clock = Clock()
    bucket = Bucket(100, 10, now=clock)
    bucket.take(1000)
    assert refused(bucket) == pytest.approx(9.91)
    clock.time = 9.92
    bucket.take()


def test_servers_share_the_rate_and_the_burst() -> None:
    clock = Clock()
    servers = 1
    bucket = Bucket(10, 8, lambda: servers, now=clock)
    servers = 4
    bucket.take(2)
    assert refused(bucket) == pytest.approx(0.4)


def test_a_bucket_never_holds_more_than_the_burst() -> None:
    clock = Clock()
    bucket = Bucket(10, 5, now=clock)
    clock.time = 1000
    bucket.take(5)
    refused(bucket)
