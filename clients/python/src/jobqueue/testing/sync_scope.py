"""The TestScope for tests without asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Self, Unpack

from ..jobs import Job
from ..sync import SyncClient, blocking, run_waiting
from ..worker.worker import Worker, WorkerKeywords
from .idle import Failures, Idle
from .scope import TestScope
from .server import TestServer


class SyncTestScope:
    """A namespace of a real server, for one test. It is as `TestScope`, and waits.

    Args:
        server: The server; it goes on when the scope is closed.

    Attributes:
        client: A client of it.
    """

    # For pytest it is no test.
    __test__ = False

    def __init__(self, server: TestServer) -> None:
        self._client = TestScope(server)
        self.client = SyncClient(self.target, token=self.key)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the client and disables the namespace."""
        self.client.close()
        run_waiting(self._client.close())

    @property
    def target(self) -> str:
        """The server's address."""
        return self._client.target

    @property
    def namespace(self) -> str:
        """The name of the namespace."""
        return self._client.namespace

    @property
    def key(self) -> str:
        """A key that permits everything in it."""
        return self._client.key

    @property
    def environment(self) -> Mapping[str, str]:
        """As of `TestScope`."""
        return self._client.environment

    def worker(self, **settings: Unpack[WorkerKeywords]) -> Worker:
        """As of `TestScope`."""
        return self._client.worker(**settings)

    enqueued = blocking(TestScope.enqueued)
    assert_enqueued = blocking(TestScope.assert_enqueued)
    assert_not_enqueued = blocking(TestScope.assert_not_enqueued)
    make_due = blocking(TestScope.make_due)

    @contextmanager
    def recorded(self) -> Iterator[list[Job]]:
        """As of `TestScope`."""
        recording = self._client.recorded()
        jobs = run_waiting(recording.__aenter__())
        try:
            yield jobs
        except BaseException as error:
            run_waiting(recording.__aexit__(type(error), error, error.__traceback__))
            raise
        run_waiting(recording.__aexit__(None, None, None))

    def run_until_idle(
        self,
        worker: Worker,
        *,
        failures: Failures = "raise",
        limit: int = 1000,
        within: timedelta = timedelta(seconds=10),
    ) -> Idle:
        """As of `TestScope`. Async handlers run on a loop of their own."""

        async def idle() -> Idle:
            try:
                return await self._client.run_until_idle(
                    worker, failures=failures, limit=limit, within=within
                )
            finally:
                await self._client.client.close()

        return asyncio.run(idle())
