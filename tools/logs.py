"""The log lines of server, worker and client, as the code has them: docs/logs.md, and what a line must look like.

python -m tools.docs writes the document, and docs/log.schema.json, the form of a line for who reads many.
"""

from __future__ import annotations

import ast
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SOURCES = (
    "server/src/jobqueue_server",
    "server/src/grpc_http2",
    "worker/src/jobqueue_worker",
    "clients/python/src/jobqueue",
)
#: What the methods of a log are called, and the level of their lines.
LEVELS = {"debug": "debug", "info": "info", "warning": "warning", "error": "error", "exception": "error"}
#: The loggers whose lines are listed, by how their names begin.
OURS = ("jobqueue_server", "grpc_http2", "jobqueue_worker", "jobqueue")

#: What each line has.
REQUIRED = {
    "at": "When, in UTC, to the millisecond: `2026-11-28T09:30:00.123Z`.",
    "level": "`debug`, `info`, `warning`, `error` or `critical`.",
    "logger": "Which part says so. Those of ours begin with `jobqueue`.",
    "message": "What happened. `...` below stands for what varies.",
}
#: What a line may have besides its own fields.
COMMON = {
    "request_id": "The call that it belongs to; callers give it as `x-request-id`, or are told it.",
    "job_id": "The job that a handler of a worker runs.",
    "attempt": "Which attempt of it, from 1.",
    "kind": "Its kind.",
    "queue": "Its queue.",
    "trace_id": "The trace of a sampled call or job ([traces](traces.md)).",
    "span_id": "Its span.",
    "error_id": "What a caller was told of a fault of the server, so that the line is found.",
    "exception": "The traceback, with its lines.",
}
#: Fields that a line takes from a mapping: the program that reads the code can't see their names.
SPREAD = {
    "place_of": ("host", "port", "database"),
    "self.transports.http_shown": ("http_port", "dashboard"),
    "tls": ("tls",),
}

#: What is an object all the same: the audit log has it as it is stored.
OBJECTS = {("jobqueue_server.audit", "details")}
#: The text of a line of which the code does not say it.
ANY = "..."
_SCALAR = {"type": ["string", "number", "boolean", "null"]}

_AT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_FIELD = re.compile(r"[a-z][a-z0-9_]*")
#: What no line may hold, by what it is called. A key that is hidden ends with `***`.
SECRETS = {
    "an API key": re.compile(r"jq_[0-9a-hjkmnp-tv-z]{10}_[A-Za-z0-9_-]{43}[0-9A-Za-z]{6}"),
    "a signed token": re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}"),
    "credentials of a request": re.compile(r"(?i)\b(?:bearer|basic) [\w.~+/=-]{16,}"),
    "a password of an address": re.compile(r"\b\w+://[^\s/:@'\"]*:[^\s/@'\"]+@"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY"),
}
_MAY_LOG = re.compile(rf"(log(ger)?|JobLog\(.*\))\s*\.({'|'.join(LEVELS)})\(")
_LOG = re.compile(r"(\b_?log(ger)?|(?P<job>\bjob_log|\bJobLog\(.*\)))$", re.DOTALL)
INTRODUCTION = """\
With `JOBQUEUE_LOG_FORMAT=json` each line is one JSON object. Its values are texts, numbers, true, false or null, never
objects or lists, but for `details` of the audit log; names of fields are small letters with `_`. Each line of ours is
one of these: tests hold what they make a server log to this list, and look for passwords, tokens and keys in it. Of an
API key that an exception quotes `jq_..._***` is written. [log.schema.json](log.schema.json) is the form as JSON Schema.

Lines to alert on, with what to do, are in the [runbook](runbook.md#log-lines-to-alert-on). Lines of libraries come from
the level `warning` on, in the same form.
"""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the code: its level, its text, the fields of its own, and who logs it where the text is not known."""

    level: str
    text: str
    fields: tuple[str, ...]
    logger: str = ""

    def matches(self, message: str) -> bool:
        """Whether this is its message."""
        return _pattern(self.text).fullmatch(message) is not None


@cache
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, text.split(ANY))), re.DOTALL)


@cache
def lines() -> Mapping[str, tuple[Line, ...]]:
    """Every line that is logged, by the package that logs it."""
    found: dict[str, set[Line]] = defaultdict(set)
    for source in SOURCES:
        for path in sorted((ROOT / source).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            # Most files log nothing, and to parse all of them takes two seconds.
            for node in ast.walk(ast.parse(text)) if _MAY_LOG.search(text) else ():
                if line := _line(node):
                    if line.text == ANY:
                        line = replace(line, logger=_module(path))
                    found[source.rpartition("/")[2]].add(line)
    return {
        package: tuple(sorted(some, key=lambda line: (line.text.lower(), line.level)))
        for package, some in found.items()
    }


def _line(node: ast.AST) -> Line | None:
    if not (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in LEVELS
        and (by := _LOG.search(ast.unparse(node.func.value)))
        and node.args
    ):
        return None
    # A line about a job of a worker begins with its kind, id, attempt and request.
    text = f"{ANY}: {_text(node.args[0])}" if by["job"] else _text(node.args[0])
    return Line(LEVELS[node.func.attr], text, tuple(_fields(node)))


def _text(node: ast.expr) -> str:
    """The text of a line, with `...` for what is put in."""
    if isinstance(node, ast.Constant):
        return re.sub(r"(%[-.0-9]*[sdrgf])+", "...", str(node.value))
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "..." for part in node.values)
    return ANY


def _module(path: Path) -> str:
    """The name of its logger."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).partition(".src.")[2]


def _fields(node: ast.Call) -> Iterator[str]:
    for keyword in node.keywords:
        if keyword.arg is None:
            spread = keyword.value.func if isinstance(keyword.value, ast.Call) else keyword.value
            yield from SPREAD.get(ast.unparse(spread), ())
        elif keyword.arg not in {"exc_info", "extra", "stack_info"}:
            yield keyword.arg


def wrong_with(line: Mapping[str, Any]) -> list[str]:
    """What is wrong with a line that was logged as JSON; nothing, where it is as docs/logs.md says."""
    wrong = [f"it has no {name}" for name in REQUIRED if not isinstance(line.get(name), str)]
    if wrong:
        return wrong
    if not _AT.fullmatch(line["at"]):
        wrong.append(f"at is {line['at']!r}, and not as 2026-11-28T09:30:00.123Z")
    if line["level"] not in {*LEVELS.values(), "critical"}:
        wrong.append(f"there is no level {line['level']!r}")
    for name, value in line.items():
        if not _FIELD.fullmatch(name):
            wrong.append(f"the field {name!r} is not small letters with _")
        if not isinstance(value, str | int | float | bool | None) and (line["logger"], name) not in OBJECTS:
            wrong.append(f"the field {name} is a {type(value).__name__}")
    package = line["logger"].partition(".")[0]
    if package in OURS and package in lines():
        wrong += _unknown(line, package)
    text = "\n".join(str(value) for value in line.values())
    wrong += [f"it has {what}" for what, pattern in SECRETS.items() if pattern.search(text)]
    return wrong


def _unknown(line: Mapping[str, Any], package: str) -> list[str]:
    """Whether a line of ours is one of the code, with fields that it has there."""
    alike = [
        each
        for each in lines()[package]
        if each.level == line["level"]
        and each.logger in ("", line["logger"])
        and each.matches(line["message"])
    ]
    if not alike:
        return [f"no line of {package} of the level {line['level']} has this text"]
    own = {*REQUIRED, *COMMON}.union(*(each.fields for each in alike))
    return [f"the field {name} is none of this line" for name in sorted(line.keys() - own)]


def schema() -> str:
    """The text of docs/log.schema.json."""
    made: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A log line of JobQueue",
        "description": "Made by `make generate`. docs/logs.md lists the lines and the fields of each.",
        "type": "object",
        "required": list(REQUIRED),
        "propertyNames": {"pattern": f"^{_FIELD.pattern}$"},
        "properties": {name: {"type": "string", "description": text} for name, text in REQUIRED.items()}
        | {name: {"description": text, **_SCALAR} for name, text in COMMON.items()}
        | {name: {"description": "Of the audit log: as it is stored."} for _, name in sorted(OBJECTS)},
        "additionalProperties": _SCALAR,
    }
    made["properties"]["at"]["pattern"] = f"^{_AT.pattern}$"
    made["properties"]["level"]["enum"] = [*dict.fromkeys(LEVELS.values()), "critical"]
    return json.dumps(made, indent=2) + "\n"


def logs() -> str:
    """The text of docs/logs.md."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "# Log lines\n"
    yield "<!-- Made by `make generate` from the log lines of the code. Change those instead. -->\n"
    yield INTRODUCTION
    yield "## Fields\n"
    yield "| field | in | meaning |"
    yield "|---|---|---|"
    for name, text in REQUIRED.items():
        yield f"| `{name}` | each line | {text} |"
    for name, text in COMMON.items():
        yield f"| `{name}` | where it has one | {text} |"
    for package, title in (
        ("jobqueue_server", "Of a server"),
        ("grpc_http2", "Of its transport"),
        ("jobqueue_worker", "Of a worker in Python"),
        ("jobqueue", "Of the client and the worker runtime in Python"),
    ):
        if package in lines():
            yield f"\n## {title}\n"
            yield "| level | message | fields of its own |"
            yield "|---|---|---|"
            for line in lines()[package]:
                shown = line.text.replace("|", "\\|").replace("`", "'")
                if line.text != ANY:
                    yield f"| {line.level} | `{shown}` | {', '.join(f'`{name}`' for name in line.fields)} |"
