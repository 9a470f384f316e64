"""Payload schemas: JSON Schema 2020-12, compiled once a version of a kind."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

import jsonschema_rs
from jsonschema_rs import ValidationErrorKind as Broken

from ...errors import FieldViolation, PayloadInvalid

MAX_VIOLATIONS = 10
#: By this header a job says of which version its payload is, and by this word a branch of a schema for which it is.
VERSION_HEADER = "x-payload-version"
_MAX_WORDS = 300
# Rules whose own words are a regular expression, or a piece of the schema.
_OBSCURE = (Broken.Pattern, Broken.AnyOf, Broken.OneOfNotValid, Broken.OneOfMultipleValid, Broken.Not)
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")

_loads = json.JSONDecoder().decode


class SchemaInvalid(Exception):
    """The text is not a JSON Schema; the message says where and why."""


class PayloadSchema:
    """A compiled schema. A small mail is checked in about 3 us, most of it `json.loads`."""

    def __init__(self, text: str) -> None:
        """Compiles.

        Raises:
            SchemaInvalid: The text is not JSON, not a schema, or refers to something outside itself.
        """
        self._branches: dict[int, tuple[object, jsonschema_rs.Draft202012Validator] | None] = {}
        try:
            self._schema = schema = _loads(text)
        except (ValueError, RecursionError) as error:
            raise SchemaInvalid(f"not JSON: {error}") from None
        try:
            self._validator = _validator(schema, mask="the value")
        except ValueError:
            raise SchemaInvalid(_why(schema)) from None

    def check(self, payload: bytes, path: str, version: str = "1") -> None:
        """Checks a payload that is well-formed JSON.

        Where the schema is `anyOf` of versions, the error is that of the payload's version, as its job's header has it;
        of the first branch, where there is none for it.

        Raises:
            PayloadInvalid: It does not fit; at most ten violations, with their paths below `path`.
        """
        value = _loads(payload.decode())
        if self._validator.is_valid(value):
            return
        violations: list[FieldViolation] = []
        for error, schema in self._errors(value, version):
            if len(violations) == MAX_VIOLATIONS:
                break
            violations.append(_violation(error, path, schema))
        first = violations[0]
        more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
        raise PayloadInvalid(f"{first.field}: {first.description}{more}", violations=violations)

    def _errors(self, value: object, version: str) -> Iterator[tuple[jsonschema_rs.ValidationError, object]]:
        """What is wrong, each with the schema that says so."""
        for error in self._validator.iter_errors(value):
            branch = self._branch(version) if list(error.schema_path) == ["anyOf"] else None
            if branch is None:
                yield error, self._schema
            else:
                yield from ((each, branch[0]) for each in branch[1].iter_errors(value))

    def _branch(self, version: str) -> tuple[object, jsonschema_rs.Draft202012Validator] | None:
        """The schema of a version alone, compiled at its first error; None: this one is not of versions."""
        branches: Any = self._schema["anyOf"]
        numbers = [each.get(VERSION_HEADER) if isinstance(each, dict) else None for each in branches]
        if not all(isinstance(number, int) for number in numbers):
            return None
        wanted = next((at for at, number in enumerate(numbers) if str(number) == version), 0)
        if wanted not in self._branches:
            alone = {**branches[wanted], "$defs": self._schema.get("$defs", {})}
            try:
                self._branches[wanted] = alone, _validator(alone, mask="the value")
            except ValueError:
                # Its references lead elsewhere than to the definitions.
                self._branches[wanted] = None
        return self._branches[wanted]


def _validator(schema: object, *, mask: str | None) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(
        schema,  # type: ignore[arg-type]  # whatever it is, the validator says whether it is a schema
        validate_formats=True,
        # The payload's own text stays out of the errors: it may be secret, and may be a megabyte.
        mask=mask,
        retriever=_refuse,
        # A pattern that backtracks without end would stop the event loop.
        pattern_options=jsonschema_rs.FancyRegexOptions(backtrack_limit=10_000),
    )


def _refuse(uri: str, /) -> NoReturn:
    raise ValueError(f"{uri} is outside of this schema, and nothing is fetched")


def _why(schema: object) -> str:
    try:
        _validator(schema, mask=None)
    except jsonschema_rs.ValidationError as error:
        where = _path("", error.instance_path).lstrip(".")
        words = error.message[:_MAX_WORDS]
        return f"at {where}: {words}" if where else words
    except ValueError as error:
        return str(error)[:_MAX_WORDS]
    return "the validator refuses it"


def _violation(error: jsonschema_rs.ValidationError, path: str, schema: object) -> FieldViolation:
    steps = list(error.instance_path)
    if isinstance(error.kind, Broken.Required):
        # Named as the field that is missing, not as the object that lacks it.
        return FieldViolation(_path(path, [*steps, str(error.kind.property)]), "is required")
    words = _rule(error, schema)
    if isinstance(error.kind, Broken.PropertyNames):
        words = _rule(error.kind.error, schema)
        if words is not None:
            words = f"{json.dumps(error.kind.error.instance)} {words}"
    return FieldViolation(_path(path, steps), (words or error.message)[:_MAX_WORDS])


def _rule(error: jsonschema_rs.ValidationError, schema: object) -> str | None:
    """The broken rule in the words of the schema that it is in; None where it has none, or needs none."""
    if not isinstance(error.kind, _OBSCURE):
        return None
    held: Any = schema
    try:
        for step in list(error.schema_path)[:-1]:
            held = held[step]
        title, description = held.get("title", "").strip(), held.get("description", "").strip()
    except (LookupError, TypeError, AttributeError):
        # It is somewhere else, as the rules of a schema with an `$id` of its own are.
        return None
    if title:
        return f"is no {title}"
    return f"does not fit: {description}" if description else None


def _path(root: str, steps: Sequence[str | int]) -> str:
    parts = [root]
    for step in steps:
        if isinstance(step, int):
            parts.append(f"[{step}]")
        elif _PLAIN.fullmatch(step):
            parts.append(f".{step}")
        else:
            parts.append(f"[{json.dumps(step[:_MAX_WORDS])}]")
    return "".join(parts)
