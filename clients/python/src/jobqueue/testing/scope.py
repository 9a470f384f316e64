"""A namespace of a real server for one test, and what a test asks of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self, Unpack

from ..bulk import JobFilter
from ..calls import seconds
from ..client import Client
from ..jobs import Job, Status
from ..payload import decode, encode
from ..worker.worker import Worker, WorkerKeywords
from .idle import Failures, Idle, Working
from .server import ScopeKey, TestServer

if TYPE_CHECKING:
    from ..typed.kind import JobKind

#: What has not ended.
LIVE = (Status.QUEUED, Status.RUNNING, Status.RETRYING)
#: Of a payload that may be any.
ANY: Any = object()
_POLL = 0.02
# So many jobs a failed assertion shows.
_SHOWN = 20


class TestScope:
    """A namespace of a real server, for one test. It sees its own jobs, kinds and queues alone.

        async with TestScope(server) as scope:
            await scope.client.put_kind(Kind(name="welcome"))
            await sign_up(scope.client, "ada@example.org")
            [job] = await scope.assert_enqueued("welcome", {"to": "ada@example.org"})
            await scope.run_until_idle(worker)

    Args:
        server: The server; it goes on when the scope is closed.

    Attributes:
        target: The server's address.
        namespace: The name of the namespace.
        key: A key that permits everything in it.
        client: A client of it.
    """

    # For pytest it is no test.
    __test__ = False

    def __init__(self, server: TestServer) -> None:
        self._server = server
        made: ScopeKey = server.open_scope()
        self.target = made.target
        self.namespace = made.namespace
        self.key = made.key
        self.client = Client(self.target, token=self.key)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the client and disables the namespace."""
        await self.client.close()
        await asyncio.to_thread(self._server.close_scope, self.namespace)

    @property
    def environment(self) -> Mapping[str, str]:
        """What `Client.from_env` and `Worker.from_env` need, and the command `jobqueue`."""
        return {"JOBQUEUE_SERVER": self.target, "JOBQUEUE_TOKEN": self.key}

    def worker(self, **settings: Unpack[WorkerKeywords]) -> Worker:
        """A worker of the scope. Settings are those of `Worker`."""
        return Worker(self.target, token=self.key, **settings)

    # ---- what was enqueued

    async def enqueued(
        self, kind: str | JobKind[Any, Any] = "", *, status: Status | str | Sequence[Status | str] = LIVE
    ) -> list[Job]:
        """The jobs of the scope, the oldest first, with their payloads.

        Args:
            kind: Of this kind. Empty: of any.
            status: With this status, or one of these; none given: any. Default: those that have not ended.
        """
        name = kind if isinstance(kind, str) else kind.name
        found = [job async for job in self.client.list(kind=name, status=status, full=True, page_size=1000)]
        return found[::-1]

    async def assert_enqueued(
        self,
        kind: str | JobKind[Any, Any],
        payload: Any = ANY,
        *,
        matching: Mapping[str, Any] | Callable[[Job], bool] | None = None,
        queue: str | None = None,
        labels: Mapping[str, str] | None = None,
        key: str | None = None,
        due_in: timedelta | None = None,
        count: int | None = None,
        status: Status | str | Sequence[Status | str] = LIVE,
        within: timedelta = timedelta(),
    ) -> list[Job]:
        """Returns the jobs that are so. Judged here, by decoded values; all that is given must hold.

        Args:
            kind: Their kind.
            payload: Theirs, equal after JSON; of a typed kind, of its type.
            matching: Fields of the payload with these values; or a function of the job.
            queue: Their queue.
            labels: Labels that they have, among others.
            key: Their key.
            due_in: How long after their enqueue they may start, to a second.
            count: How many there are. None: at least one.
            status: With this status, or one of these. Default: those that have not ended.
            within: How long it may take until they are there, of code that enqueues later.

        Raises:
            AssertionError: There are none, or not so many. It shows what there is.
        """
        wanted = _Wanted(kind, payload, matching, queue, labels, key, due_in)
        ends = time.monotonic() + seconds(within, "within")
        while True:
            all_jobs = await self.enqueued(status=status)
            found = [job for job in all_jobs if wanted.holds(job)]
            if bool(found) if count is None else len(found) == count:
                return found
            if time.monotonic() >= ends:
                break
            await asyncio.sleep(_POLL)
        said = "no job" if not found else "1 job" if len(found) == 1 else f"{len(found)} jobs"
        raise AssertionError(
            f"{said} of {wanted}" + ("" if count is None else f", not {count}") + _shown(all_jobs)
        )

    async def assert_not_enqueued(
        self,
        kind: str | JobKind[Any, Any],
        payload: Any = ANY,
        *,
        matching: Mapping[str, Any] | Callable[[Job], bool] | None = None,
        queue: str | None = None,
        labels: Mapping[str, str] | None = None,
        key: str | None = None,
        due_in: timedelta | None = None,
        status: Status | str | Sequence[Status | str] = LIVE,
    ) -> None:
        """Returns if no job is so. The arguments are those of `assert_enqueued`.

        Raises:
            AssertionError: There is one.
        """
        wanted = _Wanted(kind, payload, matching, queue, labels, key, due_in)
        found = [job for job in await self.enqueued(status=status) if wanted.holds(job)]
        if found:
            raise AssertionError(f"{len(found)} of {wanted}, and there should be none{_shown(found)}")

    @asynccontextmanager
    async def recorded(self) -> AsyncIterator[list[Job]]:
        """What is enqueued within the block alone. The list is filled at its end, the oldest first."""
        before = {job.id for job in await self.enqueued(status=())}
        jobs: list[Job] = []
        yield jobs
        jobs += [job for job in await self.enqueued(status=()) if job.id not in before]

    # ---- what becomes of it

    async def make_due(self, *jobs: Job) -> None:
        """Lets jobs start now that wait for their time or for their backoff: `run_at` becomes now.

        It is the job that changes; time goes on as it does.

        Raises:
            AssertionError: One of them does not wait.
        """
        if not jobs:
            # A filter without ids would be of all jobs.
            return
        filter = JobFilter(ids=[job.id for job in jobs])
        made = await self.client.update_jobs(filter, force=True, delay=timedelta(), expected=None)
        done = await self.client.wait_operation(made.name)
        if done.changed != len(jobs):
            raise AssertionError(f"{done.changed} of {len(jobs)} jobs waited")

    async def run_until_idle(
        self,
        worker: Worker,
        *,
        failures: Failures = "raise",
        limit: int = 1000,
        within: timedelta = timedelta(seconds=10),
    ) -> Idle:
        """Runs a worker's handlers in this process until no job that they take is due or runs, follow-ups too.

        Jobs that wait for their time, a backoff, a hold or a limit are not waited for: `Idle.waiting` says why each
        waits.

        Args:
            worker: Its handlers, queues and slots. Whatever server it is for, it serves this scope.
            failures: What an ordinary failure does; Retry, Discard, Snooze and Cancelled are none. `raise`: it ends
                this and is raised as itself, of a handler in a process of its own as `AttemptFailed`. `keep`: it is
                the job's alone. `retry`: so it is, and backoffs are made due at once.
            limit: So many jobs at most may be there.
            within: How long it may take.

        Raises:
            Exception: What a handler raised.
            StillRunning: It takes longer. It says what runs and what is due.
            AssertionError: There are more jobs than `limit`.
        """
        return await Working(self, worker, failures, limit).run(seconds(within, "within"))


class _Wanted:
    """What a job is to be."""

    def __init__(
        self,
        kind: str | JobKind[Any, Any],
        payload: Any = ANY,
        matching: Mapping[str, Any] | Callable[[Job], bool] | None = None,
        queue: str | None = None,
        labels: Mapping[str, str] | None = None,
        key: str | None = None,
        due_in: timedelta | None = None,
    ) -> None:
        self._kind = kind if isinstance(kind, str) else kind.name
        self._any = payload is ANY
        # As it is after JSON: 1.0 is 1 there, and a tuple is a list.
        if self._any:
            self._payload = None
        elif isinstance(kind, str):
            self._payload = decode(encode(payload, "payload"))
        else:
            text = kind.new(payload).payload_json
            assert text is not None
            self._payload = decode(text)
        self._matching = matching
        self._queue = queue
        self._labels = dict(labels or {})
        self._key = key
        self._due_in = due_in

    def holds(self, job: Job) -> bool:
        """Whether a job is so."""
        return (
            job.kind == self._kind
            and (self._any or _same(job.payload, self._payload))
            and self._matches(job)
            and self._queue in (None, job.queue)
            and self._labels.items() <= dict(job.labels).items()
            and self._key in (None, job.key)
            and (self._due_in is None or abs(_due_in(job) - self._due_in) < timedelta(seconds=1))
        )

    def _matches(self, job: Job) -> bool:
        if self._matching is None:
            return True
        if callable(self._matching):
            return bool(self._matching(job))
        return isinstance(job.payload, dict) and all(
            name in job.payload and _same(job.payload[name], value) for name, value in self._matching.items()
        )

    def __str__(self) -> str:
        said = [f"kind {self._kind}"]
        if not self._any:
            said.append(f"payload {self._payload!r}")
        for name, value in (
            ("matching", self._matching), ("queue", self._queue), ("labels", self._labels), ("key", self._key),
            ("due in", self._due_in),
        ):  # fmt: skip
            if value:
                said.append(f"{name} {value!r}")
        return ", ".join(said)


def _due_in(job: Job) -> timedelta:
    if job.run_at is None or job.created_at is None:
        return timedelta()
    return job.run_at - job.created_at


def _seconds(span: timedelta) -> timedelta:
    return timedelta(seconds=round(span.total_seconds()))


def _shown(jobs: Sequence[Job]) -> str:
    if not jobs:
        return ". The scope has no job of this status"
    lines = [
        f"  {job.kind} {job.payload!r} queue {job.queue}"
        + (f" labels {dict(job.labels)!r}" if job.labels else "")
        + (f" key {job.key}" if job.key else "")
        + (f", {job.status.value}" if job.status not in LIVE else "")
        + (f", due in {_seconds(_due_in(job))}" if _due_in(job) > timedelta(seconds=1) else "")
        for job in jobs[:_SHOWN]
    ]
    more = f"\n  and {len(jobs) - _SHOWN} more" if len(jobs) > _SHOWN else ""
    return ". There are:\n" + "\n".join(lines) + more


def _same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal. True is no number, as it is in Python."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)
