"""The commands about keys and namespaces, against a server that asks for keys."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from jobqueue import JobFilter, SyncClient
from jobqueue_server.core.access import keys
from tests.client_cli.programs import WITHIN, Cli, Program, ended, plain_environment, serving
from tests.conftest import Cluster


def bootstrap(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return ended("jobqueue-server", ("keys", "bootstrap", *arguments), plain_environment(**environment))


@dataclass
class Guarded:
    """A server that asks for keys, with an administrator's.

    Attributes:
        dsn: Its database.
        address: Where it answers.
        admin: The command line with the administrator's key.
    """

    dsn: str
    address: str
    admin: Cli

    def with_key(self, text: str) -> Cli:
        return Cli(self.address, JOBQUEUE_TOKEN=text)

    def key(self, name: str, *arguments: str) -> tuple[str, Cli]:
        """Makes a key; its id, and the command line with it."""
        made = self.admin.json("keys", "create", name, *arguments)
        return made["key"]["id"], self.with_key(made["secret"])


@pytest.fixture(scope="module")
def guarded(cluster: Cluster, template: str) -> Iterator[Guarded]:
    name = cluster.create(template)
    dsn = cluster.dsn_of(name)
    made = bootstrap("ops", "--admin", DATABASE_URL=dsn)
    assert made.returncode == 0, made.stderr
    with serving(dsn, JOBQUEUE_AUTH="keys") as address:
        yield Guarded(dsn, address, Cli(address, JOBQUEUE_TOKEN=made.stdout.strip()))
    cluster.drop(name)


def test_bootstrap_shows_a_key_once_on_stdout_and_all_else_on_stderr(dsn: str) -> None:
    made = bootstrap("ops", "--admin", DATABASE_URL=dsn)
    assert made.returncode == 0
    key_id = keys.id_of(made.stdout.removesuffix("\n"))
    assert key_id is not None
    assert key_id in made.stderr
    assert made.stdout.strip() not in made.stderr


def test_bootstrap_is_refused_where_an_administrators_key_is_good_unless_forced(dsn: str) -> None:
    first = bootstrap("ops", "--admin", DATABASE_URL=dsn)
    again = bootstrap("ops", "--admin", DATABASE_URL=dsn)
    assert (again.returncode, again.stdout) == (1, "")
    assert "--force" in again.stderr
    forced = bootstrap("ops", "--admin", "--force", DATABASE_URL=dsn)
    assert forced.returncode == 0
    assert forced.stdout != first.stdout


@pytest.mark.parametrize(
    "arguments", [("ops",), ("", "--admin"), ("n" * 101, "--admin"), ("a\nb", "--admin")]
)
def test_bootstrap_with_a_wrong_argument_makes_nothing(arguments: tuple[str, ...]) -> None:
    done = bootstrap(*arguments, DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    assert (done.returncode, done.stdout) == (2, "")


def test_bootstrap_without_a_schema_says_what_to_do(empty_dsn: str) -> None:
    done = bootstrap("ops", "--admin", DATABASE_URL=empty_dsn)
    assert (done.returncode, done.stdout) == (1, "")
    assert "jobqueue-server migrate up" in done.stderr


def whoami_once_known(cli: Cli) -> Any:
    """A server that runs reads a key which another program made on its word, or else within a second."""
    until = time.monotonic() + WITHIN
    while (shown := cli("whoami", "--json")).returncode != 0:
        assert "CREDENTIALS_INVALID" in shown.stderr, shown.stderr
        assert time.monotonic() < until
    return json.loads(shown.stdout)


@pytest.mark.slow
def test_bootstrap_finds_the_embedded_database_while_its_server_runs_and_while_it_does_not(
    data_dir: Path,
) -> None:
    first = bootstrap("ops", "--admin", JOBQUEUE_DATA_DIR=str(data_dir))
    assert first.returncode == 0, first.stderr
    server = Program(
        "jobqueue-server", "serve", "--grpc-addr", "127.0.0.1:0", "--http-addr", "off", "--metrics-addr", "off",
        JOBQUEUE_DATA_DIR=str(data_dir), JOBQUEUE_AUTH="keys",
    )  # fmt: skip
    try:
        address = f"127.0.0.1:{server.until(r'is ready .*port=([0-9]+)')[1]}"
        second = bootstrap("ops", "--admin", "--force", JOBQUEUE_DATA_DIR=str(data_dir))
        assert second.returncode == 0, second.stderr
        for made in (first, second):
            shown = whoami_once_known(
                Cli(address, JOBQUEUE_TOKEN=made.stdout.strip(), JOBQUEUE_DEADLINE="10s")
            )
            assert shown["principal"] == f"key:{keys.id_of(made.stdout.strip())}"
    finally:
        server.end()


@pytest.mark.slow
def test_a_key_is_made_for_what_the_options_say(guarded: Guarded) -> None:
    done = guarded.admin(
        "keys", "create", "mailer", "--enqueue", "mail*", "--work", "mail", "--read", "mail", "--operate", "*",
        "--admin", "--payloads", "--kinds", "send_email", "--kinds", "sms-*", "--expires", "90d",
        "--network", "127.0.0.0/8",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    key_id = keys.id_of(done.stdout.removesuffix("\n"))
    assert key_id is not None
    assert "until 20" in done.stderr
    kinds = ["send_email", "sms-*"]
    shown = guarded.admin.json("keys", "show", key_id)
    assert shown["grants"] == [
        {"permissions": ["ENQUEUE"], "queues": ["mail*"], "kinds": kinds},
        {"permissions": ["READ", "WORK"], "queues": ["mail"], "kinds": kinds, "payloads": True},
        {"permissions": ["OPERATE"], "queues": ["*"], "kinds": kinds},
        {"permissions": ["ADMIN"], "queues": ["*"], "kinds": ["*"]},
    ]
    assert shown["networks"] == ["127.0.0.0/8"]
    told = guarded.with_key(done.stdout.strip())("whoami").stdout
    for part in (
        f"key:{key_id}",
        "default",
        "enqueue mail* kinds send_email,sms-*",
        "with payloads",
        "admin",
    ):
        assert part in told
    told = guarded.admin("keys", "show", key_id).stdout
    assert "good for" in told
    assert done.stdout.strip() not in told


@pytest.mark.cases(2)
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "say what is permitted"),
        (("--enqueue", "a", "--payloads"), "--payloads needs --read"),
        (("--enqueue", "A*"), "grants[0].queues[0]"),
        (("--enqueue", "a", "--kinds", "a*b"), "grants[0].kinds[0]"),
        (("--enqueue", "a", "--expires", "90"), "--expires"),
        (("--enqueue", "a", "--expires", "1s"), "expires_in"),
        (("--enqueue", "a", "--network", "10.0.0.1/8"), "networks[0]"),
    ],
)
def test_a_wrong_option_is_named_and_no_key_is_made(
    guarded: Guarded, arguments: tuple[str, ...], said: str
) -> None:
    done = guarded.admin("keys", "create", "wrong", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "wrong" not in {key["name"] for key in guarded.admin.lines("keys", "list")}


def test_a_key_does_what_it_permits_and_what_it_lacks_is_said(guarded: Guarded) -> None:
    _, mailer = guarded.key("mailer", "--enqueue", "mail*")
    assert mailer("enqueue", "summarize_text", '{"text": "x"}', "--queue", "mail").returncode == 0
    done = mailer("enqueue", "summarize_text", '{"text": "x"}', "--queue", "news")
    assert done.returncode == 7
    assert "ENQUEUE" in done.stderr
    assert "jobqueue whoami" in done.stderr
    refused = mailer("keys", "list", "--json")
    assert refused.returncode == 7
    assert json.loads(refused.stderr)["error"]["metadata"]["permission"] == "ADMIN"


def test_without_a_key_one_is_told_how_to_give_one(guarded: Guarded) -> None:
    done = Cli(guarded.address)("list")
    assert done.returncode == 7
    assert "JOBQUEUE_TOKEN" in done.stderr
    shown = Cli(guarded.address)("whoami", "--json")
    assert json.loads(shown.stderr)["error"]["reason"] == "CREDENTIALS_MISSING"


@pytest.mark.slow
def test_a_key_is_rotated_and_the_old_one_is_good_for_its_grace(guarded: Guarded) -> None:
    key_id, old = guarded.key("mailer", "--read", "*")
    done = guarded.admin("keys", "rotate", key_id, "--grace", "0s", "--expires", "1h")
    assert done.returncode == 0, done.stderr
    new = guarded.with_key(done.stdout.strip())
    assert new.json("whoami")["principal"] == f"key:{key_id}"
    assert json.loads(old("whoami", "--json").stderr)["error"]["reason"] == "CREDENTIALS_EXPIRED"
    states = {row.split()[0]: row for row in guarded.admin("keys", "list").stdout.splitlines()}
    assert "expired" in states[key_id]
    assert "good for" in states[str(keys.id_of(done.stdout.strip()))]


@pytest.mark.slow
def test_a_revoked_key_says_why_and_is_refused(guarded: Guarded) -> None:
    key_id, caller = guarded.key("mailer", "--read", "*")
    revoked = guarded.admin("keys", "revoke", key_id, "--reason", "it was in a log")
    assert "it was in a log" in revoked.stdout
    assert json.loads(caller("list", "--json").stderr)["error"]["reason"] == "CREDENTIALS_REVOKED"
    rotated = guarded.admin("keys", "rotate", key_id)
    assert rotated.returncode == 6
    assert "jobqueue keys create" in rotated.stderr
    assert guarded.admin("keys", "show", "0123456789").returncode == 3


@pytest.mark.slow
def test_namespaces_are_made_listed_disabled_and_enabled(guarded: Guarded) -> None:
    assert guarded.admin("namespaces", "create", "beta").returncode == 0
    assert [each["name"] for each in guarded.admin.lines("namespaces", "list")] == ["beta", "default"]
    key_id, beta = guarded.key("reader", "--read", "*", "--namespace", "beta")
    assert beta.json("whoami")["namespace"] == "beta"
    assert [key["id"] for key in guarded.admin.lines("keys", "list", "--namespace", "beta")] == [key_id]
    assert "disabled since" in guarded.admin("namespaces", "disable", "beta").stdout
    assert json.loads(beta("list", "--json").stderr)["error"]["reason"] == "NAMESPACE_DISABLED"
    assert guarded.admin("namespaces", "enable", "beta").returncode == 0
    assert beta("list").returncode == 0
    assert guarded.admin("namespaces", "disable", "gamma").returncode == 3
    assert guarded.admin("namespaces", "disable", "default").returncode == 2


@pytest.mark.slow
def test_the_audit_log_is_listed_by_what_the_options_say(guarded: Guarded) -> None:
    key_id, _ = guarded.key("mailer", "--enqueue", "mail")
    guarded.admin("keys", "revoke", key_id, "--reason", "it was in a log")
    found = guarded.admin.lines("audit", "list", "--object", f"key:{key_id}", "--since", "1h")
    assert [record["action"] for record in found] == ["RevokeKey", "CreateKey"]
    assert found[0]["reason"] == "it was in a log"
    assert found[0]["address"] == "127.0.0.1"
    for option, value in (
        ("--action", "RevokeKey"),
        ("--principal", found[0]["principal"]),
        ("--outcome", "OK"),
        ("--namespace", "default"),
        ("--since", found[0]["occurred_at"]),
        ("--limit", "1"),
    ):
        newest = guarded.admin.lines("audit", "list", "--object", f"key:{key_id}", option, value)[0]
        assert newest == found[0], option
    until = found[0]["occurred_at"]
    older = guarded.admin.lines("audit", "list", "--object", f"key:{key_id}", "--until", until)
    assert older == found[1:]
    (first,) = guarded.admin.lines("audit", "list", "--action", "BootstrapKey")
    assert (first["principal"], first["transport"]) == ("bootstrap", "database")
    assert first["object"] == guarded.admin.json("whoami")["principal"]
    shown = guarded.admin("audit", "list", "--action", "RevokeKey").stdout
    assert "it was in a log" in shown
    assert f"key:{key_id}" in shown


@pytest.mark.parametrize("option", ["--since", "--until"])
def test_a_time_that_is_none_is_refused(guarded: Guarded, option: str) -> None:
    for text in ("yesterday", "99999999d"):
        done = guarded.admin("audit", "list", option, text)
        assert done.returncode == 2
        assert "how long ago" in done.stderr


@pytest.mark.slow
def test_a_server_that_asks_for_no_keys_says_so_and_makes_them_all_the_same(cli: Cli) -> None:
    shown = cli.json("whoami")
    assert shown["principal"] == "anonymous"
    assert shown["grants"][0]["payloads"] is True
    assert cli("keys", "create", "early", "--read", "*").returncode == 0


def test_the_start_of_an_open_server_has_a_line_that_says_so(dsn: str) -> None:
    server = Program(
        "jobqueue-server", "serve", "--grpc-addr", "127.0.0.1:0", "--http-addr", "off", "--metrics-addr", "off",
        DATABASE_URL=dsn,
    )  # fmt: skip
    server.until("no keys are asked for")
    server.end()


def test_who_is_not_shown_the_payload_of_a_schedule_does_not_overwrite_it(guarded: Guarded) -> None:
    _, owner = guarded.key("owner", "--enqueue", "*", "--operate", "*", "--read", "*", "--payloads")
    _, blind = guarded.key("blind", "--enqueue", "*", "--operate", "*", "--read", "*")
    made = owner(
        *("schedules", "create", "hidden", "--cron", "0 0 1 1 *", "--kind", "summarize_text"),
        *("--payload", '{"text":"secret"}', "--header", "h=secret"),
    )
    assert made.returncode == 0, made.stderr
    assert "secret" not in json.dumps(blind.json("schedules", "get", "hidden"))
    refused = blind("schedules", "update", "hidden", "--priority", "3")
    assert (refused.returncode, "does not show payloads" in refused.stderr) == (2, True)
    assert (
        blind.json("schedules", "update", "hidden", "--tz", "Asia/Tokyo")["spec"]["time_zone"] == "Asia/Tokyo"
    )
    job = owner.json("schedules", "get", "hidden")["job"]
    assert (job["payload"], job["headers"], job["priority"]) == ({"text": "secret"}, {"h": "secret"}, 0)


def test_what_a_revoked_key_left_running_is_shown_and_taken_over(guarded: Guarded) -> None:
    made = guarded.admin.json(
        "keys", "create", "gone", "--read", "rests", "--operate", "rests", "--enqueue", "rests"
    )
    with SyncClient(guarded.address, token=made["secret"]) as client:
        for _ in range(30):
            client.enqueue("summarize_text", {"text": "x"}, queue="rests", hold=True)
        name = client.cancel_jobs(JobFilter(queue="rests"), force=True, per_second=5).name
    id = name.removeprefix("operations/")
    cli = guarded.with_key(made["secret"])
    made_schedule = cli(
        "schedules",
        "create",
        "rests",
        "--every",
        "1h",
        "--kind",
        "summarize_text",
        "--queue",
        "rests",
        "--payload",
        '{"text": "x"}',
    )
    assert made_schedule.returncode == 0, made_schedule.stderr
    guarded.admin("keys", "revoke", made["key"]["id"])
    until = time.monotonic() + WITHIN
    while not guarded.admin.json("operations", "get", id)["rests_for"]:
        assert time.monotonic() < until
    assert "rests: PRINCIPAL_ENDED" in guarded.admin("operations", "list").stdout
    shown = guarded.admin("operations", "get", id).stdout
    assert f"It rests: PRINCIPAL_ENDED; `jobqueue operations resume {id}` takes it over." in shown
    assert "paused: PRINCIPAL_ENDED" in " ".join(guarded.admin("schedules", "list").stdout.split())
    assert guarded.admin.json("operations", "resume", id)["rests_for"] == ""
    assert guarded.admin("operations", "wait", id).returncode == 0
    assert not guarded.admin.json("schedules", "resume", "rests")["paused"]
