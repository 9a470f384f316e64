"""The fields of a job, each declared once: whether a producer gives it, where it is stored, which answers show it.

Modules make the following from this list, once, when they are imported:

- the request's digest (`core/intake/digest.py`)
- the arguments of an insert (`store/intake/intake.py`)
- the reader of rows (`store/query/reads.py`)
- the keys of the templates of answers and deliveries (`rpc/fast/`, `http/fast/`, `rpc/leased.py`)
- the fields that the leases of a template share (`terms_of`)
- the fields that the jobs of a batch share (`rpc/fast/batch_decoder.py`)

`tools/statements.py` writes the lists of columns in the `.sql` files.

The order of the fields is the order of the columns, and of the arguments of an insert. A new field is the last.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import MISSING, dataclass, fields
from datetime import timedelta
from enum import Enum
from typing import Any

from .model import DEFAULT_MAX_ATTEMPTS, MAX_KEY_CHARS, NewJob, RetryPolicy


def milliseconds(value: timedelta | None) -> int | None:
    """A span in milliseconds, as the store keeps it; None stays None."""
    return None if value is None else round(value.total_seconds() * 1000)


class Type(Enum):
    """The type of a field's values in `model.py`, in a message and in a row."""

    TEXT = "text"
    NUMBER = "number"
    FLAG = "flag"
    MOMENT = "moment"
    BYTES = "bytes"
    #: For this type and those below, the row, the message and the value have different types.
    UUID = "uuid"
    STATUS = "status"
    #: A flag in a NewJob.
    HOLD = "hold"
    #: A message in a NewJob, its key in a Job.
    UNIQUE = "unique"
    SPAN = "span"
    RETRY_POLICY = "retry policy"
    TEXTS = "texts"
    #: JSON text. In a message it is a Value or text.
    JSON = "json"
    #: A message.
    MESSAGE = "message"


#: The types of columns with long values.
LONG = frozenset({"text", "jsonb", "bytea"})

#: The row, the message and the value have the same type.
SCALARS = frozenset({Type.TEXT, Type.NUMBER, Type.FLAG})


class View(Enum):
    """Which answers show a field."""

    BASIC = "every one"
    FULL = "those of JOB_VIEW_FULL"


class ByKind(Enum):
    """When the value of the job's kind is used for a field that the job leaves out."""

    AT_ENQUEUE = "at its enqueue, and is stored with the job"
    AT_FAILURE = "at each failure"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table `job` that an insert fills: for each run of jobs with the same values, or for each job.

    Attributes:
        name: The column's name.
        type: The column's PostgreSQL type.
        of: The attribute of `NewRows` (store/intake/intake.py), or of its `new`, that has the value.
        form: Makes the argument from a value that is not None.
        default: The value that is stored for None.
        unset: The value of a field that was left out: None, or 0 for a number that is never null.
        sent: The type of the argument.
        live: Whether `live_job` has the column too.
        each: Whether each job of a run has its own value. `of` is then a list, or None where no job of the run has one.
    """

    name: str
    type: str
    of: str
    form: Callable[[Any], Any] | None = None
    default: int | None = None
    unset: int | None = None
    sent: str = ""
    live: bool = False
    each: bool = False


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a job.

    Attributes:
        name: The field's name in `model.py`, in messages and in the rows of statements.
        type: The type of its values.
        columns: Its columns in `job`. None if it is stored elsewhere.
        asked: Whether a NewJob has it.
        digested: Whether a request with another value is another request for the idempotency key.
        shown: Which answers show it; None: no Job has it.
        delivered: Whether a LeasedJob has it. The values of its columns are in `LeaseTemplate.terms`
            (core/lease/lease.py), and of columns with `each` in the lease.
        of_template: The attribute of `LeaseTemplate` that has a delivered field without columns. Empty: each lease has
            its own value.
        by_kind: When the value of the job's kind is used instead.
        simple: Whether `decode_simple` reads it, so that the jobs of a run in a batch may be compared as bytes.
        own: Whether jobs mostly differ in it, so that no template of an answer holds it.
        most: The most characters in a request, if this is the text's only rule; 0: the text has other rules.
    """

    name: str
    type: Type
    columns: tuple[Column, ...] = ()
    asked: bool = False
    digested: bool = False
    shown: View | None = None
    delivered: bool = False
    of_template: str = ""
    by_kind: ByKind | None = None
    simple: bool = False
    own: bool = False
    most: int = 0


def _min_backoff_ms(policy: RetryPolicy) -> int | None:
    return milliseconds(policy.min_backoff)


def _max_backoff_ms(policy: RetryPolicy) -> int | None:
    return milliseconds(policy.max_backoff)


def _stored_name(name: Any) -> str:
    stored: str = name.stored
    return stored


FIELDS = (
    # Each job has its own values.
    Field("id", Type.UUID, shown=View.BASIC, delivered=True, own=True),
    Field("lease_id", Type.NUMBER, delivered=True),
    # The lane has these two fields.
    Field(
        "kind",
        Type.TEXT,
        asked=True,
        digested=True,
        shown=View.BASIC,
        delivered=True,
        of_template="lane.kind",
        simple=True,
    ),
    Field(
        "queue",
        Type.TEXT,
        asked=True,
        digested=True,
        shown=View.BASIC,
        delivered=True,
        of_template="lane.queue",
        simple=True,
    ),
    # The producer gives these.
    Field(
        "payload",
        Type.JSON,
        asked=True,
        digested=True,
        shown=View.FULL,
        delivered=True,
        simple=True,
        own=True,
    ),
    Field("run_at", Type.MOMENT, asked=True, digested=True, shown=View.BASIC, own=True),
    Field("delay", Type.SPAN, asked=True, digested=True),
    Field(
        "priority",
        Type.NUMBER,
        (Column("priority", "int2", "new.priority", unset=0, default=0, live=True),),
        asked=True,
        digested=True,
        shown=View.BASIC,
        delivered=True,
        simple=True,
    ),
    Field(
        "max_attempts",
        Type.NUMBER,
        (Column("max_attempts", "int2", "max_attempts", default=DEFAULT_MAX_ATTEMPTS, live=True),),
        asked=True,
        digested=True,
        shown=View.BASIC,
        delivered=True,
        by_kind=ByKind.AT_ENQUEUE,
    ),
    Field(
        "timeout",
        Type.SPAN,
        (Column("timeout_ms", "int4", "timeout_ms", live=True),),
        asked=True,
        digested=True,
        shown=View.BASIC,
        delivered=True,
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
        delivered=True,
        own=True,
    ),
    # Each call's id is one of its headers.
    Field(
        "headers",
        Type.TEXTS,
        (Column("headers", "bytea", "headers"),),
        asked=True,
        shown=View.FULL,
        delivered=True,
        own=True,
    ),
    Field(
        "idempotency_key",
        Type.TEXT,
        (Column("idempotency_key", "text", "new.idempotency_key"),),
        asked=True,
        shown=View.BASIC,
        own=True,
        most=MAX_KEY_CHARS,
    ),
    Field(
        "key",
        Type.TEXT,
        (Column("key", "text", "keys", each=True),),
        asked=True,
        digested=True,
        shown=View.BASIC,
        delivered=True,
        simple=True,
        own=True,
    ),
    # `live_job` alone has its column, since a retry does not hold the job back again.
    Field("hold", Type.HOLD, asked=True, digested=True, shown=View.BASIC),
    # `unique_hold` knows which job holds a name now, and the job which name it came with. Of that it shows the key.
    Field("unique", Type.UNIQUE, asked=True, digested=True),
    Field(
        "unique_key",
        Type.UNIQUE,
        (Column("unique_name", "jsonb", "name", form=_stored_name, sent="text"),),
        shown=View.BASIC,
        own=True,
    ),
    # The job's state.
    Field("status", Type.STATUS, shown=View.BASIC),
    Field("attempts", Type.NUMBER, shown=View.BASIC),
    Field("attempt", Type.NUMBER, delivered=True, of_template="attempt"),
    Field("failures", Type.NUMBER, shown=View.BASIC, delivered=True, of_template="failures"),
    Field("losses", Type.NUMBER, shown=View.BASIC),
    Field("created_at", Type.MOMENT, shown=View.BASIC, delivered=True, own=True),
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
    Field("checkpoint", Type.BYTES, delivered=True),
)

#: The columns that an insert fills, in the order of its arguments.
COLUMNS = tuple(column for field in FIELDS for column in field.columns)

#: The columns of the delivered fields that the leases of a template share.
TERMS = tuple(column for field in FIELDS if field.delivered for column in field.columns if not column.each)

_DEFAULTS = {
    field.name: field.default_factory() if field.default_factory is not MISSING else field.default
    for field in fields(NewJob)
}


def names(wanted: Callable[[Field], object]) -> tuple[str, ...]:
    """The names of the fields for which the condition is true."""
    return tuple(field.name for field in FIELDS if wanted(field))


def unset(name: str) -> Any:
    """The value in a NewJob if the producer left the field out."""
    return _DEFAULTS[name]


def required(name: str) -> bool:
    """Whether every NewJob has a value for it."""
    return _DEFAULTS[name] is MISSING


def reading(column: Column, one: str, names: dict[str, Any]) -> str:
    """The expression that reads the value of a column that an insert sends.

    Args:
        column: The column.
        one: The expression of the `NewRows`, or of its `new` if the column's value is there.
        names: Gets the functions that the expression calls.
    """
    value = f"{one}.{column.of.removeprefix('new.')}"
    if column.form is None:
        return value
    names[f"form_{column.name}"] = column.form
    return f"{value} and form_{column.name}({value})"


def _answer_key() -> Callable[[Hashable, Any], tuple[Hashable, ...]]:
    # What has no column is the lane's, or is read from the request.
    varying = dict.fromkeys(
        f"rows.{of}"
        for field in FIELDS
        if field.asked and field.shown and not field.own and not field.of_template.startswith("lane.")
        for of in [column.of for column in field.columns] or [f"new.{field.name}"]
    )
    made: Callable[[Hashable, Any], tuple[Hashable, ...]] = eval(
        f"lambda lane, rows: (lane, {', '.join(varying)})"
    )
    return made


#: The key of a template of answers, from a lane and a `NewRows`: every field in which two answers may differ, except
#: the fields with `own`.
answer_key = _answer_key()


def _terms_of() -> Callable[[Any], tuple[Any, ...]]:
    names: dict[str, Any] = {}
    values = []
    for column in TERMS:
        value = reading(column, "rows.new" if column.of.startswith("new.") else "rows", names)
        if column.default is not None and column.unset is None:
            value = f"{column.default} if ({value}) is None else {value}"
        values.append(value)
    made: Callable[[Any], tuple[Any, ...]] = eval(f"lambda rows: ({', '.join(values)},)", names)
    return made


#: The values of `TERMS` from a `NewRows`: those that `bodies.sql` reads after the insert.
terms_of = _terms_of()
