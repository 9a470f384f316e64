"""Log lines: their two forms and their fields."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator

import pytest

from jobqueue_server import logs

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Leaves logging as it was."""
    root, ours = logging.getLogger(), logging.getLogger("jobqueue_server")
    handlers, level, own = root.handlers[:], root.level, ours.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    ours.setLevel(own)
    logging.captureWarnings(False)


def test_a_json_line_has_fields_context_and_the_exception():
    stream = io.StringIO()
    logs.configure("info", "json", stream)
    log = logs.get("jobqueue_server.test")
    with logs.bound(request_id="r1", job_id="j1"):
        try:
            raise ValueError("why")
        except ValueError:
            log.exception("it broke", attempt=2, level="not ours")
    line = json.loads(stream.getvalue())
    assert line.pop("exception").endswith("ValueError: why\n")
    assert line.pop("at").endswith("Z")
    assert line == {
        "level": "error", "logger": "jobqueue_server.test", "message": "it broke",
        "request_id": "r1", "job_id": "j1", "attempt": 2,
    }  # fmt: skip


def test_a_human_line_can_not_be_forged_by_what_a_caller_sends():
    stream = io.StringIO()
    logs.configure("info", "human", stream)
    logs.get("jobqueue_server.test").info("job enqueued", kind="a b", queue="x\n12:00:00 error fake", size=3)
    line = stream.getvalue()
    assert line.count("\n") == 1
    assert line.endswith('info    job enqueued  kind="a b" queue="x\\n12:00:00 error fake" size=3\n')


def test_below_the_level_nothing_is_written_and_libraries_are_heard_from_warning_on():
    stream = io.StringIO()
    logs.configure("debug", "human", stream)
    logs.get("jobqueue_server.test").debug("ours")
    logging.getLogger("asyncio").info("theirs")
    logging.getLogger("asyncio").warning("theirs matters")
    assert "ours" in stream.getvalue()
    assert "theirs\n" not in stream.getvalue()
    assert "theirs matters" in stream.getvalue()
    stream.truncate(0)
    logs.configure("warning", "human", stream)
    logs.get("jobqueue_server.test").info("ours")
    assert "ours" not in stream.getvalue()


async def test_each_task_has_fields_of_its_own():
    async def task(name: str) -> object:
        logs.bind(session=name)
        await asyncio.sleep(0)
        return logs.context()["session"]

    with logs.bound(request_id="r"):
        assert list(await asyncio.gather(task("a"), task("b"))) == ["a", "b"]
        assert logs.context() == {"request_id": "r"}
    assert logs.context() == {}
