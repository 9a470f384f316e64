"""The options that all commands share stand before the command, within its group, or after it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from click.testing import CliRunner
from typer.main import get_command

from jobqueue.cli.app import app
from tests.client_cli.programs import Cli

pytestmark = pytest.mark.slow

NOBODY = "127.0.0.1:1"
SHARED = {
    "--server": "127.0.0.1:50051",
    "--deadline": "1s",
    "--json": None,
    "--tls-roots": "public",
    "--tls-client-cert": "cert.pem",
    "--tls-client-key": "key.pem",
    "--token": "hunter2",
    "--encodings": "tests.client_cli.encoded:ENCODINGS",
}
COMMANDS = [
    *[
        (name,)
        for name in [
            *(
                "enqueue",
                "enqueue-batch",
                "get",
                "list",
                "wait",
                "watch",
                "cancel",
                "retry",
                "release",
                "delete",
                "explain",
                "demand",
            ),
            *("top", "stats", "servers"),
            "whoami",
        ]
    ],
    *[("kinds", name) for name in ("list", "put", "get", "set", "diff", "sync", "export", "keys")],
    *[("queues", name) for name in ("list", "show", "pause", "resume", "set", "keys", "key", "unblock")],
    *[
        ("schedules", name)
        for name in (
            *("create", "get", "list", "update", "delete", "pause"),
            *("resume", "run", "backfill", "preview", "runs"),
        )
    ],
    *[("keys", name) for name in ("create", "list", "show", "rotate", "revoke")],
    *[("identities", name) for name in ("put", "list", "delete")],
    *[("namespaces", name) for name in ("create", "list", "disable", "enable")],
    ("audit", "list"),
    *[("jobs", name) for name in ("retry", "cancel", "delete", "update", "count")],
    *[("workers", name) for name in ("list", "show", "drain")],
    *[("operations", name) for name in ("list", "get", "cancel", "resume", "wait")],
]


def _places(command: tuple[str, ...], *options: str) -> list[tuple[str, ...]]:
    """The command with the options in each of their places."""
    return [(*command[:place], *options, *command[place:]) for place in range(len(command) + 1)]


#: Made once: from the functions it takes four times as long as to say what it can do.
PROGRAM: Any = get_command(app)


def _help(*arguments: str) -> str:
    """What it says, in this process: a hundred of its own would take minutes."""
    done = CliRunner().invoke(PROGRAM, [*arguments, "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert done.exit_code == 0, done.output
    return done.output


def test_the_commands_here_are_all_that_there_are():
    groups = (
        "kinds",
        "queues",
        "schedules",
        "keys",
        "identities",
        "namespaces",
        "audit",
        "jobs",
        "workers",
        "operations",
    )
    for group in ((), *((name,) for name in groups)):
        told = _help(*group).partition("Commands")[2]
        found = set(re.findall(r"^│ ([a-z-]+) ", told, re.MULTILINE))
        here = {command[len(group)] for command in COMMANDS if command[: len(group)] == group}
        assert found == (here if group else {command[0] for command in COMMANDS})


@pytest.mark.parametrize("command", COMMANDS, ids="-".join)
def test_every_command_takes_every_shared_option_in_every_place(command: tuple[str, ...]):
    every = [word for name, value in SHARED.items() for word in (name, value) if word is not None]
    for arguments in _places(command, *every):
        assert f"{' '.join(command)} [OPTIONS]" in _help(*arguments)


@pytest.mark.parametrize("command", [("list",), ("kinds", "list"), ("queues", "list")], ids="-".join)
def test_an_option_means_the_same_in_every_place(address: str, command: tuple[str, ...]):
    elsewhere = Cli(NOBODY)
    for arguments in _places(command, "--server", address):
        assert elsewhere(*arguments).returncode == 0, "and it goes before the environment"
    here = Cli(address)
    for arguments in _places(command, "--server", NOBODY, "--deadline", "0.2s", "--json"):
        done = here(*arguments)
        assert done.returncode == 4
        assert NOBODY in json.loads(done.stderr)["error"]["message"]


def test_the_last_place_counts(address: str):
    cli = Cli(NOBODY)
    assert cli("--server", NOBODY, "kinds", "list", "--server", address).returncode == 0
    assert cli("--server", NOBODY, "kinds", "--server", address, "list").returncode == 0
    assert cli("kinds", "--server", NOBODY, "list", "--server", address).returncode == 0


@pytest.mark.parametrize("command", [("list",), ("kinds", "list")], ids="-".join)
def test_what_lets_one_in_means_the_same_in_every_place(cli: Cli, command: tuple[str, ...]):
    for arguments in _places(command, "--tls-roots", "/nowhere/roots.pem"):
        done = cli(*arguments)
        assert done.returncode == 2
        assert "/nowhere/roots.pem" in done.stderr
    from_environment = Cli(cli.address, JOBQUEUE_TLS_ROOTS="/nowhere/env.pem")
    assert "/nowhere/env.pem" in from_environment(*command).stderr
    assert "/nowhere/arg.pem" in from_environment("--tls-roots", "/nowhere/arg.pem", *command).stderr
