"""The commands that change many jobs, and those about the operations that do it."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.client_cli.programs import PROGRAMS, WITHIN, Cli, plain_environment


def cancelled(cli: Cli, queue: str, count: int) -> list[str]:
    ids = [
        cli("enqueue", "summarize_text", '{"text":"x"}', "--queue", queue).stdout.strip()
        for _ in range(count)
    ]
    cli("cancel", *ids)
    return ids


def test_a_count_comes_first_and_nobody_to_ask_is_said(cli: Cli, queue: str):
    (id,) = cancelled(cli, queue, 1)
    done = cli("jobs", "retry", "--queue", queue)
    assert done.returncode == 2
    assert done.stdout == f"1 jobs match, such as:\n  {id}\n"
    assert "--yes" in done.stderr
    assert cli.json("get", id)["status"] == "CANCELLED"


@pytest.mark.slow
def test_with_yes_the_jobs_are_changed_and_the_operation_is_told(cli: Cli, queue: str):
    ids = cancelled(cli, queue, 2)
    done = cli("jobs", "retry", "--queue", queue, "--status", "cancelled", "--per-second", "200", "--yes")
    assert done.returncode == 0, done.stderr
    assert "2 of 2 changed" in done.stdout
    assert [cli.json("get", id)["status"] for id in ids] == ["QUEUED", "QUEUED"]
    done = cli("jobs", "cancel", "--queue", queue, "--why", "enough", "--yes")
    assert "CancelJobs, SUCCEEDED" in done.stdout
    told = cli.json("jobs", "delete", "--queue", queue, "--yes")
    assert (told["verb"], told["changed"], told["done"]) == ("DeleteJobs", 2, True)
    assert cli("get", ids[0]).returncode == 3
    id = told["name"].removeprefix("operations/")
    assert cli.json("operations", "get", id)["changed"] == 2
    assert id in cli("operations", "list").stdout
    assert cli("operations", "wait", id).returncode == 0
    assert cli("operations", "cancel", id).returncode == 0


def test_jobs_are_retried_into_another_queue_at_a_time_and_anew(cli: Cli, queue: str):
    (id,) = cancelled(cli, queue, 1)
    other = f"{queue}-other"
    into = ("jobs", "retry", "--queue", queue, "--to-queue", other, "--yes")
    done = cli(*into)
    assert done.returncode == 3
    assert other in done.stderr
    cli("enqueue", "summarize_text", '{"text":"x"}', "--queue", other, "--hold")
    later = f"{datetime.now(UTC) + timedelta(days=30):%Y-%m-%dT%H:%M:%S}"
    done = cli(*into, "--run-at", f"{later}Z", "--reset-checkpoint")
    assert done.returncode == 0, done.stderr
    job = cli.json("get", id)
    assert (job["queue"], job["status"], job["run_at"][:19]) == (other, "QUEUED", later)


def test_what_is_wrong_is_said(cli: Cli, queue: str):
    done = cli("jobs", "retry", "--everything", "--delay", "1m", "--run-at", "2030-01-31T18:00:00Z")
    assert done.returncode == 2
    assert "--delay and --run-at" in done.stderr
    done = cli("jobs", "retry")
    assert done.returncode == 2
    assert "filter" in done.stderr
    done = cli("jobs", "retry", "--queue", queue, "--status", "queued")
    assert done.returncode == 2
    assert "filter.status[0]" in done.stderr
    done = cli("operations", "get", "01a20efd-381b-735f-9d7d-e9595eedb31f")
    assert done.returncode == 3
    assert "jobqueue operations list" in done.stderr


@pytest.mark.slow
def test_an_interrupt_leaves_the_operation_running_and_says_its_id(cli: Cli, queue: str):
    # At one a second there is time to interrupt it.
    cancelled(cli, queue, 8)
    # A terminal, in which the question is answered.
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [
            PROGRAMS / "jobqueue",
            "--server",
            cli.address,
            "jobs",
            "retry",
            "--queue",
            queue,
            "--per-second",
            "1",
        ],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=plain_environment(),
    )
    os.close(theirs)
    said = ""
    try:
        until = time.monotonic() + WITHIN
        asked = interrupted = False
        while time.monotonic() < until:
            try:
                said += os.read(ours, 4096).decode()
            except OSError:
                break
            if not asked and "Retry 8 jobs? [y/N]" in said:
                os.write(ours, b"y\n")
                asked = True
            if asked and not interrupted and "RetryJobs" in said:
                process.send_signal(signal.SIGINT)
                interrupted = True
        assert process.wait(WITHIN) == 130, said
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    id = said.partition("jobqueue operations wait ")[2][:36]
    assert cli("operations", "wait", id).returncode == 0
    assert cli.json("operations", "get", id)["changed"] == 8


@pytest.mark.slow
def test_jobs_that_wait_are_changed_and_what_was_shown_is_what_is_changed(cli: Cli, queue: str):
    ids = [
        cli("enqueue", "summarize_text", '{"text":"x"}', "--queue", queue).stdout.strip() for _ in range(2)
    ]
    done = cli("jobs", "update", "--queue", queue, "--set-priority", "5")
    assert done.returncode == 2
    assert done.stdout.startswith("2 jobs match")
    done = cli("jobs", "update", "--queue", queue, "--set-priority", "5", "--delay", "1h", "--yes")
    assert done.returncode == 0, done.stderr
    assert "UpdateJobs, SUCCEEDED" in done.stdout
    for id in ids:
        told = cli.json("get", id)
        assert (told["priority"], told["status"]) == (5, "QUEUED")
    done = cli("jobs", "update", "--queue", queue, "--yes")
    assert done.returncode == 2
    assert "priority" in done.stderr
    both = cli(
        "jobs", "update", "--queue", queue, "--delay", "1h", "--run-at", "2030-01-31T18:00:00Z", "--yes"
    )
    assert both.returncode == 2


@pytest.mark.slow
def test_what_is_asked_for_is_refused_once_the_filter_matches_another_number(cli: Cli, queue: str):
    """The question stands while more jobs come: they were not shown."""
    cli("enqueue", "summarize_text", '{"text":"x"}', "--queue", queue)
    master, slave = pty.openpty()
    asking = subprocess.Popen(
        [PROGRAMS / "jobqueue", "jobs", "cancel", "--queue", queue, "--server", cli.address],
        stdin=slave,
        stdout=slave,
        stderr=subprocess.PIPE,
        env=plain_environment(),
        text=True,
    )
    os.close(slave)
    said = b""
    while b"Cancel 1 jobs?" not in said:
        said += os.read(master, 1024)
    for _ in range(3):
        cli("enqueue", "summarize_text", '{"text":"x"}', "--queue", queue)
    os.write(master, b"y\n")
    _, error = asking.communicate(timeout=WITHIN)
    os.close(master)
    assert asking.returncode == 6, error
    assert "4 do" in error
