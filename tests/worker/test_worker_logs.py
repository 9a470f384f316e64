"""A line of the worker says which job it is about, once, for people and as JSON."""

from __future__ import annotations

import io
import json
import logging

import pytest

from jobqueue.jobs import LeasedJob
from jobqueue.v1 import lease_pb2 as pb
from jobqueue.worker.logs import JobLog
from jobqueue_worker import logs

pytestmark = pytest.mark.unit

JOB = LeasedJob(
    pb.LeasedJob(
        id="0199-1",
        kind="pack",
        attempt=3,
        queue="parcels",
        headers={"x-request-id": "r-7"},
        payload_json=b"1",
    )
)


@pytest.fixture
def said(request) -> io.StringIO:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    stream = io.StringIO()
    logs.configure("info", request.param, stream)
    JobLog(JOB).warning("the lease was revoked: %s", "TIMED_OUT")
    root.handlers[:] = before
    root.setLevel(level)
    return stream


@pytest.mark.parametrize("said", ["human"], indirect=True)
def test_a_line_for_people_names_its_job_once(said: io.StringIO):
    text = said.getvalue()
    assert "warning pack 0199-1, attempt 3, request r-7: the lease was revoked: TIMED_OUT\n" in text
    assert text.count("0199-1") == text.count("r-7") == 1


@pytest.mark.parametrize("said", ["json"], indirect=True)
def test_a_json_line_names_its_job_in_fields(said: io.StringIO):
    line = json.loads(said.getvalue())
    assert (line["job_id"], line["attempt"], line["kind"], line["queue"], line["request_id"]) == (
        "0199-1",
        3,
        "pack",
        "parcels",
        "r-7",
    )
