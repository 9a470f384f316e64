"""Reads query parameters into the fields of a request."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from google.protobuf.descriptor import Descriptor

from .errors import MOST_PROBLEMS, Problem, malformed, nearest, shown, together
from .fields import Place, claim_oneof, is_map, place
from .options import Options
from .percent import decode
from .scalars import text_reader
from .wellknown import filler

_Setter = Callable[[Any, str], None]


def split(query: str, plus_is_blank: bool) -> list[tuple[str, str]]:
    """The decoded names and values of a query string, in its order. Empty parts are skipped.

    Raises:
        TranscodingError: 400 for a broken escape.
    """
    pairs = []
    for part in query.split("&"):
        if not part:
            continue
        if plus_is_blank:
            part = part.replace("+", " ")
        name, _, value = part.partition("=")
        try:
            pairs.append((decode(name), decode(value)))
        except Problem as problem:
            raise malformed(f"the query's {shown(part)} {problem.description}") from None
    return pairs


class QueryReader:
    """Reads the query parameters of one binding.

    Args:
        descriptor: The type of the request.
        bound: The fields that the path binds, by their paths with the proto's names.
        body: The field that the body fills; `*` for all fields, "" for none.
        options: The transcoder's options.
    """

    def __init__(self, descriptor: Descriptor, bound: Sequence[str], body: str, options: Options) -> None:
        self._descriptor = descriptor
        self._bound = frozenset(bound)
        self._body = body
        self._options = options
        self._known: dict[str, tuple[Place, _Setter]] = {}

    def read(self, message: Any, query: str) -> None:
        """Fills the request.

        Raises:
            Problem: Parameters are wrong: all that were found, each by its name.
            TranscodingError: 400 for a broken escape.
        """
        if not query:
            return
        seen: set[str] = set()
        found: list[Problem] = []
        for name, value in split(query, self._options.query_param_unescape_plus):
            try:
                target = self._target(name)
                if target is None:
                    continue
                where, set_value = target
                if where.name in seen and not where.field.is_repeated:
                    raise Problem("is given twice, and takes one value", where.name)
                seen.add(where.name)
                self._set(message, where, set_value, value)
            except Problem as problem:
                found += problem.each()
                if len(found) >= MOST_PROBLEMS:
                    break
        if found:
            raise together(found)

    def _set(self, message: Any, where: Place, set_value: _Setter, value: str) -> None:
        try:
            here = message
            for parent in where.parents:
                claim_oneof(here, parent)
                here = getattr(here, parent.name)
            claim_oneof(here, where.field)
            set_value(here, value)
        except Problem as problem:
            raise problem.under(where.name) from None

    def _target(self, name: str) -> tuple[Place, _Setter] | None:
        """The field of a parameter; None for one to ignore. Only known names are cached, so the cache is bounded."""
        known = self._known.get(name)
        if known is not None:
            return known
        try:
            where = place(self._descriptor, name)
        except Problem as problem:
            if (
                name in self._options.ignored_query_parameters
                or self._options.ignore_unknown_query_parameters
            ):
                return None
            raise Problem(self._unknown(name, problem.description), name) from None
        self._check_free(where)
        target = self._known[name] = (where, self._setter(where))
        return target

    def _unknown(self, name: str, why: str) -> str:
        if self._body == "*":
            return "is no query parameter: this method takes its fields in the body"
        if "." in name:
            return f"is no query parameter: {why}"
        return f"is no query parameter{nearest(name, self._settable(self._descriptor, ''))}"

    def _settable(self, descriptor: Descriptor, within: str) -> Iterator[str]:
        """The names of the parameters there are; those of a message are its fields."""
        for field in descriptor.fields:
            name = f"{within}{field.name}"
            if name in self._bound or name == self._body or is_map(field):
                continue
            kind = field.message_type
            if kind is None or filler(kind, False, text=True) is not None:
                yield name
            elif not within and not field.is_repeated and not kind.full_name.startswith("google.protobuf."):
                yield from self._settable(kind, f"{name}.")

    def _check_free(self, where: Place) -> None:
        if where.name in self._bound:
            raise Problem("comes from the path, not from the query", where.name)
        if self._body == "*":
            raise Problem("comes in the body, not in the query", where.name)
        if self._body and where.name.split(".")[0] == self._body:
            raise Problem(f"comes in the body, which is {self._body!r}, not in the query", where.name)

    def _setter(self, where: Place) -> _Setter:
        field, name = where.field, where.field.name
        any_case = self._options.case_insensitive_enum_parsing
        if is_map(field):
            raise Problem("is a map, which a query can't express", where.name)
        if field.message_type is None:
            read = text_reader(field, any_case)
            if field.is_repeated:
                return lambda message, text: getattr(message, name).append(read(text))
            return lambda message, text: setattr(message, name, read(text))
        fill = filler(field.message_type, any_case, text=True)
        if fill is None:
            kind = field.message_type.full_name
            if field.is_repeated or kind.startswith("google.protobuf."):
                raise Problem(
                    f"is {'a list of ' if field.is_repeated else 'a '}{kind}, which a query can't give",
                    where.name,
                )
            known = ", ".join(f"{where.name}.{inner}" for inner in field.message_type.fields_by_name)
            raise Problem(f"is a message; its fields are parameters: {known}", where.name)
        into = fill
        if field.is_repeated:
            return lambda message, text: into(getattr(message, name).add(), text)
        return lambda message, text: into(getattr(message, name), text)
