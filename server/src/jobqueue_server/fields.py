"""The fields of a job, each declared once: who gives it, where it is stored, who is shown it.

Made from this list, once, when a module is imported: the request's digest (`core/intake/digest.py`), the arguments of
an insert (`store/intake/intake.py`), what a row is read into (`store/query/reads.py`), the keys of the templates of
answers and deliveries (`rpc/fast/`, `http/fast/`, `rpc/leased.py`), what the jobs of a batch share
(`rpc/fast/batch_decoder.py`). `tools/fields.py` writes the lists of columns in the `.sql` files.

The fields are in the order of the columns, and so of the arguments of an insert: a new one stands behind the others.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import MISSING, dataclass, fields
from datetime import timedelta
from enum import Enum
from typing import Any

from .model import MAX_KEY_CHARS, NewJob, RetryPolicy


def milliseconds(value: timedelta | None) -> int | None:
    """A span as the store keeps it; None stays None."""
    return None if value is None else round(value.total_seconds() * 1000)


class Type(Enum):
    """What a field's values are: in `model.py`, in a message and in a row."""

    TEXT = "text"
    NUMBER = "number"
    FLAG = "flag"
    MOMENT = "moment"
    BYTES = "bytes"
    #: From here on a row, a message and a value differ in form.
    UUID = "uuid"
    STATUS = "status"
    SPAN = "span"
    RETRY_POLICY = "retry policy"
    TEXTS = "texts"
    #: JSON text; in a message a Value or text.
    JSON = "json"
    #: A message of its own.
    MESSAGE = "message"


#: A row, a message and a value have the same.
SCALARS = frozenset({Type.TEXT, Type.NUMBER, Type.FLAG})


class View(Enum):
    """Which answers show a field."""

    BASIC = "every one"
    FULL = "those of JOB_VIEW_FULL"


class ByKind(Enum):
    """When the value of its kind stands in for one that a job leaves out."""

    AT_ENQUEUE = "at its enqueue, and is stored with the job"
    AT_FAILURE = "at each failure"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table `job` that an insert fills, once for each run of jobs that are alike.

    Attributes:
        name: Its name.
        type: Its PostgreSQL type.
        of: The attribute of `NewRows` (store/intake/intake.py) that has its value, or of its `new`.
        form: What makes the argument of that, where it is not None.
        default: What is stored where that is None, as SQL.
        unset: What it is where nothing was said: None, or 0 where it is a number that is always there.
        sent: The type of the argument.
        live: Whether `live_job` has it too.
    """

    name: str
    type: str
    of: str
    form: Callable[[Any], Any] | None = None
    default: str = "null"
    unset: int | None = None
    sent: str = ""
    live: bool = False


@dataclass(frozen=True, slots=True)
class Field:
    """One field.

    Attributes:
        name: In `model.py`, in the messages and in the answers of statements.
        type: What its values are.
        columns: Where `job` has it. None for what is stored elsewhere.
        asked: Whether a NewJob has it.
        digested: Whether two requests that differ in it are two requests, under one idempotency key.
        shown: Which answers have it; None: no Job has it.
        delivered: Where a delivery finds it: the attribute of `LeaseTemplate` (core/lease/lease.py), or "" for what is
            each lease's own. None: no LeasedJob has it.
        by_kind: When its kind's value stands in.
        simple: Whether the fast path reads it. A request with any other field goes the general way.
        own: Whether jobs differ in it that are asked for alike, so that no template of an answer holds it.
        most: How many characters a request may give, where that is all that is asked of a text; 0: it is not.
    """

    name: str
    type: Type
    columns: tuple[Column, ...] = ()
    asked: bool = False
    digested: bool = False
    shown: View | None = None
    delivered: str | None = None
    by_kind: ByKind | None = None
    simple: bool = False
    own: bool = False
    most: int = 0


def _min_backoff_ms(policy: RetryPolicy) -> int | None:
    return milliseconds(policy.min_backoff)


def _max_backoff_ms(policy: RetryPolicy) -> int | None:
    return milliseconds(policy.max_backoff)


FIELDS = (
    # The job's own.
    Field("id", Type.UUID, shown=View.BASIC, delivered="", own=True),
    Field("lease_id", Type.NUMBER, delivered=""),
    # The lane has these two.
    Field(
        "kind",
        Type.TEXT,
        asked=True,
        digested=True,
        shown=View.BASIC,
        delivered="lane.kind",
        simple=True,
    ),
    Field(
        "queue",
        Type.TEXT,
        asked=True,
        digested=True,
        shown=View.BASIC,
        delivered="lane.queue",
        simple=True,
    ),
    # What was asked for.
    Field(
        "payload",
        Type.JSON,
        asked=True,
        digested=True,
        shown=View.FULL,
        delivered="",
        simple=True,
        own=True,
    ),
    Field("run_at", Type.MOMENT, asked=True, digested=True, shown=View.BASIC, own=True),
    Field("delay", Type.SPAN, asked=True, digested=True),
    Field(
        "priority",
        Type.NUMBER,
        (Column("priority", "int2", "new.priority", unset=0, default="0", live=True),),
        asked=True,
        digested=True,
        shown=View.BASIC,
        delivered="priority",
        simple=True,
    ),
    Field(
        "max_attempts",
        Type.NUMBER,
        (Column("max_attempts", "int2", "max_attempts", default="3", live=True),),
        asked=True,
        digested=True,
        shown=View.BASIC,
        delivered="max_attempts",
        by_kind=ByKind.AT_ENQUEUE,
    ),
    Field(
        "timeout",
        Type.SPAN,
        (Column("timeout_ms", "int4", "timeout_ms", live=True),),
        asked=True,
        digested=True,
        shown=View.BASIC,
        delivered="timeout_ms",
        by_kind=ByKind.AT_ENQUEUE,
    ),
    Field(
        "retry_policy",
        Type.RETRY_POLICY,
        (
            Column("min_backoff_ms", "int4", "new.retry_policy", form=_min_backoff_ms),
            Column("max_backoff_ms", "int4", "new.retry_policy", form=_max_backoff_ms),
        ),
        asked=True,
        digested=True,
        shown=View.BASIC,
        by_kind=ByKind.AT_FAILURE,
    ),
    Field(
        "labels",
        Type.TEXTS,
        (Column("labels", "jsonb", "labels", sent="text"),),
        asked=True,
        digested=True,
        shown=View.BASIC,
        delivered="labels",
    ),
    # Each call's id is one of its headers.
    Field(
        "headers",
        Type.TEXTS,
        (Column("headers", "bytea", "headers"),),
        asked=True,
        shown=View.FULL,
        delivered="headers",
        own=True,
    ),
    Field(
        "idempotency_key",
        Type.TEXT,
        (Column("idempotency_key", "text", "new.idempotency_key"),),
        asked=True,
        shown=View.BASIC,
        most=MAX_KEY_CHARS,
    ),
    # What became of it.
    Field("status", Type.STATUS, shown=View.BASIC),
    Field("attempts", Type.NUMBER, shown=View.BASIC),
    Field("attempt", Type.NUMBER, delivered="attempt"),
    Field("failures", Type.NUMBER, shown=View.BASIC, delivered="failures"),
    Field("losses", Type.NUMBER, shown=View.BASIC),
    Field("created_at", Type.MOMENT, shown=View.BASIC, delivered="", own=True),
    Field("updated_at", Type.MOMENT, shown=View.BASIC, own=True),
    Field("finished_at", Type.MOMENT, shown=View.BASIC),
    Field("locked_at", Type.MOMENT, shown=View.BASIC),
    Field("locked_by", Type.TEXT, shown=View.BASIC),
    Field("cancel_requested", Type.FLAG, shown=View.BASIC),
    Field("reason", Type.TEXT, shown=View.BASIC),
    Field("last_error", Type.TEXT, shown=View.BASIC),
    Field("output", Type.JSON, shown=View.FULL),
    Field("failed_attempts", Type.MESSAGE, shown=View.FULL),
    Field("progress", Type.MESSAGE, shown=View.BASIC),
    Field("checkpoint", Type.BYTES, delivered=""),
)

#: What an insert fills, in the order of its arguments.
COLUMNS = tuple(column for field in FIELDS for column in field.columns)

_DEFAULTS = {
    field.name: field.default_factory() if field.default_factory is not MISSING else field.default
    for field in fields(NewJob)
}


def names(wanted: Callable[[Field], object]) -> tuple[str, ...]:
    """The names of the fields of which that is true."""
    return tuple(field.name for field in FIELDS if wanted(field))


def unset(name: str) -> Any:
    """What a NewJob has where its producer left the field out."""
    return _DEFAULTS[name]


def required(name: str) -> bool:
    """Whether every NewJob says it."""
    return _DEFAULTS[name] is MISSING


def _answer_key() -> Callable[[Hashable, Any], tuple[Hashable, ...]]:
    varying = [
        f"rows.{column.of}"
        for field in FIELDS
        if field.shown and not field.own and (field.simple or field.by_kind is ByKind.AT_ENQUEUE)
        for column in field.columns
    ]
    made: Callable[[Hashable, Any], tuple[Hashable, ...]] = eval(
        f"lambda lane, rows: (lane, {', '.join(varying)})"
    )
    return made


#: Of a lane and a `NewRows` of the fast path: all in which two answers may differ, but for what is each job's own.
answer_key = _answer_key()
