"""Writes what several `.sql` files of the store have in common, so that a person writes it once.

    python -m tools.statements           write them
    python -m tools.statements --check   write nothing; fail if something would change
    python -m tools.statements --same REVISION   write, and compare with a revision, comments and white space aside

Each file is still one whole statement, which can be read, and run in psql: nothing is put together at run time.

- A **fragment** is `store/fragments/NAME.sql`. A statement has it between `-- use NAME` and `-- end of NAME`. A
  line of its head `-- blanks: at = now(); more` names what differs between its uses: `{at}` and `{more}` stand in
  its text, and `-- use NAME (at = clock_timestamp(); more = counted,)` fills them. One with a default may be left
  out; a line whose blanks are all empty, and that has nothing else, is left out. `-- needs: placed, run` names what
  must be in a statement that uses it. The comments at its top are for who reads it; all others come along.
- A **frame** is `sql/NAME.sql.in` with a line `-- forms: one, another`: each form is a statement of its own,
  `sql/one.sql` and `sql/another.sql`, made whole. `-- if one`, `-- else` and `-- end if` around lines keep those of
  some forms (`-- if one, third`).
- A **parameter** is declared in the head of a statement: `-- $1 ids uuid[] $2 most int4: how many`. Fragments and
  frames write `:ids` or `:ids::uuid[]`, and the tool the number; a name that is missing, or that has another type,
  is an error.
- A **list** of columns stands between `-- fields: LIST` and `-- end of fields`; `fields.py` has them all.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from . import fields

ROOT = Path(__file__).parent.parent
STORE = fields.STORE
FRAGMENTS = STORE / "fragments"
FRAME = ".sql.in"

_USE = re.compile(r"^(?P<indent> *)-- use (?P<name>[a-z][a-z-]*)(?: \((?P<blanks>.*)\))?$")
_PARAMETER = re.compile(r"(?<!:):([a-z][a-z_]*)(?:::([a-z0-9_]+(?:\[\])?))?")
_DECLARED = re.compile(r"\$(\d+) ([a-z][a-z_]*) ([a-z][a-z0-9_]*(?:\[\])?)")
_LIST = re.compile(r"^ *-- fields: .*\n|^ *-- end of fields\n", re.MULTILINE)


class StatementError(Exception):
    """A statement, a fragment or a frame is not as the tool can use it. The text says which, and what is wrong."""


@dataclass(frozen=True, slots=True)
class Fragment:
    """What several statements have in common.

    Attributes:
        text: Its lines, each with an end, without its head.
        blanks: What it leaves to its uses, with what stands there by default; None: nothing does.
        needs: Names that a statement that uses it must have.
    """

    name: str
    text: str
    blanks: Mapping[str, str | None] = field(default_factory=dict)
    needs: tuple[str, ...] = ()


def head_of(text: str) -> str:
    """The comments at the top."""
    found = re.match(r"(?: *--.*\n)*", text)
    return found[0] if found else ""


def parse_fragment(name: str, text: str) -> Fragment:
    """The fragment of a file.

    Raises:
        StatementError: It has no comment at its top that says what it is.
    """
    head = head_of(text)
    # A list of columns or a fragment that comes first is no head.
    cut = re.search(r"^ *-- (?:use|fields:) ", head, re.MULTILINE)
    head = head[: cut.start()] if cut else head
    if not head:
        raise StatementError(f"fragments/{name}.sql begins without a comment that says what it is")
    blanks: dict[str, str | None] = {}
    for line in re.findall(r"^-- blanks: (.*)$", head, re.MULTILINE):
        blanks |= _blanks(line, f"fragments/{name}.sql", values=False)
    needs = [
        word.strip()
        for line in re.findall(r"^-- needs: (.*)$", head, re.MULTILINE)
        for word in line.split(",")
    ]
    return Fragment(name, fields.written(text[len(head) :]), blanks, tuple(needs))


def _blanks(text: str, where: str, *, values: bool) -> dict[str, str | None]:
    """`at = now(); more` as a mapping. `values`: each has one, if only an empty one."""
    found: dict[str, str | None] = {}
    for part in text.split(";"):
        name, equals, value = part.partition("=")
        name = name.strip()
        if not re.fullmatch("[a-z_]+", name) or (values and not equals):
            raise StatementError(
                f"{where}: `{part.strip()}` should be NAME = VALUE, with `;` between two of them"
            )
        found[name] = value.strip() if equals else None
    return found


def fragments() -> Mapping[str, Fragment]:
    """All of them, by their names."""
    return {
        path.stem: parse_fragment(path.stem, path.read_text()) for path in sorted(FRAGMENTS.glob("*.sql"))
    }


def expanded(use: re.Match[str], where: str, known: Mapping[str, Fragment]) -> str:
    """The lines of a use, with its blanks filled, and what it uses itself in them.

    Raises:
        StatementError: There is no such fragment, or a blank is not its own, or one is missing.
    """
    fragment = known.get(use["name"])
    if fragment is None:
        raise StatementError(f"{where} uses {use['name']}, and there is no fragments/{use['name']}.sql")
    given = _blanks(use["blanks"], where, values=True) if use["blanks"] else {}
    if unknown := given.keys() - fragment.blanks.keys():
        raise StatementError(f"{where}: {fragment.name} has no blank {', '.join(sorted(unknown))}")
    values = {**fragment.blanks, **given}
    if missing := [name for name, value in values.items() if value is None]:
        raise StatementError(f"{where}: {fragment.name} wants a value for {', '.join(missing)}")
    lines = []
    for line in _LIST.sub("", fragment.text).splitlines():
        blanks = re.findall(r"\{([a-z_]+)\}", line)
        filled = re.sub(r"\{([a-z_]+)\}", lambda found: values.get(found[1]) or "", line)
        if filled.strip() or not blanks:
            lines.append(filled.rstrip())
    text = "\n".join(lines) + "\n"
    text = _uses(text, f"fragments/{fragment.name}.sql", known)
    return "".join(
        f"{use['indent']}{line}" if line.strip() else line for line in text.splitlines(keepends=True)
    )


def _uses(text: str, where: str, known: Mapping[str, Fragment]) -> str:
    """The text with the lines of what it uses in place of each use."""
    made = []
    for line in text.splitlines(keepends=True):
        use = _USE.match(line.rstrip("\n"))
        made.append(expanded(use, where, known) if use else line)
    return "".join(made)


def declared(text: str) -> dict[str, tuple[str, str]]:
    """The parameters of a statement by their names: number and type."""
    return {name: (number, kind) for number, name, kind in _DECLARED.findall(head_of(text))}


def numbered(text: str, parameters: Mapping[str, tuple[str, str]], where: str) -> str:
    """The text with the number of each parameter in place of its name, but for comments.

    Raises:
        StatementError: One is not declared, or with another type.
    """

    def number(found: re.Match[str]) -> str:
        name, cast = found[1], found[2]
        if name not in parameters:
            raise StatementError(
                f"{where} declares no parameter {name}; it has {', '.join(parameters) or 'none'}"
            )
        place, kind = parameters[name]
        if cast is not None and cast != kind:
            raise StatementError(f"{where} declares {name} as {kind}, and uses it as {cast}")
        return f"${place}" if cast is None else f"${place}::{cast}"

    return "".join(
        line if line.lstrip().startswith("--") else _PARAMETER.sub(number, line)
        for line in text.splitlines(keepends=True)
    )


def written(text: str, where: str, known: Mapping[str, Fragment]) -> str:
    """The text of a statement with its lists and its fragments as they are to be.

    Raises:
        StatementError: A use has no end, or what is used does not fit.
    """
    text = fields.written(text)
    parameters = declared(text)
    made: list[str] = []
    lines = iter(text.splitlines(keepends=True))
    for line in lines:
        made.append(line)
        use = _USE.match(line.rstrip("\n"))
        if use is None:
            continue
        end = f"{use['indent']}-- end of {use['name']}\n"
        if not any(each == end for each in lines):
            raise StatementError(f"{where} has no line `{end.strip()}` behind its use")
        made += (numbered(expanded(use, where, known), parameters, where), end)
    whole = "".join(made)
    _have(whole, where, known)
    return whole


def _have(text: str, where: str, known: Mapping[str, Fragment]) -> None:
    """Raises StatementError where a statement lacks what a fragment of it needs."""
    for line in text.splitlines():
        use = _USE.match(line)
        for name in known[use["name"]].needs if use else ():
            if not re.search(rf"\b{name}\b(?: \([^)]*\))? as\b", text):
                raise StatementError(f"{where} uses {use['name'] if use else ''}, which needs {name}")


def forms_of(text: str, where: str) -> list[str]:
    """The statements that a frame makes.

    Raises:
        StatementError: It does not say which.
    """
    found = re.match(r"-- forms: ([a-z_]+(?:, [a-z_]+)*)\n", text)
    if found is None:
        raise StatementError(f"{where} does not begin with `-- forms: one, another`")
    return found[1].split(", ")


def form(text: str, name: str, where: str, known: Mapping[str, Fragment]) -> str:
    """The statement that a frame makes of this name.

    Raises:
        StatementError: What the frame keeps for some forms has no end, or names a form that it has not.
    """
    forms = forms_of(text, where)
    kept: list[str] = []
    wanted, inside = True, False
    for line in text.split("\n", 1)[1].splitlines(keepends=True):
        mark = re.fullmatch(r" *-- (if ([a-z_, ]+)|else|end if)\n", line)
        if mark is None:
            kept += (line,) if wanted else ()
            continue
        if mark[1].startswith("if"):
            names = mark[2].split(", ")
            if inside or not set(names) <= set(forms):
                raise StatementError(f"{where}: `{mark[0].strip()}` stands in another one, or names no form")
            wanted, inside = name in names, True
        elif not inside:
            raise StatementError(f"{where}: `{mark[0].strip()}` has no `-- if` before it")
        else:
            wanted, inside = (not wanted, True) if mark[1] == "else" else (True, False)
    if inside:
        raise StatementError(f"{where}: an `-- if` has no `-- end if`")
    title, rest = fields.written("".join(kept)).split("\n", 1)
    body = _uses(rest, where, known)
    _have(title + rest + body, where, known)
    made = f"{title}\n-- (made of {where}: change it there, and run make generate)\n{_LIST.sub('', body)}"
    return numbered(made, declared(made), f"{name}.sql")


def statements() -> Iterator[tuple[Path, str]]:
    """Each file that the tool writes, with what it is to be: fragments, then those made of frames, then all others."""
    known = fragments()
    for path in sorted(FRAGMENTS.glob("*.sql")):
        yield path, fields.written(path.read_text())
    made: set[Path] = set()
    for frame in sorted(STORE.rglob(f"*{FRAME}")):
        text = frame.read_text()
        for name in forms_of(text, frame.name):
            path = frame.with_name(f"{name}.sql")
            made.add(path)
            yield path, form(text, name, frame.name, known)
    for path in sorted(STORE.rglob("sql/*.sql")):
        if path not in made:
            yield path, written(path.read_text(), path.name, known)


def stale() -> dict[Path, str]:
    """The files that are not as they are to be, with what they are to be."""
    return {path: new for path, new in statements() if not path.exists() or path.read_text() != new}


def plain(text: str) -> list[str]:
    """The words and signs of a statement, without comments and white space."""
    return re.findall(r"\w+|[^\w\s]", re.sub(r"--.*", "", text))


def differing(revision: str, text_of: Callable[[str], str | None]) -> list[str]:
    """The statements that differ from those of a revision in more than comments and white space."""
    found = []
    for path in sorted(STORE.rglob("sql/*.sql")):
        name = str(path.relative_to(ROOT))
        before = text_of(f"{revision}:{name}")
        if before is not None and plain(before) != plain(path.read_text()):
            found.append(name)
    return found


def _of_git(name: str) -> str | None:
    done = subprocess.run(["git", "-C", str(ROOT), "show", name], capture_output=True, text=True)
    return done.stdout if done.returncode == 0 else None


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing; fail if something would change")
    parser.add_argument(
        "--same", metavar="REVISION", help="fail where a statement differs from this revision's"
    )
    asked = parser.parse_args()
    try:
        found = stale()
    except StatementError as error:
        sys.exit(f"statements: {error}")
    if asked.check:
        if found:
            names = ", ".join(path.name for path in found)
            sys.exit(
                f"statements: not what their fragments, frames and lists make: {names}: run `make generate`"
            )
        return
    for path, text in found.items():
        path.write_text(text)
    if asked.same and (others := differing(asked.same, _of_git)):
        sys.exit("statements: these differ in more than comments and white space: " + ", ".join(others))


if __name__ == "__main__":
    main()
