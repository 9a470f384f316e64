"""The lists of columns in the `.sql` files of the store, which are made from `fields.py`; `statements.py` writes them.

A list stands between a line `-- fields: LIST` and a line `-- end of fields`. A comma behind the name of the list puts
one behind the list. `LISTS` says which there are.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable
from pathlib import Path

from jobqueue_server.fields import COLUMNS, FIELDS, LONG, Column, View

ROOT = Path(__file__).parent.parent
STORE = ROOT / "server" / "src" / "jobqueue_server" / "store"
WIDTH = 118

#: The parameters of enqueue.sql before those that the list makes.
FIRST_PARAMETER = 15

MARKED = re.compile(
    r"^(?P<indent> *)-- fields: (?P<list>[^\n]*?)(?P<comma>,?)\n(?P<body>.*?)^ *-- end of fields$",
    re.MULTILINE | re.DOTALL,
)


def _number(column: Column) -> int:
    return FIRST_PARAMETER + COLUMNS.index(column)


def _sent(column: Column) -> str:
    return f"{column.sent or column.type}[]"


def _value(column: Column) -> str:
    """What an insert stores: the row's own, or that of the run that the row names by its number."""
    if column.each:
        return column.name
    value = f"(${_number(column)}::{_sent(column)})[run]"
    if column.sent:
        value += f"::{column.type}"
    return value if column.default is None else f"coalesce({value}, {column.default})"


def _read(column: Column, prefix: str = "") -> str:
    """The column as the driver reads it."""
    return f"{prefix}{column.name}::text as {column.name}" if column.sent else prefix + column.name


def _shown(view: View) -> list[Column]:
    return [column for field in FIELDS if field.shown is view for column in field.columns]


def _bytes(columns: Iterable[Column], prefix: str) -> list[str]:
    return [
        f"+ coalesce(octet_length({prefix}{column.name}), 0)" for column in columns if column.type in LONG
    ]


def _parameters(*, each: bool) -> list[str]:
    return [f"${_number(column)} {column.name} {_sent(column)}" for column in COLUMNS if column.each == each]


def _own(prefix: str = "") -> list[str]:
    """The columns that each job has its own values of."""
    return [prefix + column.name for column in COLUMNS if column.each]


_LIVE = [column for column in COLUMNS if column.live]

#: From the name of a list to its items and what stands between them. `$n` in a name is any parameter.
LISTS: dict[str, tuple[Callable[[str], list[str]], str]] = {
    "parameters": (lambda _: _parameters(each=False), "  "),
    "parameters of each job": (lambda _: _parameters(each=True), "  "),
    "arguments of each job": (
        lambda _: [f"${_number(column)}::{_sent(column)}" for column in COLUMNS if column.each],
        ", ",
    ),
    "of each job": (lambda _: _own(), ", "),
    "of each job from a": (lambda _: _own("a."), ", "),
    "columns": (lambda _: [column.name for column in COLUMNS], ", "),
    "values": (lambda _: [_value(column) for column in COLUMNS], ", "),
    "columns of live_job": (lambda _: [column.name for column in _LIVE], ", "),
    "values of live_job": (lambda _: [_value(column) for column in _LIVE], ", "),
    "columns of live_job from b": (lambda _: [f"b.{column.name}" for column in _LIVE], ", "),
    "argument of the semaphore_id": (lambda _: [f"${FIRST_PARAMETER + len(COLUMNS)}::int8[]"], ", "),
    "parameter of the semaphore_id": (lambda _: [f"${FIRST_PARAMETER + len(COLUMNS)} semaphore_id int8[]"], ""),
    "argument of the queues": (lambda _: [f"${FIRST_PARAMETER + len(COLUMNS)}::int4[]"], ", "),
    "parameter of the queues": (lambda _: [f"${FIRST_PARAMETER + len(COLUMNS)} queue_id int4[]"], ""),
    "timeout": (lambda _: [_value(column) for column in COLUMNS if column.name == "timeout_ms"], ", "),
    "shown in every view": (lambda _: [_read(column, "j.") for column in _shown(View.BASIC)], ", "),
    "shown in full, where $n": (
        lambda full: [f"case when {full} then j.{column.name} end as {column.name}" for column in _shown(View.FULL)],
        ", ",
    ),
    "shown in full, looked up where $n": (
        lambda full: [
            f"case when {full} then (select j.{column.name} from job j where j.id = t.id) end as {column.name}"
            for column in _shown(View.FULL)
        ],
        ", ",
    ),
    "bytes in every view": (lambda _: _bytes(_shown(View.BASIC), "d."), " "),
    "bytes in full": (lambda _: _bytes(_shown(View.FULL), "j."), " "),
    "delivered": (
        # First those of each job, then those that leases share.
        lambda _: [
            _read(column)
            for each in (True, False)
            for field in FIELDS
            if field.delivered
            for column in field.columns
            if column.each == each
        ],
        ", ",
    ),
}  # fmt: skip


def known(name: str) -> str:
    """A list's name in `LISTS`."""
    return re.sub(r"\$\d+$", "$n", name)


def made(name: str, comma: str, indent: str) -> str:
    """The lines of a list.

    Raises:
        ValueError: There is no such list.
    """
    parameter = re.search(r"\$\d+$", name)
    if known(name) not in LISTS:
        raise ValueError(f"there is no list `{name}`; there are: {', '.join(LISTS)}")
    make, between = LISTS[known(name)]
    # What is one item is not broken.
    items = [item.replace(" ", "\0") for item in make(parameter[0] if parameter else "")]
    begin = indent + "-- " if name.startswith("parameter") else indent
    text = textwrap.fill(
        between.join(items) + comma,
        WIDTH,
        initial_indent=begin,
        subsequent_indent=begin,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "".join(f"{line.rstrip()}\n" for line in text.replace("\0", " ").splitlines())


def written(text: str) -> str:
    """The text of a statement with its lists as they are to be."""

    def renewed(found: re.Match[str]) -> str:
        begin, end = found.start("body") - found.start(), found.end("body") - found.start()
        return found[0][:begin] + made(found["list"], found["comma"], found["indent"]) + found[0][end:]

    return MARKED.sub(renewed, text)
