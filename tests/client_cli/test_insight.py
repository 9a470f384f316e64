"""The commands that say why a job waits, and what a queue wants."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from jobqueue import Estimate, Explanation, LineDetail, Reason, ReasonCode, Status
from jobqueue.cli import insight, json_text
from tests.client_cli.programs import Cli


def enqueued(cli: Cli, queue: str, *more: str) -> str:
    return cli("enqueue", "summarize_text", '{"text":"x"}', "--queue", queue, *more).stdout.strip()


def test_explain_says_in_one_sentence_why_and_what_would_start_it_and_then_a_table(cli: Cli, queue: str):
    id = enqueued(cli, queue, "--hold")
    cli("queues", "pause", queue, "--reason", "the printer burns")
    done = cli("explain", id)
    assert done.returncode == 0
    first, empty, head, *rows = done.stdout.splitlines()
    assert first.startswith(
        f"The job waits, since it is held back by hand; ReleaseJob {id} would let it go on; then the queue {queue} "
    )
    assert empty == ""
    assert head.split() == ["reason", "what", "is", "known", "ended", "by"]
    assert [row.split()[0] for row in rows if not row.startswith(" ")] == [
        "HELD_BY_HAND",
        "QUEUE_PAUSED",
        "NO_WORKER",
    ]
    assert f"ResumeQueue {queue}" in done.stdout
    assert "the printer burns" in done.stdout


def test_explain_as_json_is_as_rest_has_it(cli: Cli, queue: str):
    id = enqueued(cli, queue)
    told = cli.json("explain", id)
    assert (told["job_id"], told["status"], told["unknown"]) == (id, "QUEUED", [])
    (reason,) = told["reasons"]
    assert reason["code"] == "NO_WORKER"
    assert reason["unblocked_by"] == [f"a worker that takes kind summarize_text in queue {queue}"]
    assert reason["workers"]["slots"] == 0
    assert told["read_at"].endswith("Z")
    cli("cancel", id)
    (reason,) = cli.json("explain", id)["reasons"]
    assert (reason["code"], reason["end"]["reason"]) == ("TERMINAL", "CANCELLED_BY_CALLER")
    assert "CANCELLED_BY_CALLER, " in cli("explain", id).stdout


def test_explain_says_when_a_job_may_start(capsys: pytest.CaptureFixture[str]):
    now = datetime.now(UTC)
    turn = Reason(ReasonCode.BEHIND, "1,200 jobs go first", ("their start",), LineDetail(1200, False))
    estimate = Estimate(1200, False, 3.25, now + timedelta(minutes=5.5), now + timedelta(minutes=7.5))
    found = Explanation("id", Status.QUEUED, "It waits.", (turn,), None, now, (), estimate)
    insight._show(found)
    assert capsys.readouterr().out.splitlines()[-1] == (
        "It may start in 5m at the earliest and in 7m at the latest: 1,200 jobs go first, and 3.25 a second ended "
        "in the last minute."
    )
    insight._show(replace(found, estimate=replace(estimate, capped=True, latest_at=None)))
    assert "in 5m at the earliest: 1,200+ jobs go first, and" in capsys.readouterr().out
    told = json_text.explanation(found)["estimate"]
    assert (told["ahead"], told["ends_per_second"]) == (1200, 3.25)


def test_explain_says_who_holds_the_name_of_a_job(cli: Cli, queue: str):
    id = enqueued(cli, queue, "--unique-key", queue, "--until", "ends", "--period", "10m")
    says = f"It holds its name {queue} until it has ended, and until "
    assert cli("explain", id).stdout.splitlines()[-1].startswith(says)
    name = cli.json("explain", id)["name"]
    assert (name["key"], name["held_by"], name["until"]) == (queue, id, "ENDS")
    assert name["period_ends_at"].endswith("Z")


def test_demand_says_how_many_slots_are_wanted_and_why(cli: Cli, queue: str):
    enqueued(cli, queue)
    enqueued(cli, queue, "--delay", "1h")
    done = cli("demand", queue)
    assert done.stdout.startswith(
        f"1 slot is wanted: 1 runnable, and no worker takes jobs of the queue {queue}.\n\nrunnable "
    )
    assert "due later" in done.stdout
    told = cli.json("demand", queue)
    assert (told["runnable"], told["later"], told["wanted_slots"]) == (1, 1, 1)
    assert told["more_workers_would_help"] is True
    assert {"arrivals_per_second", "ends_per_second"} <= set(told)
    assert "a second came, 0 a second ended" in done.stdout


def test_what_is_not_there_is_said(cli: Cli, queue: str):
    done = cli("explain", "01a20efd-381b-735f-9d7d-e9595eedb31f")
    assert done.returncode == 3
    assert "there is no job" in done.stderr
    done = cli("demand", queue)
    assert done.returncode == 3
    assert "there is no queue" in done.stderr
