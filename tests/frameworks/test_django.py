"""jobqueue-django in a project on SQLite: the README's app, before a real server."""

from __future__ import annotations

import asyncio
import io
import json
import os
import socket
import urllib.parse
import urllib.request
import zipfile
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from jobqueue import JobContext, Kind, NewJob, Status, SyncClient, Worker, define_kind
from jobqueue.testing import SyncRecordingClient, SyncTestScope, perform
from tests.docs.markdown import ROOT, blocks
from tests.platform.test_packages import build

from .conftest import SITE, Start, address_of, booted

pytestmark = [pytest.mark.frameworks, pytest.mark.any_engine]

ATTEMPTS = 1000
REQUESTS = 500


def command(name: str, *arguments: str) -> str:
    from django.core.management import call_command

    written = io.StringIO()
    call_command(name, *arguments, stdout=written)
    return written.getvalue()


def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"127.0.0.1:{taken.getsockname()[1]}"


def test_its_wheel_holds_the_one_package_with_its_commands(tmp_path: Path) -> None:
    with zipfile.ZipFile(build(ROOT / "clients/python-django", tmp_path, "wheel")) as wheel:
        names = set(wheel.namelist())
    assert {name.partition("/")[0] for name in names} == {
        "jobqueue_django",
        "jobqueue_django-0.1.0.dist-info",
    }
    assert {"jobqueue_django/py.typed", "jobqueue_django/management/commands/jobqueue_worker.py"} <= names


def test_the_app_is_that_of_the_readme() -> None:
    text = (ROOT / "clients/python-django/README.md").read_text()
    shown = [block for block in blocks(text) if block.title.startswith("shop/")]
    assert len(shown) == 4
    assert [each.title for each in shown if each.text not in (SITE / each.title).read_text()] == []


def test_a_request_that_commits_enqueues_and_a_worker_does_it(
    shop: Any, jobqueue_sync_scope: SyncTestScope
) -> None:
    from django.test import Client

    from jobqueue_django.handlers import make_worker

    answer = Client().post("/orders", {"email": "ada@example.org"})
    assert answer.status_code == 202
    order = answer.json()["order"]
    (job,) = jobqueue_sync_scope.assert_enqueued(shop.send_receipt, shop.receipt(order), count=1)

    jobqueue_sync_scope.run_until_idle(make_worker())

    done = jobqueue_sync_scope.client.get(job.id)
    assert shop.send_receipt.output_of(done) == "receipt for ada@example.org"
    assert shop.order.objects.get(pk=order).sent


def test_nothing_is_enqueued_before_the_commit_or_after_a_rollback(
    shop: Any, jobqueue_sync_scope: SyncTestScope
) -> None:
    from django.db import transaction

    from jobqueue_django import enqueue_on_commit

    with transaction.atomic():
        assert enqueue_on_commit(shop.send_receipt, shop.receipt(1)) is None
        assert jobqueue_sync_scope.enqueued() == []
    assert len(jobqueue_sync_scope.enqueued()) == 1
    with pytest.raises(RuntimeError, match="rolled back"), transaction.atomic():
        enqueue_on_commit(shop.send_receipt, shop.receipt(2))
        raise RuntimeError("rolled back")
    assert len(jobqueue_sync_scope.enqueued()) == 1


def test_a_payload_is_as_it_was_when_it_was_enqueued(shop: Any, jobqueue_sync_scope: SyncTestScope) -> None:
    from django.db import transaction

    from jobqueue_django import enqueue_on_commit

    with transaction.atomic():
        payload = shop.receipt(1)
        enqueue_on_commit(shop.send_receipt, payload, delay=timedelta(hours=1))
        payload.order = 2
    jobqueue_sync_scope.assert_enqueued(shop.send_receipt, shop.receipt(1), due_in=timedelta(hours=1))


def test_in_djangos_test_case_a_recording_client_keeps_what_would_be_enqueued(shop: Any) -> None:
    from django.test import Client, TestCase

    jobs = SyncRecordingClient()
    with patch("jobqueue_django.enqueuing.client", return_value=jobs):
        with TestCase.captureOnCommitCallbacks(execute=True):
            Client().post("/orders", {"email": "ada@example.org"})
    assert [job.kind for job in jobs.jobs] == ["send-receipt"]


@pytest.mark.parametrize("style", ["thread", "async"])
async def test_an_attempt_leaves_no_connection_that_django_would_close(shop: Any, style: str) -> None:
    from asgiref.sync import sync_to_async
    from django.db import connection

    from jobqueue_django.handlers import ClosesConnections

    used: list[Any] = []

    def count() -> int:
        # The wrapper of this thread, which holds the connection.
        used.append(connection._connections["default"])
        return int(shop.order.objects.count())

    async def count_async(ctx: Any) -> int:
        return await sync_to_async(count)()

    handler = count_async if style == "async" else lambda ctx: count()
    done = await perform(handler, {}, middleware=[ClosesConnections()])
    assert done.output == 0
    assert [each.connection for each in used] == [None]


def test_a_thousand_attempts_leave_a_connection_for_each_thread_at_most(
    shop: Any, jobqueue_sync_scope: SyncTestScope, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the settings keep connections open (CONN_MAX_AGE)."""
    from django.db import connection, connections

    from jobqueue_django.handlers import ClosesConnections

    # Of the threads that begin from now on.
    monkeypatch.setitem(connections.settings["default"], "CONN_MAX_AGE", 3600)
    used: dict[int, Any] = {}

    def count(ctx: JobContext) -> int:
        orders = int(shop.order.objects.count())
        # The wrapper of this thread, which holds the connection.
        wrapper = connection._connections["default"]
        used[id(wrapper)] = wrapper
        return orders

    client = jobqueue_sync_scope.client
    client.put_kind(Kind(name="count"))
    client.enqueue_many(NewJob("count") for _ in range(ATTEMPTS))
    worker = Worker("127.0.0.1:1", concurrency=4, middleware=[ClosesConnections()])
    worker.handler("count")(count)
    done = jobqueue_sync_scope.run_until_idle(worker, limit=ATTEMPTS, within=timedelta(seconds=120))
    assert [each.status for each in done.ended] == [Status.SUCCEEDED] * ATTEMPTS
    open_ones = [each for each in used.values() if each.connection is not None]
    assert 1 <= len(open_ones) <= 4
    for each in open_ones:
        # It is that of a thread which is there no more.
        each.inc_thread_sharing()
        each.close()


def test_each_of_gunicorns_forked_workers_enqueues(
    shop: Any, site: Path, start: Start, jobqueue_sync_scope: SyncTestScope
) -> None:
    known = {"DJANGO_SETTINGS_MODULE": "shop_site.settings", "SHOP_DATABASE": str(site)}
    served = ("--access-logfile", "-", "--access-logformat", "served by %(p)s")
    forked = ("--workers", "4", "--preload", "--bind", "127.0.0.1:0")
    app = start("-m", "gunicorn", *forked, *served, "shop_site.wsgi", **known)
    address = address_of(app, "Listening at")
    booted(app, 4)

    def place(number: int) -> int:
        body = urllib.parse.urlencode({"email": f"{number}@example.org"}).encode()
        with urllib.request.urlopen(f"{address}/orders", body, timeout=60) as answer:
            return int(json.load(answer)["order"])

    with ThreadPoolExecutor(8) as callers:
        orders = set(callers.map(place, range(REQUESTS)))

    assert len(orders) == REQUESTS
    jobs = jobqueue_sync_scope.client.list(kind="send-receipt", full=True)
    assert {job.payload["order"] for job in jobs} == orders
    by = {line for line in app.log.read_text().splitlines() if line.startswith("served by")}
    assert len(by) == 4
    app.terminate()
    assert asyncio.run(app.ended(within=30)) == 0


def test_a_process_that_was_forked_has_a_client_of_its_own(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jobqueue_django import client, clients

    ours = client()
    assert client() is ours
    here = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: here + 1)
    assert client() is not ours
    monkeypatch.undo()
    monkeypatch.setattr(clients, "_client", ours)


def test_the_command_says_what_it_found_serves_health_and_drains(
    shop: Any, site: Path, start: Start, jobqueue_sync_client: SyncClient
) -> None:
    order = shop.order.objects.create(email="ada@example.org")
    known = {"DJANGO_SETTINGS_MODULE": "shop_site.settings", "SHOP_DATABASE": str(site)}
    health = free_address()
    worker = start("-m", "django", "jobqueue_worker", "--health", health, **known)
    asyncio.run(worker.line("send-receipt: shop_site.shop.jobs.deliver"))
    job = jobqueue_sync_client.enqueue(shop.send_receipt, shop.receipt(order.pk))
    done = jobqueue_sync_client.wait(job.id, timeout=timedelta(seconds=60))
    assert done.status is Status.SUCCEEDED
    with urllib.request.urlopen(f"http://{health}/readyz", timeout=60) as answer:
        assert answer.status == 200
    worker.terminate()
    assert asyncio.run(worker.ended()) == 0


def test_without_a_handler_the_command_does_not_start(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from django.core.management.base import CommandError

    from jobqueue_django import handlers

    monkeypatch.setattr(handlers, "_found", {})
    monkeypatch.setattr(handlers, "tasks", list)
    with pytest.raises(CommandError, match="no app has a handler"):
        command("jobqueue_worker")


def test_a_kind_has_one_handler(shop: Any) -> None:
    from jobqueue_django import handler

    with pytest.raises(ValueError, match="two handlers: shop_site.shop.jobs.deliver and"):
        handler("send-receipt")(lambda ctx: None)


def test_kinds_are_told_to_the_server_or_checked(shop: Any, jobqueue_sync_scope: SyncTestScope) -> None:
    from django.core.management.base import CommandError

    assert command("jobqueue_sync_kinds") == "send-receipt: unchanged\ndjango.task: changed\n"
    assert command("jobqueue_sync_kinds", "--check") == ""
    later = define_kind("send-receipt", shop.receipt, version=2), define_kind("other", shop.receipt)
    names = "jobqueue_django.management.commands.jobqueue_sync_kinds.kinds"
    with patch(names, return_value=later), pytest.raises(CommandError, match="send-receipt, other"):
        command("jobqueue_sync_kinds", "--check")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, []),
        ({"SERVER": "jobs:50051", "QUEUES": ("default", "mail")}, []),
        ([], ["jobqueue.E001"]),
        ({"SERVRE": "jobs:50051"}, ["jobqueue.E002"]),
        ({"QUEUES": "mail"}, ["jobqueue.E003"]),
        ({"MIDDLEWARE": ["nowhere.Found"]}, ["jobqueue.E004"]),
    ],
)
def test_a_wrong_setting_is_found_by_djangos_check(shop: Any, given: object, expected: list[str]) -> None:
    from django.core import checks
    from django.test import override_settings

    with override_settings(JOBQUEUE=given):
        assert [each.id for each in checks.run_checks() if str(each.id).startswith("jobqueue")] == expected


def test_settings_say_where_the_server_is_and_the_environment_the_rest(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.test import override_settings

    from jobqueue_django import conf

    monkeypatch.setenv("JOBQUEUE_TOKEN", "of the environment")
    with override_settings(JOBQUEUE={"SERVER": "jobs:50051"}):
        assert (conf.access().server, conf.access().token) == ("jobs:50051", "of the environment")
