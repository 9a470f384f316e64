"""Log lines of the worker, for people or as JSON. Lines of a handler have its job, attempt and request id."""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

from jobqueue import JobLogFilter

_COLOURS = {"DEBUG": "2", "INFO": "32", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}
# What JobLogFilter adds, in the order in which it is shown.
_FIELDS = ("job_id", "attempt", "kind", "queue", "request_id", "trace_id", "span_id")
# Handlers log from INFO on. Below INFO only these loggers do: lines of libraries there are about the libraries.
_OURS = ("jobqueue", "jobqueue_worker")


def configure(level: str, form: Literal["human", "json"], stream: TextIO | None = None) -> None:
    """Sends every line of the process to one stream (stderr) in one form."""
    handler = writer(form, stream or sys.stderr)
    chosen = logging.getLevelNamesMapping()[level.upper()]
    logging.basicConfig(level=max(chosen, logging.INFO), handlers=[handler], force=True)
    for name in _OURS:
        logging.getLogger(name).setLevel(chosen)
    logging.captureWarnings(True)


def writer(form: Literal["human", "json"], stream: TextIO) -> logging.Handler:
    """What writes lines in one form, those of a handler with its job."""
    handler = logging.StreamHandler(stream)
    coloured = stream.isatty() and not os.environ.get("NO_COLOR")
    handler.setFormatter(_Json() if form == "json" else _Human(coloured=coloured))
    handler.addFilter(JobLogFilter())
    return handler


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """The fields of the line's job; none outside of handlers."""
    values = {name: getattr(record, name, "") for name in _FIELDS}
    return {name: value for name, value in values.items() if value != ""}


def _names_its_job(record: logging.LogRecord, text: str) -> bool:
    """Whether the text says it already, as lines of the runtime do."""
    job_id = getattr(record, "job_id", "")
    return bool(job_id) and job_id in text


class _Json(logging.Formatter):
    """One object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": _at(record).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["exception"] = "".join(traceback.format_exception(*record.exc_info))
        return json.dumps(line, default=str, ensure_ascii=False)


class _Human(logging.Formatter):
    """Time, level, text, fields; what has several lines is indented below."""

    def __init__(self, *, coloured: bool) -> None:
        super().__init__()
        self._coloured = coloured

    def format(self, record: logging.LogRecord) -> str:
        at = _at(record).astimezone().strftime("%H:%M:%S.%f")[:-3]
        level = self._paint(_COLOURS.get(record.levelname, "0"), f"{record.levelname.lower():<7}")
        first, *rest = record.getMessage().splitlines() or [""]
        named = {} if _names_its_job(record, first) else _fields(record)
        fields = " ".join(f"{name}={_plain(value)}" for name, value in named.items())
        if record.exc_info:
            rest += "".join(traceback.format_exception(*record.exc_info)).splitlines()
        head = f"{at} {level} {_printable(first)}" + (f"  {self._paint('2', fields)}" if fields else "")
        return "\n".join([head, *(f"    {_printable(line)}" for line in rest)])

    def _paint(self, colour: str, text: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._coloured else text


def _at(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


def _plain(value: object) -> str:
    """A value as text, quoted if it could be read as two values or as another line."""
    text = str(value)
    return text if text and text.isprintable() and not set(text) & set(' "=') else json.dumps(text)


def _printable(line: str) -> str:
    """The line, without what a producer could use to steer a terminal."""
    return (
        line
        if line.isprintable()
        else "".join(c if c.isprintable() or c == "\t" else ascii(c)[1:-1] for c in line)
    )
