"""Path templates of google/api/http.proto, such as `/v1/{name=shelves/*}/books:search`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .errors import Problem, RuleError
from .percent import decode

ONE = "*"
MANY = "**"

_FIELD_PATH = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")
# The characters of a path's segment by RFC 3986, without the asterisk, which is a wildcard here.
_LITERAL = re.compile(r"(?:[-A-Za-z0-9._~!$&'()+,;=:@]|%[0-9A-Fa-f]{2})+")


@dataclass(frozen=True, slots=True)
class Variable:
    """A part of the path that fills a field.

    Attributes:
        field: The path of the field in the request message, with dots between names.
        start: The index of its first segment in a path. Negative, from the end, after a `**`.
        end: The index after its last segment. Negative, from the end, after a `**`; None for the path's end.
        multi: Whether it spans several segments or a `**`, so that an encoded slash in it stays encoded.
    """

    field: str
    start: int
    end: int | None
    multi: bool


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template.

    Attributes:
        text: The text in the rule.
        segments: Literals (percent-decoded), `*` and `**`. A template can't have a literal asterisk.
        variables: The variables, in the order of the path.
        verb: The text after the last colon, or "".
    """

    text: str
    segments: tuple[str, ...]
    variables: tuple[Variable, ...]
    verb: str


def parse(text: str) -> Template:
    """Reads a template.

    Raises:
        RuleError: The template is malformed. The message says what is wrong, and at which column.
    """
    return _Parser(text).template()


class _Parser:
    def __init__(self, text: str) -> None:
        self.whole = text
        self.text = text
        self.at = 0
        self.segments: list[str] = []
        self.spans: list[tuple[str, int, int]] = []

    def template(self) -> Template:
        if not self.text.startswith("/"):
            raise self.error("must start with a slash")
        verb = self.cut_verb()
        if self.text == "/" and verb:
            self.at = 1
            raise self.error("has a verb behind no segment")
        if self.text != "/":
            self.at = 1
            self.read_segments(end="")
        self.check_order()
        count = len(self.segments)
        # `**` matches any number of segments, so indices after it are counted from the end.
        many = self.segments.index(MANY) if MANY in self.segments else count
        variables = tuple(
            Variable(
                field,
                start if start <= many else start - count,
                end if end <= many else (end - count) or None,
                end - start > 1 or self.segments[start] == MANY,
            )
            for field, start, end in self.spans
        )
        self.check_variables(variables)
        return Template(self.whole, tuple(self.segments), variables, verb)

    def cut_verb(self) -> str:
        """Splits off the verb. It follows the last colon after the last slash and the last variable."""
        colon = self.text.rfind(":")
        if self.text.endswith("}") and colon > self.text.rfind("/"):
            self.at = colon
            raise self.error("has a colon in its last segment, behind which a path has its verb")
        if colon < max(self.text.rfind("/"), self.text.rfind("}")):
            return ""
        verb = self.text[colon + 1 :]
        if not _LITERAL.fullmatch(verb):
            self.at = colon + 1
            raise self.error("needs a verb after the colon, of characters that a path may hold")
        self.text = self.text[:colon]
        return self.decoded(verb)

    def read_segments(self, end: str) -> None:
        while True:
            self.read_segment(inside=bool(end))
            if self.at == len(self.text) or self.text[self.at] == end:
                return
            if self.text[self.at] != "/":
                raise self.error('expects "/"' + (f' or "{end}"' if end else ""))
            self.at += 1

    def read_segment(self, inside: bool) -> None:
        rest = self.text[self.at :]
        if rest.startswith("{"):
            if inside:
                raise self.error("has a variable within a variable")
            self.read_variable()
        elif rest.startswith(MANY):
            self.at += 2
            self.segments.append(MANY)
        elif rest.startswith(ONE):
            self.at += 1
            self.segments.append(ONE)
        else:
            literal = _LITERAL.match(rest)
            if literal is None:
                raise self.error("expects a segment: a literal, *, ** or a variable in braces")
            self.segments.append(self.decoded(literal[0]))
            self.at += len(literal[0])

    def read_variable(self) -> None:
        self.at += 1
        field = _FIELD_PATH.match(self.text, self.at)
        if field is None:
            raise self.error("expects the name of a field")
        self.at = field.end()
        start = len(self.segments)
        if self.text[self.at : self.at + 1] == "=":
            self.at += 1
            self.read_segments(end="}")
        else:
            self.segments.append(ONE)
        if self.text[self.at : self.at + 1] != "}":
            raise self.error('expects "}"')
        self.at += 1
        self.spans.append((field[0], start, len(self.segments)))

    def check_order(self) -> None:
        if MANY in self.segments:
            after = self.segments[self.segments.index(MANY) + 1 :]
            if ONE in after or MANY in after:
                # Literals may follow (Envoy's templates have them); a wildcard would make the match ambiguous.
                raise RuleError(
                    f"path template {self.whole!r} has a wildcard after **, which takes all there is"
                )

    def check_variables(self, variables: tuple[Variable, ...]) -> None:
        names = [variable.field for variable in variables]
        for name in names:
            if names.count(name) > 1:
                raise RuleError(f"path template {self.whole!r} binds the field {name!r} twice")
            for other in names:
                if other.startswith(name + "."):
                    raise RuleError(
                        f"path template {self.whole!r} binds {name!r} and {other!r}, which is within it"
                    )

    def decoded(self, literal: str) -> str:
        try:
            return decode(literal)
        except Problem as problem:
            raise self.error(problem.description) from None

    def error(self, what: str) -> RuleError:
        return RuleError(f"path template {self.whole!r} {what}, at column {self.at + 1}")
