"""The commands about workers: a table, one worker, and a drain."""

from __future__ import annotations

import json
import time

import grpc
import pytest

from jobqueue.v1 import jobqueue_pb2_grpc, lease_pb2
from tests.client_cli.programs import Cli


def opened(address: str, queue: str, name: str) -> lease_pb2.Welcome:
    """A worker without a stream."""
    hello = lease_pb2.Hello(
        worker=name,
        client="jobqueue-tests/1",
        subscriptions=[lease_pb2.Subscription(queue=queue, kinds=["summarize_text"])],
        capacity=lease_pb2.Capacity(slots=4),
    )
    with grpc.insecure_channel(address) as channel:
        answer = jobqueue_pb2_grpc.JobQueueStub(channel).OpenSession(
            lease_pb2.OpenSessionRequest(hello=hello), timeout=20
        )
    return answer.welcome


def claimed(address: str, token: str) -> str:
    with grpc.insecure_channel(address) as channel:
        request = lease_pb2.ClaimJobsRequest(session_token=token, max_jobs=1)
        answer = jobqueue_pb2_grpc.JobQueueStub(channel).ClaimJobs(request, timeout=40)
    return answer.jobs[0].id


def test_workers_are_a_table_and_json_and_found_by_what_they_take(cli: Cli, address: str, queue: str):
    id = str(opened(address, queue, f"{queue}-one").session_id)
    done = cli("workers", "--queue", queue)
    assert done.returncode == 0, done.stderr
    assert id in done.stdout
    assert "connected" in done.stdout
    told = cli.json("workers", "--queue", queue)
    assert (told["session_id"], told["name"], told["state"]) == (id, f"{queue}-one", "CONNECTED")
    assert (told["takes"], told["slots"], told["free_slots"]) == ({queue: ["summarize_text"]}, 4, 4)
    assert cli.json("workers", "list", "--name", f"{queue}-o")["client"] == "jobqueue-tests/1"
    assert cli("workers", "--queue", queue, "--state", "silent").stdout == "There is no worker.\n"
    done = cli("workers", "--state", "asleep")
    assert done.returncode == 2
    assert "CONNECTED, DRAINING, SILENT" in done.stderr


@pytest.mark.slow
def test_a_worker_is_shown_with_its_jobs_and_drained(cli: Cli, address: str, queue: str):
    welcome = opened(address, queue, "one")
    id = str(welcome.session_id)
    job = cli("enqueue", "summarize_text", '{"text":"x"}', "--queue", queue).stdout.strip()
    assert claimed(address, welcome.session_token) == job
    done = cli("workers", "drain", id, "--reason", "a new version")
    assert done.returncode == 0, done.stderr
    assert "by anonymous: a new version" in done.stdout
    shown = cli("workers", "show", id)
    assert job in shown.stdout
    assert "draining" in shown.stdout
    # How many it holds is counted once in 2 s for all who look.
    ends = time.monotonic() + 20
    while (told := json.loads(cli("workers", "show", id, "--json").stdout))["held"] != 1:
        assert time.monotonic() < ends, told
    assert (told["state"], told["held"], told["free_slots"]) == ("DRAINING", 1, 0)
    assert told["drain"]["reason"] == "a new version"
    assert told["jobs"][0]["job_id"] == job
    done = cli("workers", "show", "987654321")
    assert done.returncode == 3
    assert "jobqueue workers" in done.stderr
