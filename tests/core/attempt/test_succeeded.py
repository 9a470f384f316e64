"""Successes are told together where their jobs are of one kind and began together."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest

from jobqueue_server.core.attempt.outcome import Succeeded
from jobqueue_server.core.lease.lease import Lease, LeaseTemplate

from ..brain import NOON, lane

pytestmark = pytest.mark.unit

ONE, OTHER = lane(1, kind="one"), lane(2, kind="other")
LATER = NOON + timedelta(seconds=1)


def lease(of: LeaseTemplate) -> Lease:
    return Lease(1, uuid4(), of)


def test_jobs_with_templates_of_their_own_that_began_together_are_told_as_one():
    leases = [lease(LeaseTemplate(ONE, 1, 0, NOON, (number,))) for number in range(5)]
    succeeded = Succeeded(NOON + timedelta(seconds=3))
    succeeded.add(leases[:3])
    succeeded.add(leases[3:])
    (ended,) = succeeded.ends
    assert (ended.kind, ended.outcome, ended.ran, ended.waits) == ("one", "succeeded", 3.0, None)
    assert ended.job_ids == [each.job_id for each in leases]


def test_jobs_of_two_kinds_or_times_are_told_apart_in_whatever_order_they_come():
    ways = [(ONE, NOON), (OTHER, NOON), (ONE, LATER), (ONE, NOON), (OTHER, NOON)]
    leases = [lease(LeaseTemplate(which, 1, 0, at)) for which, at in ways]
    succeeded = Succeeded(LATER)
    succeeded.add(leases)
    assert [(each.kind, each.ran, len(each.job_ids)) for each in succeeded.ends] == [
        ("one", 1.0, 2),
        ("other", 1.0, 2),
        ("one", 0.0, 1),
    ]
    assert sorted(job_id for each in succeeded.ends for job_id in each.job_ids) == sorted(
        each.job_id for each in leases
    )
