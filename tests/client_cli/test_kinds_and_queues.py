"""The commands about kinds and queues."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.client_cli.programs import Cli

MAIL = '{"to":"ada@example.org","subject":"s","body":"b"}'


@pytest.mark.slow
def test_a_kind_is_put_with_its_schema_and_then_holds(cli: Cli, queue: str, tmp_path: Path):
    schema = tmp_path / "hello.json"
    schema.write_text('{"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}')
    name = f"hello-{queue}"
    put = cli.json("kinds", "put", name, "--schema", str(schema), "--max-attempts", "5", "--timeout", "2m")
    assert (put["max_attempts"], put["timeout"]) == (5, "120s")
    assert name in {kind["name"] for kind in cli.lines("kinds", "list")}
    assert "name" in cli("kinds", "list").stdout
    assert cli("enqueue", name, '{"name": "Ada"}').returncode == 0
    assert cli("enqueue", name, "{}").returncode == 2


def test_the_limits_of_a_kind_are_put_shown_and_taken_back(cli: Cli, queue: str):
    name = f"hello-{queue}"
    put = cli.json("kinds", "put", name, "--max-running", "20", "--rate", "100/s", "--rate-burst", "5")
    rate = {"count": 100, "period": "1s", "burst": 5, "most_in_a_period": 104}
    assert put["limits"] == {"max_running": 20, "rate": rate}
    assert put in cli.lines("kinds", "list")
    assert "20 may run; 100 in 1s, 5 at once may start" in cli("kinds", "list").stdout
    assert "limits" not in cli.json("kinds", "put", name)
    assert "--rate-burst is given without a --rate" in cli("kinds", "put", name, "--rate-burst", "5").stderr
    assert (
        "kind.limits.max_running: must be 1 to 1000000"
        in cli("kinds", "put", name, "--max-running", "-1").stderr
    )


def test_how_many_slots_a_job_of_a_kind_takes_is_put_shown_and_taken_back(cli: Cli, queue: str):
    name = f"hello-{queue}"
    put = cli.json("kinds", "put", name, "--slot-weight", "4")
    assert put["slot_weight"] == 4
    assert put in cli.lines("kinds", "list")
    assert " 4" in next(line for line in cli("kinds", "list").stdout.splitlines() if line.startswith(name))
    assert cli.json("kinds", "put", name)["slot_weight"] == 0
    assert "kind.slot_weight: must be 1 to 1000" in cli("kinds", "put", name, "--slot-weight", "1001").stderr


def test_a_schema_that_is_none_is_refused(cli: Cli, tmp_path: Path):
    path = tmp_path / "schema.json"
    for text, said in (("{", "is no JSON"), ("[]", "should be a JSON Schema"), ('{"type": "txt"}', "schema")):
        path.write_text(text)
        done = cli("kinds", "put", "broken", "--schema", str(path))
        assert done.returncode == 2
        assert said in done.stderr


def test_a_queue_is_shown_paused_and_resumed(cli: Cli, queue: str):
    assert cli("queues", "show", queue).returncode == 3
    cli("enqueue", "summarize_text", '{"text":"x"}', "--queue", queue)
    shown = cli.json("queues", "show", queue)
    assert (shown["paused"], shown["running"]) == (False, 0)
    assert {name: shown["depths"][0][name] for name in ("status", "jobs")} == {"status": "QUEUED", "jobs": 1}
    assert cli.json("queues", "pause", queue)["paused"] is True
    assert "paused" in cli("queues", "show", queue).stdout
    assert cli.json("queues", "resume", queue)["paused"] is False
    assert queue in {each["name"] for each in cli.lines("queues", "list")}


@pytest.mark.slow
def test_what_a_queue_allows_of_a_key_is_set_shown_and_taken_back(cli: Cli, queue: str):
    limits = ("--key-max-running", "1", "--key-rate", "10/min", "--key-rate-burst", "3")
    assert cli("queues", "set", queue, *limits).returncode == 3
    made = cli.json("queues", "set", queue, *limits, "--key-max-waiting", "1000", "--make")
    assert made["key_policy"] == {
        "max_running": 1,
        "rate": {"count": 10, "period": "60s", "burst": 3, "most_in_a_period": 15},
        "max_waiting": 1000,
        "require_key": False,
    }
    assert "1 running, 10 in 60s, 3 at once, 1,000 waiting" in cli("queues", "show", queue).stdout
    waiting = cli.json("queues", "set", queue, "--max-waiting", "5000", "--etag", made["etag"])
    assert (waiting["max_waiting"], waiting["key_policy"]) == (5000, made["key_policy"])
    assert "5,000 may wait" in cli("queues", "show", queue).stdout
    running = cli.json("queues", "set", queue, "--max-running", "40")
    assert (running["limits"], running["max_waiting"]) == ({"max_running": 40}, 5000)
    assert "40 may run" in cli("queues", "show", queue).stdout
    started = cli.json("queues", "set", queue, "--rate", "100/s", "--rate-burst", "5")
    rate = {"count": 100, "period": "1s", "burst": 5, "most_in_a_period": 104}
    assert started["limits"] == {"max_running": 40, "rate": rate}
    assert "40 may run, 100 in 1s, 5 at once may start" in cli("queues", "show", queue).stdout
    assert cli.json("queues", "set", queue, "--max-running", "0")["limits"] == {
        "max_running": 0,
        "rate": rate,
    }
    assert "limits" not in cli.json("queues", "set", queue, "--rate", "none")
    assert "--rate-burst is given without a --rate" in cli("queues", "set", queue, "--rate-burst", "5").stderr
    made = cli.json("queues", "set", queue, "--max-waiting", "0")
    changed = cli.json("queues", "set", queue, "--key-rate", "none", "--require-key", "--etag", made["etag"])
    assert changed["key_policy"] == {"max_running": 1, "max_waiting": 1000, "require_key": True}
    late = cli("queues", "set", queue, "--key-max-running", "2", "--etag", made["etag"])
    assert late.returncode == 6
    assert f"jobqueue queues show {queue}" in late.stderr or "queues show" in late.stderr
    gone = ("--key-max-running", "0", "--key-max-waiting", "0", "--no-require-key")
    assert "key_policy" not in cli.json("queues", "set", queue, *gone)


def test_how_long_ended_jobs_stay_is_set_shown_and_taken_back(cli: Cli, queue: str):
    made = cli.json("queues", "set", queue, "--keep-succeeded", "1d", "--keep-failed", "30d", "--make")
    assert made["retention"] == {"succeeded": "86400s", "failed_permanent": "2592000s"}
    shown = " ".join(cli("queues", "show", queue).stdout.split())
    assert "kept after the end: succeeded 24h, failed_permanent 30d" in shown
    changed = cli.json("queues", "set", queue, "--keep-failed", "default", "--keep-cancelled", "90m")
    assert changed["retention"] == {"succeeded": "86400s", "cancelled": "5400s"}
    gone = ("--keep-succeeded", "default", "--keep-cancelled", "default")
    assert "retention" not in cli.json("queues", "set", queue, *gone)


@pytest.mark.slow
def test_a_key_of_a_queue_is_limited_paused_listed_and_set_back(cli: Cli, queue: str):
    assert cli("queues", "keys", queue).returncode == 3
    cli.json("queues", "set", queue, "--key-max-running", "1", "--make")
    for key in ("ada", "ada", "bob"):
        assert cli("enqueue", "send_email", MAIL, "--queue", queue, "--job-key", key).returncode == 0
    limited = cli.json("queues", "key", queue, "ada", "--max-running", "5")
    assert (limited["max_running"], limited["limit"], limited["paused"]) == (5, 5, False)
    paused = cli.json("queues", "key", queue, "bob", "--pause")
    assert paused["paused"] is True
    assert cli("enqueue", "send_email", MAIL, "--queue", queue, "--job-key", "bob").returncode == 0
    assert [each["key"] for each in cli.lines("queues", "keys", queue)] == ["ada", "bob"]
    assert [each["key"] for each in cli.lines("queues", "keys", queue, "--only", "waiting")] == ["bob"]
    assert [each["key"] for each in cli.lines("queues", "keys", queue, "--most-waiting", "--limit", "1")] == [
        "bob"
    ]
    table = cli("queues", "keys", queue).stdout
    assert "limit of its own" in table
    assert "paused" in table
    shown = cli("queues", "key", queue, "ada").stdout
    assert "in line" in shown
    assert cli.json("queues", "key", queue, "bob", "--resume", "--etag", paused["etag"])["paused"] is False
    late = cli("queues", "key", queue, "bob", "--pause", "--etag", paused["etag"])
    assert late.returncode == 6
    assert cli.json("queues", "key", queue, "ada", "--default")["limit"] == 1
    both = cli("queues", "key", queue, "ada", "--default", "--max-running", "5")
    assert (both.returncode, "--default and --max-running" in both.stderr) == (2, True)
    assert "nothing is to be changed" in cli("queues", "key", queue, "ada", "--etag", "MQ").stderr


@pytest.mark.slow
def test_a_queue_keeps_a_strict_order_of_its_keys_and_a_blocked_one_goes_on(cli: Cli, queue: str) -> None:
    made = cli.json("queues", "set", queue, "--key-order", "strict", "--on-key-failure", "hold", "--make")
    assert made["key_policy"] == {
        "max_running": 1,
        "max_waiting": 0,
        "require_key": False,
        "order": "KEY_ORDER_STRICT",
        "on_failure": "ON_KEY_FAILURE_HOLD",
    }
    assert "1 running, in strict order, held after a failure" in cli("queues", "show", queue).stdout
    conflict = cli("queues", "set", queue, "--key-max-running", "2")
    assert conflict.returncode == 6
    assert "must be 1 or unset in strict order" in " ".join(conflict.stderr.split())
    job = cli.json("enqueue", "summarize_text", '{"text":"x"}', "--queue", queue, "--job-key", "a")
    cli("cancel", job["id"])
    assert f"blocked by job {job['id']}" in " ".join(
        cli("queues", "keys", queue, "--only", "blocked").stdout.split()
    )
    assert (
        f"the key a goes on; job {job['id']} stays as it ended" in cli("queues", "unblock", queue, "a").stdout
    )
    assert cli("queues", "unblock", queue, "a").returncode == 6
    fair = cli.json("queues", "set", queue, "--fair")
    assert fair["key_policy"]["fair"] is True
    assert "1 running, in strict order, in turn, held after" in cli("queues", "show", queue).stdout
    assert "fair" not in cli.json("queues", "set", queue, "--no-fair")["key_policy"]
    any_order = cli.json("queues", "set", queue, "--key-order", "any", "--key-max-running", "0")
    assert "key_policy" not in any_order


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "nothing is to be changed"),
        (("--key-rate", "fast"), "such as 10/min"),
        (("--key-rate", "10"), "such as 10/min"),
        (("--key-rate-burst", "3"), "without a --key-rate"),
        (("--key-rate", "none", "--key-rate-burst", "3"), "without a --key-rate"),
        (("--key-max-running", "-1"), "queue.key_policy.max_running: must be 1 to 1000000"),
        (("--key-rate", "10/2d"), "queue.key_policy.rate.period"),
        (("--keep-failed", "soon"), "such as 1500ms, 30s"),
        (("--keep-failed", "30s"), "queue.retention.failed_permanent: must be from 3600 s to 3650 days"),
        (("--max-waiting", "-1"), "queue.max_waiting: must be 1 to 1000000"),
        (("--max-running", "-1"), "queue.limits.max_running: must be 1 to 1000000"),
    ],
    ids=[
        "nothing",
        "no rate",
        "no period",
        "a burst alone",
        "a burst of none",
        "negative",
        "two days",
        "no time",
        "kept for seconds",
        "fewer than none wait",
        "fewer than none run",
    ],
)
def test_a_wrong_limit_is_refused_with_what_would_be_right(
    cli: Cli, queue: str, options: tuple[str, ...], said: str
):
    refused = cli("queues", "set", queue, *options, "--make")
    assert refused.returncode == 2
    assert said in " ".join(refused.stderr.split())


def test_limits_of_a_queue_that_is_not_there_say_how_to_make_it(cli: Cli, queue: str):
    refused = cli("queues", "set", queue, "--max-running", "3")
    assert refused.returncode == 3
    assert f"there is no queue '{queue}'" in refused.stderr
    assert "the same with --make makes it" in refused.stderr
    assert cli("queues", "set", queue, "--max-running", "3", "--make").returncode == 0
