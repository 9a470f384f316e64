"""Fixtures of pytest for code that uses JobQueue (docs/testing.md). pytest finds them by itself.

A suite that uses none of them does not load the client.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from jobqueue import Client, SyncClient
    from jobqueue.testing import SyncRecordingClient, SyncTestScope, TestScope, TestServer


@pytest.fixture(scope="session")
def jobqueue_server() -> Iterator[TestServer]:
    """A real server, for all tests of the session; under pytest-xdist all workers have the same.

    JOBQUEUE_TEST_SHARED=0 gives each of them one of its own.
    """
    from jobqueue.testing import TestServer

    said = "JOBQUEUE_TEST_SHARED" in os.environ
    shared = True if "PYTEST_XDIST_WORKER" in os.environ and not said else None
    with TestServer.start(shared=shared) as server:
        yield server


@pytest.fixture
def jobqueue_scope(jobqueue_server: TestServer) -> Iterator[TestScope]:
    """A namespace of that server for this test, for tests with asyncio."""
    from jobqueue.sync import run_waiting
    from jobqueue.testing import TestScope

    scope = TestScope(jobqueue_server)
    yield scope
    run_waiting(scope.close())


@pytest.fixture
def jobqueue_client(jobqueue_scope: TestScope) -> Client:
    """A client of the test's namespace."""
    return jobqueue_scope.client


@pytest.fixture
def jobqueue_sync_scope(jobqueue_server: TestServer) -> Iterator[SyncTestScope]:
    """A namespace of that server for this test, for tests without asyncio."""
    from jobqueue.testing import SyncTestScope

    with SyncTestScope(jobqueue_server) as scope:
        yield scope


@pytest.fixture
def jobqueue_sync_client(jobqueue_sync_scope: SyncTestScope) -> SyncClient:
    """A client of the test's namespace that waits."""
    return jobqueue_sync_scope.client


@pytest.fixture
def jobqueue_recording_client() -> SyncRecordingClient:
    """A client that has no server, and keeps what is enqueued."""
    from jobqueue.testing import SyncRecordingClient

    return SyncRecordingClient()
