"""Checks the first frame of a worker: its Hello, its capacity, and the leases that it names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from jobqueue.v1 import job_pb2, lease_pb2

from ..core.lease.lease import Named
from ..core.lease.session import Session
from ..errors import FieldInvalid
from ..model import DEFAULT_QUEUE, MAX_SESSION_TTL, MAX_WORKER_NAME, MIN_SESSION_TTL
from . import checks, convert
from .checks import Problems

MAX_SUBSCRIPTIONS = 1000
MAX_SLOTS = 10_000
MAX_NAMED = 10_000
MAX_CLIENT = 128


@dataclass(frozen=True, slots=True)
class Hello:
    """A checked Hello. `ttl` None: the server's default. `token` None: a new session."""

    worker: str
    subscriptions: frozenset[tuple[str, str]]
    labels: dict[str, str]
    client: str
    ttl: timedelta | None
    as_value: bool
    token: str | None
    held: list[Named]
    unanswered: list[Named]

    @property
    def kinds(self) -> set[str]:
        """Those that it subscribes to, in any queue."""
        return {kind for _, kind in self.subscriptions}


def checked_hello(hello: lease_pb2.Hello) -> Hello:
    """Checks a Hello.

    Raises:
        FieldInvalid: It names every field that is wrong.
    """
    problems = Problems()
    if not hello.worker:
        problems.add("hello.worker", "is required: a name for people, such as host and process id")
    checks.text(hello.worker, "hello.worker", MAX_WORKER_NAME, problems)
    checks.text(hello.client, "hello.client", MAX_CLIENT, problems)
    checks.labels(hello.labels, "hello.labels", problems)
    checks.enum(hello.payload_format, dict(job_pb2.PayloadFormat.items()), "hello.payload_format", problems)
    ttl = None
    if hello.HasField("session_ttl") and checks.duration(
        hello.session_ttl, "hello.session_ttl", MIN_SESSION_TTL, MAX_SESSION_TTL, problems
    ):
        ttl = convert.span(hello.session_ttl)
    subscriptions = _subscriptions(hello, problems)
    _capacity(hello.capacity, "hello.capacity", problems)
    token, held, unanswered = None, [], []
    if hello.HasField("resume"):
        token = hello.resume.session_token
        if not token:
            problems.add("hello.resume.session_token", "is required to resume a session")
        held = named(hello.resume.held, "hello.resume.held", problems)
        unanswered = named(hello.resume.unanswered, "hello.resume.unanswered", problems)
    problems.raise_if_any()
    return Hello(
        hello.worker,
        frozenset(subscriptions),
        dict(hello.labels),
        hello.client,
        ttl,
        hello.payload_format == job_pb2.PAYLOAD_FORMAT_VALUE,
        token,
        held,
        unanswered,
    )


def _subscriptions(hello: lease_pb2.Hello, problems: Problems) -> set[tuple[str, str]]:
    subscriptions: set[tuple[str, str]] = set()
    if not hello.subscriptions:
        problems.add("hello.subscriptions", "is required: a queue and the kinds that you have handlers for")
    for index, subscription in enumerate(hello.subscriptions):
        at = f"hello.subscriptions[{index}]"
        queue = subscription.queue or DEFAULT_QUEUE
        checks.name(queue, f"{at}.queue", problems)
        if not subscription.kinds:
            problems.add(f"{at}.kinds", "is required: the kinds that you have handlers for")
        for place, kind in enumerate(subscription.kinds):
            checks.name(kind, f"{at}.kinds[{place}]", problems, "send_email")
            subscriptions.add((queue, kind))
        if len(subscriptions) > MAX_SUBSCRIPTIONS:
            problems.add(
                "hello.subscriptions", f"must name at most {MAX_SUBSCRIPTIONS} pairs of queue and kind"
            )
            break
    return subscriptions


def _capacity(capacity: lease_pb2.Capacity, at: str, problems: Problems) -> None:
    if not 0 <= capacity.slots <= MAX_SLOTS:
        problems.add(f"{at}.slots", f"must be from 0 to {MAX_SLOTS}")
    if capacity.bytes < 0:
        problems.add(f"{at}.bytes", "must not be negative; 0 is no limit")
    for kind, slots in capacity.slots_by_kind.items():
        if not 0 <= slots <= MAX_SLOTS:
            problems.add(f"{at}.slots_by_kind[{kind!r}]", f"must be from 0 to {MAX_SLOTS}")


def take_capacity(session: Session, capacity: lease_pb2.Capacity) -> None:
    """Sets the capacity of a session from a frame.

    Raises:
        FieldInvalid: A number is out of its range. Nothing was changed.
    """
    problems = Problems()
    _capacity(capacity, "capacity", problems)
    problems.raise_if_any()
    session.capacity.set(capacity.slots, dict(capacity.slots_by_kind), capacity.bytes)


def named(leases: Iterable[lease_pb2.HeldLease], at: str, problems: Problems) -> list[Named]:
    """Checks leases that a worker names; `at` is the path of their list."""
    found: list[Named] = []
    for index, lease in enumerate(leases):
        if index >= MAX_NAMED:
            problems.add(at, f"must name at most {MAX_NAMED} leases")
            break
        job_id = checks.uuid(lease.job_id, f"{at}[{index}].job_id", problems)
        if lease.attempt < 1:
            problems.add(f"{at}[{index}].attempt", "must be at least 1")
        found.append(Named(lease.lease_id, job_id, lease.attempt))
    return found


def held_lease(lease: Named) -> lease_pb2.HeldLease:
    """The message that names a lease by all three numbers."""
    return lease_pb2.HeldLease(lease_id=lease.lease_id, job_id=str(lease.job_id), attempt=lease.attempt)


def lease_job_id(text: str) -> UUID:
    """Reads the job id of an outcome.

    Raises:
        FieldInvalid: The text is not a UUID.
    """
    problems = Problems()
    job_id = checks.uuid(text, "job_id", problems)
    if problems:
        raise FieldInvalid.of("job_id", "must be a UUID: the id in the delivery")
    return job_id
