"""The recipe for FastAPI: its routes before a real server, and how app and worker end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from jobqueue import Kind, Status, SyncClient
from jobqueue.testing import RecordingClient, SyncTestScope, perform

from .conftest import Start, address_of

pytestmark = [pytest.mark.frameworks, pytest.mark.any_engine]

ORDER = {"number": 7, "email": "ada@example.org"}


@pytest.fixture
def shop(program: Callable[[str], Any]) -> Any:
    return program("fastapi_app")


@pytest.fixture
def web(shop: Any, jobqueue_sync_scope: SyncTestScope, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The app's own test client, with its lifespan, in the test's namespace."""
    from fastapi.testclient import TestClient

    for name, value in jobqueue_sync_scope.environment.items():
        monkeypatch.setenv(name, value)
    jobqueue_sync_scope.client.sync_kinds([shop.send_receipt])
    with TestClient(shop.app) as client:
        yield client


def test_a_request_enqueues_a_job_that_a_later_request_sees_done(
    web: Any, shop: Any, jobqueue_sync_scope: SyncTestScope
) -> None:
    placed = web.post("/orders", json=ORDER)
    assert placed.status_code == 202
    jobqueue_sync_scope.assert_enqueued(shop.send_receipt, shop.Order(**ORDER), count=1)
    there = f"/orders/{placed.json()['job']}"
    assert web.get(there).json() == {"status": "QUEUED", "receipt": None}

    jobqueue_sync_scope.run_until_idle(shop.worker)

    assert web.get(there).json() == {
        "status": "SUCCEEDED",
        "receipt": {"text": "order 7 for ada@example.org"},
    }


def test_a_body_that_is_no_order_enqueues_nothing(web: Any, jobqueue_sync_scope: SyncTestScope) -> None:
    assert web.post("/orders", json={**ORDER, "number": 0}).status_code == 422
    assert jobqueue_sync_scope.enqueued() == []


def test_the_same_idempotency_key_is_the_same_job_and_another_order_is_refused(
    web: Any, jobqueue_sync_scope: SyncTestScope
) -> None:
    keyed = {"Idempotency-Key": "o7"}
    first, second = (web.post("/orders", json=ORDER, headers=keyed) for _ in range(2))
    assert first.json() == second.json()
    assert web.post("/orders", json={**ORDER, "number": 8}, headers=keyed).status_code == 409
    assert len(jobqueue_sync_scope.enqueued()) == 1


def test_a_job_that_is_not_there_or_is_no_order_is_404(web: Any, jobqueue_sync_scope: SyncTestScope) -> None:
    jobqueue_sync_scope.client.put_kind(Kind(name="other"))
    other = jobqueue_sync_scope.client.enqueue("other")
    assert web.get(f"/orders/{other.id}").status_code == 404
    assert web.get(f"/orders/{uuid4()}").status_code == 404
    assert web.get("/orders/7").status_code == 422


def test_without_a_server_the_caller_is_told_to_try_again(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from fastapi.testclient import TestClient

    # Nothing listens at port 1.
    monkeypatch.setenv("JOBQUEUE_SERVER", "127.0.0.1:1")
    with TestClient(shop.app) as web:
        answer = web.post("/orders", json=ORDER)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def test_a_route_is_tested_without_a_server(shop: Any) -> None:
    from fastapi.testclient import TestClient

    jobs = RecordingClient()
    shop.app.dependency_overrides[shop.client_of] = lambda: jobs
    try:
        assert TestClient(shop.app).post("/orders", json=ORDER).status_code == 202
    finally:
        shop.app.dependency_overrides.clear()
    assert [job.kind for job in jobs.jobs] == ["send-receipt"]


async def test_the_handler_is_a_function_of_the_model(shop: Any) -> None:
    done = await perform(shop.deliver, shop.Order(**ORDER), kind=shop.send_receipt)
    assert done.output == shop.Receipt(text="order 7 for ada@example.org")


def test_when_the_app_ends_its_worker_leaves_before_its_client_closes(
    start: Start, jobqueue_sync_client: SyncClient, tmp_path: Path
) -> None:
    for kind in ("slow", "by-client", "by-settlement"):
        jobqueue_sync_client.put_kind(Kind(name=kind))
    app = start("-m", "uvicorn", "slow_fastapi:app", "--port", "0", WORKER_IN_APP="1")
    address_of(app, "Uvicorn running")
    job = jobqueue_sync_client.enqueue("slow", {"until": str(tmp_path / "go")})
    asyncio.run(app.line("slow runs"))

    app.terminate()
    asyncio.run(app.line("Waiting for application shutdown"))
    (tmp_path / "go").touch()

    # uvicorn ends of the signal itself, after it has shut down.
    assert asyncio.run(app.ended()) in (0, -signal.SIGTERM)
    assert "Application shutdown complete" in app.tail()
    assert jobqueue_sync_client.get(job.id).status is Status.SUCCEEDED
    kinds = {each.kind: each.status for each in jobqueue_sync_client.list() if each.kind != "slow"}
    assert kinds == {"by-client": Status.QUEUED, "by-settlement": Status.QUEUED}


def test_the_worker_is_a_program_of_its_own_which_drains(
    start: Start, shop: Any, jobqueue_sync_client: SyncClient
) -> None:
    jobqueue_sync_client.sync_kinds([shop.send_receipt])
    worker = start(shop.__file__)
    job = jobqueue_sync_client.enqueue(shop.send_receipt, shop.Order(**ORDER))
    done = jobqueue_sync_client.wait(job.id, timeout=timedelta(seconds=60))
    assert shop.send_receipt.output_of(done).text == "order 7 for ada@example.org"
    worker.terminate()
    assert asyncio.run(worker.ended()) == 0
