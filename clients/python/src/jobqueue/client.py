"""The Client: enqueues, reads and changes jobs, kinds and queues. For asyncio; `SyncClient` is the same without."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Self, TypeVar

import grpc

from . import convert
from .batches import batches, key_of, rebased
from .calls import call
from .channel import Access, Token
from .errors import JobQueueError, WaitTimeout
from .jobs import (
    Auto,
    Cancellation,
    EnqueueResult,
    Job,
    JobPage,
    Kind,
    NewJob,
    Queue,
    RetryPolicy,
    Status,
)
from .v1 import job_pb2
from .v1 import jobqueue_pb2 as pb
from .v1 import queue_admin_pb2 as admin_pb
from .v1.jobqueue_pb2_grpc import JobQueueStub
from .v1.queue_admin_pb2_grpc import QueueAdminStub
from .watch import Watch

Answer = TypeVar("Answer")

_JSON = job_pb2.PAYLOAD_FORMAT_JSON
#: The longest that one call of WaitJob waits; more is done by calling again.
_ONE_WAIT = timedelta(seconds=30)


class Client:
    """A connection to a JobQueue server. Make one and keep it. Many tasks of one loop can use it at the same time.

    Every method may raise a `JobQueueError`; its class says what to do. Every method takes a `deadline` for the call
    with all its retries; the default is the client's. While no server answers, the client repeats reads, changes that
    are safe to repeat, and enqueues with an idempotency key, but no other calls.

    Args:
        target: The server's address, for example `127.0.0.1:50051` or `dns:///jobs.internal:50051`.
        credentials: TLS, as of `tls_credentials` or `grpc.ssl_channel_credentials`. None: plain text.
        token: Sent as `authorization: Bearer <token>`. A function is called at each call.
        deadline: For calls without their own.
    """

    def __init__(
        self,
        target: str,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        token: Token | None = None,
        deadline: timedelta = timedelta(seconds=30),
    ) -> None:
        self._target = target
        self._access = Access(credentials, token)
        self._deadline = deadline
        self._channel: grpc.aio.Channel | None = None
        self._stubs: tuple[Any, Any] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connection. A later call opens it again."""
        channel, self._channel, self._stubs = self._channel, None, None
        if channel is not None:
            await channel.close()

    # --- jobs ---

    async def enqueue(
        self,
        kind: str,
        payload: Any = None,
        *,
        queue: str = "",
        priority: int = 0,
        run_at: datetime | None = None,
        delay: timedelta | None = None,
        max_attempts: int | None = None,
        timeout: timedelta | None = None,
        retry_policy: RetryPolicy | None = None,
        idempotency_key: str | Auto | None = None,
        labels: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        payload_json: bytes | None = None,
        hold: bool = False,
        deadline: timedelta | None = None,
    ) -> Job:
        """Enqueues a job. When it returns, the job is committed. The arguments are those of `NewJob`.

        Without a key, after an error it may be unknown whether the job was enqueued. With `idempotency_key=AUTO` the
        client can repeat the call safely. With a key of your own, you can repeat it too.

        Returns:
            The job as it was enqueued. If the key was used before: the job as it is now, with `replayed` set.

        Raises:
            KindUnknown: The kind is not declared.
            PayloadInvalid: The payload does not satisfy the kind's schema.
            IdempotencyKeyReused: The key belongs to another request.
            ServersDiffer: `hold` is set, and an older server runs, which would not hold the job back.
        """
        job = NewJob(
            kind,
            payload,
            queue=queue,
            priority=priority,
            run_at=run_at,
            delay=delay,
            max_attempts=max_attempts,
            timeout=timeout,
            retry_policy=retry_policy,
            labels=labels,
            headers=headers,
            payload_json=payload_json,
            hold=hold,
        )
        key = key_of(idempotency_key)
        request = pb.EnqueueJobRequest(job=convert.new_job(job, key), payload_format=_JSON)
        answer = await self._jobs("EnqueueJob", request, pb.EnqueueJobResponse, deadline, retry=bool(key))
        return convert.job(answer.job, answer.replayed)

    async def enqueue_many(
        self, jobs: Iterable[NewJob], *, deadline: timedelta | None = None
    ) -> builtins.list[EnqueueResult]:
        """Enqueues many jobs, in batches of up to 1000 jobs and 3 MiB. Of each batch all jobs are enqueued, or none.

        Args:
            jobs: Any iterable of jobs. The client repeats a batch only if each of its jobs has a key.
            deadline: For each batch.

        Returns:
            One result for each job, in the same order.

        Raises:
            JobQueueError: A batch was refused. `enqueued` holds the results of the batches before it, and the paths in
                `violations` count from the first job of all.
        """
        results: builtins.list[EnqueueResult] = []
        for batch in batches(jobs):
            keyed = all(job.idempotency_key for job in batch)
            request = pb.BatchEnqueueJobsRequest(jobs=batch)
            try:
                answer = await self._jobs(
                    "BatchEnqueueJobs", request, pb.BatchEnqueueJobsResponse, deadline, retry=keyed
                )
            except JobQueueError as error:
                raise rebased(error, results) from None
            results.extend(EnqueueResult(each.id, each.replayed) for each in answer.results)
        return results

    async def get(self, id: str, *, deadline: timedelta | None = None) -> Job:
        """Reads a job, in full.

        Raises:
            JobNotFound: No job has this id.
        """
        request = pb.GetJobRequest(id=id, payload_format=_JSON)
        answer = await self._jobs("GetJob", request, pb.GetJobResponse, deadline, retry=True)
        return convert.job(answer.job)

    async def list_page(
        self,
        *,
        queue: str = "",
        kind: str = "",
        status: Status | str | Sequence[Status | str] = (),
        labels: Mapping[str, str] | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        full: bool = False,
        page_size: int = 0,
        page_token: str = "",
        deadline: timedelta | None = None,
    ) -> JobPage:
        """Reads one page of jobs, newest first. What is given must all match.

        Args:
            queue: Only of this queue.
            kind: Only of this kind.
            status: Only with this status, or one of these.
            labels: Only with all of these labels.
            created_after: Only enqueued at this time or later.
            created_before: Only enqueued before this time.
            full: With payloads, outputs, headers and failed attempts.
            page_size: The most jobs in the page. 0: 50. Above 1000: 1000.
            page_token: `next_page_token` of the previous page.
            deadline: For the call.
        """
        wanted = (status,) if isinstance(status, str) else status
        request = pb.ListJobsRequest(
            page_size=page_size,
            page_token=page_token,
            queue=queue,
            kind=kind,
            status=[convert.status_number(each) for each in wanted],
            labels=[f"{name}={value}" for name, value in (labels or {}).items()],
            view=job_pb2.JOB_VIEW_FULL if full else job_pb2.JOB_VIEW_BASIC,
            payload_format=_JSON,
        )
        if created_after is not None:
            request.created_after.CopyFrom(convert.timestamp(created_after, "created_after"))
        if created_before is not None:
            request.created_before.CopyFrom(convert.timestamp(created_before, "created_before"))
        answer = await self._jobs("ListJobs", request, pb.ListJobsResponse, deadline, retry=True)
        return JobPage(tuple(convert.job(each) for each in answer.jobs), answer.next_page_token)

    async def list(
        self,
        *,
        queue: str = "",
        kind: str = "",
        status: Status | str | Sequence[Status | str] = (),
        labels: Mapping[str, str] | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        full: bool = False,
        page_size: int = 0,
        deadline: timedelta | None = None,
    ) -> AsyncIterator[Job]:
        """Reads all jobs that match, newest first, page by page as they are asked for. As `list_page`."""
        token = ""
        while True:
            page = await self.list_page(
                queue=queue,
                kind=kind,
                status=status,
                labels=labels,
                created_after=created_after,
                created_before=created_before,
                full=full,
                page_size=page_size,
                page_token=token,
                deadline=deadline,
            )
            for job in page.jobs:
                yield job
            token = page.next_page_token
            if not token:
                return

    async def cancel(self, id: str, *, reason: str = "", deadline: timedelta | None = None) -> Cancellation:
        """Cancels a job: a waiting job at once; of a running one the server asks its worker.

        Args:
            id: The job's id.
            reason: Why, for people. The server sends it to the worker. At most 255 characters.
            deadline: For the call.

        Raises:
            JobTerminal: The job has ended.
            JobNotFound: No job has this id.
        """
        request = pb.CancelJobRequest(id=id, reason=reason, payload_format=_JSON)
        answer = await self._jobs("CancelJob", request, pb.CancelJobResponse, deadline, retry=False)
        return Cancellation(convert.job(answer.job), answer.pending)

    async def retry(self, id: str, *, deadline: timedelta | None = None) -> Job:
        """Makes a terminal job QUEUED again. It keeps its history; its failures and losses become 0.

        Raises:
            JobNotTerminal: The job has not ended.
            JobNotFound: No job has this id.
        """
        request = pb.RetryJobRequest(id=id, payload_format=_JSON)
        answer = await self._jobs("RetryJob", request, pb.RetryJobResponse, deadline, retry=False)
        return convert.job(answer.job)

    async def release(self, id: str, *, deadline: timedelta | None = None) -> Job:
        """Lets a job go that was enqueued with `hold`: it waits for its `run_at` and a worker, as any job.

        Raises:
            JobNotHeld: It is not held back: it was released before, enqueued without `hold`, or has ended.
            JobNotFound: No job has this id.
        """
        request = pb.ReleaseJobRequest(id=id, payload_format=_JSON)
        answer = await self._jobs("ReleaseJob", request, pb.ReleaseJobResponse, deadline, retry=False)
        return convert.job(answer.job)

    async def delete(self, id: str, *, deadline: timedelta | None = None) -> None:
        """Deletes a terminal job and its history.

        Raises:
            JobNotTerminal: The job has not ended: cancel it first.
            JobNotFound: No job has this id.
        """
        await self._jobs("DeleteJob", pb.DeleteJobRequest(id=id), pb.DeleteJobResponse, deadline, retry=False)

    async def wait(self, id: str, *, timeout: timedelta | None = None) -> Job:
        """Waits until a job has ended.

        Args:
            id: The job's id.
            timeout: The longest wait. None: no limit.

        Returns:
            The job with all its fields, in a terminal status.

        Raises:
            WaitTimeout: The job did not end in time; `job` is its last state. It is a TimeoutError too.
            JobNotFound: No job has this id.
        """
        loop = asyncio.get_running_loop()
        ends = None if timeout is None else loop.time() + timeout.total_seconds()
        while True:
            left = _ONE_WAIT if ends is None else timedelta(seconds=max(0.0, ends - loop.time()))
            wait = min(left, _ONE_WAIT)
            request = pb.WaitJobRequest(id=id, payload_format=_JSON)
            request.timeout.FromTimedelta(wait)
            # A server that restarts meanwhile costs a retry, not the wait.
            answer = await self._jobs(
                "WaitJob", request, pb.WaitJobResponse, wait + self._deadline, retry=True
            )
            job = convert.job(answer.job)
            if job.is_terminal:
                return job
            if ends is not None and loop.time() >= ends:
                seconds = timeout.total_seconds() if timeout is not None else 0.0
                raise WaitTimeout(f"job {id} is {job.status} and not over after {seconds:g} s", job)

    def watch(
        self,
        *,
        ids: Iterable[str] = (),
        queue: str = "",
        kind: str = "",
        labels: Mapping[str, str] | None = None,
        full: bool = False,
        resume_token: str = "",
        deadline: timedelta | None = None,
    ) -> Watch:
        """Watches jobs: `async for job in client.watch(queue="mail")`. What is given must all match.

        Each change of a job is followed by the job as it then is, or as it is later: steps may be skipped, a terminal
        status is not, unless the job was retried or deleted meanwhile. With ids each job is told as it
        is, then whenever it changes, and the loop ends when all are over; without, it goes on for ever, and tells what
        changes from its beginning on: `async with client.watch(...) as watch` waits for that.

        Args:
            ids: Only these jobs, at most 1000.
            queue: Only of this queue.
            kind: Only of this kind.
            labels: Only with all of these labels.
            full: With payloads, outputs, headers and failed attempts.
            resume_token: `Watch.resume_token` of another watch for the same jobs: continues after it.
            deadline: How long it tries while no server answers, before it raises Unavailable.
        """
        request = pb.WatchJobsRequest(
            ids=ids,
            queue=queue,
            kind=kind,
            labels=[f"{name}={value}" for name, value in (labels or {}).items()],
            resume_token=resume_token,
            view=job_pb2.JOB_VIEW_FULL if full else job_pb2.JOB_VIEW_BASIC,
            payload_format=_JSON,
        )
        deadline = deadline if deadline is not None else self._deadline
        return Watch(lambda: self._method(0, "WatchJobs"), request, self._access, deadline)

    # --- kinds and queues ---

    async def put_kind(self, kind: Kind, *, deadline: timedelta | None = None) -> Kind:
        """Declares a kind, or replaces it as a whole.

        Raises:
            InvalidRequest: A field is out of its range, or the schema is no JSON Schema.
        """
        request = admin_pb.PutKindRequest(kind=convert.kind_message(kind), payload_format=_JSON)
        answer = await self._admin("PutKind", request, admin_pb.PutKindResponse, deadline)
        return convert.kind(answer.kind)

    async def list_kinds(self, *, deadline: timedelta | None = None) -> builtins.list[Kind]:
        """Reads all kinds, in order of their names."""
        kinds: builtins.list[Kind] = []
        token = ""
        while True:
            request = admin_pb.ListKindsRequest(page_size=1000, page_token=token, payload_format=_JSON)
            answer = await self._admin("ListKinds", request, admin_pb.ListKindsResponse, deadline)
            kinds.extend(convert.kind(each) for each in answer.kinds)
            token = answer.next_page_token
            if not token:
                return kinds

    async def list_queues(self, *, deadline: timedelta | None = None) -> builtins.list[Queue]:
        """Reads all queues, in order of their names."""
        queues: builtins.list[Queue] = []
        token = ""
        while True:
            request = admin_pb.ListQueuesRequest(page_size=1000, page_token=token)
            answer = await self._admin("ListQueues", request, admin_pb.ListQueuesResponse, deadline)
            queues.extend(convert.queue(each) for each in answer.queues)
            token = answer.next_page_token
            if not token:
                return queues

    async def get_queue(self, name: str, *, deadline: timedelta | None = None) -> Queue:
        """Reads a queue.

        Raises:
            QueueNotFound: No job was ever enqueued in the queue.
        """
        request = admin_pb.GetQueueRequest(name=name)
        answer = await self._admin("GetQueue", request, admin_pb.GetQueueResponse, deadline)
        return convert.queue(answer.queue)

    async def pause_queue(self, name: str, *, deadline: timedelta | None = None) -> Queue:
        """Stops the claiming of jobs from a queue. Running jobs continue."""
        request = admin_pb.PauseQueueRequest(name=name)
        answer = await self._admin("PauseQueue", request, admin_pb.PauseQueueResponse, deadline)
        return convert.queue(answer.queue)

    async def resume_queue(self, name: str, *, deadline: timedelta | None = None) -> Queue:
        """Lets jobs be claimed from a queue again.

        Raises:
            QueueNotFound: No job was ever enqueued in the queue.
        """
        request = admin_pb.ResumeQueueRequest(name=name)
        answer = await self._admin("ResumeQueue", request, admin_pb.ResumeQueueResponse, deadline)
        return convert.queue(answer.queue)

    # --- calls ---

    async def _jobs(
        self, method: str, request: Any, answer: type[Answer], deadline: timedelta | None, *, retry: bool
    ) -> Answer:
        return await call(
            self._method(0, method),
            request,
            self._access,
            deadline=deadline if deadline is not None else self._deadline,
            retry=retry,
            answer=answer,
        )

    async def _admin(
        self, method: str, request: Any, answer: type[Answer], deadline: timedelta | None
    ) -> Answer:
        # All of QueueAdmin may be done twice: a kind is put as a whole, a paused queue is paused.
        return await call(
            self._method(1, method),
            request,
            self._access,
            deadline=deadline if deadline is not None else self._deadline,
            retry=True,
            answer=answer,
        )

    def _method(self, stub: int, name: str) -> Callable[..., Any]:
        if self._stubs is None:
            # Here and not in __init__: the channel belongs to the loop that runs.
            self._channel = self._access.async_channel(self._target)
            self._stubs = (JobQueueStub(self._channel), QueueAdminStub(self._channel))
        method: Callable[..., Any] = getattr(self._stubs[stub], name)
        return method
