"""The commands about schedules, run as commands."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import time

import pytest
from typer.testing import CliRunner

from jobqueue import SyncSchedules
from jobqueue.cli.app import app
from jobqueue.cli.show_schedules import exact
from jobqueue.cli.values import duration
from tests.client_cli.programs import PROGRAMS, WITHIN, Cli, plain_environment

#: Due far from now, so that nothing fires by itself.
SELDOM = ("--cron", "0 0 1 1 *", "--kind", "summarize_text", "--payload", '{"text":"x"}')


@pytest.fixture
def name(queue: str) -> str:
    """A schedule that no other test has."""
    return f"s-{queue}"


def made(cli: Cli, name: str, *options: str) -> str:
    done = cli("schedules", "create", name, *SELDOM, *options)
    assert done.returncode == 0, done.stderr
    return name


@pytest.mark.slow
def test_a_schedule_is_made_as_its_options_say_and_shown(cli: Cli, name: str, queue: str):
    told = cli.json(
        *(
            "schedules",
            "create",
            name,
            "--cron",
            "30 2 * * *",
            "--cron",
            "0 12 * * MON",
            "--tz",
            "Europe/Berlin",
        ),
        *("--starts-at", "2026-01-01T00:00:00Z", "--ends-at", "2090-01-01T00:00:00Z", "--jitter", "90s"),
        *("--kind", "summarize_text", "--payload", '{"text": "x", "digits": 12345678901234567890}'),
        *("--queue", queue, "--priority", "3", "--max-attempts", "5", "--timeout", "90s"),
        *("--min-backoff", "2s", "--max-backoff", "30s", "--job-label", "a=b", "--header", "h=v"),
        *("--job-key", "k", "--hold", "--unique-key", "u", "--until", "ends"),
        *("--overlap", "skip", "--catch-up", "none", "--catch-up-window", "2h"),
        *("--pause-after-failures", "7", "--keep-runs", "9", "--label", "of=us", "--paused"),
    )
    assert told == cli.json("schedules", "get", name)
    assert told["spec"] == {
        "cron": ["30 2 * * *", "0 12 * * MON"],
        "time_zone": "Europe/Berlin",
        "starts_at": "2026-01-01T00:00:00Z",
        "ends_at": "2090-01-01T00:00:00Z",
        "jitter": "90s",
    }
    assert told["policy"] == {
        "overlap": "SKIP",
        "catch_up_window": "7200s",
        "catch_up": "NONE",
        "pause_after_failures": 7,
        "keep_runs": 9,
    }
    job = told["job"]
    assert job["payload"] == {"text": "x", "digits": 12345678901234567890}
    assert (job["queue"], job["priority"], job["key"], job["hold"]) == (queue, 3, "k", True)
    assert (job["max_attempts"], job["timeout"], job["labels"], job["headers"]) == (
        5,
        "90s",
        {"a": "b"},
        {"h": "v"},
    )
    assert job["retry_policy"] == {"min_backoff": "2s", "max_backoff": "30s"}
    assert (job["unique"]["key"], job["unique"]["until"]) == ("u", "ENDS")
    assert (told["labels"], told["paused"], "next_at" in told) == ({"of": "us"}, True, False)
    shown = cli("schedules", "get", name).stdout
    for text in (
        "30 2 * * * | 0 12 * * MON  Europe/Berlin",
        "a tick that meets a job is skipped",
        "at most 2h old, none fires",
        '"digits": 12345678901234567890',
        "would be",
        "paused",
    ):
        assert text in shown
    assert re.search(r"T02:30:00\+0[12]:00", shown)


@pytest.mark.slow
def test_what_is_wrong_is_said_in_one_sentence_with_what_would_be_right(cli: Cli, name: str):
    def refused(*arguments: str, code: int = 2) -> str:
        done = cli("schedules", *arguments)
        assert (done.returncode, done.stdout) == (code, ""), done.stdout + done.stderr
        return done.stderr

    assert "give --cron such as '30 2 * * *', or --every" in refused("create", name, "--kind", "k")
    assert "--kind is missing" in refused("create", name, "--cron", "@daily")
    both = refused("create", name, "--kind", "k", "--cron", "@daily", "--every", "10m")
    assert "--cron and --every are both given" in both
    work = ("--kind", "summarize_text", "--payload", '{"text":"x"}')
    assert "schedule.spec.cron[0]" in refused("create", name, *work, "--cron", "61 * * * *")
    assert "schedule.job.payload" in refused("create", name, *work[:2], "--cron", "@daily")
    assert "--every" in refused("preview", "--every", "often")
    assert "--starts-at" in refused("preview", "--cron", "@daily", "--starts-at", "soon")
    assert "kinds list" in refused("create", name, "--kind", "no_such_kind", "--cron", "@daily")
    assert "name a schedule, or give --cron" in refused("preview")
    assert "--from and --to" in refused("backfill", name, "--from", "2026-01-01T00:00:00Z")
    assert "--unique-key" in refused("create", name, *SELDOM, "--until", "ends")
    made(cli, name)
    assert "schedules update" in refused("create", name, *SELDOM, code=6)
    assert "nothing is to be changed" in refused("update", name)
    assert "schedules list" in refused("get", f"{name}-no", code=3)
    assert "schedules get" in refused("update", name, "--label", "a=b", "--etag", "old", code=6)
    future = ("--from", "2026-01-01T00:00:00Z", "--to", "2026-12-31T00:00:00Z")
    assert "end_at" in refused("backfill", name, *future)
    done = cli("schedules", "get", f"{name}-no", "--json")
    assert json.loads(done.stderr)["error"]["reason"] == "SCHEDULE_NOT_FOUND"


@pytest.mark.slow
def test_what_is_not_said_to_an_update_stays(cli: Cli, name: str, queue: str):
    made(
        cli,
        name,
        "--queue",
        queue,
        "--tz",
        "Europe/Berlin",
        "--jitter",
        "5s",
        "--timeout",
        "9s",
        "--label",
        "a=b",
    )
    first = cli.json("schedules", "get", name)
    told = cli.json("schedules", "update", name, "--priority", "4", "--max-backoff", "9s", "--keep-runs", "5")
    assert told["job"] == {**first["job"], "priority": 4, "retry_policy": told["job"]["retry_policy"]}
    assert told["job"]["retry_policy"]["max_backoff"] == "9s"
    assert (told["spec"], told["labels"]) == (first["spec"], {"a": "b"})
    assert told["policy"] == {**first["policy"], "keep_runs": 5}
    told = cli.json("schedules", "update", name, "--tz", "Asia/Tokyo")
    assert told["spec"] == {**first["spec"], "time_zone": "Asia/Tokyo"}
    told = cli.json("schedules", "update", name, "--every", "10m", "--phase", "1m")
    assert (told["spec"]["cron"], told["spec"]["every"], told["spec"]["phase"]) == ([], "600s", "60s")
    told = cli.json(
        "schedules", "update", name, "--cron", "@hourly", "--label", "c=d", "--payload", '{"text":"y"}'
    )
    assert (told["spec"]["cron"], "every" in told["spec"]) == (["@hourly"], False)
    assert (told["labels"], told["job"]["payload"]) == ({"c": "d"}, {"text": "y"})
    told = cli.json(
        "schedules", "update", name, *("--clear", "jitter", "--clear", "timeout", "--clear", "labels")
    )
    assert ("jitter" in told["spec"], "timeout" in told["job"], told["labels"]) == (False, False, {})
    assert told["job"]["payload"] == {"text": "y"}


def test_an_update_in_part_loses_no_change_that_came_between(
    cli: Cli, name: str, monkeypatch: pytest.MonkeyPatch
):
    made(cli, name)
    read, times = SyncSchedules.get, list[int]()

    # Between the read and the write of the command, another one gives the schedule another zone.
    def zoned(self, name):
        found = read(self, name)
        if not times:
            times.append(1)
            done = cli("schedules", "update", name, "--tz", "Asia/Tokyo")
            assert done.returncode == 0, done.stderr
        return found

    monkeypatch.setattr(SyncSchedules, "get", zoned)
    done = CliRunner().invoke(
        app, ["schedules", "update", name, "--jitter", "7s", "--server", cli.address, "--json"]
    )
    assert done.exit_code == 0, done.output
    assert times == [1]
    spec = json.loads(done.stdout)["spec"]
    assert (spec["time_zone"], spec["jitter"]) == ("Asia/Tokyo", "7s")


@pytest.mark.slow
def test_schedules_are_listed_paused_resumed_and_deleted(cli: Cli, name: str, queue: str):
    names = [made(cli, f"{name}-{each}", "--queue", queue, "--label", f"of={queue}") for each in ("b", "a")]
    done = cli("schedules", "pause", *names, "--note", "maintenance")
    assert done.stdout.count("paused: maintenance") == 2
    told = cli.lines("schedules", "list", "--queue", queue, "--paused")
    assert [each["name"] for each in told] == sorted(names)
    assert "next_at" in cli.json("schedules", "resume", names[0])
    assert [
        each["name"] for each in cli.lines("schedules", "list", "--label", f"of={queue}", "--not-paused")
    ] == [names[0]]
    done = cli("schedules", "list", "--queue", queue, "--limit", "1")
    assert names[1] in done.stdout
    assert names[0] not in done.stdout
    assert "more than 1" in done.stderr
    done = cli("schedules", "delete", names[0], "--etag", "old")
    assert done.returncode == 6
    assert cli("schedules", "delete", *names).returncode == 0
    assert cli.lines("schedules", "list", "--queue", queue) == []


@pytest.mark.slow
def test_a_run_by_hand_prints_its_job_and_ends_with_6_where_nothing_fires(cli: Cli, name: str):
    made(cli, name, "--overlap", "skip")
    id = cli("schedules", "run", name).stdout.strip()
    assert cli.json("get", id)["headers"]["x-schedule"] == name
    done = cli("schedules", "run", name)
    assert (done.returncode, done.stdout) == (6, "")
    assert "--overlap allow" in done.stderr
    beside = cli.json("schedules", "run", name, "--overlap", "allow")
    assert (beside["outcome"], beside["job_id"] == id) == ("FIRED", False)
    done = cli("schedules", "run", name, "--overlap", "buffer-one")
    assert (done.returncode, done.stdout) == (0, "")
    assert "waits for the end" in done.stderr
    told = cli.lines("schedules", "runs", name)
    assert [each["outcome"] for each in told] == ["BUFFERED", "FIRED", "SKIPPED_OVERLAP", "FIRED"]
    assert told[-1]["job_id"] == id
    shown = cli("schedules", "runs", name, "--limit", "3")
    assert [line.split()[3] for line in shown.stdout.splitlines()[1:]] == ["buffered", "fired", "skipped"]
    assert "more than 3" in shown.stderr


@pytest.mark.slow
def test_a_preview_shows_the_offsets_and_which_rule_a_change_of_clocks_applied(cli: Cli, name: str):
    berlin = ("--tz", "Europe/Berlin", "--count", "2")
    spring = cli(
        "schedules", "preview", "--cron", "30 2 * * *", *berlin, "--from", "2027-03-28T00:00:00Z"
    ).stdout
    lines = spring.splitlines()
    assert "2027-03-28T03:00:00+02:00  2027-03-28T01:00:00Z" in lines[1]
    assert lines[1].rstrip().endswith("after the gap")
    assert "2027-03-29T02:30:00+02:00" in lines[2]
    assert "gap" not in lines[2]
    autumn = cli(
        "schedules", "preview", "--cron", "30 * * * *", *berlin, "--from", "2027-10-31T00:00:00Z"
    ).stdout
    lines = autumn.splitlines()
    assert re.search(r"02:30:00\+02:00 .*the first of two", lines[1])
    assert re.search(r"02:30:00\+01:00 .*the second of two", lines[2])
    narrow = Cli(cli.address, COLUMNS="60")("schedules", "preview", "--cron", "30 * * * *", *berlin).stdout
    assert len(re.findall(r"T..:30:00\+0[12]:00", narrow)) == 2
    told = cli.lines(
        "schedules", "preview", "--cron", "30 2 * * *", *berlin, "--from", "2027-03-28T00:00:00Z"
    )
    assert told[0] == {
        "tick_at": "2027-03-28T01:00:00Z",
        "local_time": "2027-03-28T03:00:00+02:00",
        "rule": "AFTER_GAP",
    }
    made(cli, name, "--tz", "Europe/Berlin")
    zones = [
        cli.json("schedules", "preview", name, *more, "--count", "1") for more in ((), ("--tz", "Asia/Tokyo"))
    ]
    assert [each["local_time"][10:] for each in zones] == ["T00:00:00+01:00", "T00:00:00+09:00"]


SPAN = ("--from", "2026-01-01T00:00:00Z", "--to", "2026-01-05T00:00:00Z")


@pytest.mark.slow
def test_a_backfill_counts_first_and_is_an_operation_as_any_other(cli: Cli, name: str):
    made(cli, name, "--paused")
    assert cli("schedules", "update", name, "--every", "1d").returncode == 0
    done = cli("schedules", "backfill", name, *SPAN)
    assert (done.returncode, done.stdout) == (
        2,
        f"4 ticks of {name} from 2026-01-01T00:00:00Z to 2026-01-05T00:00:00Z\n",
    )
    assert "--yes" in done.stderr
    counted = cli.json("schedules", "backfill", name, *SPAN)
    assert (counted["estimate"], counted["dry_run"]) == (4, True)
    assert cli.lines("schedules", "runs", name) == []
    done = cli("schedules", "backfill", name, *SPAN, "--max-ticks", "3", "--yes")
    assert done.returncode == 0, done.stderr
    assert f"3 of 3 ticks of {name} fired" in done.stdout
    told = cli.json("schedules", "backfill", name, *SPAN, "--overlap", "skip", "--yes")
    assert (told["verb"], told["schedule"], told["changed"], told["skipped"]) == (
        "BackfillSchedule",
        name,
        0,
        4,
    )
    id = told["name"].removeprefix("operations/")
    assert f"schedules runs {name}" in cli("operations", "get", id).stdout
    assert f"BackfillSchedule {name}" in cli("operations", "list").stdout
    told = [each["outcome"] for each in cli.lines("schedules", "runs", name)]
    assert told == ["SKIPPED_OVERLAP"] * 4 + ["FIRED"] * 3


@pytest.mark.slow
def test_an_interrupt_leaves_the_backfill_running_and_says_its_id(cli: Cli, name: str):
    made(cli, name, "--paused")
    cli("schedules", "update", name, "--every", "1d")
    # A terminal, in which the question is answered.
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [
            PROGRAMS / "jobqueue",
            "--server",
            cli.address,
            "schedules",
            "backfill",
            name,
            # At one a second there is time to interrupt it.
            *SPAN[:3],
            "2026-01-09T00:00:00Z",
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
            if not asked and "Fire 8 ticks? [y/N]" in said:
                os.write(ours, b"y\n")
                asked = True
            if asked and not interrupted and "BackfillSchedule" in said:
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


@pytest.mark.parametrize("text", ["1d", "1h30m", "90m", "2m5s", "500ms", "400d", "1d1s"])
def test_a_span_is_shown_as_exactly_as_it_is_given(text: str):
    span = duration(text, "")
    assert duration(exact(span), "") == span
