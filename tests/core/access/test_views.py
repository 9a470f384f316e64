"""What a principal is shown of a job follows from what it may do with it."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from jobqueue_server.core.access.views import shown
from jobqueue_server.grants import Grant, Grants, Permission
from jobqueue_server.lifecycle import Status
from jobqueue_server.model import DEFAULT_NAMESPACE, Job
from jobqueue_server.scope import Scope

pytestmark = pytest.mark.unit

NOW = datetime.now(UTC)
JOB = Job(uuid4(), "work", "mail", Status.CANCELLED, 0, 0, 0, 0, 3, NOW, NOW, NOW, key="customer 42")


def principal(permissions: Permission) -> Scope:
    return Scope(DEFAULT_NAMESPACE, "key:a", Grants([Grant(permissions)]))


def test_who_may_not_read_a_job_is_not_shown_its_key() -> None:
    assert shown(principal(Permission.OPERATE), JOB).key is None
    assert shown(principal(Permission.OPERATE | Permission.READ), JOB).key == "customer 42"
