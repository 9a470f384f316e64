"""@jobqueue/nestjs with the newest and the lowest Nest, and the recipe's programs, before a real server."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from jobqueue import Kind, Status, SyncClient
from jobqueue.testing import SyncTestScope, TestServer
from tests.e2e.processes import Process

from .conftest import address_of
from .nest import BUILT, LOWEST, PACKAGE, built, built_with_the_lowest, run

# The first run of all fetches what both package-lock.json name.
pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.any_engine,
    pytest.mark.language("typescript"),
    pytest.mark.timeout(600),
]

ORDER = {"number": 7, "email": "ada@example.org"}
#: How many tests each file has.
FILES = {"handlers": 24, "lifecycle": 9}

TEST = ("node", "--test", "--test-timeout=120000")

Node = Callable[..., Process]


@pytest.fixture(autouse=True)
def package() -> None:
    built()


@pytest.fixture
def node(jobqueue_sync_scope: SyncTestScope, tmp_path: Path) -> Iterator[Node]:
    """Starts a program of `.build` in the test's namespace."""
    running: list[Process] = []

    def begin(program: str, **environment: str) -> Process:
        log = tmp_path / f"program{len(running)}.log"
        known = {**jobqueue_sync_scope.environment, "PORT": "0", **environment}
        running.append(Process(["node", str(BUILT / program)], log, known))
        return running[-1]

    yield begin
    for each in running:
        print(each.tail())
        each.kill()


def test_the_package_and_the_recipe_are_formatted() -> None:
    # What the package's `lint` does beside the compiler, which `built` has run.
    command = json.loads((PACKAGE / "package.json").read_text())["scripts"]["lint"]
    run("npm", "exec", "--", *command.removeprefix("tsc --noEmit && ").split())


@pytest.mark.parametrize("name", FILES)
def test_it_holds_with_the_newest_nest(name: str, jobqueue_server: TestServer) -> None:
    said = run(*TEST, f".build/test/{name}.test.js", server=jobqueue_server)
    assert f"# pass {FILES[name]}\n" in said, said


@pytest.mark.parametrize("name", FILES)
def test_it_holds_with_the_lowest_nest(name: str, jobqueue_server: TestServer) -> None:
    built_with_the_lowest()
    said = run(*TEST, f".build/test/{name}.test.js", folder=LOWEST, server=jobqueue_server)
    assert f"# pass {FILES[name]}\n" in said, said


def test_a_program_in_commonjs_gets_it_by_require() -> None:
    asked = (
        "process.exitCode = typeof require('@jobqueue/nestjs').JobQueueModule.forRoot === 'function' ? 0 : 1"
    )
    run("node", "--input-type=commonjs", "--eval", asked)


def test_the_package_ships_what_it_exports_and_nothing_else() -> None:
    [packed] = json.loads(run("npm", "pack", "--dry-run", "--json", "--ignore-scripts"))
    paths = {file["path"] for file in packed["files"]}
    modules = {path.stem for path in (PACKAGE / "src").glob("*.ts")}
    shipped = {f"dist/{name}{end}" for name in modules for end in (".js", ".d.ts")}
    assert paths == {*shipped, "README.md", "LICENSE", "package.json"}


def test_nest_is_what_the_app_has_and_nothing_else_comes_with_it() -> None:
    manifest = json.loads((PACKAGE / "package.json").read_text())
    assert "dependencies" not in manifest
    assert set(manifest["peerDependencies"]) == {"@jobqueue/client", "@nestjs/common", "@nestjs/core"}
    lowest = json.loads((PACKAGE / "lowest/package.json").read_text())["devDependencies"]
    for name in ("@nestjs/common", "@nestjs/core"):
        newest = manifest["devDependencies"][name].partition(".")[0]
        assert manifest["peerDependencies"][name] == f"^{lowest[name]} || ^{newest}.0.0"
    for folder in (PACKAGE, PACKAGE / "lowest"):
        assert '"resolved"' not in (folder / "package-lock.json").read_text()


def asked(url: str, body: object = None, **headers: str) -> tuple[int, Any]:
    """What a program answers to a request."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_a_request_enqueues_a_job_that_a_later_request_sees_done(
    node: Node, jobqueue_sync_client: SyncClient
) -> None:
    shop = address_of(node("recipe/main.js"), "listening at")
    # Its worker has told the server the kind by then.
    ready = asyncio.run(becomes(lambda: asked(f"{shop}/readyz"), lambda said: said[0] == 200))
    assert ready[1]["details"]["jobqueue"]["workers"]["default"]["state"] == "serving"
    code, placed = asked(f"{shop}/orders", ORDER)
    assert code == 202
    jobqueue_sync_client.wait(placed["job"], timeout=timedelta(seconds=60))
    done = {"status": "SUCCEEDED", "receipt": {"text": "order 7 for ada@example.org"}}
    assert asked(f"{shop}/orders/{placed['job']}") == (200, done)


def test_what_is_wrong_is_said_to_the_caller(node: Node, jobqueue_sync_scope: SyncTestScope) -> None:
    jobqueue_sync_scope.client.put_kind(Kind(name="send-receipt"))
    shop = address_of(node("recipe/main.js", RUN_WORKERS="0"), "listening at")
    assert asked(f"{shop}/readyz")[0] == 200
    code, said = asked(f"{shop}/orders", {**ORDER, "number": 0})
    assert (code, [each["field"] for each in said["message"]]) == (422, ["payload.number"])
    assert asked(f"{shop}/orders/{uuid4()}")[0] == 404
    assert asked(f"{shop}/orders/7")[0] == 400
    assert jobqueue_sync_scope.enqueued() == []
    first, second = (asked(f"{shop}/orders", ORDER, **{"idempotency-key": "o7"}) for _ in range(2))
    assert first == second
    assert asked(f"{shop}/orders", {**ORDER, "number": 8}, **{"idempotency-key": "o7"})[0] == 409
    assert len(jobqueue_sync_scope.enqueued()) == 1
    jobqueue_sync_scope.client.put_kind(Kind(name="other"))
    assert asked(f"{shop}/orders/{jobqueue_sync_scope.client.enqueue('other').id}")[0] == 404


def test_a_kind_that_is_not_declared_is_no_fault_of_the_caller(node: Node) -> None:
    shop = address_of(node("recipe/main.js", RUN_WORKERS="0"), "listening at")
    code, said = asked(f"{shop}/orders", ORDER)
    assert (code, said["message"]) == (500, "Internal server error")


def test_without_a_server_the_caller_is_told_to_try_again(node: Node) -> None:
    # Nothing listens at port 1.
    shop = address_of(node("recipe/main.js", JOBQUEUE_SERVER="127.0.0.1:1"), "listening at")
    assert asked(f"{shop}/orders", ORDER)[0] == 503
    assert asked(f"{shop}/readyz")[0] == 503


def test_the_worker_is_a_program_of_its_own_which_drains(
    node: Node, jobqueue_sync_client: SyncClient
) -> None:
    jobqueue_sync_client.put_kind(Kind(name="send-receipt"))
    worker = node("recipe/worker.js")
    asyncio.run(worker.line("send-receipt: Receipts.deliver"))
    job = jobqueue_sync_client.enqueue("send-receipt", ORDER)
    assert jobqueue_sync_client.wait(job.id, timeout=timedelta(seconds=60)).status is Status.SUCCEEDED
    worker.terminate()
    assert asyncio.run(worker.ended()) == 0


def test_on_sigterm_the_worker_leaves_before_all_else_and_its_handler_still_enqueues(
    node: Node, jobqueue_sync_client: SyncClient
) -> None:
    for kind in ("slow", "by-client", "by-settlement"):
        jobqueue_sync_client.put_kind(Kind(name=kind))
    app = node("test/programs/slow.js")
    job = jobqueue_sync_client.enqueue("slow", {})
    asyncio.run(app.line("slow runs"))
    app.terminate()
    assert asyncio.run(app.ended()) == 0
    assert "the database is closed" in app.tail()
    done = jobqueue_sync_client.get(job.id)
    # Its database was open to its end.
    assert (done.status, done.output) == (Status.SUCCEEDED, True)
    kinds = {each.kind: each.status for each in jobqueue_sync_client.list() if each.kind != "slow"}
    assert kinds == {"by-client": Status.QUEUED, "by-settlement": Status.QUEUED}


async def becomes(look: Callable[[], Any], right: Callable[[Any], bool]) -> Any:
    """What is seen, as soon as it is right."""
    async with asyncio.timeout(60):
        while not right(seen := await asyncio.to_thread(look)):
            await asyncio.sleep(0.02)
        return seen
