"""`jobqueue watch`, as a person and as a script use it."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator

import pytest

from jobqueue import SyncClient
from tests.client_cli.programs import Cli, Program

MAIL = {"to": "ada@example.org", "subject": "s", "body": "b"}
NOWHERE = "0199aaaa-0000-7000-8000-000000000000"


@pytest.fixture
def client(address: str) -> Iterator[SyncClient]:
    with SyncClient(address) as client:
        yield client


def test_jobs_are_told_until_all_are_over_and_the_exit_code_says_how_they_ended(
    client: SyncClient, queue: str, address: str
):
    kept, deleted = [client.enqueue("send_email", MAIL, queue=queue).id for _ in range(2)]
    client.cancel(deleted)
    watching = Program("jobqueue", "watch", kept, deleted, "--server", address)
    watching.until(rf"{kept}  QUEUED +send_email +{queue}")
    watching.until(rf"{deleted}  CANCELLED .* CANCELLED_BY_CALLER")
    client.delete(deleted)
    client.cancel(kept)
    watching.until(rf"{kept}  CANCELLED")
    watching.until(rf"{deleted}  deleted")
    assert watching.process.wait(20) == 1


@pytest.mark.slow
def test_a_queue_is_told_as_json_and_a_later_command_goes_on_by_the_token(
    client: SyncClient, queue: str, address: str
):
    watch = ("watch", "--queue", queue, "--json", "--server", address)
    watching = Program("jobqueue", *watch)
    # It begins when the server has answered, which nothing shows: what comes then is told.
    ids = set()
    with client.watch(queue=queue) as told:
        while "\n" not in watching.text:
            ids.add(client.enqueue("send_email", MAIL, queue=queue).id)
            next(told)
    first = json.loads(watching.text.splitlines()[0])
    assert (first["status"], first["queue"], first["id"] in ids) == ("QUEUED", queue, True)
    assert watching.end(signal.SIGINT) == 130
    client.cancel(first["id"])
    again = Program("jobqueue", *watch, "--resume", first["resume_token"])
    line = again.until(rf'"id": "{first["id"]}"')
    assert json.loads(line.string)["status"] == "CANCELLED"
    assert again.end(signal.SIGINT) == 130


def test_a_job_that_is_not_there_is_said(cli: Cli):
    missing = cli("watch", NOWHERE)
    assert missing.returncode == 3
    assert "jobqueue list" in missing.stderr
