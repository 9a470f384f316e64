"""A client that has no server: it checks what is enqueued, and keeps it."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

from ..batches import key_of
from ..convert import job as job_of
from ..convert import new_job
from ..errors import FieldViolation, IdempotencyKeyReused, InvalidRequest
from ..jobs import Auto, EnqueueResult, Job, NewJob, no_kind
from ..middleware import Middleware, enqueue_through, listed
from ..new_jobs import new_job_of
from ..sync import run_waiting
from ..v1 import job_pb2

if TYPE_CHECKING:
    from ..typed.kind import JobKind

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,127}")
_PAYLOAD_BYTES = 1024 * 1024


class _Recorder:
    """What both clients share.

    Args:
        middleware: What goes around enqueues, the outermost first.

    Attributes:
        jobs: What was enqueued, in order, as a server would have stored it; a replay is no second one.
    """

    def __init__(self, middleware: Sequence[Middleware] = ()) -> None:
        self.jobs: list[NewJob] = []
        self._middleware = listed(middleware)
        self._keyed: dict[str, tuple[bytes, Job]] = {}

    async def enqueued(
        self, kind: str | JobKind[Any, Any] | NewJob, payload: Any, options: dict[str, Any]
    ) -> Job:
        """Keeps a job."""
        if isinstance(kind, NewJob):
            job = kind
        elif isinstance(kind, str):
            job = NewJob(kind, payload, **options)
        elif hasattr(kind, "as_said"):
            job = kind.new(payload, **options)
        else:
            raise no_kind(kind)
        (kept,) = await self._through([job], "job")
        return kept

    async def enqueued_many(self, jobs: Iterable[NewJob]) -> list[EnqueueResult]:
        """Keeps jobs."""
        kept = await self._through(list(jobs), "jobs[{}]")
        return [EnqueueResult(job.id, job.replayed) for job in kept]

    async def _through(self, jobs: Sequence[NewJob], path: str) -> Sequence[Job]:
        kept: list[Job] = []

        async def send(jobs: Sequence[NewJob]) -> Sequence[EnqueueResult]:
            for number, job in enumerate(jobs):
                kept.append(self._kept(job, path.format(number)))
            return [EnqueueResult(job.id, job.replayed) for job in kept]

        await enqueue_through(self._middleware, jobs, send)
        return kept

    def _kept(self, new: NewJob, path: str) -> Job:
        # It has no wire on which a payload would be seen.
        message = new_job(replace(new, encodings=""), key_of(new.idempotency_key))
        _check(message, path)
        # Headers are not part of what makes two requests the same.
        said = job_pb2.NewJob()
        said.CopyFrom(message)
        said.ClearField("headers")
        digest = said.SerializeToString(deterministic=True)
        own_key = message.idempotency_key if not isinstance(new.idempotency_key, Auto) else ""
        if own_key in self._keyed:
            before, job = self._keyed[own_key]
            if before != digest:
                raise IdempotencyKeyReused(
                    f"the key was used for another request, whose job is {job.id}; choose a new key for this one",
                    code="ALREADY_EXISTS",
                    reason="IDEMPOTENCY_KEY_REUSED",
                    metadata={"job_id": job.id},
                )
            return replace(job, replayed=True)
        job = job_of(_stored(message, own_key))
        if own_key:
            self._keyed[own_key] = digest, job
        kept = new_job_of(message)
        self.jobs.append(kept if own_key else replace(kept, idempotency_key=new.idempotency_key))
        return job


class RecordingClient(_Recorder):
    """Stands for a `Client` in a unit test of code that enqueues.

    It checks names, ranges, JSON and typed payloads, answers a QUEUED job with a new id, replays idempotency keys. A
    server checks more: schemas, permissions, limits, unique names. Each other method of a client raises
    NotImplementedError: it would have to guess what a server does.

    Args:
        middleware: As of `Client`.

    Attributes:
        jobs: What was enqueued, in order. It compares with `kind.new(...)` and `NewJob(...)` of JSON text.
    """

    async def enqueue(
        self, kind: str | JobKind[Any, Any] | NewJob, payload: Any = None, **options: Any
    ) -> Job:
        """As `Client.enqueue`."""
        options.pop("deadline", None)
        return await self.enqueued(kind, payload, options)

    async def enqueue_many(self, jobs: Iterable[NewJob], **_: Any) -> list[EnqueueResult]:
        """As `Client.enqueue_many`."""
        return await self.enqueued_many(jobs)

    async def __aenter__(self) -> RecordingClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Keeps what it has."""

    async def close(self) -> None:
        """Does nothing."""

    def __getattr__(self, name: str) -> NoReturn:
        raise _unable(self, name)


class SyncRecordingClient(_Recorder):
    """The same for a `SyncClient`."""

    def enqueue(self, kind: str | JobKind[Any, Any] | NewJob, payload: Any = None, **options: Any) -> Job:
        """As `SyncClient.enqueue`."""
        options.pop("deadline", None)
        return run_waiting(self.enqueued(kind, payload, options))

    def enqueue_many(self, jobs: Iterable[NewJob], **_: Any) -> list[EnqueueResult]:
        """As `SyncClient.enqueue_many`."""
        return run_waiting(self.enqueued_many(jobs))

    def __enter__(self) -> SyncRecordingClient:
        return self

    def __exit__(self, *_: object) -> None:
        """Keeps what it has."""

    def close(self) -> None:
        """Does nothing."""

    def __getattr__(self, name: str) -> NoReturn:
        raise _unable(self, name)


def _stored(message: job_pb2.NewJob, own_key: str) -> job_pb2.Job:
    """The job as a server would have stored it, with an id of its own."""
    stored = job_pb2.Job(
        id=str(uuid.uuid4()),
        kind=message.kind,
        status=job_pb2.Job.QUEUED,
        queue=message.queue or "default",
        priority=message.priority,
        max_attempts=message.max_attempts or 3,
        payload_json=message.payload_json,
        timeout=message.timeout if message.HasField("timeout") else None,
        retry_policy=message.retry_policy if message.HasField("retry_policy") else None,
        labels=message.labels,
        headers=message.headers,
        idempotency_key=own_key,
        key=message.key,
        unique_key=message.unique.key,
        hold=job_pb2.Job.HAND if message.hold else None,
    )
    now = datetime.now(UTC)
    stored.created_at.FromDatetime(now)
    stored.updated_at.FromDatetime(now)
    if message.HasField("run_at"):
        stored.run_at.CopyFrom(message.run_at)
    else:
        stored.run_at.FromDatetime(now + message.delay.ToTimedelta())
    return stored


def _unable(client: object, name: str) -> Exception:
    from ..client import Client

    if name.startswith("_") or not hasattr(Client, name):
        return AttributeError(f"{type(client).__name__!r} object has no attribute {name!r}")
    return NotImplementedError(
        f"{name}: the recording client has no server and does not guess what one would do; use a real one"
    )


def _check(message: job_pb2.NewJob, path: str) -> None:
    """What a server refuses whatever it has been told of the kind.

    Raises:
        InvalidRequest: As the server's.
    """
    violations = []
    for field, value in (("kind", message.kind), ("queue", message.queue)):
        if (value or field == "kind") and not _NAME.fullmatch(value):
            words = "must be 1 to 128 of a-z 0-9 _ . - and begin with a letter or digit"
            violations.append(FieldViolation(f"{path}.{field}", words))
    if not -10 <= message.priority <= 10:
        violations.append(FieldViolation(f"{path}.priority", "must be from -10 to 10"))
    if message.max_attempts > 1000:
        violations.append(FieldViolation(f"{path}.max_attempts", "must be 1 to 1000"))
    if len(message.payload_json) > _PAYLOAD_BYTES:
        words = f"has {len(message.payload_json)} bytes; at most {_PAYLOAD_BYTES} are allowed"
        violations.append(FieldViolation(f"{path}.payload", words))
    if violations:
        first = violations[0]
        raise InvalidRequest(
            f"{first.field}: {first.description}",
            code="INVALID_ARGUMENT",
            reason="FIELD_INVALID",
            violations=violations,
        )
