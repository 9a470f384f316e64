from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from jobqueue.v1 import job_pb2
from jobqueue_server.lifecycle import Status
from jobqueue_server.model import MAX_MESSAGE_BYTES, MAX_PAYLOAD_BYTES, Job
from jobqueue_server.rpc import convert

pytestmark = pytest.mark.unit

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def job(payload: bytes, output: bytes | None = None) -> Job:
    return Job(
        uuid4(),
        "k",
        "default",
        Status.SUCCEEDED,
        0,
        1,
        0,
        0,
        3,
        NOW,
        NOW,
        NOW,
        payload=payload,
        output=output,
    )


@pytest.mark.slow
def test_a_payload_that_would_be_too_large_as_a_value_comes_as_text() -> None:
    zeros = b"[" + b"0," * (MAX_PAYLOAD_BYTES // 2 - 2) + b"0]"
    message = convert.job_message(job(zeros, zeros), job_pb2.PAYLOAD_FORMAT_VALUE)
    assert message.payload_json == zeros
    assert message.output_json == zeros
    assert message.ByteSize() < MAX_MESSAGE_BYTES


def test_a_long_text_is_still_given_as_a_value() -> None:
    text = b'"' + b"x" * (MAX_PAYLOAD_BYTES - 2) + b'"'
    message = convert.job_message(job(text), job_pb2.PAYLOAD_FORMAT_VALUE)
    assert message.WhichOneof("content") == "payload"
