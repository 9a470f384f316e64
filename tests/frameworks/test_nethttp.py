"""The recipe for net/http and slog: its own tests, and how server, worker and client end together."""

from __future__ import annotations

import asyncio
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from jobqueue import Status, SyncClient
from jobqueue.testing import SyncTestScope, TestServer
from tests.e2e.processes import Process

from .go_modules import go, unformatted

# The first build of all compiles grpc-go.
pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.language("go"),
    pytest.mark.any_engine,
    pytest.mark.timeout(600),
]

SHOP = "nethttp"
ORDER = {"number": 7, "email": "ada@example.org"}
Open = Callable[..., Process]


def test_the_shop_is_formatted_and_vetted_and_passes_its_own_tests(jobqueue_server: TestServer) -> None:
    assert unformatted(SHOP) == ""
    go(SHOP, "vet", "./...")
    known = {"JOBQUEUE_TEST_SERVER": jobqueue_server.target, "JOBQUEUE_TEST_KEY": jobqueue_server.key}
    assert "--- PASS: TestARequestEnqueues" in go(SHOP, "test", "-count=1", "-v", "./...", **known)


@pytest.fixture
def open_shop(jobqueue_sync_scope: SyncTestScope, tmp_path: Path) -> Iterator[Open]:
    """Starts the program in the test's namespace."""
    go(SHOP, "build", "-o", str(tmp_path / "shop"), ".")
    running: list[Process] = []

    def begin(**environment: str) -> Process:
        known = {"ADDRESS": "127.0.0.1:0", **jobqueue_sync_scope.environment, **environment}
        running.append(Process([str(tmp_path / "shop")], tmp_path / f"shop{len(running)}.log", known))
        return running[-1]

    yield begin
    for each in running:
        print(each.tail())
        each.kill()


class MailService:
    """Takes receipts, and answers when it is told to.

    Attributes:
        address: Where they are posted to.
        asked: A receipt has come.
        answers: They are answered from now on.
    """

    def __init__(self) -> None:
        self.asked, self.answers = threading.Event(), threading.Event()
        service = self

        class Posted(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                service.asked.set()
                service.answers.wait(60)
                self.send_response(204)
                self.end_headers()

        self._server = HTTPServer(("127.0.0.1", 0), Posted)
        self.address = f"http://127.0.0.1:{self._server.server_port}/"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        """Ends it."""
        self.answers.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def mail() -> Iterator[MailService]:
    service = MailService()
    yield service
    service.close()


def address_of(shop: Process) -> str:
    """Where it serves, once its worker does too."""
    opened = json.loads(asyncio.run(shop.line("the shop is open")))
    asyncio.run(shop.line("session opened"))
    return f"http://{opened['address']}"


def ask(url: str, body: object = None) -> tuple[int, Any]:
    """The status and the body of an answer."""
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data), timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.load(refused)


def lines(shop: Process, text: str) -> list[dict[str, Any]]:
    """The lines of its log that say this."""
    return [line for line in map(json.loads, shop.log.read_text().splitlines()) if line["msg"] == text]


def test_on_sigterm_a_job_that_enqueues_another_ends_before_the_client_closes(
    open_shop: Open, mail: MailService, jobqueue_sync_client: SyncClient
) -> None:
    shop = open_shop(MAIL_URL=mail.address)
    there = address_of(shop)
    assert ask(f"{there}/readyz")[0] == 200
    status, placed = ask(f"{there}/orders", ORDER)
    assert status == 202
    assert mail.asked.wait(60)

    shop.terminate()
    asyncio.run(shop.line("the shop closes"))
    asyncio.run(shop.line("draining"))
    mail.answers.set()

    assert asyncio.run(shop.ended()) == 0
    assert [line["level"] for line in lines(shop, "the shop has ended")] == ["INFO"]
    assert jobqueue_sync_client.get(placed["job"]).status is Status.SUCCEEDED
    (counted,) = (job for job in jobqueue_sync_client.list() if job.kind == "count-order")
    (sent,) = lines(shop, "receipt sent")
    assert (sent["job_id"], sent["attempt"], sent["counted_by"]) == (placed["job"], 1, counted.id)
    assert [line["job_id"] for line in lines(shop, "order placed")] == [placed["job"]]


def test_the_job_that_a_handler_enqueued_is_counted(
    open_shop: Open, jobqueue_sync_client: SyncClient
) -> None:
    shop = open_shop()
    there = address_of(shop)
    job = ask(f"{there}/orders", ORDER)[1]["job"]
    done = jobqueue_sync_client.wait(job, timeout=timedelta(seconds=60))
    assert done.output == {"text": "order 7 for ada@example.org"}
    asyncio.run(shop.line("order counted"))
    assert ask(f"{there}/orders/{job}") == (200, {"status": "SUCCEEDED", "receipt": done.output})
    shop.terminate()
    assert asyncio.run(shop.ended()) == 0


def test_a_worker_that_is_refused_ends_the_server_too(open_shop: Open) -> None:
    shop = open_shop(JOBQUEUE_TOKEN="jq_wrong")
    assert asyncio.run(shop.ended()) == 1
    (said,) = lines(shop, "the shop ends by an error")
    assert said["error"].startswith("CREDENTIALS_INVALID")
