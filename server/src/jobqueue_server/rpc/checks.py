"""The rules of the fields of requests. One error names every wrong field by its path in the request."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from difflib import get_close_matches
from uuid import UUID

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from jobqueue.v1 import job_pb2 as pb

from ..core.intake.digest import check_json, is_simple_json
from ..errors import FieldInvalid, FieldViolation, JobQueueError, PayloadInvalid, PayloadTooLarge
from ..fields import FIELDS
from ..model import (
    MAX_AHEAD,
    MAX_ATTEMPTS_LIMIT,
    MAX_BACKOFF,
    MAX_BATCH_JOBS,
    MAX_HEADERS_BYTES,
    MAX_KEY_CHARS,
    MAX_LABEL_NAME,
    MAX_LABEL_VALUE,
    MAX_LABELS,
    MAX_NAMING_PAYLOAD_BYTES,
    MAX_PAYLOAD_BYTES,
    MAX_POINTER_CHARS,
    MAX_POINTERS,
    MAX_PRIORITY,
    MAX_SLOT_WEIGHT,
    MAX_TIMEOUT,
    MAX_WAIT,
    MAX_WATCHED_IDS,
    MIN_BACKOFF,
    MIN_PRIORITY,
    MIN_TIMEOUT,
    MIN_UNIQUE_PERIOD,
    NewJob,
)

MAX_REASON_CHARS = 255
MAX_PAGE_TOKEN_CHARS = 1024
# The token names the transactions that were open, at most one for each connection.
MAX_WATCH_TOKEN_CHARS = 16 << 10

# How many problems an error describes. Of a batch with a thousand wrong jobs it counts the others.
_MAX_VIOLATIONS = 50
# The range of a Timestamp: the years 1 to 9999.
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799
_UUID_CHARS = 36
# How much of a path is shown and compared.
_MAX_PATH_CHARS = 80
_LARGE = re.compile(r"[A-Z]")

_SHORT_TEXTS = [(field.name, field.most) for field in FIELDS if field.most]

is_name = re.compile(r"[a-z0-9][a-z0-9_.-]{0,127}").fullmatch
_is_label_name = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_./-]{{0,{MAX_LABEL_NAME - 1}}}").fullmatch
_is_header_name = re.compile(r"[!-~]+").fullmatch
_is_uuid = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}").fullmatch
_find_control = re.compile(r"[\x00-\x1f\x7f-\x9f]").search

_NAME_RULE = "must be 1 to 128 of a-z 0-9 _ . - and begin with a letter or digit, such as {}"


class Problems:
    """Collects what is wrong with a request, so that one error names all of it."""

    __slots__ = ("_count", "_in_payloads", "_too_large", "_violations")

    def __init__(self) -> None:
        self._count = 0
        self._in_payloads = 0
        self._too_large = False
        self._violations: list[FieldViolation] = []

    def add(self, field: str, description: str) -> None:
        """Adds a wrong field. The description says what would be right."""
        self._count += 1
        if len(self._violations) < _MAX_VIOLATIONS:
            self._violations.append(FieldViolation(field, description))

    def no_json(self, field: str, description: str) -> None:
        """Adds a payload that is not valid JSON: PayloadInvalid."""
        self._in_payloads += 1
        self.add(field, description)

    def too_large(self, field: str, size: int) -> None:
        """Adds a payload that is over its limit: PayloadTooLarge."""
        self._too_large = True
        self.add(
            field,
            f"has {size} bytes as JSON text; at most {MAX_PAYLOAD_BYTES} are allowed: "
            "store the data elsewhere and send a reference",
        )

    def __bool__(self) -> bool:
        return self._count > 0

    def raise_if_any(self) -> None:
        """Ends the call if anything was wrong.

        Raises:
            PayloadTooLarge: A payload is over its limit; other fields may be wrong too.
            PayloadInvalid: Payloads are not JSON, and no other field is wrong.
            FieldInvalid: Another field is wrong.
        """
        if not self._count:
            return
        first = self._violations[0]
        more = f" (and {self._count - 1} more)" if self._count > 1 else ""
        error: type[JobQueueError] = FieldInvalid
        if self._too_large:
            error = PayloadTooLarge
        elif self._in_payloads == self._count:
            error = PayloadInvalid
        raise error(f"{first.field}: {first.description}{more}", violations=self._violations)


def mask_path(path: str, known: Collection[str], problems: Problems) -> None:
    """Adds a path of `update_mask` that names nothing that can be changed, and the nearest one that does."""
    named = path[:_MAX_PATH_CHARS]
    # Both spellings: over gRPC a mask has the proto's names alone, and a caller may have sent JSON's.
    near = get_close_matches(_LARGE.sub(lambda letter: "_" + letter[0].lower(), named), known, n=1)
    meant = f"; did you mean {near[0]}?" if near else ""
    problems.add("update_mask", f"names {named}, but only these can be changed: {', '.join(known)}{meant}")


def no_change(message: str, known: Collection[str], problems: Problems) -> None:
    """Adds that a call has neither a mask nor a field that can be changed."""
    problems.add(
        "update_mask", f"must name what to change, or `{message}` must set one of these: {', '.join(known)}"
    )


def new_job(job: pb.NewJob, at: str, now: datetime, problems: Problems) -> None:
    """Checks a job to enqueue, except its payload.

    Args:
        job: The message.
        at: The message's path with a dot at the end, such as `job.`.
        now: The time of the database's clock.
        problems: Gets what is wrong.
    """
    # A call may have a thousand jobs, so a field that is not set costs one comparison.
    if not is_name(job.kind):
        problems.add(f"{at}kind", _NAME_RULE.format("send_email"))
    if job.queue and not is_name(job.queue):
        problems.add(f"{at}queue", _NAME_RULE.format("mail") + "; empty for `default`")
    if not MIN_PRIORITY <= job.priority <= MAX_PRIORITY:
        problems.add(f"{at}priority", f"must be from {MIN_PRIORITY} to {MAX_PRIORITY}, higher first")
    start = job.WhichOneof("start")
    if start == "run_at":
        run_at(job.run_at, f"{at}run_at", now, problems)
    elif start == "delay":
        delay(job.delay, f"{at}delay", problems)
    if job.max_attempts:
        max_attempts(job.max_attempts, at, problems)
    if job.HasField("timeout"):
        timeout(job.timeout, f"{at}timeout", problems)
    if job.HasField("retry_policy"):
        retry_policy(job.retry_policy, at, problems)
    for name, most in _SHORT_TEXTS:
        value = getattr(job, name)
        if value:
            short_text(value, f"{at}{name}", most, problems)
    if job.key:
        key(job.key, f"{at}key", problems)
    if job.labels:
        labels(job.labels, f"{at}labels", problems)
    if job.headers:
        headers(job.headers, f"{at}headers", problems)


def run_at(value: Timestamp, field: str, now: datetime, problems: Problems) -> bool:
    """Checks when a job may start. `now` is the time of the database's clock."""
    if not timestamp(value, field, problems):
        return False
    if value.seconds > (now + MAX_AHEAD).timestamp():
        problems.add(field, f"must be at most {_words(MAX_AHEAD)} from now")
        return False
    return True


def delay(value: Duration, field: str, problems: Problems) -> bool:
    """Checks how long from now a job may start."""
    return duration(value, field, timedelta(), MAX_AHEAD, problems)


def payload_json(payload: bytes, field: str, problems: Problems) -> None:
    """Checks that a payload is JSON text within the size limit."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        problems.too_large(field, len(payload))
        return
    try:
        check_json(payload, field)
    except FieldInvalid as error:
        for violation in error.violations:
            problems.no_json(violation.field, violation.description)


def is_simple_payload(payload: bytes) -> bool:
    """Whether a payload surely passes `payload_json`; after False it may pass or not."""
    return 0 < len(payload) <= MAX_PAYLOAD_BYTES and is_simple_json(payload)


def payload_size(size: int, field: str, problems: Problems) -> None:
    """Checks the size of a payload, in bytes of JSON text."""
    if size > MAX_PAYLOAD_BYTES:
        problems.too_large(field, size)


def batch_size(jobs: int, problems: Problems) -> None:
    """Checks the number of jobs in a batch."""
    if not 1 <= jobs <= MAX_BATCH_JOBS:
        problems.add("jobs", f"must be 1 to {MAX_BATCH_JOBS} jobs, not {jobs}")


def distinct_keys(jobs: Iterable[NewJob], at: str, problems: Problems) -> None:
    """Checks that no two jobs of the list at `at` have the same idempotency key."""
    first: dict[str, int] = {}
    for index, job in enumerate(jobs):
        key = job.idempotency_key
        if key and first.setdefault(key, index) != index:
            problems.add(f"{at}[{index}].idempotency_key", f"must differ from the key of {at}[{first[key]}]")


def name(value: str, field: str, problems: Problems, example: str = "mail") -> None:
    """Checks the name of a kind or of a queue."""
    if not is_name(value):
        problems.add(field, _NAME_RULE.format(example))


def max_attempts(value: int, at: str, problems: Problems) -> None:
    """Checks `max_attempts`; 0 is the default."""
    if not 0 <= value <= MAX_ATTEMPTS_LIMIT:
        problems.add(f"{at}max_attempts", f"must be 1 to {MAX_ATTEMPTS_LIMIT}, or 0 for the default")


def slot_weight(value: int, field: str, problems: Problems) -> None:
    """Checks how many slots a job takes; 0 is 1."""
    if not 0 <= value <= MAX_SLOT_WEIGHT:
        problems.add(field, f"must be 1 to {MAX_SLOT_WEIGHT}, or 0 for 1")


def timeout(value: Duration, field: str, problems: Problems) -> None:
    """Checks how long an attempt may run."""
    duration(value, field, MIN_TIMEOUT, MAX_TIMEOUT, problems)


def retry_policy(policy: pb.RetryPolicy, at: str, problems: Problems) -> None:
    """Checks the bounds of a backoff that are set, and their order."""
    field = f"{at}retry_policy."
    low = policy.HasField("min_backoff") and duration(
        policy.min_backoff, f"{field}min_backoff", MIN_BACKOFF, MAX_BACKOFF, problems
    )
    high = policy.HasField("max_backoff") and duration(
        policy.max_backoff, f"{field}max_backoff", MIN_BACKOFF, MAX_BACKOFF, problems
    )
    if low and high and _nanos(policy.min_backoff) > _nanos(policy.max_backoff):
        problems.add(f"{field}max_backoff", "must not be less than min_backoff")


def idempotency_key(value: str, field: str, problems: Problems) -> None:
    """Checks a key that was given."""
    short_text(value, field, MAX_KEY_CHARS, problems)


def is_simple_key(value: str) -> bool:
    """Whether a key surely passes `idempotency_key`; after False it may pass or not."""
    return 0 < len(value) <= MAX_KEY_CHARS and value.isascii() and value.isprintable()


def is_key(value: str) -> bool:
    """Whether a job may have this key, by which its queue may limit it."""
    return 1 <= len(value) <= MAX_KEY_CHARS and "\0" not in value


def key(value: str, field: str, problems: Problems) -> None:
    """Checks the key of a job by which its queue may limit it."""
    if not is_key(value):
        problems.add(field, f"must be 1 to {MAX_KEY_CHARS} characters, none of them NUL")


_is_pointer = re.compile(r"(?:/(?:[^~\x00/]|~[01])*)*").fullmatch
_SCOPES = {name: number for name, number in pb.Unique.Scope.items() if number}
_UNTIL = {name: number for name, number in pb.Unique.Until.items() if number}
_ON_CONFLICT = {name: number for name, number in pb.Unique.OnConflict.items() if number}
_REPLACE = {name: number for name, number in pb.Unique.Field.items() if number}
_CHANGES = {pb.Unique.REPLACE: "REPLACE", pb.Unique.DEBOUNCE: "DEBOUNCE"}


def unique(job: pb.NewJob, at: str, payload_size: int, problems: Problems) -> None:
    """Checks what makes the name of a job, how long the job holds it, and what becomes of others.

    Args:
        job: The job, which has `unique`.
        at: The path of that with a dot at the end, such as `job.unique.`.
        payload_size: The bytes of the job's payload.
        problems: Gets what is wrong.
    """
    given = job.unique
    _unique_name(given, at, payload_size, problems)
    if given.scope:
        enum(given.scope, _SCOPES, f"{at}scope", problems)
    if given.until:
        enum(given.until, _UNTIL, f"{at}until", problems)
    if given.on_conflict:
        enum(given.on_conflict, _ON_CONFLICT, f"{at}on_conflict", problems)
    if given.HasField("period"):
        duration(given.period, f"{at}period", MIN_UNIQUE_PERIOD, MAX_AHEAD, problems)
    elif given.until == pb.Unique.PERIOD:
        problems.add(f"{at}period", "is required with `until` PERIOD, such as 600s")
    _unique_changes(given, at, problems)
    if given.on_conflict == pb.Unique.DEBOUNCE and not job.HasField("delay"):
        problems.add(
            f"{at}on_conflict",
            "DEBOUNCE wants `delay` of the job, such as 2s: it starts so long after the last one of its name",
        )
    if given.HasField("max_delay"):
        shortest = job.delay.ToTimedelta() if job.HasField("delay") and not problems else timedelta()
        duration(given.max_delay, f"{at}max_delay", shortest, MAX_AHEAD, problems)


def _unique_changes(given: pb.Unique, at: str, problems: Problems) -> None:
    """Checks what is to be changed of the job that is there."""
    doing = _CHANGES.get(given.on_conflict)
    debounces = given.on_conflict == pb.Unique.DEBOUNCE
    if doing is None:
        if given.replace:
            problems.add(f"{at}replace", "must be empty unless `on_conflict` is REPLACE or DEBOUNCE")
    elif given.scope in (pb.Unique.QUEUE, pb.Unique.NAMESPACE):
        problems.add(
            f"{at}scope",
            f"must be KIND or QUEUE_AND_KIND with {doing}: in others a job of another kind may hold the name, "
            "and a job never changes its kind",
        )
    if given.HasField("max_delay") and not debounces:
        problems.add(f"{at}max_delay", "must be unset unless `on_conflict` is DEBOUNCE")
    if debounces and given.until == pb.Unique.PERIOD:
        problems.add(
            f"{at}until",
            "must be STARTS or ENDS with DEBOUNCE, which moves a job that waits; for at most one in a time, the "
            "last of them kept for the next, use STARTS with `delay` and `max_delay` of that time",
        )
    if len(given.replace) > len(_REPLACE):
        problems.add(f"{at}replace", f"must be at most {len(_REPLACE)} fields, not {len(given.replace)}")
    for index, each in enumerate(given.replace[: len(_REPLACE)]):
        enum(each, _REPLACE, f"{at}replace[{index}]", problems)
        if debounces and each == pb.Unique.RUN_AT:
            problems.add(f"{at}replace[{index}]", "must not be RUN_AT: DEBOUNCE moves the start by `delay`")
    if given.cancel_running:
        problems.add(
            f"{at}cancel_running",
            "must be false: this one would have to start after the end of the job that runs, and jobs that wait "
            "for others are not known yet; use `until` STARTS, with which this one waits beside it, or CancelJob",
        )


def _unique_name(given: pb.Unique, at: str, payload_size: int, problems: Problems) -> None:
    """Checks what makes the name."""
    if given.key:
        key(given.key, f"{at}key", problems)
        if given.payload_fields:
            problems.add(
                f"{at}payload_fields", "must be empty where `key` is set: either of them makes the name"
            )
    elif not given.payload_fields and payload_size > MAX_NAMING_PAYLOAD_BYTES:
        problems.add(
            f"{at}key",
            f"is required for a payload of {payload_size} bytes: a whole payload makes a name up to "
            f"{MAX_NAMING_PAYLOAD_BYTES} bytes; set `key`, or `payload_fields` such as /user/id",
        )
    if len(given.payload_fields) > MAX_POINTERS:
        problems.add(
            f"{at}payload_fields", f"must be at most {MAX_POINTERS} pointers, not {len(given.payload_fields)}"
        )
    for index, pointer in enumerate(given.payload_fields[:MAX_POINTERS]):
        if not pointer or len(pointer) > MAX_POINTER_CHARS or not _is_pointer(pointer):
            problems.add(
                f"{at}payload_fields[{index}]",
                f"must be a JSON pointer of 1 to {MAX_POINTER_CHARS} characters such as /user/id, with ~1 for / "
                "and ~0 for ~ in a name",
            )


def short_text(value: str, field: str, most: int, problems: Problems) -> None:
    """Checks the length of a text that was given."""
    if not 1 <= len(value) <= most or _find_control(value):
        problems.add(field, f"must be 1 to {most} characters, none of them a control character")


def labels(given: Mapping[str, str], field: str, problems: Problems) -> None:
    """Checks labels."""
    if len(given) > MAX_LABELS:
        problems.add(field, f"must be at most {MAX_LABELS} labels, not {len(given)}")
    for label, value in given.items():
        if not _is_label_name(label) or len(value) > MAX_LABEL_VALUE or _find_control(value):
            _label(label, value, f"{field}[{_shown(label)}]", problems)


def label_filter(given: Iterable[str], problems: Problems, at: str = "labels") -> dict[str, str]:
    """Checks and reads filters by label, each `key=value`, of the field at this path."""
    found: dict[str, str] = {}
    for index, text in enumerate(given):
        label, equals, value = text.partition("=")
        field = f"{at}[{index}]"
        if not equals:
            problems.add(field, "must be written key=value")
        else:
            _label(label, value, field, problems)
            if found.setdefault(label, value) != value:
                problems.add(field, f"gives the label {label} a second value; a label has one")
    if len(found) > MAX_LABELS:
        problems.add(at, f"must be at most {MAX_LABELS} labels, not {len(found)}")
    return found


def _label(label: str, value: str, field: str, problems: Problems) -> None:
    if not _is_label_name(label):
        problems.add(
            field,
            f"must have a name of 1 to {MAX_LABEL_NAME} of A-Z a-z 0-9 _ . / - that begins with a letter or digit",
        )
    if len(value) > MAX_LABEL_VALUE or _find_control(value):
        problems.add(
            field, f"must have a value of at most {MAX_LABEL_VALUE} characters, none a control character"
        )


def headers(given: Mapping[str, str], field: str, problems: Problems) -> None:
    """Checks headers."""
    size = 0
    for header, value in given.items():
        size += len(header.encode()) + len(value.encode())
        if not _is_header_name(header):
            problems.add(f"{field}[{_shown(header)}]", "must have a name of printable ASCII without spaces")
        if _find_control(value):
            problems.add(f"{field}[{_shown(header)}]", "must have a value without control characters")
    if size > MAX_HEADERS_BYTES:
        problems.add(field, f"has {size} bytes of names and values; at most {MAX_HEADERS_BYTES} are allowed")


def uuid(value: str, field: str, problems: Problems) -> UUID:
    """Checks and reads an id. If it is malformed, the answer must not be used."""
    if len(value) == _UUID_CHARS and _is_uuid(value):
        return UUID(value)
    problems.add(field, "must be a UUID such as 0198c5a4-7b1e-7c3d-9f00-1a2b3c4d5e6f")
    return UUID(int=0)


def watched_ids(given: Sequence[str], problems: Problems) -> tuple[UUID, ...]:
    """Checks and reads the ids of jobs to watch. Repeated ids count once."""
    if len(given) > MAX_WATCHED_IDS:
        problems.add("ids", f"must be at most {MAX_WATCHED_IDS} ids, not {len(given)}")
        return ()
    return tuple(dict.fromkeys(uuid(text, f"ids[{index}]", problems) for index, text in enumerate(given)))


def enum(value: int, known: Mapping[str, int], field: str, problems: Problems) -> None:
    """Checks that a number is a value of an enum. `known` maps the enum's names to numbers."""
    if value not in known.values():
        problems.add(field, f"must be one of {', '.join(known)}; {value} is none of them")


def page_size(value: int, problems: Problems) -> None:
    """Checks a page size. The core lowers a size above the largest one."""
    if value < 0:
        problems.add("page_size", "must be 1 to 1000, or 0 for 50")


def text(value: str, field: str, limit: int, problems: Problems) -> None:
    """Checks a text for people."""
    if len(value) > limit or "\x00" in value:
        problems.add(field, f"must be at most {limit} characters, none of them NUL")


def wait(value: Duration, field: str, problems: Problems) -> None:
    """Checks how long a call wants to wait."""
    duration(value, field, timedelta(), MAX_WAIT, problems)


def timestamp(value: Timestamp, field: str, problems: Problems) -> bool:
    """Checks a Timestamp: in the years 1 to 9999, with 0 to 999,999,999 ns."""
    if _FIRST_SECOND <= value.seconds <= _LAST_SECOND and 0 <= value.nanos <= 999_999_999:
        return True
    problems.add(field, "must be a time in the years 1 to 9999, with nanos from 0 to 999999999")
    return False


def duration(value: Duration, field: str, low: timedelta, high: timedelta, problems: Problems) -> bool:
    """Checks that a Duration is valid, and within its bounds."""
    seconds, nanos = value.seconds, value.nanos
    if abs(nanos) > 999_999_999 or (seconds > 0 > nanos) or (seconds < 0 < nanos):
        problems.add(field, "must have nanos from -999999999 to 999999999, with the sign of its seconds")
        return False
    if _in_nanos(low) <= seconds * 1_000_000_000 + nanos <= _in_nanos(high):
        return True
    problems.add(field, f"must be from {_words(low)} to {_words(high)}")
    return False


def _nanos(value: Duration) -> int:
    return value.seconds * 1_000_000_000 + value.nanos


def _in_nanos(value: timedelta) -> int:
    return (value // timedelta(microseconds=1)) * 1000


def _words(value: timedelta) -> str:
    return f"{value.days} days" if value.days else f"{value.total_seconds():g} s"


def _shown(label: str) -> str:
    """A name as part of a path: quoted and cut."""
    return repr(label if len(label) <= MAX_LABEL_NAME else label[:MAX_LABEL_NAME] + "...")
