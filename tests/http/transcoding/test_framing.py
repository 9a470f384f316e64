"""How a stream is asked for, and how its messages stand in one body."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from jobqueue_server.http.transcoding.errors import TranscodingError
from jobqueue_server.http.transcoding.framing import FRAMINGS, framing_for
from tests.http.transcoding.conftest import vectors

pytestmark = pytest.mark.unit

BY_TYPE = {framing.content_type: framing for framing in FRAMINGS}


def written(vector: dict[str, Any]) -> str:
    framing = BY_TYPE[vector["content_type"]]
    body, first = b"", True
    for step in vector["sent"]:
        if "heartbeat" in step:
            body += framing.heartbeat
            continue
        body += framing.message(step["message"].encode(), step["id"], first)
        first = False
    if "error" in vector:
        retry = timedelta(milliseconds=vector["retry_ms"]) if "retry_ms" in vector else None
        return (body + framing.error(vector["error"].encode(), retry, first)).decode()
    return (body + framing.end(first)).decode()


@pytest.mark.parametrize("vector", vectors("accept.json"), ids=lambda vector: vector["accept"])
def test_a_stream_is_answered_as_its_caller_likes_best(vector: dict[str, Any]) -> None:
    if "content_type" in vector:
        assert framing_for(vector["accept"]).content_type == vector["content_type"]
        return
    with pytest.raises(TranscodingError) as refused:
        framing_for(vector["accept"])
    assert refused.value.http_status == vector["status"]
    for content_type in BY_TYPE:
        assert content_type in refused.value.message


@pytest.mark.parametrize("vector", vectors("streams.json"), ids=lambda vector: ascii(vector["body"])[:60])
def test_each_message_stands_where_its_readers_look_for_it(vector: dict[str, Any]) -> None:
    assert written(vector) == vector["body"]


@pytest.mark.parametrize("vector", vectors("streams.json"), ids=lambda vector: ascii(vector["body"])[:60])
def test_any_reader_of_lines_or_of_json_reads_what_was_sent(vector: dict[str, Any]) -> None:
    sent = [json.loads(step["message"]) for step in vector["sent"] if "message" in step]
    failed = [{"error": json.loads(vector["error"])}] if "error" in vector else []
    body = vector["body"]
    if vector["content_type"] == "application/json":
        assert json.loads(body) == sent + failed
    elif vector["content_type"] == "application/x-ndjson":
        assert [json.loads(line) for line in body.splitlines()] == sent + failed
    else:
        # As HTML says: an event ends with an empty line, a line that starts with a colon says nothing.
        events = [event.splitlines() for event in body.split("\n\n") if event]
        told = [json.loads(line[6:]) for event in events for line in event if line.startswith("data: ")]
        assert told == sent + [one["error"] for one in failed]
