"""Jobs that are enqueued when the transaction commits."""

from __future__ import annotations

from functools import partial
from typing import Any, TypeVar, Unpack, overload

from django.db import transaction

from jobqueue import JobKind, NewJob
from jobqueue.typed.kind import JobOptions

from .clients import client

P = TypeVar("P")


@overload
def enqueue_on_commit(
    kind: JobKind[P, Any], payload: P, /, *, using: str | None = None, **options: Unpack[JobOptions]
) -> None: ...
@overload
def enqueue_on_commit(
    kind: str, payload: Any = None, /, *, using: str | None = None, **options: Unpack[JobOptions]
) -> None: ...
def enqueue_on_commit(
    kind: JobKind[Any, Any] | str, payload: Any = None, /, *, using: str | None = None, **options: Any
) -> None:
    """Enqueues a job once the transaction that is open has committed; at once where none is open.

    It answers nothing: there is no job and no id before the commit. A rollback enqueues nothing. A process that dies
    between the commit and the enqueue loses the job, and so does a server that can't be reached: `enqueue` raises
    then, after the commit, to the caller of `atomic`. Where that must not happen, write a row in the transaction, and
    enqueue what rows say, with their ids as idempotency keys.

    Args:
        kind: What `define_kind` made, or the name of a kind.
        payload: The handler's input. It is encoded now, so that a later change of the object changes nothing.
        using: The database whose transaction is meant. None: the default one.
        options: As of `Client.enqueue`: `delay`, `queue`, `priority`, `idempotency_key` and so on.

    Raises:
        PayloadInvalid: The payload is not of the kind's type.
    """
    job = NewJob(kind, payload, **options) if isinstance(kind, str) else kind.new(payload, **options)
    transaction.on_commit(partial(client_enqueue, job), using=using)


def client_enqueue(job: NewJob) -> None:
    """Enqueues by the client of the process that commits."""
    client().enqueue(job)
