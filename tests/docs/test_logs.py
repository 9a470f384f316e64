"""Log lines have one form, and docs/logs.md lists those that there are."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest

from jobqueue_server import logs as of_server
from jobqueue_worker import logs as of_worker
from tests.logged import wrong_lines
from tools import logs

from .markdown import ROOT

pytestmark = pytest.mark.unit

READY: dict[str, Any] = {
    "at": "2026-11-28T09:30:00.123Z", "level": "info", "logger": "jobqueue_server.app",
    "message": "jobqueue-server is ready", "version": "0.1.0", "grpc": "127.0.0.1:0", "port": 5, "engine": "http2",
}  # fmt: skip


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Leaves logging as it was."""
    root = logging.getLogger()
    kept = root.handlers[:], root.level
    named = {
        name: logging.getLogger(name).level for name in ("jobqueue", "jobqueue_server", "jobqueue_worker")
    }
    yield
    root.handlers[:], root.level = kept
    for name, level in named.items():
        logging.getLogger(name).setLevel(level)
    logging.captureWarnings(False)


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({}, []),
        ({"request_id": "r1"}, []),
        ({"at": "2026-11-28 09:30:00"}, ["at is '2026-11-28 09:30:00', and not as 2026-11-28T09:30:00.123Z"]),
        (
            {"level": "notice"},
            ["there is no level 'notice'", "no line of jobqueue_server of the level notice has this text"],
        ),
        ({"message": 5}, ["it has no message"]),
        ({"message": "jobqueue-server is up"}, ["no line of jobqueue_server of the level info has this text"]),
        ({"level": "error"}, ["no line of jobqueue_server of the level error has this text"]),
        ({"port": {"grpc": 5}}, ["the field port is a dict"]),
        ({"Port": 5}, ["the field 'Port' is not small letters with _", "the field Port is none of this line"]),
        ({"worker": "w"}, ["the field worker is none of this line"]),
        ({"logger": "asyncio", "message": "theirs", "more": 1}, []),
    ],
)  # fmt: skip
def test_a_line_is_held_to_its_form_its_text_and_its_fields(change: dict[str, Any], wrong: list[str]) -> None:
    assert logs.wrong_with(READY | change) == wrong


@pytest.mark.parametrize(
    ("change", "valid"),
    [
        ({}, True),
        ({"request_id": "r1", "more": 1.5, "share": None, "details": {"a": [1]}}, True),
        ({"at": "2026-11-28 09:30:00"}, False),
        ({"level": "notice"}, False),
        ({"message": 5}, False),
        ({"port": {"grpc": 5}}, False),
        ({"Port": 5}, False),
    ],
)  # fmt: skip
def test_the_schema_is_the_form_of_a_line(change: dict[str, Any], valid: bool) -> None:
    schema = json.loads((ROOT / "docs/log.schema.json").read_text())
    assert jsonschema_rs.is_valid(schema, READY | change) == valid


def test_what_is_no_line_of_a_log_is_left_alone() -> None:
    assert not list(wrong_lines(["jobqueue-server: no such setting", '{"half": ', '{"answer": 1}', "[]", ""]))
    assert list(wrong_lines([json.dumps(READY | {"level": "notice"})]))


def test_both_programs_write_the_form() -> None:
    for module, name in ((of_server, "jobqueue_server.x"), (of_worker, "asyncio")):
        stream = io.StringIO()
        module.configure("info", "json", stream)
        try:
            raise ValueError("why")
        except ValueError:
            logging.getLogger("theirs" if module is of_worker else name).exception(
                "the database is away: %s", "x"
            )
        assert [
            each for each in wrong_lines(stream.getvalue().splitlines()) if "has this text" not in each
        ] == []


def test_each_line_of_the_server_has_a_text_that_the_code_says() -> None:
    unknown = [line for line in logs.lines()["jobqueue_server"] if line.text == logs.ANY]
    # Why it can't start, and what it is warned of then, which stands in docs/hardening.md.
    assert {line.logger for line in unknown} == {"jobqueue_server.app", "jobqueue_server.cli"}
