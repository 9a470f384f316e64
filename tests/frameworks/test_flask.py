"""The recipe for Flask: its routes, gunicorn's forked workers, and the context of the app around handlers."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from jobqueue import Kind, SyncClient
from jobqueue.testing import SyncRecordingClient, SyncTestScope

from .conftest import Start, address_of, booted

pytestmark = [pytest.mark.frameworks, pytest.mark.any_engine]

ORDER = {"number": 7, "email": "ada@example.org"}
REQUESTS = 500


@pytest.fixture
def shop(program: Callable[[str], Any]) -> Any:
    return program("flask_app")


@pytest.fixture
def web(shop: Any, jobqueue_sync_scope: SyncTestScope, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The app's own test client, in the test's namespace."""
    jobqueue_sync_scope.client.sync_kinds([shop.send_receipt])
    monkeypatch.setattr(shop, "jobs", jobqueue_sync_scope.client)
    return shop.app.test_client()


def test_a_request_enqueues_a_job_that_a_later_request_sees_done(
    web: Any, shop: Any, jobqueue_sync_scope: SyncTestScope
) -> None:
    placed = web.post("/orders", json=ORDER)
    assert placed.status_code == 202
    there = f"/orders/{placed.json['job']}"
    assert web.get(there).json == {"status": "QUEUED", "receipt": None}

    jobqueue_sync_scope.run_until_idle(shop.worker)

    assert web.get(there).json["receipt"] == "order 7 for ada@example.org by shop"


def test_each_attempt_has_a_context_of_the_app_whose_end_runs_its_teardown(
    web: Any, shop: Any, jobqueue_sync_scope: SyncTestScope, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[BaseException | None] = []
    monkeypatch.setattr(shop.app, "teardown_appcontext_funcs", [ended.append])
    for number in range(3):
        jobqueue_sync_scope.client.enqueue(shop.send_receipt, shop.Order(number, "ada@example.org"))
    jobqueue_sync_scope.run_until_idle(shop.worker)
    assert ended == [None] * 3


def test_the_same_idempotency_key_is_the_same_job_and_another_order_is_refused(
    web: Any, jobqueue_sync_scope: SyncTestScope
) -> None:
    keyed = {"Idempotency-Key": "o7"}
    first, second = (web.post("/orders", json=ORDER, headers=keyed) for _ in range(2))
    assert first.json == second.json
    assert web.post("/orders", json={**ORDER, "number": 8}, headers=keyed).status_code == 409
    assert len(jobqueue_sync_scope.enqueued()) == 1


def test_a_job_that_is_not_there_or_is_no_order_is_404(web: Any, jobqueue_sync_scope: SyncTestScope) -> None:
    jobqueue_sync_scope.client.put_kind(Kind(name="other"))
    other = jobqueue_sync_scope.client.enqueue("other")
    assert web.get(f"/orders/{other.id}").status_code == 404
    assert web.get(f"/orders/{uuid4()}").status_code == 404
    assert web.get("/orders/7").status_code == 404


@pytest.mark.parametrize("body", [{}, {**ORDER, "more": 1}, {**ORDER, "number": "7"}])
def test_a_body_that_is_no_order_enqueues_nothing(
    web: Any, jobqueue_sync_scope: SyncTestScope, body: object
) -> None:
    assert web.post("/orders", json=body).status_code == 422
    assert jobqueue_sync_scope.enqueued() == []


def test_without_a_server_the_caller_is_told_to_try_again(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # Nothing listens at port 1.
    with SyncClient("127.0.0.1:1") as nowhere:
        monkeypatch.setattr(shop, "jobs", nowhere)
        answer = shop.app.test_client().post("/orders", json=ORDER)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


def test_a_route_is_tested_without_a_server(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = SyncRecordingClient()
    monkeypatch.setattr(shop, "jobs", jobs)
    assert shop.app.test_client().post("/orders", json=ORDER).status_code == 202
    assert [job.kind for job in jobs.jobs] == ["send-receipt"]


@pytest.mark.parametrize("threads", [(), ("--worker-class", "gthread", "--threads", "4")])
def test_each_of_gunicorns_forked_workers_enqueues(
    start: Start, shop: Any, jobqueue_sync_scope: SyncTestScope, threads: tuple[str, ...]
) -> None:
    jobqueue_sync_scope.client.sync_kinds([shop.send_receipt])
    served = ("--access-logfile", "-", "--access-logformat", "served by %(p)s")
    forked = ("--workers", "4", "--preload", "--bind", "127.0.0.1:0")
    app = start("-m", "gunicorn", *forked, *threads, *served, "flask_app:app")
    address = address_of(app, "Listening at")
    booted(app, 4)

    def place(number: int) -> str:
        body = json.dumps({**ORDER, "number": number}).encode()
        request = urllib.request.Request(f"{address}/orders", body, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            job: str = json.load(answer)["job"]
            return job

    with ThreadPoolExecutor(8) as callers:
        jobs = set(callers.map(place, range(REQUESTS)))

    assert len(jobs) == REQUESTS
    by = {line for line in app.log.read_text().splitlines() if line.startswith("served by")}
    assert len(by) == 4
    app.terminate()
    assert asyncio.run(app.ended(within=30)) == 0


def test_the_worker_is_a_program_of_its_own_which_drains(
    start: Start, shop: Any, jobqueue_sync_client: SyncClient
) -> None:
    jobqueue_sync_client.sync_kinds([shop.send_receipt])
    worker = start(shop.__file__)
    job = jobqueue_sync_client.enqueue(shop.send_receipt, shop.Order(**ORDER))
    done = jobqueue_sync_client.wait(job.id, timeout=timedelta(seconds=60))
    assert done.output == "order 7 for ada@example.org by shop"
    worker.terminate()
    assert asyncio.run(worker.ended()) == 0
