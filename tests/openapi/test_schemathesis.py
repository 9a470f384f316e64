"""schemathesis draws requests from the document, right ones and wrong ones, and holds each answer to it."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest
from google.protobuf.duration_pb2 import Duration

from jobqueue.v1 import lease_pb2
from tests.lease.hand_worker import PATIENCE
from tests.lease.place import Place

from .schemathesis_hooks import TOKEN

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "reason_conformance",
    "unsupported_method",
)
MOST_SECONDS = 600


async def session(place: Place) -> str:
    """The token of a session that takes the jobs of the document's examples."""
    hello = lease_pb2.Hello(
        worker="drawn",
        subscriptions=[lease_pb2.Subscription(kinds=["send_email"])],
        session_ttl=Duration(seconds=3600),
    )
    opened = await place.stub.OpenSession(lease_pb2.OpenSessionRequest(hello=hello), timeout=PATIENCE)
    return str(opened.welcome.session_token)


@pytest.mark.fuzz
@pytest.mark.timeout(MOST_SECONDS + 60)
@pytest.mark.parametrize(
    ("examples", "phases", "least"),
    [
        (5, "examples,fuzzing", 300),
        # Each kind of a wrong value in each field: 9,000 requests. test_bounds.py sends what is just beyond a bound.
        pytest.param(20, "examples,coverage,fuzzing", 10_000, marks=pytest.mark.long),
    ],
    ids=["5", "20"],
)
async def test_the_server_answers_as_the_document_says_whatever_it_is_sent(
    dsn: str, tmp_path: Path, examples: int, phases: str, least: int
) -> None:
    async with Place(dsn, http_addr="127.0.0.1:0", max_sessions="100000") as place:
        token = await session(place)
        command = [
            str(Path(sys.executable).parent / "schemathesis"),
            "run",
            f"http://127.0.0.1:{place.app.http_port}/openapi.json",
            f"--checks={','.join(CHECKS)}",
            f"--phases={phases}",
            f"--max-examples={examples}",
            "--generation-deterministic",
            "--continue-on-failure",
            "--max-failures=20",
            # By default an answer that takes 10 s is a failure.
            "--request-timeout=60",
            "--warnings=off",
            "--no-color",
            # Streams: each ends when its caller ends it. test_answers and docs/rest.md read them.
            "--exclude-operation-id=WatchJobs",
            "--exclude-operation-id=WatchOverview",
        ]
        hooks = {
            "SCHEMATHESIS_HOOKS": "tests.openapi.schemathesis_hooks",
            "PYTHONPATH": os.getcwd(),
            TOKEN: token,
        }
        running = await asyncio.create_subprocess_exec(
            *command,
            cwd=tmp_path,
            env={**os.environ, **hooks},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(MOST_SECONDS):
                said, _ = await running.communicate()
        finally:
            if running.returncode is None:
                running.kill()
    output = said.decode()
    assert running.returncode == 0, output[-20_000:]
    ran = re.search(r"(\d+) generated, (\d+) passed", output)
    assert ran is not None, output[-2_000:]
    assert int(ran[1]) == int(ran[2]) > least
