"""A variable that is nearly a setting's name is warned of at start; those of the neighbours are left alone."""

from __future__ import annotations

import json
import subprocess

import pytest

from jobqueue_server import settings as server
from jobqueue_worker import settings as worker
from tests.client_cli.programs import ended, plain_environment


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("JOBQUEUE_SESION_TTL", "JOBQUEUE_SESSION_TTL"),
        ("JOBQUEUE_LOGLEVEL", "JOBQUEUE_LOG_LEVEL"),
        ("JOBQUEUE_GRPC_ADDRESS", "JOBQUEUE_GRPC_ADDR"),
        ("jobqueue_retension", "JOBQUEUE_RETENTION"),
        ("JOBQUEUE_DATABASE_UR", "DATABASE_URL"),
    ],
)
def test_the_server_names_what_was_meant(variable, meant):
    assert server.misspelt([variable]) == {variable: meant}


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("JOBQUEUE_QUEUE", "JOBQUEUE_QUEUES"),
        ("JOBQUEUE_CONCURENCY", "WORKER_CONCURRENCY"),
        ("JOBQUEUE_WEBHOOKS_SECRET", "JOBQUEUE_WEBHOOK_SECRET"),
    ],
)
def test_the_worker_names_what_was_meant(variable, meant):
    assert worker.misspelt([variable]) == {variable: meant}


def test_one_environment_serves_both_without_a_warning():
    of_server = {server.environment_name(name) for name in server.Settings.model_fields}
    of_worker = {worker.environment_name(name) for name in worker.WorkerSettings.model_fields}
    others = {"JOBQUEUE_COLOUR", "PATH", "SESION_TTL"}
    assert server.misspelt(of_server | of_worker | others) == {}
    assert worker.misspelt(of_server | of_worker | others) == {}


def test_both_warn_at_start():
    environment = {**plain_environment(), "JOBQUEUE_LOG_FORMT": "human"}
    refused = {"DATABASE_URL": "postgresql://u@127.0.0.1:1/x"}
    done = _run("jobqueue-server", "migrate", "up", "--log-format", "json", env=environment | refused)
    line = json.loads(done.stderr.splitlines()[0])
    assert (line["level"], line["variable"], line["meant"]) == (
        "warning",
        "JOBQUEUE_LOG_FORMT",
        "JOBQUEUE_LOG_FORMAT",
    )
    done = _run("jobqueue-worker", "--handlers", "no_such_module:x", "--log-format", "json", env=environment)
    text = json.loads(done.stderr.splitlines()[0])["message"]
    assert "JOBQUEUE_LOG_FORMT" in text
    assert "JOBQUEUE_LOG_FORMAT" in text


def _run(program: str, *arguments: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return ended(program, arguments, env)
