"""The rules of what is declared of a kind."""

from __future__ import annotations

from datetime import timedelta

from ...errors import FieldInvalid, FieldViolation
from ...model import (
    MAX_ATTEMPTS_LIMIT,
    MAX_BACKOFF,
    MAX_SLOT_WEIGHT,
    MAX_TIMEOUT,
    MIN_BACKOFF,
    MIN_TIMEOUT,
    Kind,
)
from ..names import is_name
from .schema import PayloadSchema, SchemaInvalid

# Servers hold every schema in memory, and send each once to one another through the database.
MAX_SCHEMA_BYTES = 256 << 10


def check_kind(kind: Kind, path: str = "kind") -> None:
    """Checks all that is declared of a kind.

    Raises:
        FieldInvalid: With a violation for each field that breaks its rule.
    """
    violations: list[FieldViolation] = []

    def wrong(field: str, description: str) -> None:
        violations.append(FieldViolation(f"{path}.{field}", description))

    if not is_name(kind.name):
        wrong(
            "name", "must be 1 to 128 of a-z 0-9 _ . - and begin with a letter or digit, such as send_email"
        )
    for field, schema in (("schema", kind.schema), ("output_schema", kind.output_schema)):
        if schema is not None and (trouble := _trouble(schema)):
            wrong(field, trouble)
    if kind.max_attempts is not None and not 1 <= kind.max_attempts <= MAX_ATTEMPTS_LIMIT:
        wrong("max_attempts", f"must be from 1 to {MAX_ATTEMPTS_LIMIT}, or unset")
    if kind.timeout is not None and not MIN_TIMEOUT <= kind.timeout <= MAX_TIMEOUT:
        wrong("timeout", f"must be from {_words(MIN_TIMEOUT)} to {_words(MAX_TIMEOUT)}, or unset")
    if not 1 <= kind.slot_weight <= MAX_SLOT_WEIGHT:
        wrong("slot_weight", f"must be from 1 to {MAX_SLOT_WEIGHT}, or 0 for 1")
    if kind.retry_policy is not None:
        low, high = kind.retry_policy.min_backoff, kind.retry_policy.max_backoff
        bounds = f"must be from {_words(MIN_BACKOFF)} to {_words(MAX_BACKOFF)}"
        if not MIN_BACKOFF <= low <= MAX_BACKOFF:
            wrong("retry_policy.min_backoff", bounds)
        if not MIN_BACKOFF <= high <= MAX_BACKOFF:
            wrong("retry_policy.max_backoff", bounds)
        elif low > high:
            wrong("retry_policy.max_backoff", "must not be less than min_backoff")
    if violations:
        raise FieldInvalid(f"{violations[0].field}: {violations[0].description}", violations=violations)


def _trouble(schema: str) -> str:
    """What is wrong with a schema; empty: nothing."""
    size = len(schema.encode("utf-8", "surrogatepass"))
    if size > MAX_SCHEMA_BYTES:
        return f"has {size} bytes; at most {MAX_SCHEMA_BYTES} are allowed"
    if "\x00" in schema:
        return "is not JSON: it holds a NUL character"
    try:
        PayloadSchema(schema)
    except SchemaInvalid as error:
        return f"is not a JSON Schema (2020-12): {error}"
    return ""


def _words(duration: timedelta) -> str:
    return f"{duration.days} days" if duration.days else f"{duration.total_seconds():g} s"
