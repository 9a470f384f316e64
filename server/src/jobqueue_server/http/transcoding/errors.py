"""What can be wrong with a request, as an HTTP status, a gRPC code and the fields at fault."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

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
        http_status: 400, 404, 405 or 415.
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
    """

    def __init__(self, description: str, path: str = "") -> None:
        super().__init__(description)
        self.description = description
        self.path = path

    def under(self, step: str) -> Problem:
        """The same problem, one step further out: `field`, or `[3]` for an item of a list."""
        if self.path and not self.path.startswith("["):
            step += "."
        self.path = step + self.path
        return self

    def error(self) -> TranscodingError:
        """What the caller is told."""
        if not self.path:
            return malformed(self.description)
        # A name in the path may be the caller's own: of any length, and with halves of surrogate pairs in it.
        path = self.path[:_LONGEST_PATH].encode("utf-8", "backslashreplace").decode()
        violation = Violation(path, self.description)
        return TranscodingError(
            400, "INVALID_ARGUMENT", f"{path}: {self.description}", violations=(violation,)
        )


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
