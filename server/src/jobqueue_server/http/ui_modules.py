"""The dashboard's modules as one file without comments: half of what people read is what a browser loads."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from graphlib import TopologicalSorter

# A piece of a script. What is within a template is read by `_TEMPLATE`.
_PIECE = re.compile(
    r"""
      (?P<comment> //[^\n]* | /\*.*?\*/ )
    | (?P<blank> \s+ )
    | (?P<text> "(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*' )
    | (?P<sign> [{}`/] )
    | (?P<rest> [^\s"'{}`/]+ )
    """,
    re.VERBOSE | re.DOTALL,
)
_REGEXP = re.compile(r"/(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\[\n])+/")
_TEMPLATE = re.compile(r"(?:\\.|\$(?!\{)|[^`\\$])*(?:`|\$\{)", re.DOTALL)
# Behind these a slash begins a regular expression. Behind a word, a string and what closes, it divides.
_BEFORE_REGEXP = (*"([{,;=:?!&|>+", "return")
_LINES = re.compile(r"\s*\n\s*")
_WORDS = re.compile(r"[\w$]{2}")

_IMPORT = re.compile(r'^import ?(\w+|\{[^}]*\}) ?from"([^"]+)";$', re.MULTILINE)
_EXPORT = re.compile(r"^export (default )?((?:async )?(?:function|class|const) (\w+))", re.MULTILINE)
_EXPORTS = re.compile(r"^export\{([^}]*)\};$", re.MULTILINE)
_UNKNOWN = re.compile(r'^(?:export\b|import ?["{*]|import \w+ ?[,f])', re.MULTILINE)


def joined(modules: Mapping[str, str]) -> str:
    """All modules as one, each after those that it imports.

    Each becomes a function that is called once and answers its exports, so names of one don't meet those of another.
    A module that is not among these, such as a vendored one, is imported, from the folder above.

    Args:
        modules: The text of each by its path, such as `app/pages/jobs.js`.

    Raises:
        graphlib.CycleError: Modules import each other in a circle.
        ValueError: One imports or exports in a way that is not known here.
    """
    texts = {path: stripped(text) for path, text in modules.items()}
    wanted = {
        path: [_target(path, name) for _, name in _IMPORT.findall(text)] for path, text in texts.items()
    }
    order = TopologicalSorter(wanted).static_order()
    theirs: list[str] = []
    ours = [_as_function(path, texts, theirs) for path in order if path in texts]
    return "\n".join([*dict.fromkeys(theirs), *ours]) + "\n"


def _as_function(path: str, texts: Mapping[str, str], theirs: list[str]) -> str:
    """A module as a function; what it imports of others than `texts` goes to `theirs`."""
    text = texts[path]

    def imported(match: re.Match[str]) -> str:
        names, target = match[1], _target(path, match[2])
        if target not in texts:
            theirs.append(f'import{names}from"../{target}";')
            return ""
        names = f"{{default:{names}}}" if names.isidentifier() else names.replace(" as ", ":")
        return f"const{names}={_name(target)};"

    exports = [f"default:{name}" if default else name for default, _, name in _EXPORT.findall(text)]
    exports += [names.replace(" as ", ":") for names in _EXPORTS.findall(text)]
    text = _EXPORTS.sub("", _EXPORT.sub(r"\2", _IMPORT.sub(imported, text))).strip()
    if unknown := _UNKNOWN.search(text):
        raise ValueError(f"{path}: what is `{text[unknown.start() :].splitlines()[0]}`?")
    return f"const {_name(path)}=(()=>{{\n{text}\nreturn{{{','.join(exports)}}};\n}})();"


def _target(path: str, name: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), name))


def _name(path: str) -> str:
    return "$" + re.sub(r"\W", "_", path.removeprefix("app/").removesuffix(".js"))


def stripped(text: str) -> str:
    """A script without its comments, and without blanks that part nothing. Lines stay lines.

    In a template of HTML, the blanks around an end of a line are that end alone: htm takes them off anyway. Other
    templates, strings and regular expressions stay as they are.
    """
    out: list[str] = []
    # For each brace that is open: None if it is of code; of a `${`, whether its template is HTML.
    nested: list[bool | None] = []
    blank = before = ""
    at = 0
    while match := _PIECE.match(text, at):
        piece, at = match[0], match.end()
        if match.lastgroup in ("comment", "blank"):
            blank = "\n" if "\n" in piece or blank == "\n" else " "
            continue
        html: bool | None = None
        if piece == "`":
            html = before.endswith("html")
        elif piece == "{":
            nested.append(None)
        elif piece == "}":
            html = nested.pop()
        elif piece == "/" and before.endswith(_BEFORE_REGEXP):
            piece, at = _further(_REGEXP, text, at - 1)
        if html is not None:
            body, at = _further(_TEMPLATE, text, at)
            piece += _LINES.sub("\n", body) if html else body
            if body.endswith("${"):
                nested.append(html)
        if blank and before and (blank == "\n" or _parts(before[-1], piece[0])):
            out.append(blank)
        out.append(piece)
        before, blank = piece, ""
    if at < len(text) or nested:
        raise ValueError(f"what is `{text[at : at + 40]}`?")
    return "".join(out) + "\n"


def _further(pattern: re.Pattern[str], text: str, at: int) -> tuple[str, int]:
    match = pattern.match(text, at)
    if match is None:
        raise ValueError(f"what is `{text[at : at + 40]}`?")
    return match[0], match.end()


def _parts(left: str, right: str) -> bool:
    """Whether a blank between these keeps two words or two signs from becoming one."""
    return _WORDS.fullmatch(left + right) is not None or (left == right and left in "+-/")
