"""Encoded jobs by the command: enqueued, read, and counted by the names of their keys."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from jobqueue import AesGcm, Encodings, Job, Kind, NewJob, ScheduleSpec, SyncClient, convert
from jobqueue.cli import kind_keys
from jobqueue.cli.exits import Exit, Refused
from jobqueue.v1 import job_pb2
from tests.client_cli import encoded
from tests.client_cli.programs import Cli

pytestmark = pytest.mark.slow

WITH = ("--encodings", "tests.client_cli.encoded:ENCODINGS")
LONG = {"name": "Ada " * 40}


@pytest.fixture
def kind(cli: Cli, queue: str) -> str:
    with SyncClient(cli.address) as client:
        client.put_kind(Kind(name=queue))
    return queue


def client(cli: Cli, encodings: Encodings | None = encoded.ENCODINGS) -> SyncClient:
    return SyncClient(cli.address, encodings=encodings)


def test_a_job_is_encoded_by_what_a_module_has_and_read_by_it(cli: Cli, kind: str):
    job = cli(*WITH, "enqueue", kind, json.dumps(LONG), "--hold").stdout.strip()
    stored = cli.json("get", job)["payload"]
    assert stored["encodings"] == ["zstd", "aes256gcm"]
    assert "Ada" not in json.dumps(stored)
    assert cli.json("get", job, *WITH)["payload"] == LONG
    assert json.loads(cli("list", "--kind", kind, "--full", "--json", *WITH).stdout)["payload"] == LONG
    assert "Ada Ada" in cli("get", job, *WITH).stdout


def test_what_is_not_decoded_is_said_in_words(cli: Cli, kind: str):
    job = cli(*WITH, "enqueue", kind, json.dumps(LONG), "--hold").stdout.strip()
    told = cli("get", job).stdout
    assert "encoded, zstd + aes256gcm, key 2026-11: this program has no encodings (" in told
    assert "$jobqueue" not in told


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("tests.client_cli.encoded", "should be MODULE:NAME of an Encodings"),
        ("tests.client_cli.encoded:NOTHING", "should be MODULE:NAME of an Encodings"),
        ("tests.client_cli.encoded:OTHER", "has no OTHER"),
        ("no_such_module:ENCODINGS", "can't be imported: No module named 'no_such_module'"),
        (":ENCODINGS", "should be MODULE:NAME, such as shop.encoded:ENCODINGS"),
        ("tests.client_cli.unloadable:ENCODINGS", "can't be imported: ValueError: the key 'a' is 16 bytes"),
    ],
)
def test_what_is_no_encodings_is_refused_with_words(cli: Cli, where: str, words: str):
    done = cli("list", "--encodings", where)
    assert done.returncode == Exit.USAGE
    assert where in done.stderr
    assert words in done.stderr


def test_keys_are_counted_over_jobs_and_schedules(cli: Cli, kind: str):
    with client(cli) as new, client(cli, encoded.OLDER) as old, client(cli, encoded.COMPRESSED) as packed:
        first = old.enqueue(kind, 1, hold=True)
        ended = old.enqueue(kind, 2, hold=True)
        new.enqueue(kind, LONG, hold=True)
        packed.enqueue(kind, LONG, hold=True)
        packed.enqueue(kind, 3, hold=True)
        old.cancel(ended.id)
        old.schedules.create(f"s-{kind}", ScheduleSpec(cron="0 0 1 1 *"), NewJob(kind, 4))
    found = [
        json.loads(line) for line in cli("kinds", "keys", "--kind", kind, "--json", *WITH).stdout.splitlines()
    ]
    counted = [(use["key_id"], use["encodings"], use["jobs"], use["schedules"]) for use in found]
    assert counted == [
        ("", [], 1, 0),
        ("", ["zstd"], 1, 0),
        ("2026-10", ["aes256gcm"], 1, 1),
        ("2026-11", ["zstd", "aes256gcm"], 1, 0),
    ]
    assert found[2]["oldest"] == cli.json("get", first.id)["created_at"]
    table = cli("kinds", "keys", "--kind", kind, "--ended").stdout.splitlines()
    assert table[0].split() == ["key", "kind", "encodings", "jobs", "schedules", "oldest"]
    assert [line.split()[:4] for line in table[1:]] == [
        ["none", kind, "plain", "text"],
        ["none", kind, "zstd", "1"],
        ["2026-10", kind, "aes256gcm", "2"],
        ["2026-11", kind, "zstd", "+"],
    ]


def test_a_count_that_did_not_look_at_all_jobs_says_so(cli: Cli, kind: str):
    with client(cli) as new:
        for number in range(3):
            new.enqueue(kind, number, hold=True)
    some = cli("kinds", "keys", "--kind", kind, "--limit", "2")
    assert "There are more than 2 jobs: --limit N, or --all." in some.stderr
    assert " 2 " in some.stdout
    for arguments in (("--limit", "3"), ("--limit", "2", "--all")):
        whole = cli("kinds", "keys", "--kind", kind, *arguments)
        assert whole.stderr == ""
        assert " 3 " in whole.stdout


def test_a_key_that_is_not_there_is_said_in_words(cli: Cli, kind: str):
    done = cli("enqueue", kind, "1", "--encodings", "tests.client_cli.encoded:GONE")
    assert done.returncode == Exit.USAGE
    assert "nothing here has the key 'gone'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_schedule_says_by_what_its_payload_is_encoded_and_is_given_another_one(cli: Cli, kind: str):
    with client(cli, Encodings([AesGcm({"lost": bytes(32)}, primary="lost")])) as lost:
        lost.schedules.create(f"s-{kind}", ScheduleSpec(cron="0 0 1 1 *"), NewJob(kind, 1))
    told = cli("schedules", "get", f"s-{kind}")
    assert "encoded, aes256gcm, key lost: this program has no encodings (" in told.stdout
    assert "nothing here has the key 'lost'" in cli("schedules", "get", f"s-{kind}", *WITH).stdout
    done = cli("schedules", "update", f"s-{kind}", "--payload", "2", *WITH)
    assert done.returncode == Exit.OK, done.stderr
    assert cli.json("schedules", "get", f"s-{kind}", *WITH)["job"]["payload"] == 2


def test_what_a_stranger_wrote_into_an_envelope_controls_no_terminal(cli: Cli, kind: str):
    hostile = {
        "$jobqueue.encoded": 1,
        "encodings": ["\x1b[2J", {"toString": 1}],
        "key_id": "\x1b]52;c;\x07\nplain",
    }
    job = cli("enqueue", kind, json.dumps(hostile), "--hold").stdout.strip()
    for told in (cli("get", job).stdout, cli("kinds", "keys", "--kind", kind).stdout):
        assert "\x1b" not in told
        assert "x1b]52;c;" in told


def test_credentials_that_are_shown_no_payloads_count_no_keys():
    class Hidden:
        """A client whose credentials may not see payloads."""

        def list(self, **_: object) -> list[Job]:
            """One job, without its payload."""
            return [replace(stored, payload=None, payload_json=None)]

    stored = convert.job(job_pb2.Job(id="1", kind="mail", payload_json=b"1"))
    with pytest.raises(Refused, match="shown no payloads"):
        kind_keys._counted(Hidden(), "", False, None)  # type: ignore[arg-type]
