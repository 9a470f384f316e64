"""What can be wrong with a request, as an HTTP status, a gRPC code and the fields at fault."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

# A caller mends a few at a time, and finding the nearest name of each of a million wrong ones takes time.
MOST_PROBLEMS = 20
_LONGEST_PATH = 500


class RuleError(ValueError):
    """A google.api.http rule can't be served; raised when the transcoder is built, never for a request."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One field at fault: its path in the request message (`job.labels[a]`, `jobs[3].payload`) and why."""

    field: str
    description: str


class TranscodingError(Exception):
    """The request is refused before it reaches a method.

    Attributes:
        http_status: 400, 404, 405, 406 or 415.
        code: Name of the google.rpc.Code that says the same.
        message: One sentence for the caller.
        violations: The fields at fault, for a google.rpc.BadRequest; empty if the fault is no field's.
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
    """A value is wrong; where it stands is added step by step while the exception rises through the message.

    Readers of values know nothing of paths, so that no path is built for the requests that are right.

    Attributes:
        description: What is wrong with it.
        path: Where it stands, as far as the exception has risen.
        more: Other problems of the same value, which rise with this one.
        end: The place behind the value in its text, for the reading to go on from; None where it isn't known.
        stops: Nothing behind the value can be read.
    """

    def __init__(self, description: str, path: str = "", *, stops: bool = False) -> None:
        super().__init__(description)
        self.description = description
        self.path = path
        self.more: Sequence[Problem] = ()
        self.end: int | None = None
        self.stops = stops

    def under(self, step: str) -> Problem:
        """The same problems, one step further out: `field`, or `[3]` for an item of a list."""
        for problem in self.each():
            dot = "." if problem.path and not problem.path.startswith("[") else ""
            problem.path = step + dot + problem.path
        return self

    def each(self) -> Sequence[Problem]:
        """This problem and those beside it."""
        return (self, *self.more)


def together(problems: Sequence[Problem], *, end: int | None = None, stops: bool = False) -> Problem:
    """Several problems as one, for the next value further out."""
    first, *first.more = problems
    first.end, first.stops = end, stops
    return first


def refused(problems: Sequence[Problem]) -> TranscodingError:
    """What the caller is told of them: each with its path."""
    found = problems[:MOST_PROBLEMS]
    # A name in the path may be the caller's own: of any length, and with halves of surrogate pairs in it.
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
    """400 for what is no field's fault: a path, a query or a body that can't be read at all."""
    return TranscodingError(400, "INVALID_ARGUMENT", message)


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean "x"?` for the nearest of the known names, else the names themselves if they are few."""
    names = list(dict.fromkeys(known))
    folded = {other.casefold(): other for other in reversed(names)}
    # Bounded: difflib takes time that grows with the product of the lengths, and the caller chooses this one.
    close = get_close_matches(name[:100].casefold(), folded, n=1, cutoff=0.6)
    if close:
        return f'; did you mean "{folded[close[0]]}"?'
    if names and len(names) <= 12:
        return "; known are " + ", ".join(names)
    return ""


def shown(text: str, limit: int = 60) -> str:
    """The caller's own text for a message: quoted, escaped where it isn't printable, and cut."""
    cut = text if len(text) <= limit else text[:limit] + "…"
    return '"' + "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut) + '"'
