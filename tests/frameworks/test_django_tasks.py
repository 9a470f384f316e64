"""Django's tasks as jobs: the backend in a project on SQLite, before a real server."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jobqueue import Kind, PayloadInvalid, Status, SyncClient
from jobqueue.jobs import VERSION_HEADER
from jobqueue.testing import SyncTestScope
from tools import django6

from .conftest import OURS, ROOT, SITE, Start
from .test_django import command, free_address

pytestmark = [pytest.mark.frameworks, pytest.mark.any_engine]

LATER = datetime.now(UTC).replace(microsecond=0) + timedelta(days=90)


@pytest.fixture
def tasks(shop: Any, jobqueue_sync_scope: SyncTestScope) -> Any:
    """The module with the tasks, of whose kind the server knows."""
    from shop_site.shop import more_tasks

    from jobqueue_django.tasks import calls

    jobqueue_sync_scope.client.sync_kinds([calls.django_task])
    return more_tasks


@pytest.fixture
def work(jobqueue_sync_scope: SyncTestScope) -> Any:
    """Runs the worker until nothing is due."""
    from jobqueue_django.handlers import make_worker

    return lambda: jobqueue_sync_scope.run_until_idle(make_worker(), failures="keep")


@pytest.fixture
def options(tasks: Any) -> Iterator[Any]:
    """Sets OPTIONS of the backend, of this thread and of those that come."""
    from django.conf import settings
    from django.test import override_settings

    changed = []

    def change(queues: Any = ("default", "mail"), *, other: Any = None, **given: Any) -> None:
        entry = {**settings.TASKS["default"], "QUEUES": queues, "OPTIONS": given}
        changed.append(override_settings(TASKS={"default": entry, **({"other": other} if other else {})}))
        changed[-1].enable()

    yield change
    for each in reversed(changed):
        each.disable()


def job_of(scope: SyncTestScope, result: Any) -> Any:
    return scope.client.get(result.id)


def test_the_task_of_the_readme_is_enqueued_run_and_read_again(
    shop: Any, tasks: Any, work: Any, jobqueue_sync_scope: SyncTestScope
) -> None:
    from shop_site.shop.tasks import remind

    order = shop.order.objects.create(email="ada@example.org")
    result = remind.enqueue(order.pk)
    assert (result.status, result.is_finished) == ("READY", False)
    job = job_of(jobqueue_sync_scope, result)
    assert (job.kind, job.queue, job.priority, job.max_attempts) == ("django.task", "mail", 1, 1)
    assert job.payload == {
        "task": "shop_site.shop.tasks.remind",
        "args": [order.pk],
        "kwargs": {},
        "using": {},
    }
    assert result.enqueued_at == job.created_at

    work()

    done = remind.get_result(result.id)
    assert (done.status, done.return_value) == ("SUCCESSFUL", "reminder for ada@example.org")
    assert (done.id, done.task, done.args, done.attempts) == (result.id, remind, [order.pk], 1)
    assert done.finished_at is not None
    result.refresh()
    assert result.return_value == done.return_value


def test_the_results_of_another_task_are_not_its_own(tasks: Any) -> None:
    result = tasks.add.enqueue(1)
    with pytest.raises(Exception, match="Task does not match"):
        tasks.who.get_result(result.id)


@pytest.mark.parametrize(
    ("given", "expected"), [(-100, -10), (-1, -1), (0, 0), (1, 1), (10, 1), (11, 2), (100, 10)]
)
def test_a_higher_priority_is_never_a_lower_one_and_is_read_back_as_it_was(
    tasks: Any, jobqueue_sync_scope: SyncTestScope, given: int, expected: int
) -> None:
    result = tasks.add.using(priority=given).enqueue(1)
    assert job_of(jobqueue_sync_scope, result).priority == expected
    assert tasks.add.get_result(result.id).task.priority == given


def test_a_task_that_is_put_off_waits_for_its_time(tasks: Any, jobqueue_sync_scope: SyncTestScope) -> None:
    result = tasks.add.using(run_after=LATER, queue_name="mail").enqueue(1)
    job = job_of(jobqueue_sync_scope, result)
    assert (job.run_at, job.queue) == (LATER, "mail")
    read = tasks.add.get_result(result.id)
    assert (read.task.run_after, read.task.queue_name) == (LATER, "mail")


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo"])
def test_where_times_are_naive_a_task_is_put_off_too(
    tasks: Any, work: Any, jobqueue_sync_scope: SyncTestScope, zone: str
) -> None:
    from django.test import override_settings
    from django.utils import timezone

    with override_settings(USE_TZ=False, TIME_ZONE=zone):
        when = timezone.make_naive(LATER)
        result = tasks.add.using(run_after=when).enqueue(1)
        assert job_of(jobqueue_sync_scope, result).run_at == LATER
        assert tasks.add.get_result(result.id).task.run_after == when
        jobqueue_sync_scope.make_due(job_of(jobqueue_sync_scope, result))
        work()
        result.refresh()
        assert result.return_value == 1
        assert result.finished_at.tzinfo is None


async def test_coroutines_enqueue_run_and_read(tasks: Any, jobqueue_sync_scope: SyncTestScope) -> None:
    from jobqueue_django.handlers import make_worker

    result = await tasks.add_later.aenqueue(1, b=2)
    await asyncio.to_thread(lambda: jobqueue_sync_scope.run_until_idle(make_worker()))
    assert (await tasks.add_later.aget_result(result.id)).return_value == 3
    await result.arefresh()
    assert result.return_value == 3


def test_a_task_that_takes_a_context_is_told_of_its_attempt(tasks: Any, work: Any) -> None:
    result = tasks.who.enqueue()
    work()
    assert tasks.who.get_result(result.id).return_value == [1, result.id, "RUNNING", [], "default"]


def test_a_task_that_raises_has_failed_with_the_class_and_the_traceback(
    tasks: Any, work: Any, jobqueue_sync_scope: SyncTestScope, caplog: pytest.LogCaptureFixture
) -> None:
    result = tasks.sell.enqueue(7)
    work()
    said = "".join(each.getMessage() for each in caplog.records if each.name.startswith("jobqueue"))
    assert said.count("raise OutOfStock(") == 1
    result.refresh()
    assert result.status == "FAILED"
    (error,) = result.errors
    assert error.exception_class is tasks.OutOfStock
    assert 'raise OutOfStock(f"no more of' in error.traceback
    assert error.traceback.startswith("Traceback (most recent call last):\n")
    assert "shop_site.shop.more_tasks.OutOfStock: no more of 7\n\nask again" in error.traceback
    assert "running.py" not in error.traceback
    with pytest.raises(ValueError, match="Task failed"):
        _ = result.return_value
    job = job_of(jobqueue_sync_scope, result)
    assert job.last_error.startswith("shop_site.shop.more_tasks.OutOfStock: no more of 7\n\nTraceback")
    assert [each.error_type for each in job.failed_attempts] == ["OutOfStock"]
    assert result.started_at == job.failed_attempts[0].started_at
    assert result.worker_ids == [job.failed_attempts[0].worker]


def test_the_words_of_a_task_are_not_taken_for_the_path_of_an_error(
    tasks: Any, work: Any, jobqueue_sync_scope: SyncTestScope
) -> None:
    words = "shop_site.shop.not_imported.OutOfStock: gone\n\nask again"
    result, plain = tasks.quote.enqueue(words), tasks.quote.enqueue("gone\n\nask again")
    work()
    result.refresh()
    (error,) = result.errors
    assert error.exception_class is Exception
    assert error.traceback == f"OutOfStock: Discard: {words}"
    assert job_of(jobqueue_sync_scope, plain).last_error == "gone\n\nask again"


@pytest.mark.parametrize(
    "path",
    ["shop_site.shop.not_imported.OutOfStock", "shop_site.shop.more_tasks.add", "os.system", "gone", ""],
)
def test_to_read_the_class_of_an_error_imports_nothing(site: Path, path: str) -> None:
    from jobqueue_django.tasks.results import Failure

    assert (
        Failure(exception_class_path="json.decoder.JSONDecodeError", traceback="").exception_class
        is json.JSONDecodeError
    )
    with pytest.raises(ImportError, match="no module that is imported has an exception"):
        _ = Failure(exception_class_path=path, traceback="").exception_class
    assert "shop_site.shop.not_imported" not in sys.modules


def test_of_a_long_traceback_the_end_is_kept(tasks: Any, work: Any) -> None:
    result = tasks.ramble.enqueue()
    work()
    result.refresh()
    (error,) = result.errors
    assert error.exception_class is ValueError
    assert error.traceback.startswith("[cut, ")
    assert error.traceback.endswith("no no end\n")
    assert 5_000 < len(error.traceback) < 8_192


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("bytes", "text"),
        ("tuple", [1, 2]),
        ("object", TypeError),
        ("nan", ValueError),
    ],
)
def test_what_a_task_returns_is_json_or_an_error(tasks: Any, work: Any, what: str, expected: Any) -> None:
    result = tasks.answer.enqueue(what)
    work()
    result.refresh()
    if isinstance(expected, type):
        assert [each.exception_class for each in result.errors] == [expected]
    else:
        assert result.return_value == expected


@pytest.mark.parametrize(
    ("name", "status", "errors"),
    [
        ("give_up", "FAILED", ["jobqueue.outcomes.Discard"]),
        ("put_off", "READY", []),
        ("leave", "FAILED", ["builtins.SystemExit"]),
    ],
)
def test_a_task_may_end_as_every_handler_may(
    tasks: Any, work: Any, options: Any, name: str, status: str, errors: list[str]
) -> None:
    options(MAX_ATTEMPTS=1 if name == "leave" else 5)
    result = getattr(tasks, name).enqueue()
    work()
    result.refresh()
    assert result.status == status
    assert [each.exception_class_path for each in result.errors] == errors
    assert all(each.exception_class for each in result.errors)


def test_with_more_attempts_a_failure_is_not_the_end(
    tasks: Any, work: Any, options: Any, jobqueue_sync_scope: SyncTestScope
) -> None:
    options(MAX_ATTEMPTS=2, TIMEOUT=90)
    result = tasks.sell.enqueue(7)
    assert job_of(jobqueue_sync_scope, result).timeout == timedelta(seconds=90)
    work()
    result.refresh()
    assert (result.status, result.attempts, len(result.errors)) == ("READY", 1, 1)
    jobqueue_sync_scope.make_due(job_of(jobqueue_sync_scope, result))
    work()
    result.refresh()
    assert (result.status, result.attempts, len(result.errors)) == ("FAILED", 2, 2)


def test_a_cancelled_task_has_failed(tasks: Any, jobqueue_sync_scope: SyncTestScope) -> None:
    result = tasks.add.enqueue(1)
    jobqueue_sync_scope.client.cancel(result.id)
    result.refresh()
    assert (result.status, result.attempts) == ("FAILED", 0)
    assert [each.exception_class.__name__ for each in result.errors] == ["Cancelled"]


@pytest.mark.parametrize(
    "path",
    [
        "os.system",
        "shop_site.shop.more_tasks.plain",
        "shop_site.shop.more_tasks.OutOfStock",
        "shop_site.shop.more_tasks.add.func",
        "shop_site.shop.more_tasks",
        "shop_site.shop.not_imported.anything",
        "add",
        "",
    ],
)
def test_what_is_no_task_is_neither_called_nor_imported(
    tasks: Any, work: Any, jobqueue_sync_scope: SyncTestScope, path: str
) -> None:
    job = jobqueue_sync_scope.client.enqueue("django.task", {"task": path, "args": ["touch /dev/null"]})
    work()
    done = jobqueue_sync_scope.client.get(job.id)
    assert (done.status, done.reason) == (Status.FAILED_PERMANENT, "NOT_RETRYABLE")
    assert [each.error_type for each in done.failed_attempts] == ["PayloadUnreadable"]
    assert done.last_error == (
        "payload.task: must be the path of a task of JobQueue's in a module that this worker has imported"
    )
    assert "shop_site.shop.not_imported" not in sys.modules


IMMEDIATE = {"BACKEND": "django_tasks.backends.immediate.ImmediateBackend", "QUEUES": []}


@pytest.mark.parametrize(
    ("using", "status"),
    [
        ({}, Status.FAILED_PERMANENT),
        ({"backend": "other"}, Status.FAILED_PERMANENT),
        ({"backend": "__class__"}, Status.FAILED_PERMANENT),
        ({"backend": "default"}, Status.SUCCEEDED),
    ],
)
def test_a_task_of_another_backend_is_called_where_the_job_says_so_alone(
    tasks: Any, work: Any, options: Any, jobqueue_sync_scope: SyncTestScope, monkeypatch: pytest.MonkeyPatch,
    using: Any, status: Status,
) -> None:  # fmt: skip
    options(other=IMMEDIATE)
    monkeypatch.setattr(tasks, "add", tasks.add.using(backend="other"))
    payload = {"task": "shop_site.shop.more_tasks.add", "args": [1], "using": using}
    job = jobqueue_sync_scope.client.enqueue("django.task", payload)
    work()
    assert jobqueue_sync_scope.client.get(job.id).status is status


@pytest.mark.parametrize("backend", ["__class__", "other", "nowhere"])
def test_a_payload_asks_for_no_backend_but_those_of_jobqueue(
    tasks: Any, work: Any, options: Any, jobqueue_sync_scope: SyncTestScope, backend: str
) -> None:
    options(other=IMMEDIATE)
    payload = {"task": "shop_site.shop.more_tasks.who", "using": {"backend": backend, "priority": 7}}
    job = jobqueue_sync_scope.client.enqueue("django.task", payload)
    work()
    result = tasks.who.get_result(job.id)
    assert (result.return_value[-1], result.task.priority) == ("default", 7)


def test_a_path_that_is_too_long_is_not_looked_for(
    tasks: Any, work: Any, jobqueue_sync_scope: SyncTestScope, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jobqueue_django.tasks import calls

    path = "shop_site.shop.more_tasks.add".rjust(501, ".")
    with pytest.raises(PayloadInvalid):
        jobqueue_sync_scope.client.enqueue("django.task", {"task": path})
    asked: list[str] = []

    class Modules(dict[str, Any]):
        def get(self, key: str, default: Any = None) -> Any:
            asked.append(key)
            return super().get(key, default)

    monkeypatch.setattr(calls, "sys", SimpleNamespace(modules=Modules(sys.modules)))
    assert calls.find(path) is None
    assert asked == []
    assert calls.find("shop_site.shop.more_tasks.add") is tasks.add


def test_a_lazy_object_is_not_made_to_look_for_a_task(tasks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from django.utils.functional import SimpleLazyObject

    from jobqueue_django.tasks import calls

    made: list[int] = []

    def make() -> int:
        made.append(7)
        return 7

    monkeypatch.setattr(tasks, "lazy", SimpleLazyObject(make), raising=False)
    for path in ("shop_site.shop.more_tasks.lazy", "shop_site.shop.more_tasks.lazy.task"):
        assert calls.find(path) is None
    assert "shop_site.shop.more_tasks.add" in calls.found()
    assert made == []


def test_a_task_that_no_worker_could_find_is_not_enqueued(
    tasks: Any, jobqueue_sync_scope: SyncTestScope
) -> None:
    with pytest.raises(Exception, match="more_tasks.plain is not the task"):
        tasks.hidden.enqueue(1)
    assert jobqueue_sync_scope.enqueued() == []


def test_a_call_waits_for_the_commit_where_the_settings_say_so(
    tasks: Any, work: Any, options: Any, jobqueue_sync_scope: SyncTestScope
) -> None:
    from django.db import transaction

    def not_there(result: Any) -> bool:
        with pytest.raises(Exception, match=result.id) as caught:
            tasks.add.get_result(result.id)
        return type(caught.value).__name__ == "TaskResultDoesNotExist"

    options(ENQUEUE_ON_COMMIT=True)
    values = [1]
    with transaction.atomic():
        result = tasks.add.enqueue(1, b=1)
        copied = tasks.sell.enqueue(values)
        values.append(2)
        assert (jobqueue_sync_scope.enqueued(), result.enqueued_at) == ([], None)
        assert not_there(result)
    assert result.enqueued_at is not None
    assert tasks.sell.get_result(copied.id).args == [[1]]
    assert tasks.add.get_result(result.id).status == "READY"
    with pytest.raises(RuntimeError), transaction.atomic():
        lost = tasks.add.enqueue(1)
        raise RuntimeError
    assert not_there(lost)
    with transaction.atomic():
        who = tasks.who.enqueue()

    work()

    result.refresh()
    assert result.return_value == 2
    assert tasks.who.get_result(who.id).return_value[1] == who.id
    # Where no transaction is open there is a job at once.
    assert jobqueue_sync_scope.client.get(tasks.add.enqueue(1).id).kind == "django.task"
    assert len(jobqueue_sync_scope.enqueued()) == 1


def test_a_label_of_another_producer_is_no_id_of_a_result(
    tasks: Any, work: Any, options: Any, jobqueue_sync_scope: SyncTestScope
) -> None:
    from django.db import transaction

    from jobqueue_django.tasks.api import TaskResultDoesNotExist

    def labelled(id: str) -> str:
        payload = {"task": "shop_site.shop.more_tasks.who"}
        return jobqueue_sync_scope.client.enqueue("django.task", payload, labels={"django-task": id}).id

    odd = labelled("7")
    work()
    result = tasks.who.get_result(odd)
    assert (result.id, result.return_value[1]) == (odd, odd)
    options(ENQUEUE_ON_COMMIT=True)
    with transaction.atomic():
        own = tasks.who.enqueue()
    assert tasks.who.get_result(own.id).id == own.id
    labelled(own.id)
    with pytest.raises(TaskResultDoesNotExist, match="several jobs"):
        tasks.who.get_result(own.id)


def test_without_that_a_call_is_enqueued_at_once(tasks: Any, jobqueue_sync_scope: SyncTestScope) -> None:
    from django.db import transaction

    with transaction.atomic():
        tasks.add.enqueue(1)
        assert len(jobqueue_sync_scope.enqueued()) == 1


def test_queues_of_django_are_queues_of_other_names(
    tasks: Any, work: Any, options: Any, jobqueue_sync_scope: SyncTestScope
) -> None:
    from jobqueue_django.handlers import served_queues

    assert served_queues() == ["default", "mail"]
    options(queues=["Letters", "default"], QUEUE_NAMES={"Letters": "django-letters"})
    assert served_queues() == ["default", "django-letters"]
    result = tasks.add.using(queue_name="Letters").enqueue(1, 2)
    assert job_of(jobqueue_sync_scope, result).queue == "django-letters"
    work()
    result.refresh()
    assert (result.return_value, result.task.queue_name) == (3, "Letters")


def test_receivers_of_signals_are_told_and_fail_nothing(tasks: Any, work: Any) -> None:
    from jobqueue_django.tasks import JobQueueBackend
    from jobqueue_django.tasks.api import signals

    told: list[tuple[str, str, str]] = []

    def receiver(which: str, fails: bool = False) -> Any:
        def receive(sender: Any, task_result: Any, **kwargs: Any) -> None:
            assert sender is JobQueueBackend
            told.append((which, task_result.id, str(task_result.status)))
            if fails:
                raise RuntimeError("of a receiver")

        return receive

    receivers = [
        (signals.task_enqueued, receiver("enqueued")),
        (signals.task_started, receiver("started", fails=True)),
        (signals.task_finished, receiver("finished", fails=True)),
    ]
    for signal, receive in receivers:
        signal.connect(receive)
    try:
        sold, added = tasks.sell.enqueue(1), tasks.add.using(priority=-1).enqueue(1)
        work()
    finally:
        for signal, receive in receivers:
            signal.disconnect(receive)
    for result, end in ((sold, "FAILED"), (added, "SUCCESSFUL")):
        mine = [(which, status) for which, id, status in told if id == result.id]
        assert mine == [("enqueued", "READY"), ("started", "RUNNING"), ("finished", end)]
    added.refresh()
    assert added.return_value == 1


def test_receivers_are_told_what_becomes_of_an_output_that_is_too_long(tasks: Any, work: Any) -> None:
    from jobqueue_django.tasks.api import signals

    told: list[str] = []

    def receive(task_result: Any, **kwargs: Any) -> None:
        told.append(str(task_result.status))

    signals.task_finished.connect(receive)
    try:
        result = tasks.answer.enqueue("long")
        work()
    finally:
        signals.task_finished.disconnect(receive)
    result.refresh()
    assert (result.status, told) == ("FAILED", ["FAILED"])
    assert [each.exception_class for each in result.errors] == [ValueError]


@pytest.mark.parametrize(
    "id",
    ["7", 7, None, "01a20e70-2222-7f3e-9d52-000000000002", "on-commit-7", "on-commit-\ud800", "", "\ud800"],
)
def test_a_result_that_is_not_there_is_an_error_of_djangos(tasks: Any, id: Any) -> None:
    from jobqueue_django.tasks.api import TaskResultDoesNotExist

    with pytest.raises(TaskResultDoesNotExist):
        tasks.add.get_result(id)


def test_a_job_of_another_kind_is_no_result(
    tasks: Any, shop: Any, jobqueue_sync_scope: SyncTestScope
) -> None:
    from jobqueue_django.tasks.api import TaskResultDoesNotExist

    job = jobqueue_sync_scope.client.enqueue(shop.send_receipt, shop.receipt(1))
    with pytest.raises(TaskResultDoesNotExist):
        tasks.add.get_result(job.id)


@pytest.mark.parametrize("payload", [{"task": "os.system"}, {"task": 7}, []])
def test_a_job_that_calls_no_task_is_no_result(
    tasks: Any, jobqueue_sync_scope: SyncTestScope, payload: Any
) -> None:
    from jobqueue_django.tasks.api import TaskResultDoesNotExist

    # Without a schema, which would refuse some of them.
    jobqueue_sync_scope.client.put_kind(Kind(name="django.task"))
    job = jobqueue_sync_scope.client.enqueue("django.task", payload)
    with pytest.raises(TaskResultDoesNotExist, match=job.id):
        tasks.add.get_result(job.id)


def test_a_backend_has_no_results_of_another(tasks: Any, options: Any) -> None:
    from django.conf import settings

    from jobqueue_django.tasks.api import TaskResultDoesNotExist, task_backends

    options(other=settings.TASKS["default"])
    result = tasks.add.using(backend="other").enqueue(1)
    assert task_backends["other"].get_result(result.id).backend == "other"
    result.refresh()
    with pytest.raises(TaskResultDoesNotExist, match="no task of this backend"):
        tasks.add.get_result(result.id)


def test_a_payload_of_a_later_version_is_no_result(tasks: Any, jobqueue_sync_scope: SyncTestScope) -> None:
    from jobqueue_django.tasks.api import TaskResultDoesNotExist

    payload = {"task": "shop_site.shop.more_tasks.add", "args": [1]}
    headers = {VERSION_HEADER: "2"}
    jobqueue_sync_scope.client.put_kind(Kind(name="django.task"))
    job = jobqueue_sync_scope.client.enqueue("django.task", payload, headers=headers)
    with pytest.raises(TaskResultDoesNotExist, match="version 2"):
        tasks.add.get_result(job.id)


@pytest.mark.parametrize(
    ("queues", "given", "expected"),
    [
        (["default"], {}, []),
        (["default"], {"MAX_ATTEMPTS": 3, "TIMEOUT": 60, "ENQUEUE_ON_COMMIT": True, "MODULES": ("a",)}, []),
        (["default"], {"ATTEMPTS": 3}, ["jobqueue.E005"]),
        (["default"], {"MAX_ATTEMPTS": "3"}, ["jobqueue.E006"]),
        (["default"], {"MAX_ATTEMPTS": 0}, ["jobqueue.E006"]),
        (["default"], {"TIMEOUT": True}, ["jobqueue.E006"]),
        (["default"], {"QUEUE_NAMES": {"default": 7}}, ["jobqueue.E006"]),
        (["default"], {"QUEUE_NAMES": {"default": ["mail"]}}, ["jobqueue.E006"]),
        (["default"], {"QUEUE_NAMES": {7: "mail", None: "mail"}}, ["jobqueue.E006"]),
        (["default"], {"QUEUE_NAMES": ["default"]}, ["jobqueue.E006"]),
        (["default"], {"MODULES": [7]}, ["jobqueue.E006"]),
        (["default"], {"MODULES": "shop.more"}, ["jobqueue.E006"]),
        ([7, "default"], {}, ["jobqueue.E008"]),
        (["default"], {"QUEUE_NAMES": {"mail": "default"}}, ["jobqueue.E007"]),
        (["Letters"], {}, ["jobqueue.E008"]),
        (["Letters"], {"QUEUE_NAMES": {"Letters": "default"}}, []),
        ([], {"QUEUE_NAMES": {"Letters": "default"}}, []),
        (["default", "mail"], {}, ["jobqueue.W001"]),
    ],
)
def test_what_is_wrong_in_tasks_is_found_by_djangos_check(
    options: Any, queues: list[str], given: Any, expected: list[str]
) -> None:
    from django.core import checks
    from django.test import override_settings

    options(queues=queues, **given)
    with override_settings(JOBQUEUE={"QUEUES": ["default"]}):
        assert [each.id for each in checks.run_checks() if str(each.id).startswith("jobqueue")] == expected


@pytest.mark.parametrize("given", [None, [], "MAX_ATTEMPTS"])
def test_options_that_are_no_dict_are_found_by_djangos_check(tasks: Any, given: Any) -> None:
    from django.conf import settings
    from django.core import checks
    from django.test import override_settings

    with override_settings(TASKS={"default": {**settings.TASKS["default"], "OPTIONS": given}}):
        assert [each.id for each in checks.run_checks()] == ["jobqueue.E006"]


def test_queues_that_the_worker_does_not_know_are_remarked_on(options: Any) -> None:
    from django.core import checks
    from django.test import override_settings

    options(queues=[])
    assert [each.id for each in checks.run_checks()] == ["jobqueue.W002"]
    with override_settings(JOBQUEUE={"QUEUES": ["default", "mail"]}):
        assert checks.run_checks() == []


def test_without_the_app_of_the_backport_the_check_is_made_all_the_same(
    options: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.apps import apps
    from django.core import checks
    from django.test import override_settings

    options()
    # The app has registered its check in this process already.
    monkeypatch.setattr(checks.registry.registry, "registered_checks", set())
    others = [each.name for each in apps.get_app_configs() if each.name != "django_tasks"]
    with override_settings(INSTALLED_APPS=others):
        assert [each.id for each in checks.run_checks()] == ["jobqueue.E009"]


def test_a_backend_whose_app_is_not_installed_is_found_by_the_check(options: Any) -> None:
    from django.apps import apps
    from django.core import checks
    from django.test import override_settings

    options()
    missing = [each.name for each in apps.get_app_configs() if each.name != "jobqueue_django"]
    with override_settings(INSTALLED_APPS=missing):
        assert "jobqueue.E009" in [each.id for each in checks.run_checks()]


def test_without_djangos_tasks_the_rest_works_and_the_backend_says_what_is_missing(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import jobqueue_django
    from jobqueue_django import conf, handlers

    for name in [name for name in sys.modules if name.startswith("jobqueue_django.tasks")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(jobqueue_django, "tasks")
    for name in ("django_tasks", "django.tasks"):
        monkeypatch.setitem(sys.modules, name, None)
    import jobqueue_django.tasks as ours

    with pytest.raises(ModuleNotFoundError, match="django_tasks"):
        _ = ours.JobQueueBackend
    assert conf.task_backends() == []
    assert handlers.served_queues() == ["default"]


def test_the_kind_is_told_to_the_server_with_the_others(shop: Any) -> None:
    assert command("jobqueue_sync_kinds").splitlines()[-1].startswith("django.task: ")


def test_a_worker_that_drains_lets_a_task_enqueue_another(
    tasks: Any, site: Path, start: Start, jobqueue_sync_client: SyncClient, tmp_path: Path
) -> None:
    known = {"DJANGO_SETTINGS_MODULE": "shop_site.settings", "SHOP_DATABASE": str(site)}
    health = free_address()
    worker = start("-m", "django", "jobqueue_worker", "--health", health, **known)
    for line in (
        "django.task: jobqueue_django.tasks.running.run",
        "task: shop_site.shop.more_tasks.add",
        "task: shop_site.shop.tasks.remind",
    ):
        asyncio.run(worker.line(line))
    assert "more_tasks.plain" not in worker.log.read_text()
    started, go = tmp_path / "started", tmp_path / "go"
    result = tasks.hand_on.enqueue(str(started), str(go))
    asyncio.run(seen(started.exists))
    worker.terminate()
    # It says so until the task has ended.
    asyncio.run(seen(lambda: state_of(health) == 503))
    go.touch()
    assert asyncio.run(worker.ended()) == 0
    result.refresh()
    assert result.status == "SUCCESSFUL"
    assert jobqueue_sync_client.get(result.return_value).payload["task"] == "shop_site.shop.more_tasks.add"


@pytest.fixture
def own_tasks(tmp_path: Path) -> Path:
    """The project on Django 6, whose tasks are Django's own: the README says what is other in it."""
    project = tmp_path / "project"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(SITE, project / "shop_site", ignore=ignored)
    for module in (project / "shop_site/shop").glob("*tasks.py"):
        text, count = re.subn(
            r"(?m)^from django_tasks import .*  # in Django 6: (from .*)$", r"\1", module.read_text()
        )
        assert count == 1
        module.write_text(text)
    shutil.copy(OURS / "call_tasks.py", project)
    return project


def test_on_django_6_the_tasks_are_djangos_own(own_tasks: Path, start: Start, tasks: Any) -> None:
    python = django6.python()
    if python is None:
        pytest.skip("no Python 3.12 or later with Django 6: `make frameworks` installs it where there is one")
    known = {
        "DJANGO_SETTINGS_MODULE": "shop_site.settings",
        "SHOP_DATABASE": str(own_tasks / "shop.sqlite3"),
        "PYTHONPATH": ":".join(
            map(str, (own_tasks, ROOT / "clients/python/src", ROOT / "clients/python-django/src"))
        ),
    }
    migrated = start("-m", "django", "migrate", program=python, **known)
    assert asyncio.run(migrated.ended()) == 0
    worker = start("-m", "django", "jobqueue_worker", program=python, **known)
    caller = start(str(own_tasks / "call_tasks.py"), program=python, **known)
    said = json.loads(asyncio.run(caller.line("said: ")).removeprefix("said: "))
    assert said.pop("django") >= 6
    who = said["who"]
    assert who["value"] == [1, who["id"], "RUNNING", [], "default"]
    assert {name: (each["status"], each["value"]) for name, each in said.items() if name != "who"} == {
        "add": ("SUCCESSFUL", 3),
        "add_later": ("SUCCESSFUL", 7),
        "sell": ("FAILED", None),
        "remind": ("SUCCESSFUL", "reminder for ada@example.org"),
    }
    assert said["sell"]["errors"] == ["shop_site.shop.more_tasks.OutOfStock"]
    assert (said["add"]["priority"], said["remind"]["priority"]) == (7, 10)
    worker.terminate()
    assert asyncio.run(worker.ended()) == 0


async def seen(there: Callable[[], bool]) -> None:
    ends = asyncio.get_running_loop().time() + 60
    while not there():
        assert asyncio.get_running_loop().time() < ends
        await asyncio.sleep(0.02)


def state_of(health: str) -> int:
    try:
        with urllib.request.urlopen(f"http://{health}/readyz", timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
