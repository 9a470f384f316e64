"""`jobqueue enqueue-batch`: NDJSON in, jobs out, and what happens to a file that is wrong in its middle."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.client_cli.programs import Cli

pytestmark = pytest.mark.slow


def line(queue: str, n: object) -> str:
    return f'{{"kind": "summarize_text", "queue": "{queue}", "payload": {{"text": "t", "n": {n}}}}}\n'


def test_every_line_becomes_a_job_in_order(cli: Cli, queue: str, tmp_path: Path):
    path = tmp_path / "jobs.ndjson"
    path.write_text("".join(line(queue, n) for n in range(1200)) + "\n")
    results = cli.lines("enqueue-batch", str(path))
    assert [each["line"] for each in results] == list(range(1, 1201))
    found = cli.lines("list", "--queue", queue, "--all", "--full")
    assert [job["payload"]["n"] for job in found] == list(range(1199, -1, -1))
    assert [job["id"] for job in found] == [each["id"] for each in results][::-1]


def test_every_field_of_a_line_counts_and_its_payload_is_left_alone(cli: Cli, queue: str):
    payload = '{"text": "}\\"{", "n":12345678901234567890,"x" : 1.10}'
    text = (
        f'{{"payload": {payload}, "kind": "summarize_text", "queue": "{queue}", "delay": "1h", "priority": -2, '
        '"max_attempts": 5, "timeout": "90s", "labels": {"a": "b"}, "headers": {"h": "i"}, '
        f'"retry_policy": {{"min_backoff": "2s"}}, "idempotency_key": "{queue}", "hold": true}}'
    )
    (result,) = cli.lines("enqueue-batch", "-", stdin=text)
    got = cli("get", result["id"], "--json").stdout
    assert f'"payload": {payload},' in got
    job = json.loads(got)
    assert (job["priority"], job["max_attempts"], job["timeout"], job["idempotency_key"]) == (
        -2,
        5,
        "90s",
        queue,
    )
    assert job["labels"] == {"a": "b"}
    assert job["headers"]["h"] == "i"
    assert job["hold"] == "HAND"


def test_a_line_can_be_unique(cli: Cli, queue: str):
    once = '{"key": "user-7", "scope": "queue", "until": "ENDS", "period": "10m", "on_conflict": "KEEP"}'
    text = "".join(
        f'{{"kind": "summarize_text", "queue": "{queue}", "payload": {{"text": "t"}}, "unique": {unique}}}\n'
        for unique in (once, once, '{"payload_fields": ["/text"]}')
    )
    results = cli.lines("enqueue-batch", "-", stdin=text)
    assert [each.get("unique_action") for each in results] == [None, "KEPT", None]
    assert cli("enqueue-batch", "-", stdin=text).stdout.startswith("3 jobs, 3 of them were there before")


@pytest.mark.parametrize(
    ("unique", "says"),
    [
        ("7", 'unique should be an object such as {"key" "user-7"}'),
        ('{"name": "k"}', "unique has no field name; there are key, payload_fields"),
        ('{"payload_fields": "/a"}', "unique.payload_fields should be a list of texts"),
        ('{"key": 7}', "unique.key should be a text, not 7"),
        ('{"replace": "PAYLOAD"}', "unique.replace should be a list of texts such as PAYLOAD"),
        ('{"replace": ["payloads"]}', "unique.replace 'payloads' should be one of PAYLOAD, RUN_AT"),
        ('{"until": "never"}', "unique.until 'never' should be one of STARTS, ENDS, PERIOD"),
        ('{"period": "soon"}', "unique.period 'soon' should be a number with a unit"),
    ],
)
def test_what_is_wrong_with_the_name_of_a_line_is_said_before_anything_is_sent(
    cli: Cli, unique: str, says: str
):
    line = f'{{"kind": "summarize_text", "payload": {{"text": "t"}}, "unique": {unique}}}\n'
    done = cli("enqueue-batch", "-", stdin=line)
    assert done.returncode == 2
    assert says in done.stderr.replace(": ", " ")


def test_a_first_line_that_is_wrong_promises_nothing_of_keys(cli: Cli):
    done = cli("enqueue-batch", "-", stdin="no JSON\n")
    assert done.returncode == 2
    assert done.stderr.endswith("nothing is enqueued\n")


def test_with_keys_the_same_command_again_enqueues_only_what_is_missing(cli: Cli, queue: str):
    lines = [line(queue, n) for n in range(600)]
    broken = "".join(lines[:550]) + '{"kind": "summarize_text", "payload": {}}\n' + "".join(lines[551:])
    first = cli("enqueue-batch", "-", "--keys", queue, stdin=broken)
    assert first.returncode == 2
    assert "stdin, line 551" in first.stderr
    assert "500 jobs are enqueued" in first.stderr
    assert "the same command again" in first.stderr
    again = cli("enqueue-batch", "-", "--keys", queue, stdin="".join(lines))
    assert again.stdout.startswith("600 jobs, 500 of them were there before")
    assert len(cli.lines("list", "--queue", queue, "--all")) == 600


def test_without_keys_it_says_where_to_go_on(cli: Cli, queue: str):
    lines = [line(queue, n) for n in range(501)]
    first = cli("enqueue-batch", "-", stdin="".join(lines) + "oops\n")
    assert first.returncode == 2
    assert "stdin, line 502: is no JSON" in first.stderr
    assert "go on with --skip 500" in first.stderr
    rest = cli("enqueue-batch", "-", "--skip", "500", stdin="".join(lines))
    assert rest.stdout.startswith("1 jobs,")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "should be an object"),
        ('{"payload": {}}', "has no kind"),
        ('{"kind": "hello", "prioritty": 1}', "did you mean priority?"),
        ('{"kind": "hello", "priority": 1.5}', "priority: should be a whole number"),
        ('{"kind": "hello", "delay": 5}', "delay: should be a text"),
        ('{"kind": "hello", "labels": {"a": 1}}', "labels: should be an object of texts"),
        ('{"kind": "hello", "kind": "bye"}', "names a field twice"),
        ('{"kind": "hello", "payload": NaN}', "NaN is no number of JSON"),
    ],
)
def test_a_line_that_is_no_job_is_refused_with_its_number(cli: Cli, text: str, said: str):
    done = cli("enqueue-batch", "-", stdin=f"\n{text}\n")
    assert done.returncode == 2
    assert "stdin, line 2" in done.stderr
    assert said in done.stderr
    assert "nothing is enqueued" in done.stderr
