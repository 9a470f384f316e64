"""Log lines with fields, for people or as JSON, each with the request id, job id and session it belongs to.

log = logs.get(__name__)
with logs.bound(request_id="4f1c"):
log.info("job enqueued", queue="default", kind="send_email")
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

#: The logger of the audit log's lines.
AUDIT = "jobqueue_server.audit"

_context: ContextVar[dict[str, object]] = ContextVar("log_context", default={})  # noqa: B039 - never changed in place

# An API key, as `core/access/keys.py` makes them. Nothing here writes one; what a library or an exception quotes might.
_KEY = re.compile(r"(jq_[0-9a-hjkmnp-tv-z]{10}_)[A-Za-z0-9_-]{43}[0-9A-Za-z]{6}")

_COLOURS = {"DEBUG": "2", "INFO": "32", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}


class Log:
    """A named source of log lines. The text says what happened, and is constant; the fields hold what varies."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    @property
    def says_debug(self) -> bool:
        """Whether debug lines are written. The hot path asks before it makes the fields of one."""
        return self._logger.isEnabledFor(logging.DEBUG)

    def debug(self, event: str, **fields: object) -> None:
        """Logs what helps to find a fault in the program."""
        self._write(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: object) -> None:
        """Logs what operators want to see in normal operation."""
        self._write(logging.INFO, event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Logs what an operator should look at, but not at once."""
        self._write(logging.WARNING, event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Logs what an operator should look at now."""
        self._write(logging.ERROR, event, fields)

    def exception(self, event: str, error: BaseException | None = None, /, **fields: object) -> None:
        """Logs an error with an exception; None: with the one that is being handled."""
        self._write(logging.ERROR, event, fields, exc_info=True if error is None else error)

    def _write(
        self,
        level: int,
        event: str,
        fields: dict[str, object],
        *,
        exc_info: bool | BaseException = False,
    ) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, "%s", event, extra={"fields": fields}, exc_info=exc_info)


def get(name: str) -> Log:
    """The log of a module."""
    return Log(logging.getLogger(name))


@contextmanager
def bound(**fields: object) -> Iterator[None]:
    """Adds fields to every line of this task and of the tasks that it starts, until the block ends."""
    token = _context.set({**_context.get(), **fields})
    try:
        yield
    finally:
        _context.reset(token)


def bind(**fields: object) -> None:
    """Adds fields to every line of this task from now on."""
    _context.set({**_context.get(), **fields})


def context() -> dict[str, object]:
    """The fields that every line of this task has."""
    return dict(_context.get())


def configure(level: str, form: Literal["human", "json"], stream: TextIO | None = None) -> None:
    """Sends every line of the process, lines of libraries included, to one stream (default stderr) in one form."""
    logging.basicConfig(level=logging.WARNING, handlers=[writer(form, stream or sys.stderr)], force=True)
    # Libraries log from WARNING on: their other lines are about the libraries themselves.
    for ours in ("jobqueue_server", "grpc_http2"):
        logging.getLogger(ours).setLevel(level.upper())
    # Whatever is left out of the other lines, who archives these misses none. People read the audit log elsewhere.
    logging.getLogger(AUDIT).setLevel(logging.INFO if form == "json" else logging.WARNING)
    # While the database is away the pool would log a traceback a second. The server's heartbeat logs it less often.
    logging.getLogger("asyncpg.pool").setLevel(logging.CRITICAL)
    # grpcio logs each metadata value that is not UTF-8, credentials as well.
    logging.getLogger("grpc._cython.cygrpc").addFilter(_quotes_no_metadata)
    logging.captureWarnings(True)


def writer(form: Literal["human", "json"], stream: TextIO) -> logging.Handler:
    """What writes lines in one form: with the fields of their task, and with no secret part of a key."""
    handler = logging.StreamHandler(stream)
    coloured = stream.isatty() and not os.environ.get("NO_COLOR")
    handler.setFormatter(_Json() if form == "json" else _Human(coloured=coloured))
    handler.addFilter(_add_context)
    return handler


def _quotes_no_metadata(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("Invalid encoding on")


def _add_context(record: logging.LogRecord) -> bool:
    record.fields = {**_context.get(), **getattr(record, "fields", {})}
    return True


class _Json(logging.Formatter):
    """A JSON object for each line. The four names below win over fields of the same name."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": _at(record).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line = {**line, **getattr(record, "fields", {}), **line}
        if record.exc_info:
            line["exception"] = "".join(traceback.format_exception(*record.exc_info))
        return _without_keys(json.dumps(line, default=str, ensure_ascii=False))


class _Human(logging.Formatter):
    """Time, level, text and fields in a line; the exception follows in further lines."""

    def __init__(self, *, coloured: bool) -> None:
        super().__init__()
        self._coloured = coloured

    def format(self, record: logging.LogRecord) -> str:
        at = _at(record).astimezone().strftime("%H:%M:%S.%f")[:-3]
        level = self._paint(_COLOURS.get(record.levelname, "0"), f"{record.levelname.lower():<7}")
        fields = " ".join(f"{name}={_plain(value)}" for name, value in getattr(record, "fields", {}).items())
        line = f"{at} {level} {_one_line(record.getMessage())}"
        if fields:
            line += "  " + self._paint("2", fields)
        if record.exc_info:
            line += "\n" + "".join(traceback.format_exception(*record.exc_info)).rstrip()
        return _without_keys(line)

    def _paint(self, colour: str, text: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._coloured else text


def _without_keys(line: str) -> str:
    return _KEY.sub(r"\1***", line)


def _at(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


def _plain(value: object) -> str:
    """A value as text, quoted if it could be read as two values or as another line."""
    text = str(value)
    return text if text and text.isprintable() and not set(text) & set(' "=') else json.dumps(text)


def _one_line(text: str) -> str:
    """The text, quoted if it has characters that could make it look like several lines."""
    return text if text.isprintable() else json.dumps(text)
