"""How what a program declares of a kind differs from what a server has, and what of it old payloads would not pass."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..jobs import VERSION_HEADER, Kind
from .kind import JobKind

_DEPTH = 32


@dataclass(frozen=True, slots=True)
class KindDifference:
    """One kind, declared and stored.

    Attributes:
        name: The kind's name.
        lines: The difference, in lines as of `diff -u`. Empty: there is none, or `newer`.
        breaking: What the new schema refuses that the stored one takes, a sentence each. These are the named cases
            alone: a field that becomes required, a type that narrows, an enum that shrinks, unknown fields that are
            refused.
        notes: What else is worth knowing.
        newer: Whether the server has a higher version, so that a sync would change nothing.
        new: Whether the server does not have the kind.
    """

    name: str
    lines: tuple[str, ...]
    breaking: tuple[str, ...]
    notes: tuple[str, ...]
    newer: bool
    new: bool


def difference(kind: JobKind[Any, Any], stored: Kind | None) -> KindDifference:
    """How the declaration of a kind differs from what a server has of it; None: it has none."""
    declared, fields = kind.declaration()
    notes = tuple(
        f"version {version} has an upcaster without a type: any object is taken of it"
        for version, upcast in sorted(kind.upcasters.items())
        if upcast.of is None
    )
    if stored is not None and stored.version > declared.version:
        newer = f"the server has version {stored.version}, this program {declared.version}: a sync changes nothing"
        return KindDifference(kind.name, (), (), (newer, *notes), True, False)
    before = [] if stored is None else _text(stored, fields)
    lines = difflib.unified_diff(before, _text(declared, fields), "server", "program", lineterm="", n=2)
    breaking = () if stored is None else breaks(stored.schema, declared.schema)
    return KindDifference(kind.name, tuple(lines), breaking, notes, False, stored is None)


def _text(kind: Kind, fields: Sequence[str]) -> list[str]:
    said = {name: getattr(kind, name) for name in fields}
    return json.dumps(said, indent=2, sort_keys=True, ensure_ascii=False, default=str).splitlines()


def breaks(before: Any, after: Any) -> tuple[str, ...]:
    """What a schema of payloads refuses that another one takes, as far as the named cases tell.

    Where they have versions, each version is compared with itself; a version that is gone, with all that there are.
    """
    if after is None or after is True:
        return ()
    old, new = _branches({} if before is None else before), _branches(after)
    found: list[str] = []
    for version, branch in old:
        tries = [list(_breaks(branch, each, before, after, "payload", 0)) for _, each in new]
        if any(not each for each in tries):
            continue
        own = next((found for (number, _), found in zip(new, tries, strict=True) if number == version), None)
        if own is None and version is not None and len(new) + len(old) > 2:
            found.append(f"version {version} is not taken any more")
        else:
            found.extend(tries[0] if own is None else own)
    return tuple(dict.fromkeys(found))


def _branches(schema: Any) -> list[tuple[int | None, Any]]:
    """The versions of a schema; one without a number, where it has none."""
    if isinstance(schema, dict) and isinstance(branches := schema.get("anyOf"), list) and branches:
        numbers = [each.get(VERSION_HEADER) if isinstance(each, dict) else None for each in branches]
        if all(isinstance(number, int) for number in numbers):
            return list(zip(numbers, branches, strict=True))
    return [(schema.get(VERSION_HEADER) if isinstance(schema, dict) else None, schema)]


def _breaks(old: Any, new: Any, all_old: Any, all_new: Any, path: str, depth: int) -> Iterator[str]:
    old, new = _resolved(old, all_old), _resolved(new, all_new)
    if depth > _DEPTH or new is True or old is False:
        return
    if new is False:
        yield f"{path} is refused"
        return
    old = {} if old is True else old
    if not isinstance(old, dict) or not isinstance(new, dict):
        return
    yield from _narrows(old, new, path)
    was, wants = set(old.get("required", ())), new.get("required", ())
    for name in wants:
        if name not in was:
            yield f"{path}.{name} is required"
    if new.get("additionalProperties") is False and old.get("additionalProperties") is not False:
        yield f"{path}: fields that are not known are refused"
    fields, others = old.get("properties", {}), new.get("properties", {})
    for name in fields.keys() & others.keys():
        yield from _breaks(fields[name], others[name], all_old, all_new, f"{path}.{name}", depth + 1)
    if "items" in old and "items" in new:
        yield from _breaks(old["items"], new["items"], all_old, all_new, f"{path}[]", depth + 1)


def _narrows(old: dict[str, Any], new: dict[str, Any], path: str) -> Iterator[str]:
    """Types and values that are gone."""
    types, left = _types(old), _types(new)
    if left and "number" in left:
        left = left | {"integer"}
    if left and (gone := (types or _EVERY) - left):
        yield (
            f"{path}: of type {' or '.join(sorted(gone))} is refused"
            if types
            else (f"{path} must be of type {' or '.join(sorted(left))}")
        )
    values, kept = _values(old), _values(new)
    if kept is not None:
        if values is None:
            yield f"{path} must be one of {', '.join(kept)}"
        elif missing := [each for each in values if each not in kept]:
            yield f"{path}: {', '.join(missing)} is refused"


_EVERY = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})


def _types(schema: dict[str, Any]) -> frozenset[str]:
    """What it takes, by its own word; of a choice, all its members. Empty: it does not say."""
    said = schema.get("type", ())
    found = frozenset((said,) if isinstance(said, str) else said)
    for word in ("anyOf", "oneOf"):
        members = [_types(each) if isinstance(each, dict) else frozenset() for each in schema.get(word, ())]
        if members and all(members):
            found |= frozenset().union(*members)
    return found


def _values(schema: dict[str, Any]) -> list[str] | None:
    if "const" in schema:
        return [json.dumps(schema["const"])]
    return [json.dumps(each) for each in schema["enum"]] if "enum" in schema else None


def _resolved(schema: Any, whole: Any) -> Any:
    """The schema that a reference leads to, within the whole."""
    for _ in range(_DEPTH):
        if not isinstance(schema, dict) or not isinstance(ref := schema.get("$ref"), str):
            return schema
        found = whole
        for step in ref.removeprefix("#/").split("/"):
            found = found.get(step) if isinstance(found, dict) else None
        if found is None:
            return schema
        schema = found
    return schema
