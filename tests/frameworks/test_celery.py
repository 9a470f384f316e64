"""The bridge for Celery: twelve tasks come to the same by Celery's own worker and as jobs, without a broker."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import pytest

from jobqueue import Kind, Status, Worker
from jobqueue.testing import SyncTestScope, perform
from tests.docs.markdown import ROOT, blocks

pytestmark = [pytest.mark.frameworks, pytest.mark.any_engine]

#: Nothing listens at port 1: a task that sent something would fail.
NO_BROKER = "amqp://127.0.0.1:1//"
#: Task, arguments, how often it runs, and its result, or its error.
TASKS: list[tuple[str, tuple[Any, ...], dict[str, Any], int, Any]] = [
    ("add", (1, 2), {}, 1, 3),
    ("greet", (), {"name": "Ada"}, 1, "Hello Ada"),
    ("who", (), {}, 1, "{id} 0 []"),
    ("busy_twice", (), {}, 3, 2),
    ("gives_up", (), {}, 3, ValueError("busy")),
    ("autoretried", (), {}, 2, "back"),
    ("fails", (), {}, 1, ValueError("wrong")),
    ("requeues", (), {}, 2, "now"),
    ("at_a_time", (), {}, 2, "later"),
    ("shared", (), {"a": 1, "b": 2}, 1, 2),
    # Of these Celery keeps no result.
    ("ignores", (), {}, 1, None),
    ("rejects", (), {}, 1, None),
]


@pytest.fixture
def bridge(program: Callable[[str], Any]) -> Any:
    return program("celery_bridge")


def make(broker: str, backend: str | None = None) -> Any:
    from .celery_tasks import make

    return make(broker, backend)


def counted() -> dict[str, int]:
    from .celery_tasks import runs

    return dict(runs)


def test_the_tasks_are_twelve() -> None:
    app = make(NO_BROKER)
    assert len(TASKS) == 12
    assert {name for name in app.tasks if not name.startswith("celery.")} == {task[0] for task in TASKS}


def test_celerys_own_worker_comes_to_this() -> None:
    from celery.contrib.testing.worker import start_worker

    app = make("memory://", "cache+memory://")
    with start_worker(app, pool="solo", perform_ping_check=False, shutdown_timeout=60):
        sent = [app.tasks[name].apply_async(args, kwargs) for name, args, kwargs, _, _ in TASKS]
        for (name, _, _, _, expected), result in zip(TASKS, sent, strict=True):
            if isinstance(expected, Exception):
                with pytest.raises(type(expected), match=str(expected)):
                    result.get(timeout=60)
            elif expected is not None:
                got = result.get(timeout=60)
                assert got == (expected.format(id=result.id) if name == "who" else expected)
    assert counted() == {name: times for name, _, _, times, _ in TASKS}


def test_as_jobs_they_come_to_the_same_without_a_broker(
    bridge: Any, jobqueue_sync_scope: SyncTestScope
) -> None:
    client = jobqueue_sync_scope.client
    app = make(NO_BROKER)
    worker = bridge.serve(app, Worker("127.0.0.1:1"))
    client.sync_kinds([bridge.celery_task])
    jobs = client.enqueue_many(
        bridge.call(app.tasks[name], *args, **kwargs) for name, args, kwargs, _, _ in TASKS
    )
    jobqueue_sync_scope.run_until_idle(worker, failures="retry")
    (waiting,) = jobqueue_sync_scope.enqueued()
    jobqueue_sync_scope.make_due(waiting)
    jobqueue_sync_scope.run_until_idle(worker, failures="retry")

    for (name, _, _, _, expected), enqueued in zip(TASKS, jobs, strict=True):
        job = client.get(enqueued.id)
        if isinstance(expected, Exception):
            assert job.status is Status.FAILED_PERMANENT
            assert f"{type(expected).__name__}: {expected}" in job.last_error
        elif name == "rejects":
            assert (job.status, "broken" in job.last_error) == (Status.FAILED_PERMANENT, True)
        else:
            assert (name, job.status) == (name, Status.SUCCEEDED)
            assert job.output == (expected.format(id=job.id) if name == "who" else expected)
    assert counted() == {name: times for name, _, _, times, _ in TASKS}


def handled(bridge: Any, task: Callable[[Any], Any]) -> Any:
    """A worker that serves one task, and the payload that calls it."""
    from celery import Celery

    # Celery makes a function of that name.
    task.__name__ = "one"
    app = Celery("one", broker=NO_BROKER)
    made = app.task(shared=False, name="one", bind=True)(task)
    app.finalize(auto=True)
    return bridge.serve(app, Worker("127.0.0.1:1")), bridge.Call("one"), made


@pytest.mark.parametrize(
    ("said", "wait"), [({"countdown": 60}, 60), ({}, 180), ({"eta": timedelta(minutes=5)}, 300)]
)
async def test_a_retry_waits_as_long_as_celery_would(bridge: Any, said: dict[str, Any], wait: int) -> None:
    if "eta" in said:
        said = {"eta": datetime.now(UTC) + said["eta"]}
    worker, payload, _ = handled(bridge, lambda self: self.retry(**said))
    done = await perform(worker, payload, kind=bridge.celery_task)
    assert done.outcome == "failed"
    assert done.retry_after is not None
    assert abs(done.retry_after.total_seconds() - wait) < 5


@pytest.mark.parametrize(("retries", "attempts"), [(0, 1), (3, 4), (None, 1000)])
def test_a_job_has_one_attempt_more_than_its_task_has_retries(
    bridge: Any, retries: int | None, attempts: int
) -> None:
    _, _, task = handled(bridge, lambda self: None)
    task.max_retries = retries
    assert bridge.call(task).max_attempts == attempts


def test_wrong_arguments_are_refused_where_the_job_is_made(bridge: Any) -> None:
    app = make(NO_BROKER)
    with pytest.raises(TypeError, match="other"):
        bridge.call(app.tasks["add"], 1)


def test_a_task_that_this_worker_does_not_know_is_tried_again(
    bridge: Any, jobqueue_sync_scope: SyncTestScope
) -> None:
    client = jobqueue_sync_scope.client
    client.put_kind(Kind(name="celery.task"))
    app = make(NO_BROKER)
    job = client.enqueue("celery.task", {"name": "of a later version"})
    worker = bridge.serve(app, Worker("127.0.0.1:1"))
    jobqueue_sync_scope.run_until_idle(worker, failures="keep")
    seen = client.get(job.id)
    assert (seen.status, "of a later version" in seen.last_error) == (Status.RETRYING, True)


PAGE = (ROOT / "docs/migrate/celery.md").read_text()


def test_the_page_s_task_does_the_same_before_and_after(
    jobqueue_sync_scope: SyncTestScope, monkeypatch: pytest.MonkeyPatch
) -> None:
    from celery.contrib.testing.worker import start_worker

    # A dataclass looks for the module that it is in.
    before, after = ModuleType("before"), ModuleType("after")
    for module in (before, after):
        monkeypatch.setitem(sys.modules, module.__name__, module)
        (code,) = (block.text for block in blocks(PAGE) if block.title == f"{module.__name__}.py")
        exec(compile(code, f"{module.__name__}.py", "exec"), module.__dict__)
    client = jobqueue_sync_scope.client
    client.sync_kinds([after.welcome])

    with start_worker(before.app, pool="solo", perform_ping_check=False, shutdown_timeout=60):
        assert before.sign_up("ada@example.org", "Ada").get(timeout=60) == "Hello Ada"
        with pytest.raises(ValueError, match="nowhere is no address"):
            before.sign_up("nowhere", "Ada").get(timeout=60)
    good = after.sign_up(client, "ada@example.org", "Ada")
    bad = after.sign_up(client, "nowhere", "Ada")
    jobqueue_sync_scope.run_until_idle(after.worker)
    assert client.get(good.id).output == "Hello Ada"
    assert "nowhere is no address" in client.get(bad.id).last_error
