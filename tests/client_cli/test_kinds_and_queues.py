"""The commands about kinds and queues."""

from __future__ import annotations

from pathlib import Path

from tests.client_cli.programs import Cli


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
