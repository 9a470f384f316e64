"""The Client: enqueues, reads and changes jobs, kinds and queues. For asyncio; `SyncClient` is the same without."""

from __future__ import annotations

import asyncio
import builtins
import copy
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import repeat
from typing import TYPE_CHECKING, Any, Self, TypedDict, TypeVar, Unpack, overload

import grpc
from google.longrunning import operations_pb2 as lro_pb
from google.longrunning.operations_pb2_grpc import OperationsStub
from google.protobuf.empty_pb2 import Empty
from google.protobuf.field_mask_pb2 import FieldMask

from . import bulk, convert, overview
from .batches import batches, key_of, rebased
from .bulk import JobFilter, Operation
from .calls import FirstUse, call, seconds
from .channel import Access, Token, checked_target
from .connections import Connections
from .environment import from_environment
from .errors import DeadlineExceeded, JobQueueError, NotSupported, WaitTimeout
from .insight import Explanation, QueueDemand, demand, explanation
from .jobs import (
    SAME,
    Auto,
    Cancellation,
    EnqueueResult,
    Job,
    JobPage,
    KeyPolicy,
    Kind,
    Limits,
    NewJob,
    Queue,
    Retention,
    RetryPolicy,
    Same,
    Status,
    SyncedKind,
    Unique,
    UniqueAction,
    no_kind,
)
from .observer import Observer, Observing
from .overview import GroupBy, JobCount, Overview, ServerInfo, Stats
from .queue_keys import KeyFilter, QueueKey, queue_key
from .traces import Traces, traces_of_environment
from .v1 import bulk_pb2, insight_pb2, job_pb2, overview_pb2, stats_pb2, worker_pb2
from .v1 import jobqueue_pb2 as pb
from .v1 import queue_admin_pb2 as admin_pb
from .v1.bulk_pb2_grpc import BulkStub
from .v1.insight_pb2_grpc import InsightStub
from .v1.jobqueue_pb2_grpc import JobQueueStub
from .v1.queue_admin_pb2_grpc import QueueAdminStub
from .watch import Watch
from .window import Turn
from .worker_sessions import WorkerSession, WorkerState, state_number, worker_session

if TYPE_CHECKING:
    from .encodings import Encodings
    from .middleware import Middleware
    from .schedule_calls import Schedules
    from .typed.kind import EnqueueOptions, JobKind

Answer = TypeVar("Answer")
P = TypeVar("P")

_JSON = job_pb2.PAYLOAD_FORMAT_JSON
#: The longest that one call of WaitJob waits; more is done by calling again.
_ONE_WAIT = timedelta(seconds=30)
# A wait of so many seconds that ends without an end of the job asks why, for so long.
_WORTH_ASKING = 1.0
_TO_SAY_WHY = timedelta(seconds=1)


class ClientKeywords(TypedDict, total=False):
    """The settings of a client beside its server; `Client` describes them."""

    deadline: timedelta
    adaptive: bool
    traces: Traces | None
    observer: Observer | None
    middleware: Sequence[Middleware]
    encodings: Encodings | None


class Client:
    """A connection to a JobQueue server. Make one and keep it. Many tasks can use it at the same time.

    It connects anew in each event loop that uses it, so one that a module holds outlives `asyncio.run`. In a process
    that was forked after a call, every call raises RuntimeError, since gRPC does not work there.

    The calls about schedules are those of `schedules`.

    Every method may raise a `JobQueueError`; its class says what to do. Every method takes a `deadline` for the call
    with all its retries; the default is the client's. While no server answers, the client repeats reads, changes that
    are safe to repeat, and enqueues with an idempotency key, but no other calls.

    Args:
        target: The server's address, for example `127.0.0.1:50051` or `dns:///jobs.internal:50051`.
        credentials: TLS, as of `tls_credentials` or `grpc.ssl_channel_credentials`. None: plain text.
        token: Sent as `authorization: Bearer <token>`. A function is called at each call.
        deadline: For calls without their own.
        adaptive: Whether enqueues wait for their turns within the client while the server says that it is nearly full.
            At most 64 are in flight at first: hints and refusals make that fewer, answers without them more, up to
            1000. The client refuses nothing by itself, and the wait is part of the call's deadline.
        traces: Says which trace a call belongs to, `jobqueue.otel.OpenTelemetry`: that of the current span. None: as
            OpenTelemetry's variables say.
        observer: Is told of each enqueue, by a thread of its own.
        middleware: What goes around enqueues, the outermost first.
        encodings: What payloads go through before they are sent, within all middleware; payloads and outputs that are
            read are decoded. What can't be is an `Encoded` in the job. None: nothing is encoded or decoded.

    Raises:
        InvalidRequest: The address has no port, or begins with http://.
        TypeError: A duration is not a timedelta.
    """

    def __init__(
        self,
        target: str,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        token: Token | None = None,
        deadline: timedelta = timedelta(seconds=30),
        adaptive: bool = False,
        traces: Traces | None = None,
        observer: Observer | None = None,
        middleware: Sequence[Middleware] = (),
        encodings: Encodings | None = None,
    ) -> None:
        self._encodings = encodings
        self._adaptive = adaptive
        self._access = Access(credentials, token, traces or traces_of_environment())
        seconds(deadline, "deadline")
        self._deadline = deadline
        self._connections = Connections(checked_target(target), self._access)
        self._first_use = FirstUse(target)
        self._observing = None if observer is None else Observing(observer)
        self._middleware: Sequence[Middleware] = ()
        if middleware:
            from .middleware import listed

            # The same client without, which the innermost calls.
            self._bare = copy.copy(self)
            self._middleware = listed(middleware)

    @classmethod
    def from_env(cls, **settings: Unpack[ClientKeywords]) -> Self:
        """A client of the server that the environment names, with these settings beside.

        It reads the variables of the command: JOBQUEUE_SERVER (127.0.0.1:50051 if it is not set), JOBQUEUE_TOKEN,
        JOBQUEUE_TLS_ROOTS, JOBQUEUE_TLS_CLIENT_CERT and JOBQUEUE_TLS_CLIENT_KEY.

        Raises:
            ValueError: A file can't be read, or a certificate or key is given without what it needs.
        """
        found = from_environment()
        made = cls(found.server, credentials=found.credentials, token=found.token, **settings)
        made._first_use.of_environment = True
        return made

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connection. A later call opens it again."""
        await self._connections.close()
        if self._observing is not None:
            await asyncio.to_thread(self._observing.close)

    # --- jobs ---

    @overload
    async def enqueue(self, kind: JobKind[P, Any], payload: P, **options: Unpack[EnqueueOptions]) -> Job: ...
    @overload
    async def enqueue(
        self,
        kind: str | NewJob,
        payload: Any = None,
        *,
        payload_json: bytes | None = None,
        **options: Unpack[EnqueueOptions],
    ) -> Job: ...
    async def enqueue(
        self,
        kind: str | NewJob | JobKind[P, Any],
        payload: P | None = None,
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
        key: str = "",
        unique: Unique | None = None,
        deadline: timedelta | None = None,
    ) -> Job:
        """Enqueues a job. When it returns, the job is committed. The arguments are those of `NewJob`.

        A `NewJob` may stand in the place of the kind, alone but for the deadline. A kind that `define_kind` made takes
        a payload of its type; what is left out here is as the kind has it.

        Without a key, after an error it may be unknown whether the job was enqueued. With `idempotency_key=AUTO` the
        client can repeat the call safely. With a key of your own, you can repeat it too.

        Returns:
            The job as it was enqueued. If the key was used before: the job as it is now, with `replayed` set. If
            another job holds the name of `unique`: that job as it is now, with `unique_action` set; its id alone if it
            was deleted since or this caller may not read it.

        Raises:
            KindUnknown: The kind is not declared.
            PayloadInvalid: The payload does not satisfy the kind's schema.
            IdempotencyKeyReused: The key belongs to another request.
            Duplicate: Another job holds the name, and `unique` has REJECT.
            EncodingRequired: The kind takes encrypted payloads alone, and this client does not encrypt.
            KeyUnknown: Nothing has the key that is to encrypt.
            ServersDiffer: `hold` is set, and an older server runs, which would not hold the job back.
            TypeError: Other arguments stand beside a `NewJob`, or the kind is none.
        """
        typed = not isinstance(kind, str | NewJob)
        if typed and not hasattr(kind, "as_said"):
            raise no_kind(kind)
        job = NewJob(
            kind if isinstance(kind, str) else kind.kind if isinstance(kind, NewJob) else kind.name,
            None if typed else payload,
            queue=queue,
            priority=priority,
            run_at=run_at,
            delay=delay,
            max_attempts=max_attempts,
            timeout=timeout,
            retry_policy=retry_policy,
            idempotency_key=idempotency_key,
            labels=labels,
            headers=headers,
            payload_json=payload_json,
            hold=hold,
            key=key,
            unique=unique,
        )
        if isinstance(kind, NewJob):
            if job != NewJob(kind.kind):
                raise TypeError("enqueue takes a NewJob alone: set what stands beside it in the NewJob")
            job = kind
        elif not isinstance(kind, str):
            job = kind.as_said(payload, job)  # type: ignore[arg-type]
        if self._middleware:
            return await self._one_through(job, deadline)
        sealed = None
        if self._encodings is not None:
            (sealed,) = await self._encodings.payloads([job])
        once = key_of(job.idempotency_key)
        request = pb.EnqueueJobRequest(job=convert.new_job(job, once, sealed), payload_format=_JSON)
        answer = await self._enqueue(
            "EnqueueJob", request, pb.EnqueueJobResponse, (request.job,), deadline, retry=bool(once)
        )
        return await self._job(answer.job, answer.replayed, convert.unique_action(answer))

    async def enqueue_many(
        self, jobs: Iterable[NewJob], *, deadline: timedelta | None = None
    ) -> builtins.list[EnqueueResult]:
        """Enqueues many jobs, in batches of up to 1000 jobs and 3 MiB. Of each batch all jobs are enqueued, or none.

        Args:
            jobs: Any iterable of jobs. The client repeats a batch only if each of its jobs has a key. With middleware
                or encodings all are read before the first is sent.
            deadline: For each batch.

        Returns:
            One result for each job, in the same order.

        Raises:
            JobQueueError: A batch was refused. `enqueued` holds the results of the batches before it, and the paths in
                `violations` count from the first job of all.
        """
        if self._middleware:
            return await self._many_through(builtins.list(jobs), deadline)
        sealed: Iterable[bytes | None] = repeat(None)
        if self._encodings is not None:
            jobs = builtins.list(jobs)
            sealed = await self._encodings.payloads(jobs)
        results: builtins.list[EnqueueResult] = []
        for batch in batches(jobs, sealed):
            keyed = all(job.idempotency_key for job in batch)
            request = pb.BatchEnqueueJobsRequest(jobs=batch)
            try:
                answer = await self._enqueue(
                    "BatchEnqueueJobs", request, pb.BatchEnqueueJobsResponse, batch, deadline, retry=keyed
                )
            except JobQueueError as error:
                raise rebased(error, results) from None
            results.extend(
                EnqueueResult(each.id, each.replayed, convert.unique_action(each)) for each in answer.results
            )
        return results

    async def get(self, id: str, *, deadline: timedelta | None = None) -> Job:
        """Reads a job, in full.

        Raises:
            JobNotFound: No job has this id.
        """
        request = pb.GetJobRequest(id=id, payload_format=_JSON)
        answer = await self._jobs("GetJob", request, pb.GetJobResponse, deadline, retry=True)
        return await self._job(answer.job)

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
        return JobPage(tuple([await self._job(each) for each in answer.jobs]), answer.next_page_token)

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
        return Cancellation(await self._job(answer.job), answer.pending)

    async def retry(self, id: str, *, respect_unique: bool = False, deadline: timedelta | None = None) -> Job:
        """Makes a terminal job QUEUED again. It keeps its history; its failures and losses become 0.

        Args:
            id: The job's id.
            respect_unique: A unique job takes its name again as by an enqueue, and is not retried while another one
                holds it. Else it is retried all the same.
            deadline: For the call.

        Raises:
            JobNotTerminal: The job has not ended.
            Duplicate: Another job holds its name, and `respect_unique` is set.
            JobNotFound: No job has this id.
        """
        request = pb.RetryJobRequest(id=id, payload_format=_JSON, respect_unique=respect_unique)
        answer = await self._jobs("RetryJob", request, pb.RetryJobResponse, deadline, retry=False)
        return await self._job(answer.job)

    async def release(self, id: str, *, deadline: timedelta | None = None) -> Job:
        """Lets a job go that was enqueued with `hold`: it waits for its `run_at` and a worker, as any job.

        Raises:
            JobNotHeld: It is not held back: it was released before, enqueued without `hold`, or has ended.
            JobNotFound: No job has this id.
        """
        request = pb.ReleaseJobRequest(id=id, payload_format=_JSON)
        answer = await self._jobs("ReleaseJob", request, pb.ReleaseJobResponse, deadline, retry=False)
        return await self._job(answer.job)

    async def delete(self, id: str, *, deadline: timedelta | None = None) -> None:
        """Deletes a terminal job and its history.

        Raises:
            JobNotTerminal: The job has not ended: cancel it first.
            JobNotFound: No job has this id.
        """
        await self._jobs("DeleteJob", pb.DeleteJobRequest(id=id), pb.DeleteJobResponse, deadline, retry=False)

    async def retry_jobs(
        self,
        filter: JobFilter,
        *,
        force: bool = False,
        per_second: int = 0,
        max_jobs: int = 0,
        request_id: str = "",
        to_queue: str = "",
        run_at: datetime | None = None,
        delay: timedelta | None = None,
        spread: timedelta | None = None,
        reset_checkpoint: bool = False,
        respect_unique: bool = False,
        expected: int | None = None,
        deadline: timedelta | None = None,
    ) -> Operation:
        """Makes many jobs that have ended QUEUED again, by an operation that goes on without this program.

        Args:
            filter: Which jobs.
            force: Do it. Without it nothing changes, and the answer has how many match and some of them.
            per_second: How many jobs a second. 0: as fast as the service takes it.
            max_jobs: After so many it is done. 0: after all.
            request_id: A text of your own: the same call again is answered the operation of the first. Without one the
                call is not tried again when the server is away.
            to_queue: The queue in which they wait from now on, which must exist. Empty: each stays in its own.
            run_at: The earliest time at which they start. None: the retry, and `delay`.
            delay: How long after its retry a job may start.
            spread: Draws each start evenly from so long after the earliest.
            reset_checkpoint: Each starts from the beginning, without the checkpoint that its attempts left.
            respect_unique: One whose name another job holds is skipped; the others take theirs again.
            expected: How many should match, as the dry run said. More than a tenth off, nothing is changed.
            deadline: For the call.

        Raises:
            FilterChanged: Not about as many as `expected` match.
            QueueNotFound: No job was ever enqueued in `to_queue`.
        """
        request = bulk_pb2.RetryJobsRequest(
            filter=bulk.job_filter(filter),
            **bulk.limits(per_second, max_jobs, request_id, expected, force=force),
            **bulk.starts(spread, run_at, delay),
            to_queue=to_queue,
            reset_checkpoint=reset_checkpoint,
            respect_unique=respect_unique,
        )
        again = not force or bool(request_id)
        answer = await self._bulk("RetryJobs", request, bulk_pb2.RetryJobsResponse, deadline, retry=again)
        return bulk.operation(answer.operation)

    async def cancel_jobs(
        self,
        filter: JobFilter,
        *,
        force: bool = False,
        per_second: int = 0,
        max_jobs: int = 0,
        request_id: str = "",
        reason: str = "",
        expected: int | None = None,
        deadline: timedelta | None = None,
    ) -> Operation:
        """Cancels many jobs that have not ended, by an operation that goes on without this program.

        Args:
            filter: Which jobs.
            force: Do it. Without it nothing changes, and the answer has how many match and some of them.
            per_second: How many jobs a second. 0: as fast as the service takes it.
            max_jobs: After so many it is done. 0: after all.
            request_id: A text of your own: the same call again is answered the operation of the first. Without one the
                call is not tried again when the server is away.
            reason: Why, for workers and people. At most 255 characters.
            expected: How many should match, as the dry run said. More than a tenth off, nothing is changed.
            deadline: For the call.

        Raises:
            FilterChanged: Not about as many as `expected` match.
        """
        request = bulk_pb2.CancelJobsRequest(
            filter=bulk.job_filter(filter),
            **bulk.limits(per_second, max_jobs, request_id, expected, force=force),
            reason=reason,
        )
        again = not force or bool(request_id)
        answer = await self._bulk("CancelJobs", request, bulk_pb2.CancelJobsResponse, deadline, retry=again)
        return bulk.operation(answer.operation)

    async def delete_jobs(
        self,
        filter: JobFilter,
        *,
        force: bool = False,
        per_second: int = 0,
        max_jobs: int = 0,
        request_id: str = "",
        expected: int | None = None,
        deadline: timedelta | None = None,
    ) -> Operation:
        """Deletes many jobs that have ended, by an operation that goes on without this program.

        Args:
            filter: Which jobs.
            force: Do it. Without it nothing changes, and the answer has how many match and some of them.
            per_second: How many jobs a second. 0: as fast as the service takes it.
            max_jobs: After so many it is done. 0: after all.
            request_id: A text of your own: the same call again is answered the operation of the first. Without one the
                call is not tried again when the server is away.
            expected: How many should match, as the dry run said. More than a tenth off, nothing is changed.
            deadline: For the call.

        Raises:
            FilterChanged: Not about as many as `expected` match.
        """
        request = bulk_pb2.DeleteJobsRequest(
            filter=bulk.job_filter(filter),
            **bulk.limits(per_second, max_jobs, request_id, expected, force=force),
        )
        again = not force or bool(request_id)
        answer = await self._bulk("DeleteJobs", request, bulk_pb2.DeleteJobsResponse, deadline, retry=again)
        return bulk.operation(answer.operation)

    async def update_jobs(
        self,
        filter: JobFilter,
        *,
        force: bool = False,
        per_second: int = 0,
        max_jobs: int = 0,
        request_id: str = "",
        priority: int | None = None,
        run_at: datetime | None = None,
        delay: timedelta | None = None,
        spread: timedelta | None = None,
        to_queue: str = "",
        max_attempts: int = 0,
        expected: int | None = None,
        deadline: timedelta | None = None,
    ) -> Operation:
        """Changes many jobs that wait, by an operation that goes on without this program.

        Args:
            filter: Which jobs, of those that are QUEUED or RETRYING.
            force: Do it. Without it nothing changes, and the answer has how many match and some of them.
            per_second: How many jobs a second. 0: as fast as the service takes it.
            max_jobs: After so many it is done. 0: after all.
            request_id: A text of your own: the same call again is answered the operation of the first. Without one the
                call is not tried again when the server is away.
            priority: Theirs from now on, -10 to 10. None: each keeps its own.
            run_at: When they may start, with a time zone. Not together with `delay`.
            delay: How long after the change they may start. Zero: now.
            spread: With one of these: each starts at a time that is drawn from so long after it.
            to_queue: They wait in this queue. Empty: each in its own.
            max_attempts: Theirs from now on; one more than a job's failures at least. 0: each keeps its own.
            expected: How many should match, as the dry run said. More than a tenth off, nothing is changed.
            deadline: For the call.

        Raises:
            FilterChanged: Not about as many as `expected` match.
            QueueNotFound: No job was ever enqueued in `to_queue`.
            ServersDiffer: An older server runs, which does not know such operations.
        """
        request = bulk_pb2.UpdateJobsRequest(
            filter=bulk.job_filter(filter),
            **bulk.limits(per_second, max_jobs, request_id, expected, force=force),
            **bulk.starts(spread, run_at, delay),
            to_queue=to_queue,
            priority=priority,
            max_attempts=max_attempts,
        )
        again = not force or bool(request_id)
        answer = await self._bulk("UpdateJobs", request, bulk_pb2.UpdateJobsResponse, deadline, retry=again)
        return bulk.operation(answer.operation)

    async def get_operation(self, name: str, *, deadline: timedelta | None = None) -> Operation:
        """Reads an operation.

        Raises:
            OperationNotFound: There is none of this name.
        """
        request = lro_pb.GetOperationRequest(name=name)
        return bulk.operation(await self._operations("GetOperation", request, lro_pb.Operation, deadline))

    async def list_operations(self, *, deadline: timedelta | None = None) -> builtins.list[Operation]:
        """Reads the operations that are kept, newest first: your own, or with ADMIN those of the namespace."""
        found: builtins.list[Operation] = []
        # One may name 1,000 jobs, and so have 40 kB.
        request = lro_pb.ListOperationsRequest(name="operations", page_size=50)
        while True:
            answer = await self._operations(
                "ListOperations", request, lro_pb.ListOperationsResponse, deadline
            )
            found += [bulk.operation(each) for each in answer.operations]
            request.page_token = answer.next_page_token
            if not request.page_token:
                return found

    async def wait_operation(self, name: str, *, timeout: timedelta | None = None) -> Operation:
        """Waits until an operation is done.

        Args:
            name: The operation's.
            timeout: After so long the answer is the operation as it then is. None: never.

        Raises:
            OperationNotFound: There is none of this name.
        """
        until = None if timeout is None else time.monotonic() + seconds(timeout, "timeout")
        while True:
            left = (
                _ONE_WAIT
                if until is None
                else min(_ONE_WAIT, timedelta(seconds=max(0.0, until - time.monotonic())))
            )
            request = lro_pb.WaitOperationRequest(name=name, timeout=convert.duration(left, "timeout"))
            answer = await self._operations("WaitOperation", request, lro_pb.Operation, left + self._deadline)
            if answer.done or (until is not None and time.monotonic() >= until):
                return bulk.operation(answer)

    async def cancel_operation(self, name: str, *, deadline: timedelta | None = None) -> None:
        """Asks an operation to stop after the step that it is in. What it has done stays done.

        Raises:
            OperationNotFound: There is none of this name.
        """
        await self._operations("CancelOperation", lro_pb.CancelOperationRequest(name=name), Empty, deadline)

    async def resume_operation(self, name: str, *, deadline: timedelta | None = None) -> Operation:
        """Lets an operation go on that rests, as your own from now on. One that does not rest stays as it is.

        Raises:
            NotAllowed: You may not do all that it was made to do.
            OperationNotFound: There is none of this name.
        """
        request = bulk_pb2.ResumeOperationRequest(id=name.removeprefix("operations/"))
        answer = await self._bulk(
            "ResumeOperation", request, bulk_pb2.ResumeOperationResponse, deadline, retry=True
        )
        return bulk.operation(answer.operation)

    async def delete_operation(self, name: str, *, deadline: timedelta | None = None) -> None:
        """Deletes an operation that is done.

        Raises:
            OperationNotDone: It is not.
            OperationNotFound: There is none of this name.
        """
        await self._operations("DeleteOperation", lro_pb.DeleteOperationRequest(name=name), Empty, deadline)

    async def wait(self, id: str, *, timeout: timedelta | None = None) -> Job:
        """Waits until a job has ended.

        Args:
            id: The job's id.
            timeout: The longest wait. None: no limit.

        Returns:
            The job with all its fields, in a terminal status.

        Raises:
            WaitTimeout: The job did not end in time; `job` is its last state, `summary` says why. A TimeoutError too.
            JobNotFound: No job has this id.
        """
        loop = asyncio.get_running_loop()
        ends = None if timeout is None else loop.time() + seconds(timeout, "timeout")
        while True:
            left = _ONE_WAIT if ends is None else timedelta(seconds=max(0.0, ends - loop.time()))
            wait = min(left, _ONE_WAIT)
            request = pb.WaitJobRequest(id=id, payload_format=_JSON)
            request.timeout.FromTimedelta(wait)
            # A server that restarts meanwhile costs a retry, not the wait.
            answer = await self._jobs(
                "WaitJob", request, pb.WaitJobResponse, wait + self._deadline, retry=True
            )
            job = await self._job(answer.job)
            if job.is_terminal:
                return job
            if ends is not None and loop.time() >= ends:
                waited = timeout.total_seconds() if timeout is not None else 0.0
                why = await self._why(id) if waited >= _WORTH_ASKING else ""
                raise WaitTimeout(f"job {id} is {job.status} and not over after {waited:g} s", job, why)

    async def _why(self, id: str) -> str:
        """Why a job has not ended, where a server says so soon."""
        try:
            return (await self.explain(id, deadline=min(self._deadline, _TO_SAY_WHY))).summary
        except JobQueueError:
            return ""

    async def explain(self, id: str, *, deadline: timedelta | None = None) -> Explanation:
        """Asks why a job waits, and what would start it.

        Raises:
            JobNotFound: No job has this id.
        """
        request = insight_pb2.ExplainJobRequest(id=id)
        return explanation(
            await self._insight("ExplainJob", request, insight_pb2.ExplainJobResponse, deadline)
        )

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
        return Watch(
            lambda: self._method(JobQueueStub, "WatchJobs"), request, self._access, deadline, self._job
        )

    # --- how it is going ---

    async def overview(self, *, deadline: timedelta | None = None) -> Overview:
        """Asks how the queues are doing: what happens, what waits, who works, what is wrong."""
        request = overview_pb2.GetOverviewRequest()
        answer = await self._insight("GetOverview", request, overview_pb2.GetOverviewResponse, deadline)
        return overview.overview(answer.overview)

    def watch_overview(self, *, deadline: timedelta | None = None) -> AsyncIterator[Overview]:
        """Asks so every 2 s: `async for each in client.watch_overview()`. A stream that breaks is opened again.

        Args:
            deadline: How long it tries while no server answers, before it raises Unavailable.
        """
        method = "WatchOverview"
        deadline = deadline if deadline is not None else self._deadline
        return overview.watch(lambda: self._method(InsightStub, method), self._access, deadline)

    async def stats(
        self,
        *,
        queue: str = "",
        kind: str = "",
        since: datetime | None = None,
        until: datetime | None = None,
        step: timedelta | None = None,
        group_by: GroupBy | None = None,
        deadline: timedelta | None = None,
    ) -> Stats:
        """Asks what happened to jobs in a time, in steps.

        Args:
            queue: Only of this queue.
            kind: Only of this kind.
            since: From then on, at most 90 days ago. None: an hour before `until`.
            until: Until then. None: now.
            step: How much time a point stands for, a multiple of 10 s. None: what makes at most 360 points. The answer
                has the step that was taken, which is longer where what is kept of that time is coarser.
            group_by: By what it is split into series. None: one series of all.
            deadline: For the call.

        Raises:
            InvalidRequest: `since` is not before `until`, or the step makes more than 720 points.
        """
        request = stats_pb2.QueryStatsRequest(
            queue=queue,
            kind=kind,
            group_by=stats_pb2.GroupBy.Value(f"GROUP_BY_{group_by or 'UNSPECIFIED'}"),
        )
        if step is not None:
            request.step.FromTimedelta(step)
        for name, moment in (("since", since), ("until", until)):
            if moment is not None:
                getattr(request, name).CopyFrom(convert.timestamp(moment, name))
        return overview.stats(
            await self._insight("QueryStats", request, stats_pb2.QueryStatsResponse, deadline)
        )

    async def count_jobs(
        self,
        *,
        queue: str = "",
        kind: str = "",
        status: Iterable[Status] = (),
        labels: Mapping[str, str] | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        deadline: timedelta | None = None,
    ) -> JobCount:
        """Counts jobs; the filters are those of `list`.

        The server counts for 2 s at most, and keeps the answer for a minute. It reads each job, so it is for a single
        question; for what is shown all the time there are `overview` and `stats`.

        Args:
            queue: Only of this queue.
            kind: Only of this kind.
            status: Only with one of these.
            labels: Only with all of these labels.
            created_after: Only enqueued then or later.
            created_before: Only enqueued before then.
            deadline: For the call.
        """
        request = stats_pb2.CountJobsRequest(
            queue=queue,
            kind=kind,
            status=[convert.status_number(each) for each in status],
            labels=[f"{name}={value}" for name, value in (labels or {}).items()],
        )
        for name, moment in (("created_after", created_after), ("created_before", created_before)):
            if moment is not None:
                getattr(request, name).CopyFrom(convert.timestamp(moment, name))
        return overview.count(
            await self._insight("CountJobs", request, stats_pb2.CountJobsResponse, deadline)
        )

    async def list_servers(self, *, deadline: timedelta | None = None) -> builtins.list[ServerInfo]:
        """Reads which servers run on the database, by name."""
        request = overview_pb2.ListServersRequest()
        answer = await self._insight("ListServers", request, overview_pb2.ListServersResponse, deadline)
        return [overview.server(each) for each in answer.servers]

    # --- kinds and queues ---

    async def put_kind(
        self,
        kind: Kind,
        *,
        fields: Sequence[str] | None = None,
        only_newer: bool = False,
        deadline: timedelta | None = None,
    ) -> Kind:
        """Declares a kind, or changes it.

        Args:
            kind: The kind.
            fields: What of it is changed: names of attributes of `Kind`, also `limits.max_running` and `limits.rate`.
                The rest stays as it is. Default: it is replaced as a whole.
            only_newer: Whether nothing is changed where the server has a higher `version` of it.
            deadline: For the call.

        Returns:
            The kind as the server has it now.

        Raises:
            InvalidRequest: A field is out of its range, or a schema is no JSON Schema.
            ServersDiffer: An older server runs, which would not keep to its limits or its slot weight, or would replace
                what `fields` does not name.
        """
        request = admin_pb.PutKindRequest(
            kind=convert.kind_message(kind),
            payload_format=_JSON,
            update_mask=None if fields is None else FieldMask(paths=fields),
            only_newer=only_newer,
        )
        answer = await self._admin("PutKind", request, admin_pb.PutKindResponse, deadline)
        return convert.kind(answer.kind)

    async def sync_kinds(
        self, kinds: Iterable[JobKind[Any, Any]], *, deadline: timedelta | None = None
    ) -> builtins.list[SyncedKind]:
        """Tells the server what kinds that `define_kind` made are: for each one its schemas and its version.

        Of the rest it says `max_attempts`, `timeout` and `retry_policy` where the declaration has them; what it does
        not name stays as an operator set it. A kind of which the server has a higher version stays as it is. One that
        the server does not know is made. It takes a call for each kind, one after the other. Where this client has
        encodings, the server is told that payloads may be encoded, but for kinds that say "never".

        Args:
            kinds: The kinds.
            deadline: For each call.

        Returns:
            What was done, in the same order.

        Raises:
            InvalidRequest: A schema is no JSON Schema, or too large.
            NotAllowed: The caller may not declare a kind: that takes OPERATE on it in all queues. Those before it are
                declared.
            ServersDiffer: An older server runs, which would replace what is not named.
            NotSupported: The server is older, and has done so.
        """
        synced = []
        for each in kinds:
            kind, fields = each.declaration(encodes=self._encodings is not None)
            request = admin_pb.PutKindRequest(
                kind=convert.kind_message(kind),
                payload_format=_JSON,
                update_mask=FieldMask(paths=fields),
                only_newer=True,
            )
            answer = await self._admin("PutKind", request, admin_pb.PutKindResponse, deadline)
            stored = convert.kind(answer.kind)
            if stored.version < kind.version:
                raise NotSupported(
                    f"the server is older than sync_kinds: it replaced all that was declared of the kind {kind.name}; "
                    "upgrade it, and set its settings again",
                    code="UNIMPLEMENTED",
                )
            newer = answer.unchanged and stored.version > kind.version
            synced.append(SyncedKind(stored, not answer.unchanged, newer))
        return synced

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

    async def get_queue_demand(self, name: str, *, deadline: timedelta | None = None) -> QueueDemand:
        """Asks how many slots of workers a queue wants. The answer may be a second old.

        Raises:
            QueueNotFound: No job was ever enqueued in the queue.
        """
        request = insight_pb2.GetQueueDemandRequest(queue=name)
        return demand(
            await self._insight("GetQueueDemand", request, insight_pb2.GetQueueDemandResponse, deadline)
        )

    # --- workers ---

    async def list_workers(
        self,
        *,
        queue: str = "",
        kind: str = "",
        name: str = "",
        state: WorkerState | str | Sequence[WorkerState | str] = (),
        deadline: timedelta | None = None,
    ) -> builtins.list[WorkerSession]:
        """Reads the workers of all servers, those first that came last. What is given must all match.

        Args:
            queue: Those that take jobs of it.
            kind: Those that take jobs of it.
            name: Those whose name begins so.
            state: Those in this state, or one of these.
            deadline: For each call.
        """
        found: builtins.list[WorkerSession] = []
        states = (state,) if isinstance(state, str) else state
        request = worker_pb2.ListWorkersRequest(
            page_size=1000, queue=queue, kind=kind, name=name, state=[state_number(each) for each in states]
        )
        while True:
            answer = await self._insight("ListWorkers", request, worker_pb2.ListWorkersResponse, deadline)
            found += [worker_session(each) for each in answer.workers]
            request.page_token = answer.next_page_token
            if not request.page_token:
                return found

    async def get_worker(self, session_id: str, *, deadline: timedelta | None = None) -> WorkerSession:
        """Reads a worker, with the jobs that it holds.

        Raises:
            WorkerNotFound: No open session has this number.
        """
        request = worker_pb2.GetWorkerRequest(session_id=session_id)
        answer = await self._insight("GetWorker", request, worker_pb2.GetWorkerResponse, deadline)
        return worker_session(answer.worker)

    async def drain_worker(
        self, session_id: str, *, reason: str = "", deadline: timedelta | None = None
    ) -> WorkerSession:
        """Gives a worker no more jobs, for good. It finishes what it holds; then its operator stops it.

        Args:
            session_id: The number of its session.
            reason: Why, for people.
            deadline: For the call.

        Raises:
            WorkerNotFound: No open session has this number.
            NotAllowed: It takes something on which these credentials permit no OPERATE.
            ServersDiffer: An older server runs, which would give it jobs all the same.
        """
        request = worker_pb2.DrainWorkerRequest(session_id=session_id, reason=reason)
        answer = await self._insight("DrainWorker", request, worker_pb2.DrainWorkerResponse, deadline)
        return worker_session(answer.worker)

    async def pause_queue(self, name: str, *, reason: str = "", deadline: timedelta | None = None) -> Queue:
        """Stops the claiming of jobs from a queue. Running jobs continue.

        Args:
            name: The queue's name.
            reason: Why, for people; `explain` tells it.
            deadline: For this call.
        """
        request = admin_pb.PauseQueueRequest(name=name, reason=reason)
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

    async def update_queue(
        self,
        name: str,
        key_policy: KeyPolicy | Same | None = SAME,
        *,
        fields: Iterable[str] = (),
        max_waiting: int | None = None,
        limits: Limits | None = None,
        limit_fields: Iterable[str] = (),
        retention: Retention | None = None,
        retention_fields: Iterable[str] = (),
        etag: str = "",
        allow_missing: bool = False,
        deadline: timedelta | None = None,
    ) -> Queue:
        """Changes what a queue allows of its jobs, and of those of one key.

        All servers know it when this returns.

        Args:
            name: The queue's name.
            key_policy: The new policy. None: keys limit nothing any longer. If it is not given, the policy stays.
            fields: The attributes of the policy that are changed, such as `max_running`. Empty: all.
            max_waiting: How many jobs may wait before enqueues are refused, 1..1000000. 0: any number. None: as it is.
            limits: What it allows of all its jobs together; `Limits()`: anything. None: as it is.
            limit_fields: The attributes of `limits` that are changed, such as `rate`. Empty: all.
            retention: How long its jobs can be read after their end; `Retention()`: as of every queue. None: as it is.
            retention_fields: The attributes of `retention` that are changed, such as `succeeded`. Empty: all.
            etag: `Queue.etag`: the queue is changed only if it still has it. Empty: whatever was changed since.
            allow_missing: Whether a queue that was never used is made.
            deadline: For this call.

        Raises:
            QueueNotFound: No job was ever enqueued in the queue, and `allow_missing` is not set.
            EtagMismatch: The queue was changed since its `etag` was read.
            KeyPolicyConflict: Parts of the policy would contradict each other.
            ServersDiffer: An older server runs, which would not keep to the policy.
        """
        queue = admin_pb.Queue(name=name, etag=etag)
        paths = []
        if key_policy is not SAME:
            paths += [f"key_policy.{each}" for each in fields] or ["key_policy"]
            if key_policy is not None:
                queue.key_policy.CopyFrom(convert.key_policy_message(key_policy))
        if max_waiting is not None:
            paths.append("max_waiting")
            queue.max_waiting = max_waiting
        if limits is not None:
            paths += [f"limits.{each}" for each in limit_fields] or ["limits"]
            queue.limits.CopyFrom(convert.limits_message(limits))
        if retention is not None:
            paths += [f"retention.{each}" for each in retention_fields] or ["retention"]
            queue.retention.CopyFrom(convert.retention_message(retention))
        request = admin_pb.UpdateQueueRequest(
            queue=queue, update_mask=FieldMask(paths=paths), allow_missing=allow_missing
        )
        answer = await self._admin(
            "UpdateQueue", request, admin_pb.UpdateQueueResponse, deadline, retry=not etag
        )
        return convert.queue(answer.queue)

    async def list_queue_keys(
        self,
        queue: str,
        *,
        only: KeyFilter | None = None,
        most_waiting_first: bool = False,
        most: int = 1000,
        deadline: timedelta | None = None,
    ) -> builtins.list[QueueKey]:
        """Reads the keys of a queue that have jobs, or of which something is said.

        Args:
            queue: The queue's name.
            only: Which of them. None: all.
            most_waiting_first: Whether those that most jobs wait for come first. Else they come by name.
            most: How many keys at most.
            deadline: For each call.

        Raises:
            QueueNotFound: No job was ever enqueued in the queue.
        """
        request = admin_pb.ListQueueKeysRequest(
            queue=queue, order_by="waiting desc" if most_waiting_first else "key"
        )
        if only is not None:
            request.only = admin_pb.ListQueueKeysRequest.Only.Value(only)
        keys: builtins.list[QueueKey] = []
        while len(keys) < most:
            request.page_size = min(most - len(keys), 1000)
            answer = await self._admin("ListQueueKeys", request, admin_pb.ListQueueKeysResponse, deadline)
            keys.extend(queue_key(each) for each in answer.keys)
            request.page_token = answer.next_page_token
            if not request.page_token:
                break
        return keys

    async def get_queue_key(self, queue: str, key: str, *, deadline: timedelta | None = None) -> QueueKey:
        """Reads one key of a queue, with the jobs that hold it. Every key is there, also one without jobs.

        Raises:
            QueueNotFound: No job was ever enqueued in the queue.
        """
        request = admin_pb.GetQueueKeyRequest(queue=queue, key=key)
        answer = await self._admin("GetQueueKey", request, admin_pb.GetQueueKeyResponse, deadline)
        return queue_key(answer.queue_key)

    async def update_queue_key(
        self,
        queue: str,
        key: str,
        *,
        max_running: int | None = None,
        paused: bool | None = None,
        etag: str = "",
        deadline: timedelta | None = None,
    ) -> QueueKey:
        """Gives one key of a queue a limit of its own, or pauses it.

        Args:
            queue: The queue's name.
            key: The key.
            max_running: How many of its jobs run at once. 0: as many as the queue allows. None: as it is.
            paused: Whether no more of its jobs are let in. None: as it is.
            etag: `QueueKey.etag`: the key is changed only if it still has it. Empty: whatever was changed since.
            deadline: For this call.

        Raises:
            QueueNotFound: No job was ever enqueued in the queue.
            EtagMismatch: The key was changed since its `etag` was read.
            ServersDiffer: An older server runs, which would not keep to it.
        """
        given = {"max_running": max_running, "paused": paused}
        mask = FieldMask(paths=[name for name, value in given.items() if value is not None])
        changed = admin_pb.QueueKey(
            queue=queue, key=key, max_running=max_running or 0, paused=bool(paused), etag=etag
        )
        request = admin_pb.UpdateQueueKeyRequest(queue_key=changed, update_mask=mask)
        answer = await self._admin(
            "UpdateQueueKey", request, admin_pb.UpdateQueueKeyResponse, deadline, retry=not etag
        )
        return queue_key(answer.queue_key)

    async def unblock_queue_key(self, queue: str, key: str, *, deadline: timedelta | None = None) -> str:
        """Lets a key of a queue go on with its next job, though one that failed or was cancelled blocks it.

        That job stays as it ended. A `retry` of it lets the key go on with it instead, and a `delete` does as this.

        Returns:
            The id of the job that blocked it.

        Raises:
            QueueNotFound: No job was ever enqueued in the queue.
            KeyNotBlocked: No job blocks the key.
        """
        request = admin_pb.UnblockQueueKeyRequest(queue=queue, key=key)
        answer = await self._admin(
            "UnblockQueueKey", request, admin_pb.UnblockQueueKeyResponse, deadline, retry=False
        )
        return answer.blocked_by

    # --- schedules ---

    @property
    def schedules(self) -> Schedules:
        """The calls about schedules: jobs, and the times at which they are enqueued."""
        # Loaded here: a program without schedules does not wait for their messages.
        from .schedule_calls import Schedules

        return Schedules(self._call, self._encodings)

    # --- middleware ---

    async def _one_through(self, job: NewJob, deadline: timedelta | None) -> Job:
        from .middleware import enqueue_through

        sent: builtins.list[Job] = []

        async def send(jobs: Sequence[NewJob]) -> Sequence[EnqueueResult]:
            sent.append(await self._bare.enqueue(jobs[0], deadline=deadline))
            return [EnqueueResult(sent[0].id, sent[0].replayed, sent[0].unique_action)]

        await enqueue_through(self._middleware, [job], send)
        return sent[0]

    async def _many_through(
        self, jobs: Sequence[NewJob], deadline: timedelta | None
    ) -> builtins.list[EnqueueResult]:
        from .middleware import enqueue_through

        sent: builtins.list[EnqueueResult] = []

        async def send(jobs: Sequence[NewJob]) -> Sequence[EnqueueResult]:
            sent.extend(await self._bare.enqueue_many(jobs, deadline=deadline))
            return sent

        if jobs:
            await enqueue_through(self._middleware, jobs, send)
        return sent

    # --- encodings ---

    async def _job(
        self, message: job_pb2.Job, replayed: bool = False, action: UniqueAction | None = None
    ) -> Job:
        """The job in an answer, decoded."""
        if self._encodings is None:
            return convert.job(message, replayed, action)
        return await self._encodings.read(message, replayed, action)

    # --- calls ---

    async def _enqueue(
        self,
        method: str,
        request: Any,
        answer: type[Answer],
        jobs: Sequence[job_pb2.NewJob],
        deadline: timedelta | None,
        *,
        retry: bool,
    ) -> Answer:
        """Enqueues these jobs, and tells the observer how it went."""
        if self._observing is None:
            return await self._in_turn(method, request, answer, deadline, retry=retry)
        began = time.monotonic()
        error = ""
        try:
            return await self._in_turn(method, request, answer, deadline, retry=retry)
        except JobQueueError as failed:
            error = str(failed)
            raise
        except BaseException as failed:
            error = type(failed).__qualname__
            raise
        finally:
            self._observing.tell(
                self._observing.observer.enqueued,
                len(jobs),
                _same(job.kind for job in jobs),
                _same(job.queue or "default" for job in jobs),
                time.monotonic() - began,
                error,
            )

    async def _in_turn(
        self, method: str, request: Any, answer: type[Answer], deadline: timedelta | None, *, retry: bool
    ) -> Answer:
        window = self._connections.window() if self._adaptive else None
        if window is None:
            return await self._jobs(method, request, answer, deadline, retry=retry)
        deadline = deadline if deadline is not None else self._deadline
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(seconds(deadline, "deadline")):
                turn = await window.turn()
        except TimeoutError:
            raise DeadlineExceeded(
                f"the call was not sent: for {deadline.total_seconds():g} s the server had no room for more than the "
                f"{window.in_flight} enqueues in flight",
                code="DEADLINE_EXCEEDED",
            ) from None
        with turn:
            left = deadline - timedelta(seconds=loop.time() - began)
            return await self._jobs(method, request, answer, left, retry=retry, turn=turn)

    async def _jobs(
        self,
        method: str,
        request: Any,
        answer: type[Answer],
        deadline: timedelta | None,
        *,
        retry: bool,
        turn: Turn | None = None,
    ) -> Answer:
        return await self._call(JobQueueStub, method, request, answer, deadline, retry=retry, turn=turn)

    async def _admin(
        self,
        method: str,
        request: Any,
        answer: type[Answer],
        deadline: timedelta | None,
        *,
        retry: bool = True,
    ) -> Answer:
        # What QueueAdmin does without an etag may be done twice: a kind is put as a whole, a paused queue is paused.
        return await self._call(QueueAdminStub, method, request, answer, deadline, retry=retry)

    async def _insight(
        self, method: str, request: Any, answer: type[Answer], deadline: timedelta | None
    ) -> Answer:
        return await self._call(InsightStub, method, request, answer, deadline, retry=True)

    async def _bulk(
        self, method: str, request: Any, answer: type[Answer], deadline: timedelta | None, *, retry: bool
    ) -> Answer:
        return await self._call(BulkStub, method, request, answer, deadline, retry=retry)

    async def _operations(
        self, method: str, request: Any, answer: type[Answer], deadline: timedelta | None
    ) -> Answer:
        # To delete one again is refused, and done.
        return await self._call(
            OperationsStub, method, request, answer, deadline, retry=method != "DeleteOperation"
        )

    async def _call(
        self,
        stub: type[Any],
        method: str,
        request: Any,
        answer: type[Answer],
        deadline: timedelta | None,
        *,
        retry: bool,
        turn: Turn | None = None,
    ) -> Answer:
        try:
            answered = await call(
                self._method(stub, method),
                request,
                self._access,
                deadline=deadline if deadline is not None else self._deadline,
                retry=retry,
                answer=answer,
                turn=turn,
            )
        except JobQueueError as error:
            self._first_use.failed(error)
            raise
        self._first_use.answered()
        return answered

    def _method(self, stub: type[Any], name: str) -> Callable[..., Any]:
        method: Callable[..., Any] = getattr(self._connections.stub(stub), name)
        return method


def _same(names: Iterable[str]) -> str:
    """What they have in common. Empty: they differ."""
    found = set(names)
    return found.pop() if len(found) == 1 else ""
