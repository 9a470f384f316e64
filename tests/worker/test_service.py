"""`jobqueue-worker` as a process: simulating, with handlers of one's own, and when it is told to end."""

from __future__ import annotations

import json
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobqueue import Job, Status, SyncClient
from jobqueue_worker.cli import flag_name
from jobqueue_worker.settings import WorkerSettings, environment_name
from tests.client_cli.programs import ended, eventually, plain_environment, serving, working
from tools.version import ROOT, version

pytestmark = pytest.mark.slow

SHOP = """
import logging, os
from pathlib import Path
from jobqueue import Worker

def pack(ctx):
    logging.getLogger("shop").info("packing %s", ctx.job.payload["parcel"])
    return {"packed": ctx.job.payload["parcel"]}

async def mail(ctx):
    return "mine"

async def slow(ctx):
    import asyncio
    logging.getLogger("shop").info("working slowly")
    await asyncio.sleep(0.5)
    return "finished"

def stamp(ctx):
    return os.getpid()

handlers = {"pack": pack, "send_email": mail, "slow": slow}

def make():
    worker = Worker("127.0.0.1:1")
    worker.handler("stamp", run_in="process")(stamp)
    return worker

empty = {}
number = 7
"""


@pytest.fixture
def address(dsn: str) -> Iterator[str]:
    with serving(dsn) as address:
        yield address


@pytest.fixture
def client(address: str) -> Iterator[SyncClient]:
    with SyncClient(address) as client:
        yield client


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(SHOP)
    return tmp_path


def run(*arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return ended("jobqueue-worker", arguments, plain_environment(**environment), folder=cwd)


def put(client: SyncClient, *kinds: str) -> None:
    from jobqueue import Kind

    for kind in kinds:
        client.put_kind(Kind(name=kind))


def job_metrics(job: Job) -> set[str]:
    """The lines of a job that was the only one of its kind."""
    return {
        f'worker_jobs_started_total{{kind="{job.kind}"}} {job.attempts}.0',
        f'worker_jobs_completed_total{{kind="{job.kind}",outcome="succeeded"}} 1.0',
        f'worker_job_duration_seconds_count{{kind="{job.kind}",outcome="succeeded"}} 1.0',
    }


def scrape(url: str) -> list[str]:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode().splitlines()


def test_the_simulator_runs_all_four_kinds_and_counts_them(address: str, client: SyncClient):
    payloads = {
        "send_email": {"to": "a@example.org", "subject": "s", "body": "b"},
        "resize_image": {"source_url": "https://example.org/a.png", "width": 1, "height": 1},
        "summarize_text": {"text": "t"},
        "webhook_delivery": {"url": "https://example.org/", "body": 1},
    }
    with working(address, "--simulate") as worker:
        jobs = [client.enqueue(kind, payload) for kind, payload in payloads.items()]
        done = [client.wait(job.id) for job in jobs]
        url = worker.until(r"served on (\S+)")[1]
        # Whoever waits for a job may know its end before the worker has its answer.
        eventually(lambda: all(job_metrics(job) <= set(scrape(url)) for job in done))
    for job in done:
        assert (job.status, job.output["simulated"]) == (Status.SUCCEEDED, True)


def test_handlers_of_ones_own_run_beside_the_built_in_ones_and_in_their_place(
    address: str, client: SyncClient, shop: Path
):
    put(client, "pack", "stamp", "slow")
    names = "shop:handlers,shop:make"
    with working(
        address, "--handlers", names, "--log-format", "json", "--worker-name", "w1", cwd=shop
    ) as worker:
        pack = client.enqueue("pack", {"parcel": 12345678901234567890}, headers={"x-request-id": "r-7"})
        assert client.wait(pack.id).output == {"packed": 12345678901234567890}
        mail = client.enqueue("send_email", {"to": "a@example.org", "subject": "s", "body": "b"})
        assert client.wait(mail.id).output == "mine"
        stamp = client.enqueue("stamp")
        assert client.wait(stamp.id).output not in (None, worker.process.pid)
        summary = client.enqueue("summarize_text", {"text": "One. Two."})
        assert client.wait(summary.id).output["summary"] == "One. Two."
        line = json.loads(worker.until(r".*packing.*")[0])
        assert (line["job_id"], line["attempt"], line["kind"], line["request_id"]) == (
            pack.id,
            1,
            "pack",
            "r-7",
        )


def test_told_to_end_it_finishes_what_it_holds(address: str, client: SyncClient, shop: Path):
    put(client, "slow")
    with working(address, "--handlers", "shop:handlers", cwd=shop) as worker:
        job = client.enqueue("slow")
        assert "job_id" in worker.until(r"working slowly.*")[0]
        assert worker.end(signal.SIGTERM) == 0
    assert client.get(job.id).output == "finished"
    assert "has ended" in worker.text


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("shop", "should be module:name"),
        ("shopp:handlers", "there is no module shopp"),
        ("shop:handler", "there is no handler in shop"),
        ("shop:number", "is of type int"),
        ("shop:empty", "has no handlers"),
        ("shop:pack", "is a function with arguments"),
        ("shop:slow", "is a function with arguments"),
        ("broken:handlers", "ZeroDivisionError: division by zero"),
        ("shop:handlers,twin:handlers", "both shop:handlers and twin:handlers have a handler of kind 'pack'"),
    ],
)
def test_handlers_that_cannot_be_used_are_named_in_a_line(shop: Path, name: str, said: str):
    (shop / "broken.py").write_text("1 / 0\n")
    (shop / "twin.py").write_text("def pack(ctx): ...\nhandlers = {'pack': pack}\n")
    done = run("--handlers", name, cwd=shop)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_wrong_setting_is_named_as_it_was_written():
    done = run("--concurrency", "0", "--shutdown-grace", "5", "--webhook-allow", "10.0.0.1/8")
    assert done.returncode == 2
    assert "WORKER_CONCURRENCY (--concurrency) should be greater than 0, not '0'" in done.stderr
    assert "JOBQUEUE_SHUTDOWN_GRACE (--shutdown-grace)" in done.stderr
    assert "webhook_allow" in run("--webhook-allow", "10.0.0.1/8").stderr
    assert run("--files", "/no/such/folder").returncode == 2
    secret = run("--webhook-secrets", "hunter2")
    assert secret.returncode == 2
    assert "hunter2" not in secret.stderr


def test_help_names_every_setting_with_its_variable():
    text = run("--help").stdout
    for name in WorkerSettings.model_fields:
        assert flag_name(name) in text
        assert environment_name(name) in text
    narrow = run("-h", COLUMNS="80").stdout
    assert "\N{HORIZONTAL ELLIPSIS}" not in narrow, "nothing is cut"
    assert max(map(len, narrow.splitlines())) <= 80
    assert run("--version").stdout == f"jobqueue-worker {version(ROOT)}\n"
