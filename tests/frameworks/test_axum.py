"""The recipe for axum: its program before a real server, and how app and worker end."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from jobqueue import Kind, Status, SyncClient
from jobqueue.testing import SyncTestScope
from tests.e2e.processes import Process

from .conftest import ROOT, address_of

pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.any_engine,
    pytest.mark.language("rust"),
    # The first build compiles axum.
    pytest.mark.timeout(600),
]

FOLDER = "examples/frameworks/axum"
BUILT = ROOT / ".cache" / "rust" / "debug"
ORDER = {"number": 7, "email": "ada@example.org"}

Begin = Callable[..., Process]


def cargo(*arguments: str) -> None:
    """A command of cargo in the folder of the recipe, with the versions of its versions.lock."""
    command = [sys.executable, "-m", "tools.cargo", "--in", FOLDER, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"cargo {' '.join(arguments)}:\n{done.stdout}{done.stderr}"


@pytest.fixture(scope="module")
def built() -> None:
    """Its programs, by the features of its tests, so that the client is compiled once."""
    cargo("test", "--no-run", "--quiet")


@pytest.fixture
def begin(built: None, jobqueue_sync_scope: SyncTestScope, tmp_path: Path) -> Iterator[Begin]:
    """Starts a program in the test's namespace, on a port of its own."""
    running: list[Process] = []

    def start(name: str, **environment: str) -> Process:
        known = {"LISTEN": "127.0.0.1:0", **jobqueue_sync_scope.environment, **environment}
        running.append(Process([str(BUILT / name)], tmp_path / f"program{len(running)}.log", known))
        return running[-1]

    yield start
    for each in running:
        print(each.tail())
        each.kill()


@pytest.fixture
def orders(begin: Begin, jobqueue_sync_client: SyncClient) -> Process:
    """The program, which serves."""
    # It tells the server its kind when the worker starts; a request may come before.
    jobqueue_sync_client.put_kind(Kind(name="send-receipt"))
    return begin("orders")


@pytest.fixture
def web(orders: Process) -> Iterator[HTTPConnection]:
    """One connection to it."""
    connection = connected(orders)
    yield connection
    connection.close()


def connected(process: Process) -> HTTPConnection:
    return HTTPConnection(urlsplit(address_of(process, "listens at")).netloc, timeout=60)


def asked(
    web: HTTPConnection, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> tuple[int, str]:
    """The status of an answer, and its body."""
    text = body if body is None or isinstance(body, bytes) else json.dumps(body)
    web.request(method, path, text, {"Content-Type": "application/json", **(headers or {})})
    answer = web.getresponse()
    return answer.status, answer.read().decode()


def placed(web: HTTPConnection, **headers: str) -> str:
    """The id of the job of an order."""
    status, text = asked(web, "POST", "/orders", ORDER, headers)
    assert status == 202, text
    job: str = json.loads(text)["job"]
    return job


def test_its_own_tests_pass_and_it_is_formatted(built: None) -> None:
    cargo("fmt", "--check")
    cargo("test", "--quiet")


def test_no_address_is_in_the_versions_that_are_tested() -> None:
    assert "://" not in (ROOT / FOLDER / "versions.lock").read_text()


def test_a_request_enqueues_a_job_whose_receipt_a_later_request_gets(
    web: HTTPConnection, orders: Process, jobqueue_sync_client: SyncClient
) -> None:
    job = placed(web)
    done = jobqueue_sync_client.wait(job, timeout=timedelta(seconds=60))
    assert done.status is Status.SUCCEEDED
    status, text = asked(web, "GET", f"/orders/{job}")
    assert (status, json.loads(text)) == (
        200,
        {"status": "SUCCEEDED", "receipt": {"text": "order 7 for ada@example.org"}},
    )
    # What is logged of a request and of a job is in a span of its own.
    line = asyncio.run(orders.line("finished processing request"))
    assert "request{method=POST uri=/orders" in line
    line = asyncio.run(orders.line("sends a receipt"))
    assert f'job_id="{job}"' in line


def test_a_job_that_waits_has_no_receipt(web: HTTPConnection, jobqueue_sync_client: SyncClient) -> None:
    waits = jobqueue_sync_client.enqueue("send-receipt", ORDER, delay=timedelta(hours=1))
    status, text = asked(web, "GET", f"/orders/{waits.id}")
    assert (status, json.loads(text)) == (200, {"status": "QUEUED", "receipt": None})


def test_a_body_that_is_no_order_is_refused_by_its_field_and_enqueues_nothing(
    web: HTTPConnection, jobqueue_sync_client: SyncClient
) -> None:
    for wrong, words in (({"number": 0}, "number: invalid value"), ({"email": 7}, "email: invalid type")):
        status, text = asked(web, "POST", "/orders", {**ORDER, **wrong})
        assert (status, words in text) == (422, True), text
    assert asked(web, "POST", "/orders", b"{")[0] == 400
    assert asked(web, "POST", "/orders", ORDER, {"Idempotency-Key": "\xe4"})[0] == 400
    assert list(jobqueue_sync_client.list()) == []


def test_what_the_server_refuses_is_told_by_its_field(
    web: HTTPConnection, jobqueue_sync_client: SyncClient
) -> None:
    # Its worker has told the server its kind by then.
    jobqueue_sync_client.wait(placed(web), timeout=timedelta(seconds=60))
    schema = {"properties": {"email": {"const": "bob@example.org"}}}
    jobqueue_sync_client.put_kind(Kind(name="send-receipt", schema=schema))
    status, text = asked(web, "POST", "/orders", ORDER)
    [wrong] = json.loads(text)["detail"]
    assert (status, wrong["field"]) == (422, "job.payload.email")
    assert len(list(jobqueue_sync_client.list())) == 1


def test_a_kind_that_is_not_declared_is_no_fault_of_the_caller(begin: Begin) -> None:
    # Its worker would declare it.
    assert asked(connected(begin("examples/slow")), "POST", "/orders", ORDER)[0] == 500


def test_the_same_idempotency_key_is_the_same_job_and_another_order_is_refused(
    web: HTTPConnection, jobqueue_sync_client: SyncClient
) -> None:
    keyed = {"Idempotency-Key": "o7"}
    assert placed(web, **keyed) == placed(web, **keyed)
    assert asked(web, "POST", "/orders", {**ORDER, "number": 8}, keyed)[0] == 409
    assert len(list(jobqueue_sync_client.list())) == 1


def test_a_job_that_is_not_there_or_is_no_order_is_404(
    web: HTTPConnection, jobqueue_sync_client: SyncClient
) -> None:
    jobqueue_sync_client.put_kind(Kind(name="other"))
    other = jobqueue_sync_client.enqueue("other")
    assert asked(web, "GET", f"/orders/{other.id}")[0] == 404
    assert asked(web, "GET", f"/orders/{uuid4()}")[0] == 404
    assert asked(web, "GET", "/orders/7")[0] == 422


def test_without_a_server_the_caller_is_told_to_try_again(begin: Begin) -> None:
    # Nothing listens at port 1.
    web = connected(begin("orders", JOBQUEUE_SERVER="127.0.0.1:1"))
    web.request("POST", "/orders", json.dumps(ORDER), {"Content-Type": "application/json"})
    answer = web.getresponse()
    assert (answer.status, answer.getheader("retry-after")) == (503, "1")


def test_a_request_whose_body_does_not_come_is_answered_after_ten_seconds(web: HTTPConnection) -> None:
    web.putrequest("POST", "/orders")
    web.putheader("Content-Type", "application/json")
    web.putheader("Content-Length", "2")
    web.endheaders()
    assert web.getresponse().status == 408


def test_a_second_signal_ends_the_app_at_once(
    begin: Begin, jobqueue_sync_client: SyncClient, tmp_path: Path
) -> None:
    jobqueue_sync_client.put_kind(Kind(name="slow"))
    app = begin("examples/slow")
    idle = connected(app)
    assert asked(idle, "GET", f"/orders/{uuid4()}")[0] == 404
    jobqueue_sync_client.enqueue("slow", str(tmp_path / "go"))
    asyncio.run(app.line("slow runs"))

    app.terminate()
    # It has heard of the first.
    assert idle.sock.recv(1) == b""
    app.terminate()
    assert asyncio.run(app.ended(within=25)) == 1


def test_a_worker_that_is_refused_ends_the_app(begin: Begin) -> None:
    app = begin("orders", JOBQUEUE_TOKEN="wrong")
    assert asyncio.run(app.ended()) == 1


def test_when_the_app_ends_its_worker_leaves_before_its_client_goes(
    begin: Begin, jobqueue_sync_client: SyncClient, tmp_path: Path
) -> None:
    for kind in ("slow", "by-client", "by-settlement"):
        jobqueue_sync_client.put_kind(Kind(name=kind))
    app = begin("examples/slow")
    idle = connected(app)
    assert asked(idle, "GET", f"/orders/{uuid4()}")[0] == 404
    job = jobqueue_sync_client.enqueue("slow", str(tmp_path / "go"))
    asyncio.run(app.line("slow runs"))

    app.terminate()
    # A connection that is kept open holds up nothing.
    assert idle.sock.recv(1) == b""
    assert app.runs
    (tmp_path / "go").touch()

    assert asyncio.run(app.ended()) == 0
    assert jobqueue_sync_client.get(job.id).status is Status.SUCCEEDED
    kinds = {each.kind: each.status for each in jobqueue_sync_client.list() if each.kind != "slow"}
    assert kinds == {"by-client": Status.QUEUED, "by-settlement": Status.QUEUED}
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((idle.host, idle.port))
