"""The commands about jobs, as a person and as a script use them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from uuid import UUID

import pytest

from jobqueue.cli.exits import Exit
from tests.client_cli.programs import Cli, working
from tools.version import ROOT, version

pytestmark = pytest.mark.slow

MAIL = '{"to":"ada@example.org","subject":"s","body":"b"}'
NOWHERE = "0199aaaa-0000-7000-8000-000000000000"


def test_enqueue_prints_the_id_and_nothing_else(cli: Cli, queue: str):
    done = cli("enqueue", "send_email", MAIL, "--queue", queue)
    assert (done.returncode, done.stderr) == (0, "")
    assert UUID(done.stdout.strip()).version == 7


def test_a_job_is_enqueued_once_by_a_name(cli: Cli, queue: str):
    once = ("enqueue", "send_email", MAIL, "--queue", queue, "--scope", "queue", "--unique-key", "user-7")
    first = cli(*once, "--until", "starts")
    again = cli(*once, "--until", "ENDS", "--period", "10m")
    assert again.stdout == first.stdout
    assert "This job has the name already, and was kept; none was enqueued." in again.stderr
    assert cli.json(*once)["unique_action"] == "KEPT"
    assert re.search(r"^unique key +user-7 *$", cli("get", first.stdout.strip()).stdout, re.MULTILINE)
    assert cli.json("get", first.stdout.strip())["unique_key"] == "user-7"
    refused = cli(*once, "--on-conflict", "reject")
    assert refused.returncode == Exit.CONFLICT
    assert "wait for it with `jobqueue wait ID`" in refused.stderr
    assert first.stdout.strip() in refused.stderr


def test_a_retry_that_respects_names_is_refused_where_another_job_holds_it(cli: Cli, queue: str):
    once = ("enqueue", "send_email", MAIL, "--queue", queue, "--unique-key", queue)
    first = cli(*once).stdout.strip()
    cli("cancel", first)
    second = cli(*once).stdout.strip()
    refused = cli("retry", first, "--respect-unique")
    assert refused.returncode == Exit.CONFLICT
    assert second in refused.stderr
    skipped = cli("jobs", "retry", "--queue", queue, "--status", "cancelled", "--respect-unique", "--yes")
    assert "0 of 1 changed" in skipped.stdout + skipped.stderr
    assert cli("retry", first).stdout == f"{first}  QUEUED\n"


def test_a_job_that_waits_is_replaced_and_debounced(cli: Cli, queue: str):
    once = (
        "enqueue",
        "send_email",
        "--queue",
        queue,
        "--unique-key",
        queue,
        "--delay",
        "10m",
        "--on-conflict",
    )
    first = cli(*once[:2], MAIL, *once[2:], "replace")
    again = cli(*once[:2], MAIL.replace('"s"', '"other"'), *once[2:], "replace")
    assert again.stdout == first.stdout
    assert "This job has the name already, and has what you gave now; none was enqueued." in again.stderr
    moved = cli(*once[:2], MAIL, *once[2:], "debounce", "--max-delay", "10m", "--replace", "priority")
    assert "This job has the name already, and starts after the delay; none was enqueued." in moved.stderr
    assert cli.json("get", first.stdout.strip())["payload"]["subject"] == "other"


def test_a_payload_or_a_part_of_it_makes_a_name(cli: Cli, queue: str):
    whole = ("enqueue", "send_email", MAIL, "--queue", queue, "--scope", "queue", "--unique")
    part = ("enqueue", "send_email", MAIL, "--queue", queue, "--scope", "queue", "--unique-field", "/to")
    first, second = cli.json(*whole), cli.json(*part)
    assert first["id"] != second["id"]
    assert cli.json(*whole)["id"] == first["id"]
    other = MAIL.replace('"s"', '"other"')
    assert cli.json(*part[:2], other, *part[3:])["id"] == second["id"]


def test_options_of_a_name_want_a_name(cli: Cli, queue: str):
    refused = cli("enqueue", "send_email", MAIL, "--queue", queue, "--until", "ends")
    assert refused.returncode != 0
    assert "want --unique, --unique-key or --unique-field" in refused.stderr
    unknown = cli("enqueue", "send_email", MAIL, "--queue", queue, "--unique", "--until", "never")
    assert unknown.returncode == 2
    assert "starts" in unknown.stderr.lower()


def test_every_field_of_a_job_can_be_given(cli: Cli, queue: str):
    arguments = [
        "--priority",
        "3",
        "--delay",
        "1h30m",
        "--max-attempts",
        "7",
        "--timeout",
        "90s",
        "--key",
        f"{queue}-k",
        "--job-key",
        "customer 42",
    ]
    arguments += [
        "--label",
        "a=1",
        "--label",
        "b=x=y",
        "--header",
        "trace=7",
        "--min-backoff",
        "2s",
        "--max-backoff",
        "1m",
    ]
    job = cli.json("enqueue", "send_email", MAIL, "--queue", queue, *arguments)
    assert job["replayed"] is False
    read = cli.json("get", job["id"])
    assert (read["priority"], read["max_attempts"], read["timeout"], read["idempotency_key"]) == (
        3,
        7,
        "90s",
        f"{queue}-k",
    )
    assert read["key"] == "customer 42"
    assert read["labels"] == {"a": "1", "b": "x=y"}
    assert read["headers"]["trace"] == "7"
    assert read["retry_policy"] == {"min_backoff": "2s", "max_backoff": "60s"}
    assert (read["status"], read["queue"], read["run_at"] > read["created_at"]) == ("QUEUED", queue, True)


def test_the_same_key_again_is_the_same_job(cli: Cli, queue: str):
    first = cli("enqueue", "send_email", MAIL, "--queue", queue, "--key", queue)
    again = cli("enqueue", "send_email", MAIL, "--queue", queue, "--key", queue)
    assert (again.returncode, again.stdout) == (0, first.stdout)
    assert "this job already" in again.stderr
    other = cli("enqueue", "send_email", MAIL, "--queue", queue, "--key", queue, "--priority", "1")
    assert other.returncode == 6
    assert first.stdout.strip() in other.stderr


@pytest.mark.parametrize("way", ["argument", "stdin", "file"])
def test_the_payload_arrives_byte_for_byte(cli: Cli, queue: str, tmp_path: Path, way: str):
    payload = '{"text": "ä",  "n": 12345678901234567890, "x": 1.10, "y": 1E+4}'
    path = tmp_path / "payload.json"
    path.write_text(payload, "utf-8")
    given = {"argument": payload, "stdin": "-", "file": f"@{path}"}[way]
    done = cli("enqueue", "summarize_text", given, "--queue", queue, stdin=payload)
    assert done.returncode == 0, done.stderr
    assert f'"payload": {payload},' in cli("get", done.stdout.strip(), "--json").stdout
    assert payload in cli("get", done.stdout.strip()).stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["send_email", "{to: 1}"], "line 1, column 2"),
        (["send_email", "@/no/such/file"], "/no/such/file can't be read"),
        (["send_email", '{"to":"ada@example.org"}'], "job.payload.subject"),
        (["send_mail", MAIL], "send_email"),
        (["send_email", MAIL, "--delay", "5"], "--delay: '5' should be a number with a unit"),
        (["send_email", MAIL, "--run-at", "soon"], "--run-at: 'soon' should be a time"),
        (["send_email", MAIL, "--label", "x"], "--label: 'x' should be name=value"),
        (["send_email", MAIL, "--priority", "11"], "job.priority"),
        (["send_email", MAIL, "--max-attempts", "0"], "max_attempts is 0"),
        (["send_email", MAIL, "--key", "a", "--auto-key"], "--key and --auto-key"),
        (["send_email", MAIL, "--queue", "Two Words"], "job.queue"),
    ],
)
def test_what_is_wrong_is_said_with_its_place_and_without_a_traceback(
    cli: Cli, arguments: list[str], said: str
):
    done = cli("enqueue", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") <= 4


def test_an_error_is_json_for_scripts(cli: Cli):
    done = cli("get", NOWHERE, "--json")
    assert (done.returncode, done.stdout) == (3, "")
    error = json.loads(done.stderr)["error"]
    assert error["reason"] == "JOB_NOT_FOUND"
    assert NOWHERE in error["message"]


def test_no_server_is_said_with_its_address():
    done = Cli("127.0.0.1:1")("enqueue", "send_email", MAIL)
    assert done.returncode == 4
    assert "no server answers at 127.0.0.1:1" in done.stderr
    assert "JOBQUEUE_SERVER" in done.stderr


def test_list_filters_and_limits(cli: Cli, queue: str):
    ids = [
        cli.json("enqueue", "send_email", MAIL, "--queue", queue, "--label", f"n={n}")["id"] for n in range(3)
    ]
    assert [job["id"] for job in cli.lines("list", "--queue", queue)] == ids[::-1]
    assert [job["id"] for job in cli.lines("list", "--queue", queue, "--limit", "2")] == ids[:0:-1]
    assert [job["id"] for job in cli.lines("list", "--queue", queue, "--label", "n=1")] == [ids[1]]
    assert cli.lines("list", "--queue", queue, "--status", "running,cancelled") == []
    assert cli.lines("list", "--queue", queue, "--full")[0]["payload"] == json.loads(MAIL)
    table = cli("list", "--queue", queue, "--limit", "2")
    assert ids[2] in table.stdout
    assert ids[0] not in table.stdout
    assert "more than 2:" in table.stderr
    assert cli("list", "--status", "done").returncode == 2


@pytest.mark.parametrize("columns", [80, 120, 200])
def test_the_table_of_jobs_cuts_nothing_that_one_searches_for(cli: Cli, queue: str, columns: int):
    id = cli("enqueue", "send_email", MAIL, "--queue", queue, "--delay", "1h").stdout.strip()
    cli("cancel", id)
    late = cli("enqueue", "send_email", MAIL, "--queue", queue, "--delay", "1h").stdout.strip()
    narrow = Cli(cli.address, COLUMNS=str(columns))
    lines = narrow("list", "--queue", queue).stdout.splitlines()
    assert max(map(len, lines)) <= columns
    assert not any(line.endswith(" ") for line in lines)
    assert any(line.startswith(id) and "send_email  CANCELLED" in line for line in lines)
    assert any("starts in" in line for line in lines)
    assert any(line.startswith(late) and "QUEUED" in line for line in lines)


def test_a_held_job_is_shown_as_held_until_it_is_released(cli: Cli, queue: str):
    id = cli("enqueue", "send_email", MAIL, "--queue", queue, "--hold").stdout.strip()
    assert cli.json("get", id)["hold"] == "HAND"
    for shown in (cli("get", id), cli("list", "--queue", queue)):
        assert "held until it is released" in shown.stdout
    (told,) = (each for each in cli.lines("queues", "list") if each["name"] == queue)
    assert told["held"] == [{"hold": "HAND", "jobs": 1, "capped": False}]
    (row,) = (line for line in cli("queues", "list").stdout.splitlines() if line.startswith(queue))
    assert row.rstrip().endswith("1 held")
    assert cli("release", id).stdout == f"{id}  QUEUED\n"
    assert "hold" not in cli.json("get", id)
    again = cli("release", id)
    assert again.returncode == 6
    assert "not held back" in again.stderr


def test_release_as_json_is_the_job(cli: Cli, queue: str):
    id = cli.json("enqueue", "send_email", MAIL, "--queue", queue, "--hold")["id"]
    released = cli.json("release", id)
    assert (released["id"], released["status"]) == (id, "QUEUED")
    assert "hold" not in released


def test_cancel_retry_and_delete(cli: Cli, queue: str):
    id = cli("enqueue", "send_email", MAIL, "--queue", queue).stdout.strip()
    assert cli("delete", id).returncode == 6
    assert cli("cancel", id, "--reason", "no longer needed").stdout == f"{id}  CANCELLED\n"
    again = cli("cancel", id)
    assert again.returncode == 6
    assert "jobqueue retry" in again.stderr
    assert cli("retry", id, "--respect-unique").stdout == f"{id}  QUEUED\n"
    assert cli.json("cancel", id)["pending"] is False
    assert cli("delete", id).returncode == 0
    assert cli("get", id).returncode == 3


def test_wait_ends_with_the_jobs_end(cli: Cli, queue: str):
    waiting = cli("enqueue", "send_email", MAIL, "--queue", queue, "--delay", "1h").stdout.strip()
    late = cli("wait", waiting, "--timeout", "100ms")
    assert late.returncode == 5
    assert "QUEUED" in late.stderr
    cli("cancel", waiting)
    assert cli("wait", waiting).returncode == 1
    with working(cli.address, "--simulate", "--queues", queue):
        done = cli(
            "enqueue", "summarize_text", '{"text":"x"}', "--queue", queue, "--wait", "--min-backoff", "10ms"
        )
    assert done.returncode == 0
    assert "SUCCEEDED" in done.stdout


def test_enqueue_waits_no_longer_than_it_is_told(cli: Cli, queue: str):
    late = [
        "enqueue",
        "send_email",
        MAIL,
        "--queue",
        queue,
        "--delay",
        "1h",
        "--wait",
        "--wait-timeout",
        "100ms",
    ]
    done = cli(*late)
    assert (done.returncode, done.stdout) == (5, "")
    (id,) = [job["id"] for job in cli.lines("list", "--queue", queue)]
    assert f"jobqueue get {id}" in done.stderr
    assert "--wait-timeout" in done.stderr
    told = json.loads(cli(*late, "--json").stderr)["error"]
    assert told["metadata"]["job_id"] == cli.lines("list", "--queue", queue)[0]["id"]
    alone = cli("enqueue", "send_email", MAIL, "--queue", queue, "--wait-timeout", "1s")
    assert (alone.returncode, alone.stdout) == (2, "")
    assert "--wait" in alone.stderr


def test_a_list_as_json_has_no_empty_place_for_what_it_did_not_read(cli: Cli, queue: str):
    cli("enqueue", "send_email", MAIL, "--queue", queue, "--header", "a=b")
    (brief,) = cli.lines("list", "--queue", queue)
    (full,) = cli.lines("list", "--queue", queue, "--full")
    assert full["headers"]["a"] == "b"
    assert full["failed_attempts"] == []
    assert set(full) - set(brief) == {"payload", "headers", "failed_attempts"}


def test_help_names_the_exit_codes(cli: Cli):
    assert "3 no such job or queue" in cli("--help").stdout
    assert cli("-h").stdout == cli("--help").stdout
    assert cli("list", "-h").stdout == cli("list", "--help").stdout
    assert cli("--version").stdout == f"jobqueue {version(ROOT)}\n"
