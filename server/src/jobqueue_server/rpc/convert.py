"""Converts between the messages of the contract and the values of the core."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Literal, cast

from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Value
from google.protobuf.timestamp_pb2 import Timestamp

from jobqueue.v1 import job_pb2 as pb
from jobqueue.v1 import queue_admin_pb2 as admin_pb

from ..lifecycle import Hold, Status
from ..model import (
    DEFAULT_QUEUE,
    DEFAULT_RETRY_POLICY,
    MAX_PAYLOAD_BYTES,
    MAX_PRIORITY,
    MIN_PRIORITY,
    NOTHING,
    REPLACED,
    Job,
    Kind,
    NewJob,
    OnConflict,
    Queue,
    RetryPolicy,
    Unique,
    UniqueField,
    UniqueScope,
    Until,
)
from . import checks, kind_values
from .values import TooDeep, ValueInvalid, fill, text_of

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

#: The largest Value that is sent, in bytes. Above it JSON text is sent.
MAX_VALUE_BYTES = MAX_PAYLOAD_BYTES + (256 << 10)
#: How many times as large as its JSON text a Value can be: the two bytes of `0,` become eleven.
VALUE_GROWTH = 6


def new_job(
    message: pb.NewJob,
    at: str,
    now: datetime,
    problems: checks.Problems,
    *,
    given_headers: Mapping[str, str] = NOTHING,
    key: str | None = None,
) -> NewJob:
    """Checks and reads a job to enqueue. If `problems` gets anything, the answer must not be used.

    Args:
        message: The job.
        at: Its path with a dot at the end, such as `jobs[3].`.
        now: The time of the database's clock.
        problems: Gets what is wrong.
        given_headers: Headers of the call. The job's own headers win over them.
        key: The idempotency key to use instead of the job's.
    """
    checks.new_job(message, at, now, problems)
    start = message.WhichOneof("start")
    headers = {**given_headers, **message.headers} if message.headers else given_headers
    usable = not problems
    payload = _payload(message, at, problems)
    unique = None
    if message.HasField("unique"):
        checks.unique(message, f"{at}unique.", len(payload), problems)
        unique = unique_of(message.unique) if not problems else None
    return NewJob(
        message.kind,
        payload,
        message.queue or DEFAULT_QUEUE,
        message.priority,
        moment(message.run_at) if start == "run_at" and usable else None,
        span(message.delay) if start == "delay" and usable else None,
        message.max_attempts or None,
        span(message.timeout) if usable and message.HasField("timeout") else None,
        retry_policy(message.retry_policy) if usable and message.HasField("retry_policy") else None,
        (message.idempotency_key or None) if key is None else key,
        dict(message.labels) if message.labels else NOTHING,
        headers,
        Hold.HAND if message.hold else None,
        message.key or None,
        unique,
    )


def unique_of(message: pb.Unique) -> Unique:
    """Reads what makes a job unique. `checks.unique` has checked it."""
    on_conflict = OnConflict(message.on_conflict or OnConflict.KEEP)
    replaces = on_conflict is OnConflict.REPLACE
    return Unique(
        message.key or None,
        tuple(message.payload_fields),
        UniqueScope(message.scope or UniqueScope.KIND),
        Until(message.until or Until.STARTS),
        span(message.period) if message.HasField("period") else None,
        on_conflict,
        tuple(sorted(map(UniqueField, set(message.replace)))) or (REPLACED if replaces else ()),
        span(message.max_delay) if message.HasField("max_delay") else None,
    )


def decode_simple_unique(job: pb.NewJob) -> Unique | None:
    """Reads what makes a job unique, but for DEBOUNCE by a key; None for that one, and where something is wrong.

    For the hot path (2 us instead of 9): what stands beside the key is mostly the same as in other calls.

    Args:
        job: The job, which has `unique`.
    """
    message = job.unique
    key = message.key
    if not key:
        problems = checks.Problems()
        checks.unique(job, "", len(job.payload_json), problems)
        return None if problems else unique_of(message)
    if not checks.is_key(key):
        return None
    # The key is the first field.
    octets = len(key.encode())
    raw = message.SerializeToString()[size_of(octets) :]
    known = _beside_key(raw) if len(raw) <= _MOST_BESIDE_KEY else None
    if known is None:
        return None
    return Unique(
        key, (), known.scope, known.until, known.period, known.on_conflict, known.replace, known.max_delay
    )


# All that can be right takes fewer bytes; what is remembered must not be as large as a caller likes.
_MOST_BESIDE_KEY = 64


@lru_cache(maxsize=256)
def _beside_key(raw: bytes) -> Unique | None:
    """What the bytes of a message say that has lost its key; None where something is wrong with that."""
    job = pb.NewJob(unique=pb.Unique.FromString(raw))
    job.unique.key = "any"
    problems = checks.Problems()
    checks.unique(job, "", 0, problems)
    return None if problems else unique_of(job.unique)


def decode_simple(
    message: pb.NewJob,
    headers: Mapping[str, str],
    key: str | None = None,
    unique: Unique | None = None,
    *,
    beside: int = 0,
) -> NewJob | None:
    """Reads a job that has only kind, payload_json, queue, priority and key, as most jobs do; None for others.

    For the hot path (3 us instead of 10). The size of the message shows that no other field is set.

    Args:
        message: The job.
        headers: Those of the call.
        key: The job's idempotency key, which is not read from the message.
        unique: What makes it unique, which is not either.
        beside: How many bytes the message has for these two.
    """
    kind, payload, queue, priority = message.kind, message.payload_json, message.queue, message.priority
    job_key = message.key
    length = len(payload)
    # The tag of each field, and up to three bytes for the payload's length.
    size = beside + len(kind) + length + (4 if length < 1 << 7 else 5 if length < 1 << 14 else 6)
    if queue:
        size += 2 + len(queue)
    if priority:
        size += 2 if priority > 0 else 11
    if job_key:
        size += size_of(len(job_key.encode()))
    if message.ByteSize() != size:
        return None
    return simple_job(kind, payload, queue, priority, job_key, headers, key, unique)


def simple_job(
    kind: str,
    payload: bytes,
    queue: str,
    priority: int,
    job_key: str,
    headers: Mapping[str, str],
    key: str | None,
    unique: Unique | None = None,
) -> NewJob | None:
    """The job of these fields, which are as in its message; None where one is wrong, or its payload is not simple.

    The idempotency key and what makes it unique are right.
    """
    if (
        not checks.is_name(kind)
        or (queue and not checks.is_name(queue))
        or not MIN_PRIORITY <= priority <= MAX_PRIORITY
        or not checks.is_simple_payload(payload)
        or (job_key and not checks.is_key(job_key))
    ):
        return None
    return NewJob(
        kind,
        payload,
        queue or DEFAULT_QUEUE,
        priority,
        idempotency_key=key,
        labels=NOTHING,
        headers=headers,
        key=job_key or None,
        unique=unique,
    )


def decode(
    message: pb.NewJob, headers: Mapping[str, str], now: datetime, key: str | None = None
) -> NewJob | None:
    """Reads any job; None where something is wrong with it, which `new_job` says again in words.

    Args:
        message: The job.
        headers: Those of the call.
        now: As in `new_job`.
        key: As in `new_job`.
    """
    problems = checks.Problems()
    new = new_job(message, "", now, problems, given_headers=headers, key=key)
    return None if problems else new


def size_of(octets: int) -> int:
    """The bytes of a text or a message of so many, below 16 KiB, that is one of the first fifteen fields of another."""
    return octets + (2 if octets < 1 << 7 else 3)


def _payload(message: pb.NewJob, at: str, problems: checks.Problems) -> bytes:
    content = message.WhichOneof("content")
    if content == "payload_json":
        checks.payload_json(message.payload_json, f"{at}payload_json", problems)
        return message.payload_json
    if content is None:
        return b"null"
    try:
        payload = text_of(message.payload)
    except ValueInvalid as error:
        problems.no_json(f"{at}payload", str(error))
        return b"null"
    checks.payload_size(len(payload), f"{at}payload", problems)
    return payload


def retry_policy(message: pb.RetryPolicy) -> RetryPolicy:
    """The policy, with the default for a bound that is not set. A default gives way to the bound that is set."""
    low, high = DEFAULT_RETRY_POLICY.min_backoff, DEFAULT_RETRY_POLICY.max_backoff
    if message.HasField("min_backoff"):
        low = span(message.min_backoff)
        high = max(low, high)
    if message.HasField("max_backoff"):
        high = span(message.max_backoff)
        low = min(low, high)
    return RetryPolicy(low, high)


def kind(message: admin_pb.Kind, problems: checks.Problems) -> Kind:
    """Checks and reads a kind. The core checks whether its schema is a JSON Schema."""
    checks.name(message.name, "kind.name", problems, "send_email")
    checks.max_attempts(message.max_attempts, "kind.", problems)
    timed = message.HasField("timeout")
    if timed:
        checks.timeout(message.timeout, "kind.timeout", problems)
    retried = message.HasField("retry_policy")
    if retried:
        checks.retry_policy(message.retry_policy, "kind.", problems)
    checks.slot_weight(message.slot_weight, "kind.slot_weight", problems)
    kind_values.check_version(message.version, "kind.version", problems)
    kind_values.check_annotations(message.annotations, "kind.annotations", problems)
    schema = _schema(message, "schema", "definition", problems)
    output_schema = _schema(message, "output_schema", "output_definition", problems)
    usable = not problems
    return Kind(
        message.name,
        schema,
        retry_policy(message.retry_policy) if retried and usable else None,
        message.max_attempts or None,
        span(message.timeout) if timed and usable else None,
        slot_weight=message.slot_weight or 1,
        version=message.version,
        output_schema=output_schema,
        annotations=dict(message.annotations),
    )


def _schema(
    message: admin_pb.Kind,
    field: str,
    oneof: Literal["definition", "output_definition"],
    problems: checks.Problems,
) -> str | None:
    definition = message.WhichOneof(oneof)
    if definition is None:
        return None
    given = getattr(message, definition)
    try:
        text = str((text_of(given) if definition == field else given).decode())
        # Clients that were made from the document send null for what is not set.
        return None if text.strip() == "null" else text
    except UnicodeDecodeError:
        problems.add(f"kind.{field}_json", "must be JSON text in UTF-8")
    except ValueInvalid as error:
        problems.add(f"kind.{field}", str(error))
    return None


def job_message(job: Job, payload_format: int) -> pb.Job:
    """The message of a job. Payload and output are Values, unless JSON text is asked for."""
    message = pb.Job(
        id=str(job.id),
        kind=job.kind,
        status=status_number(job.status),
        attempts=job.attempts,
        max_attempts=job.max_attempts,
        last_error=job.last_error or "",
        locked_by=job.locked_by or "",
        cancel_requested=job.cancel_requested,
        idempotency_key=job.idempotency_key or "",
        key=job.key or "",
        unique_key=job.unique_key or "",
        queue=job.queue,
        priority=job.priority,
        failures=job.failures,
        losses=job.losses,
        reason=job.reason or "",
        labels=job.labels,
        headers=job.headers,
    )
    if job.hold is not None:
        message.hold = hold_number(job.hold)
    set_moment(message.run_at, job.run_at)
    set_moment(message.created_at, job.created_at)
    set_moment(message.updated_at, job.updated_at)
    if job.locked_at is not None:
        set_moment(message.locked_at, job.locked_at)
    if job.finished_at is not None:
        set_moment(message.finished_at, job.finished_at)
    if job.timeout is not None:
        set_span(message.timeout, job.timeout)
    if job.retry_policy is not None:
        _set_retry_policy(message.retry_policy, job.retry_policy)
    as_text = payload_format == pb.PAYLOAD_FORMAT_JSON
    if job.payload is not None and (as_text or not filled(message.payload, job.payload)):
        message.payload_json = job.payload
    if job.output is not None and (as_text or not filled(message.output, job.output)):
        message.output_json = job.output
    for failed in job.failed_attempts:
        entry = message.failed_attempts.add(
            attempt=failed.attempt,
            reason=failed.reason,
            error_type=failed.error_type,
            error=failed.error,
            worker=failed.worker,
        )
        set_moment(entry.started_at, failed.started_at)
        set_moment(entry.ended_at, failed.ended_at)
    if job.progress is not None:
        message.progress.fraction = job.progress.fraction
        message.progress.message = job.progress.message
        set_moment(message.progress.updated_at, job.progress.updated_at)
    return message


def filled(value: Value, text: bytes) -> bool:
    """Sets a Value from JSON text; False if the Value would be too deep or too large, and text must be sent."""
    try:
        fill(value, text)
    except TooDeep:
        return False
    # `[0,0,...]` becomes six times as large as a Value, and two Values must fit into a message.
    if len(text) > MAX_VALUE_BYTES // VALUE_GROWTH and value.ByteSize() > MAX_VALUE_BYTES:
        value.Clear()
        return False
    return True


def kind_message(kind: Kind, payload_format: int) -> admin_pb.Kind:
    """The message of a kind. Schemas are Values, unless JSON text is asked for."""
    message = admin_pb.Kind(
        name=kind.name,
        max_attempts=kind.max_attempts or 0,
        version=kind.version,
        annotations=kind.annotations,
    )
    if kind.slot_weight > 1:
        message.slot_weight = kind.slot_weight
    if kind.schema is not None:
        text = kind.schema.encode()
        if payload_format == pb.PAYLOAD_FORMAT_JSON or not filled(message.schema, text):
            message.schema_json = text
    if kind.output_schema is not None:
        text = kind.output_schema.encode()
        if payload_format == pb.PAYLOAD_FORMAT_JSON or not filled(message.output_schema, text):
            message.output_schema_json = text
    if kind.retry_policy is not None:
        _set_retry_policy(message.retry_policy, kind.retry_policy)
    if kind.timeout is not None:
        set_span(message.timeout, kind.timeout)
    return message


def queue_message(queue: Queue) -> admin_pb.Queue:
    """The message of a queue."""
    message = admin_pb.Queue(
        name=queue.name, paused=queue.paused, running=queue.running, max_waiting=queue.max_waiting or 0
    )
    for depth in queue.depths:
        entry = message.depths.add(status=status_number(depth.status), jobs=depth.jobs, capped=depth.capped)
        if depth.oldest_age is not None:
            set_span(entry.oldest_age, depth.oldest_age)
    for held in queue.held:
        message.held.add(hold=hold_number(held.hold), jobs=held.jobs, capped=held.capped)
    return message


def status_number(status: Status) -> pb.Job.Status.ValueType:
    """A status on the wire. The numbers are the same."""
    return cast("pb.Job.Status.ValueType", int(status))


def hold_number(hold: Hold) -> pb.Job.Hold.ValueType:
    """A hold on the wire. The numbers are the same."""
    return cast("pb.Job.Hold.ValueType", int(hold))


def moment(value: Timestamp) -> datetime:
    """Reads a checked Timestamp, to the microsecond."""
    return _EPOCH + timedelta(seconds=value.seconds, microseconds=value.nanos // 1000)


def span(value: Duration) -> timedelta:
    """Reads a checked Duration that is not negative, to the microsecond."""
    return timedelta(seconds=value.seconds, microseconds=value.nanos // 1000)


def set_moment(target: Timestamp, value: datetime) -> None:
    """Writes a time into a message's field."""
    since = value - _EPOCH
    target.seconds = since.days * 86400 + since.seconds
    target.nanos = since.microseconds * 1000


def set_span(target: Duration, value: timedelta) -> None:
    """Writes a span that is not negative into a message's field. A zero span is set too."""
    target.SetInParent()
    target.seconds = value.days * 86400 + value.seconds
    target.nanos = value.microseconds * 1000


def _set_retry_policy(target: pb.RetryPolicy, policy: RetryPolicy) -> None:
    set_span(target.min_backoff, policy.min_backoff)
    set_span(target.max_backoff, policy.max_backoff)
