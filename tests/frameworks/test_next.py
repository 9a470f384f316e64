"""The recipe for Next: its routes as `next build` makes them, before a real server; and what `next dev` loads anew."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from jobqueue import Kind, SyncClient
from tests.conftest import Cluster
from tests.e2e.processes import WITHIN, Process, ServerProcess

from . import node
from .conftest import Start, address_of

pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.language("typescript"),
    pytest.mark.any_engine,
    pytest.mark.timeout(300),
]

NEXT = str(node.PROGRAMS / "next")
HERE = node.RECIPES / "next"
ANY_PORT = ("--hostname", "127.0.0.1", "--port", "0")
ORDER = {"number": 7, "email": "ada@example.org"}

# Tells how often the module of the client was loaded, and how many clients there have been.
PROBE = """
import { jobs } from "../../lib/jobs";

export const dynamic = "force-dynamic";
const all = globalThis as any;
export const GET = () => {
  const clients = (all.clients ??= new Set()).add(jobs()).size;
  return Response.json({ loads: all.loads, clients });
};
"""
COUNTED = "\n(globalThis as any).loads = ((globalThis as any).loads ?? 0) + 1;\n"


def told(server: ServerProcess | None) -> Mapping[str, str]:
    """What the app is told. Without a server: of one where nothing listens."""
    return {**node.QUIET, "JOBQUEUE_HTTP": f"http://{server.http_address if server else '127.0.0.1:1'}"}


@pytest.fixture(scope="module")
def server(
    cluster: Cluster, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """One that speaks REST as well, and asks for no key."""
    name = cluster.create(template)
    log = tmp_path_factory.mktemp("next") / "server.log"
    process = ServerProcess(cluster.dsn_of(name), log, http_addr="127.0.0.1:0", kinds="declared")
    try:
        yield asyncio.run(process.ready())
    finally:
        process.kill()
        print(process.tail())
        cluster.drop(name)


@pytest.fixture(scope="module")
def built() -> None:
    """The programs."""
    node.build("next")


@pytest.fixture(scope="module")
def web(server: ServerProcess, built: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Asks the app, which runs as in production. The kind of its jobs is not declared yet."""
    log = tmp_path_factory.mktemp("next") / "app.log"
    app = Process([NEXT, "start", str(HERE), *ANY_PORT], log, told(server))
    try:
        yield node.caller(address_of(app, "Local:"))
    finally:
        print(app.tail())
        app.kill()


@pytest.fixture
def jobs(server: ServerProcess) -> Iterator[SyncClient]:
    """A client of the server, which knows the kind of the app's jobs."""
    with SyncClient(server.address) as client:
        client.put_kind(Kind(name="send-receipt"))
        yield client


def test_a_kind_that_is_not_declared_is_no_fault_of_the_caller(web: Any) -> None:
    assert web.post("/orders", json=ORDER).status_code == 500


def test_a_request_enqueues_a_job_that_a_later_request_sees_done(
    web: Any, jobs: SyncClient, server: ServerProcess, run: Start
) -> None:
    placed = web.post("/orders", json=ORDER)
    assert placed.status_code == 202
    job = placed.json()["job"]
    assert web.get(f"/orders/{job}").json() == {"status": "QUEUED", "receipt": None}

    worker = run("node", str(HERE / "dist" / "worker.js"), JOBQUEUE_SERVER=server.address)
    jobs.wait(job, timeout=timedelta(seconds=60))

    done = {"status": "SUCCEEDED", "receipt": {"text": "order 7 for ada@example.org"}}
    assert web.get(f"/orders/{job}").json() == done
    worker.terminate()
    assert asyncio.run(worker.ended()) == 0


def test_a_body_that_is_no_order_is_refused_with_its_field_and_enqueues_nothing(
    web: Any, jobs: SyncClient
) -> None:
    before = len(list(jobs.list()))
    no_orders = {"payload.number": {**ORDER, "number": "7"}, "payload.email": {"number": 7}, "payload": None}
    for field, body in no_orders.items():
        answer = web.post("/orders", json=body) if body else web.post("/orders", content=b"{")
        assert answer.status_code == 422
        assert [each["field"] for each in answer.json()["violations"]] == [field]
    assert len(list(jobs.list())) == before


def test_the_same_idempotency_key_is_the_same_job_and_another_order_is_refused(
    web: Any, jobs: SyncClient
) -> None:
    keyed = {"Idempotency-Key": "o7"}
    first, again = (web.post("/orders", json=ORDER, headers=keyed) for _ in range(2))
    assert first.json() == again.json()
    assert web.post("/orders", json={**ORDER, "number": 8}, headers=keyed).status_code == 409


def test_a_job_that_is_not_there_or_is_no_order_is_404(web: Any, jobs: SyncClient) -> None:
    jobs.put_kind(Kind(name="other"))
    assert web.get(f"/orders/{jobs.enqueue('other').id}").status_code == 404
    assert web.get(f"/orders/{uuid4()}").status_code == 404
    assert web.get("/orders/7").json()["violations"][0]["field"] == "id"


def test_without_a_server_the_caller_is_told_to_try_again(built: None, run: Start) -> None:
    app = run(NEXT, "start", str(HERE), *ANY_PORT, **told(None))
    answer = node.caller(address_of(app, "Local:")).post("/orders", json=ORDER)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def test_the_client_outlives_its_module_which_development_loads_anew(run: Start) -> None:
    node.prepare()
    # As deep as the recipe, whose settings name the root above it.
    place = node.RECIPES / ".build"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(HERE, place, ignore=shutil.ignore_patterns(".next", "dist", "*.tsbuildinfo"))
    (place / "app" / "probe").mkdir()
    (place / "app" / "probe" / "route.ts").write_text(PROBE)
    module = place / "lib" / "jobs.ts"
    module.write_text(module.read_text() + COUNTED)
    app = run(NEXT, "dev", str(place), *ANY_PORT, **told(None))
    web = node.caller(address_of(app, "Local:"))
    assert web.get("/probe").json() == {"loads": 1, "clients": 1}

    changed = place / "jobs.new"
    changed.write_text(module.read_text() + "\nexport const changed = true;\n")
    changed.replace(module)

    ends = time.monotonic() + WITHIN
    while (seen := web.get("/probe").json())["loads"] == 1:
        assert time.monotonic() < ends, "the change was not loaded"
    assert seen["clients"] == 1
