"""Finds the binding for a method and a raw path: literals win over `*`, and `*` over `**`, with back-tracking."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from .errors import Problem, RuleError, TranscodingError, malformed, nearest, shown
from .percent import UnescapeSpec, decode, decode_segments
from .template import MANY, ONE, Template

ANY_METHOD = "*"
# Messages quote the path, which may be long.
_LONGEST_MESSAGE = 600


class Route(Protocol):
    """The part of a binding that the router uses."""

    @property
    def http_method(self) -> str:
        """GET, POST, ...; `*` for any."""

    @property
    def template(self) -> Template:
        """The path template."""

    @property
    def selector(self) -> str:
        """The name of the method, for messages."""


R = TypeVar("R", bound=Route)


@dataclass(slots=True)
class _Leaf(Generic[R]):
    """All bindings of one pattern of segments, by verb and then by HTTP method."""

    verbs: dict[str, dict[str, R]] = field(default_factory=dict)


@dataclass(slots=True)
class _Node(Generic[R]):
    literals: dict[str, _Node[R]] = field(default_factory=dict)
    one: _Node[R] | None = None
    # The literals after a `**`, the longest sequence first.
    many: list[tuple[tuple[str, ...], _Leaf[R]]] = field(default_factory=list)
    leaf: _Leaf[R] = field(default_factory=_Leaf)


@dataclass(frozen=True, slots=True)
class Match(Generic[R]):
    """A binding and the decoded values of its variables, by field path."""

    route: R
    values: list[tuple[str, str]]


class Router(Generic[R]):
    """A tree of path segments.

    Args:
        unescape: Which escapes are decoded in variables of several segments.
        any_verb: Whether the text after the last colon is a verb even if no template has it.
    """

    def __init__(
        self, unescape: UnescapeSpec = UnescapeSpec.ALL_CHARACTERS_EXCEPT_SLASH, any_verb: bool = True
    ) -> None:
        self._root: _Node[R] = _Node()
        self._unescape = unescape
        self._any_verb = any_verb
        self._verbs: set[str] = set()
        self._paths: list[str] = []

    def add(self, route: R) -> None:
        """Adds a binding.

        Raises:
            RuleError: Another binding has the same method and paths.
        """
        template = route.template
        node = self._root
        leaf: _Leaf[R] | None = None
        for index, segment in enumerate(template.segments):
            if segment == MANY:
                leaf = _suffix_leaf(node, template.segments[index + 1 :])
                break
            if segment == ONE:
                node.one = node.one or _Node()
                node = node.one
            else:
                node = node.literals.setdefault(segment, _Node())
        methods = (leaf or node.leaf).verbs.setdefault(template.verb, {})
        other = methods.setdefault(route.http_method, route)
        if other is not route:
            raise RuleError(
                f"{route.selector}: {route.http_method} {template.text} answers the same paths as "
                f"{other.http_method} {other.template.text} of {other.selector}"
            )
        self._verbs.add(template.verb)
        self._paths.append(template.text)

    def match(self, method: str, raw_path: str) -> Match[R]:
        """Finds the binding for a raw path, before any decoding.

        Raises:
            TranscodingError: 400 for a broken escape; 404 if no binding has the path or the verb; 405 if the path has
                only other methods.
        """
        raw, verb = self._split(raw_path)
        try:
            segments = [decode(segment) for segment in raw] if "%" in raw_path else raw
            verb = decode(verb)
        except Problem as problem:
            raise malformed(f"the path {problem.description}") from None
        allowed: set[str] = set()
        verbs: set[str] = set()
        for leaf in _walk(self._root, segments, 0):
            methods = leaf.verbs.get(verb)
            if methods is None:
                verbs.update(leaf.verbs)
                continue
            route = methods.get(method) or methods.get(ANY_METHOD)
            if route is not None:
                return Match(route, self._values(route.template, raw, segments))
            allowed.update(methods)
        raise self._no_match(method, raw_path, raw, verb, allowed, verbs)

    def _split(self, raw_path: str) -> tuple[list[str], str]:
        """The raw segments and the raw verb; "" if there is no verb."""
        if raw_path == "/":
            return [], ""
        last = raw_path.rfind("/")
        colon = raw_path.rfind(":")
        verb = ""
        if colon > last and (self._any_verb or raw_path[colon + 1 :] in self._verbs):
            verb = raw_path[colon + 1 :]
            if not verb:
                raise _not_found(
                    f"{raw_path} ends with a colon, but names no verb; a colon in a name is written %3A"
                )
            raw_path = raw_path[:colon]
        if not raw_path.startswith("/"):
            raise _not_found(f"{shown(raw_path)} is no path; one starts with a slash")
        segments = raw_path[1:].split("/")
        if "" in segments and segments != [""]:
            right = "/" + "/".join(filter(None, segments)) + (verb and ":" + verb)
            raise _not_found(f"{raw_path} has an empty segment; did you mean {right}?")
        return ([] if segments == [""] else segments), verb

    def _values(self, template: Template, raw: list[str], segments: list[str]) -> list[tuple[str, str]]:
        values = []
        for variable in template.variables:
            if variable.multi:
                text = "/".join(raw[variable.start : variable.end])
                values.append((variable.field, decode_segments(text, self._unescape)))
            else:
                values.append((variable.field, segments[variable.start]))
        return values

    def _no_match(
        self, method: str, path: str, raw: list[str], verb: str, allowed: set[str], verbs: set[str]
    ) -> TranscodingError:
        if allowed:
            allow = tuple(sorted(allowed))
            message = f"{method} is not allowed on {path[:_LONGEST_MESSAGE]}; use {', '.join(allow)}"
            return TranscodingError(405, "UNIMPLEMENTED", message, allow=allow)
        bare = "/" + "/".join(raw)
        if not verbs:
            return _not_found(f"nothing is at {path}{nearest(path, self._paths)}")
        known = ", ".join(":" + name for name in sorted(verbs - {""}))
        if not verb:
            return _not_found(f"{bare} answers only with a verb: {known}")
        ends = f"it has {known}" if known else "it has none"
        return _not_found(f"{bare} has no verb :{verb}; {ends}. A colon in a name is written %3A")


def _suffix_leaf(node: _Node[R], suffix: tuple[str, ...]) -> _Leaf[R]:
    for other, leaf in node.many:
        if other == suffix:
            return leaf
    leaf = _Leaf()
    node.many.append((suffix, leaf))
    node.many.sort(key=lambda entry: -len(entry[0]))
    return leaf


def _walk(node: _Node[R], segments: list[str], at: int) -> Iterator[_Leaf[R]]:
    """Every pattern that matches the segments, the most literal first. Each node is visited at most once."""
    if at == len(segments):
        if node.leaf.verbs:
            yield node.leaf
    else:
        child = node.literals.get(segments[at])
        if child is not None:
            yield from _walk(child, segments, at + 1)
        if node.one is not None:
            yield from _walk(node.one, segments, at + 1)
    for suffix, leaf in node.many:
        end = len(segments) - len(suffix)
        if end >= at and tuple(segments[end:]) == suffix:
            yield leaf


def _not_found(message: str) -> TranscodingError:
    return TranscodingError(404, "NOT_FOUND", message[:_LONGEST_MESSAGE])
