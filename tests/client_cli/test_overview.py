"""The commands about how it is going."""

from __future__ import annotations

import pytest

from tests.client_cli.programs import Cli


def test_top_once_shows_the_queue_what_waits_in_it_and_what_is_wrong(cli: Cli, queue: str):
    cli("enqueue", "summarize_text", '{"text":"x"}', "--queue", queue)
    done = cli("top", "--once")
    assert done.returncode == 0
    assert "wait, " in done.stdout
    told = cli.json("top", "--once")
    assert told["read_at"].endswith("Z")
    assert told["window"] == "20s"
    assert [each["self"] for each in told["servers"]] == [True]
    assert {"queued", "retrying", "running", "held", "capped"} <= told["depth"].keys()


def test_stats_counts_by_queue_and_says_how_it_would_be_right(cli: Cli, queue: str):
    told = cli.json("stats", "--by", "all", "--since", "1h")
    assert told["step"] == "10s"
    assert cli("stats", "--queue", queue).stdout.splitlines()[-1] == "Nothing happened in this time."
    refused = cli("stats", "--by", "colour")
    assert refused.returncode == 2
    assert "'colour' should be one of queue, kind, both, all" in refused.stderr
    refused = cli("stats", "--since", "1m", "--until", "2m")
    assert (refused.returncode, "since: must be before `until`" in refused.stderr) == (2, True)


@pytest.mark.slow
def test_servers_and_counts_are_listed(cli: Cli, queue: str):
    (server,) = cli.json("servers") if isinstance(cli.json("servers"), list) else [cli.json("servers")]
    assert server["self"] is True
    assert server["version"]
    assert server["name"] in cli("servers").stdout
    cli("enqueue", "summarize_text", '{"text":"x"}', "--queue", queue)
    assert cli("jobs", "count", "--queue", queue).stdout == "1\n"
    assert cli.json("jobs", "count", "--queue", queue, "--status", "succeeded")["count"] == 0
