"""The errors of a request: an HTTP status, a gRPC code and the wrong fields."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

# The most problems in an error. To find a similar name for each of a million wrong ones would take long.
MOST_PROBLEMS = 20
_LONGEST_PATH = 500


class RuleError(ValueError):
    """A google.api.http rule can't be served. Raised when the transcoder is built, never for a request."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One wrong field: its path in the request message (`job.labels[a]`, `jobs[3].payload`), and what is wrong."""

    field: str
    description: str


class TranscodingError(Exception):
    """A request was refused before it reached a method.

    Attributes:
        http_status: 400, 404, 405, 406 or 415.
        code: The name of its google.rpc.Code.
        message: A sentence for the caller.
        violations: The wrong fields, for a google.rpc.BadRequest; empty if no field is wrong.
        allow: With 405 only: the methods that the path has, sorted, for the `Allow` header.
    """

    def __init__(
        self,
        http_status: int,
        code: str,
        message: str,
        *,
        violations: tuple[Violation, ...] = (),
        allow: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message)
        self.http_status = http_status
        self.code = code
        self.message = message
        self.violations = violations
        self.allow = allow


class Problem(Exception):
    """A value is wrong. Each level of the message adds its part of the path while the exception passes it.

    So no path is built for a correct request.

    Attributes:
        description: What is wrong with the value.
        path: The path of the value, as far as it is known yet.
        more: Other problems in the same message.
        end: The position after the value in its text, from which reading continues; None if it is not known.
        stops: Whether the rest of the text can't be read.
    """

    def __init__(self, description: str, path: str = "", *, stops: bool = False) -> None:
        super().__init__(description)
        self.description = description
        self.path = path
        self.more: Sequence[Problem] = ()
        self.end: int | None = None
        self.stops = stops

    def under(self, step: str) -> Problem:
        """The same problems, with one more part of the path: `field`, or `[3]` for an item of a list."""
        for problem in self.each():
            dot = "." if problem.path and not problem.path.startswith("[") else ""
            problem.path = step + dot + problem.path
        return self

    def each(self) -> Sequence[Problem]:
        """This problem and `more`. Their tracebacks go: the frames in them name the lists that hold them."""
        found = (self, *self.more)
        for one in found:
            one.__traceback__ = one.__context__ = None
        return found


def together(problems: Sequence[Problem], *, end: int | None = None, stops: bool = False) -> Problem:
    """Several problems as one exception, for the enclosing value."""
    first, *first.more = problems
    first.end, first.stops = end, stops
    return first


def refused(problems: Sequence[Problem]) -> TranscodingError:
    """The problems for the caller, each with its path."""
    found = problems[:MOST_PROBLEMS]
    # A name in the path may come from the caller, so it may be long and may have lone surrogates.
    paths = [problem.path[:_LONGEST_PATH].encode("utf-8", "backslashreplace").decode() for problem in found]
    violations = [
        Violation(path, problem.description) for path, problem in zip(paths, found, strict=True) if path
    ]
    message = "; ".join(
        f"{path}: {problem.description}" if path else problem.description
        for path, problem in zip(paths, found, strict=True)
    )
    return TranscodingError(400, "INVALID_ARGUMENT", message, violations=tuple(violations))


def malformed(message: str) -> TranscodingError:
    """400 for a path, a query or a body that can't be read at all, so that no field is named."""
    return TranscodingError(400, "INVALID_ARGUMENT", message)


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean "x"?` for the most similar known name, or the list of known names if they are few."""
    names = list(dict.fromkeys(known))
    folded = {other.casefold(): other for other in reversed(names)}
    # Bounded: difflib's time grows with the product of the lengths, and the caller chooses one of them.
    close = get_close_matches(name[:100].casefold(), folded, n=1, cutoff=0.6)
    if close:
        return f'; did you mean "{folded[close[0]]}"?'
    if names and len(names) <= 12:
        return "; known are " + ", ".join(names)
    return ""


def shown(text: str, limit: int = 60) -> str:
    """A text of the caller for a message: quoted, escaped if it isn't printable, and cut."""
    cut = text if len(text) <= limit else text[:limit] + "…"
    return '"' + "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut) + '"'
