"""The recipes for Express and Fastify: their routes before a real server, and how app and worker end."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from jobqueue import Kind, Status
from jobqueue.testing import SyncTestScope, TestServer
from tests.e2e.processes import Process

from . import node
from .conftest import OURS, Start, address_of

pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.language("typescript"),
    pytest.mark.any_engine,
    pytest.mark.timeout(300),
]

ORDER = {"number": 7, "email": "ada@example.org"}


@dataclass
class Shop:
    """The app of a recipe, which runs in a namespace of its own.

    Attributes:
        recipe: Its name.
        built: The folder with its programs.
        scope: The namespace.
        web: Asks the app.
    """

    recipe: str
    built: Path
    scope: SyncTestScope
    web: Any

    def program(self, name: str) -> tuple[str, str]:
        """How one of its programs is started."""
        return "node", str(self.built / f"{name}.js")

    @property
    def environment(self) -> Mapping[str, str]:
        """What its programs are told: the namespace, and that any port will do."""
        return {**self.scope.environment, "PORT": "0"}

    def jobs(self) -> set[str]:
        """The ids of all that was enqueued."""
        return {job.id for job in self.scope.client.list() if job.kind == "send-receipt"}


@pytest.fixture(scope="module", params=["express", "fastify"])
def shop(
    request: pytest.FixtureRequest, jobqueue_server: TestServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shop]:
    """That of each recipe. Nothing is declared yet."""
    node.build(request.param)
    built = node.RECIPES / request.param / "dist"
    with SyncTestScope(jobqueue_server) as scope:
        log = tmp_path_factory.mktemp(request.param) / "app.log"
        app = Process(["node", str(built / "main.js")], log, {**scope.environment, "PORT": "0"})
        try:
            web = node.caller(address_of(app, "http://"))
            yield Shop(request.param, built, scope, web)
        finally:
            print(app.tail())
            app.kill()


@pytest.fixture
def selling(shop: Shop) -> Shop:
    """The same; the kind of its jobs is declared."""
    shop.scope.client.put_kind(Kind(name="send-receipt"))
    return shop


def test_a_kind_that_is_not_declared_is_no_fault_of_the_caller(shop: Shop) -> None:
    answer = shop.web.post("/orders", json=ORDER)
    # What is wrong with the app is in its log, and not in the answer.
    assert (answer.status_code, answer.json()) == (500, {"detail": "it has failed"})


def test_a_request_enqueues_a_job_that_a_worker_does_and_whose_log_names_it(
    selling: Shop, run: Start
) -> None:
    placed = selling.web.post("/orders", json=ORDER)
    assert placed.status_code == 202
    job = placed.json()["job"]
    assert selling.web.get(f"/orders/{job}").json() == {"status": "QUEUED", "receipt": None}

    worker = run(*selling.program("worker"), **selling.environment)
    selling.scope.client.wait(job, timeout=timedelta(seconds=60))

    done = {"status": "SUCCEEDED", "receipt": {"text": "order 7 for ada@example.org"}}
    assert selling.web.get(f"/orders/{job}").json() == done
    if selling.recipe == "fastify":
        line = json.loads(asyncio.run(worker.line("writes the receipt")))
        assert (line["job"], line["kind"], line["attempt"]) == (job, "send-receipt", 1)
        assert "job" not in json.loads(asyncio.run(worker.line("opened at")))
    worker.terminate()
    assert asyncio.run(worker.ended()) == 0


def test_a_body_that_is_no_order_is_refused_with_its_field_and_enqueues_nothing(selling: Shop) -> None:
    before = selling.jobs()
    no_orders = {"payload.number": {**ORDER, "number": 0}, "payload.email": {"number": 7}, "payload": [ORDER]}
    answers = {field: selling.web.post("/orders", json=body) for field, body in no_orders.items()}
    assert [each.status_code for each in answers.values()] == [422, 422, 422]
    for field, answer in answers.items():
        assert [each["field"] for each in answer.json()["violations"]] == [field]
    # What stands there is what is enqueued: nothing is made of a text.
    assert selling.web.post("/orders", json={**ORDER, "number": "7"}).status_code == 422
    no_json = selling.web.post("/orders", content=b"{", headers={"content-type": "application/json"})
    assert no_json.status_code == 400
    assert selling.jobs() == before


def test_the_same_idempotency_key_is_the_same_job_and_another_order_is_refused(selling: Shop) -> None:
    before = selling.jobs()
    keyed = {"Idempotency-Key": "o7"}
    first, again = (selling.web.post("/orders", json=ORDER, headers=keyed) for _ in range(2))
    assert first.json() == again.json()
    assert selling.web.post("/orders", json={**ORDER, "number": 8}, headers=keyed).status_code == 409
    assert selling.jobs() - before == {first.json()["job"]}


def test_a_job_that_is_not_there_or_is_no_order_is_404(selling: Shop) -> None:
    selling.scope.client.put_kind(Kind(name="other"))
    other = selling.scope.client.enqueue("other")
    assert selling.web.get(f"/orders/{other.id}").status_code == 404
    assert selling.web.get(f"/orders/{uuid4()}").status_code == 404
    assert selling.web.get("/orders/7").json()["violations"][0]["field"] == "id"


def test_without_a_server_the_caller_is_told_to_try_again(shop: Shop, run: Start) -> None:
    # Nothing listens at port 1.
    app = run(*shop.program("main"), PORT="0", JOBQUEUE_SERVER="127.0.0.1:1")
    answer = node.caller(address_of(app, "http://")).post("/orders", json=ORDER)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def test_a_route_and_a_handler_are_tested_without_a_server(shop: Shop) -> None:
    command = ["node", "--test", str(shop.built / "app.test.js")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert "# pass 2" in done.stdout, done.stdout + done.stderr


def test_when_the_app_ends_its_worker_leaves_before_its_client_closes_and_nothing_stays_open(
    shop: Shop, run: Start, tmp_path: Path
) -> None:
    jobs = shop.scope.client
    for kind in ("slow", "by-client", "by-settlement"):
        jobs.put_kind(Kind(name=kind))
    app = run("node", str(OURS / "slow_shop.mjs"), shop.recipe, **shop.environment)
    host, port = address_of(app, "http://").removeprefix("http://").split(":")
    slow = jobs.enqueue("slow", {"until": str(tmp_path / "go")})
    asyncio.run(app.line("slow runs"))
    request = begun(host, int(port))

    app.terminate()
    refused(host, int(port))
    request.send(json.dumps(ORDER).encode())
    answer = request.getresponse()
    assert (answer.status, list(json.loads(answer.read()))) == (202, ["job"])
    # The app ends the connection, and has none then. The handler still runs.
    assert request.sock.recv(1) == b""
    assert app.runs
    (tmp_path / "go").touch()

    # Of itself, as nothing is open any more, and long before a drain would be cut off.
    assert asyncio.run(app.ended(within=25)) == 0
    said = app.log.read_text()
    assert said.index("slow ends") < said.index("the client closes")
    assert jobs.get(slow.id).status is Status.SUCCEEDED
    kinds = {each.kind: each.status for each in jobs.list() if each.kind.startswith("by-")}
    assert kinds == {"by-client": Status.QUEUED, "by-settlement": Status.QUEUED}


def begun(host: str, port: int) -> http.client.HTTPConnection:
    """A request whose head the app has read, and whose body is not sent yet."""
    request = http.client.HTTPConnection(host, port, timeout=60)
    request.putrequest("POST", "/orders")
    request.putheader("Content-Type", "application/json")
    request.putheader("Content-Length", str(len(json.dumps(ORDER))))
    request.putheader("Expect", "100-continue")
    request.endheaders()
    assert request.sock.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
    return request


def refused(host: str, port: int) -> None:
    """Returns once nothing listens there any more, which stays so."""
    with suppress(ConnectionRefusedError):
        while True:
            # One that waits to be accepted at the end is reset.
            with suppress(ConnectionResetError):
                socket.create_connection((host, port), timeout=60).close()


def test_an_app_whose_worker_is_refused_ends(shop: Shop, run: Start) -> None:
    told = {**shop.environment, "WORKER_IN_APP": "1", "JOBQUEUE_TOKEN": "jq_wrong"}
    app = run(*shop.program("main"), **told)
    assert asyncio.run(app.ended()) == 1
    assert "CREDENTIALS_INVALID" in app.log.read_text()


def test_the_recipes_are_formatted_as_the_client_is() -> None:
    node.prepare()
    prettier = node.ROOT / "clients" / "typescript" / "node_modules" / ".bin" / "prettier"
    done = subprocess.run(
        [str(prettier), "--check", "."], cwd=node.RECIPES, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    config = ".prettierrc.json"
    assert (node.RECIPES / config).read_text() == (node.ROOT / "clients/typescript" / config).read_text()
