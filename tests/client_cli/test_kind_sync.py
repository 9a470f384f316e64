"""Kinds of a program and kinds of a server, by the command: get, set, diff, sync and export."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.client_cli.programs import Cli

pytestmark = pytest.mark.slow

PROGRAM = """
from dataclasses import dataclass
from jobqueue import Upcast, define_kind

@dataclass
class First:
    name: str

@dataclass
class Mail:
    first: str
    last: str{default}

def older(value):
    return {{"first": value["name"], "last": ""}}

mail = define_kind("mail-{queue}", Mail, output=str, version={version}, upcasters={upcasters}, max_attempts=4)
other = define_kind("other-{queue}")
KINDS = [mail, other]
NONE = [1]
"""


class Program:
    """A module of kinds in a folder of its own, which the command finds as `python -m` would."""

    def __init__(self, cli: Cli, folder: Path, queue: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cli, self.folder, self.queue = cli, folder, queue
        self.module = f"kinds_{queue.replace('-', '_')}"
        # A command is in our folder.
        monkeypatch.chdir(folder)
        self.write()

    def write(self, version: int = 1, upcasters: str = "{}", default: str = "") -> None:
        text = PROGRAM.format(queue=self.queue, version=version, upcasters=upcasters, default=default)
        # Each version is a module of its own: nothing of an older one is in a cache.
        self.module += "x"
        (self.folder / f"{self.module}.py").write_text(text)

    @property
    def kinds(self) -> str:
        return f"{self.module}:KINDS"


@pytest.fixture
def program(cli: Cli, tmp_path: Path, queue: str, monkeypatch: pytest.MonkeyPatch) -> Program:
    return Program(cli, tmp_path, queue, monkeypatch)


def test_a_forgotten_flag_resets_nothing(cli: Cli, queue: str, tmp_path: Path):
    name = f"set-{queue}"
    schema = tmp_path / "s.json"
    schema.write_text('{"type": "object"}')
    full = cli.json(
        *(
            "kinds",
            "set",
            name,
            "--schema",
            str(schema),
            "--output-schema",
            str(schema),
            "--max-attempts",
            "5",
        ),
        *(
            "--timeout",
            "2m",
            "--backoff",
            "3s-1m",
            "--max-running",
            "20",
            "--rate",
            "100/s",
            "--slot-weight",
            "2",
        ),
        *("--version", "3", "--annotation", "owner=post", "--annotation", "docs=https://example.org/?a=b"),
    )
    assert full == {
        "name": name,
        "schema": {"type": "object"},
        "retry_policy": {"min_backoff": "3s", "max_backoff": "60s"},
        "max_attempts": 5,
        "timeout": "120s",
        "limits": {
            "max_running": 20,
            "rate": {"count": 100, "period": "1s", "burst": 0, "most_in_a_period": 104},
        },
        "slot_weight": 2,
        "version": 3,
        "output_schema": {"type": "object"},
        "annotations": {"owner": "post", "docs": "https://example.org/?a=b"},
    }
    assert cli.json("kinds", "set", name, "--max-attempts", "6") == {**full, "max_attempts": 6}
    assert cli.json("kinds", "get", name) == {**full, "max_attempts": 6}
    shown = cli("kinds", "get", name).stdout
    assert all(words in shown for words in ("version: 3", "owner: post", "output schema: {"))
    changed = cli.json("kinds", "set", name, "--rate", "none", "--backoff", "default", "--timeout", "none")
    assert changed["limits"] == {"max_running": 20}
    assert not {"retry_policy", "timeout"} & changed.keys()
    none = ("--schema", "none", "--output-schema", "none", "--annotation", "none", "--version", "0")
    bare = cli.json(
        "kinds", "set", name, *none, "--max-running", "0", "--max-attempts", "0", "--slot-weight", "1"
    )
    assert bare == cli.json("kinds", "put", name)


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ((), 2, "nothing is to be changed"),
        (("--rate-burst", "3"), 2, "--rate-burst is given without a --rate"),
        (("--backoff", "3s"), 2, "two durations, such as 1s-60s"),
        (("--annotation", "owner"), 2, "should be written NAME=VALUE"),
        (("--version", "-1"), 2, "kind.version: must be from 1 to 1000000"),
    ],
    ids=["nothing", "burst", "backoff", "annotation", "version"],
)
def test_a_wrong_change_is_refused_with_what_would_be_right(
    cli: Cli, queue: str, options: tuple[str, ...], code: int, said: str
):
    done = cli("kinds", "set", f"set-{queue}", *options)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr


def test_a_kind_that_is_not_there_is_not_found(cli: Cli, tmp_path: Path):
    for command in (
        ("kinds", "get", "nothing"),
        ("kinds", "export", "--out", str(tmp_path), "--kind", "nothing"),
    ):
        done = cli(*command)
        assert (done.returncode, "the server has no kind 'nothing'" in done.stderr) == (3, True), done.stderr


def test_the_kinds_of_a_program_are_synced_and_checked(program: Program):
    cli, mail, other = program.cli, f"mail-{program.queue}", f"other-{program.queue}"
    assert cli("kinds", "sync", program.kinds, "--check").returncode == 1
    assert cli("kinds", "get", mail).returncode == 3, "a check changes nothing"
    told = cli("kinds", "diff", program.kinds)
    assert (told.returncode, f"{mail}: new" in told.stdout, "BREAKING" in told.stdout) == (0, True, False)
    assert cli("kinds", "get", mail).returncode == 3, "and a diff neither"
    synced = cli.lines("kinds", "sync", program.kinds)
    assert [(each["name"], each["changed"], each["version"]) for each in synced] == [
        (mail, True, 1),
        (other, True, 1),
    ]
    assert f"{mail}: unchanged, version 1" in cli("kinds", "sync", program.kinds).stdout
    assert cli("kinds", "sync", program.kinds, "--check").returncode == 0
    assert cli("kinds", "sync", program.module, "--check").returncode == 0, "all kinds of the module"
    assert cli("kinds", "sync", f"{program.module}:mail", "--check").returncode == 0, "one of them"
    cli.json("kinds", "set", mail, "--max-running", "7")
    assert cli("kinds", "sync", program.kinds, "--check").returncode == 0, "what a program does not name"
    cli.json("kinds", "set", mail, "--max-attempts", "7")
    done = cli("kinds", "sync", program.kinds, "--check")
    assert (done.returncode, '+  "max_attempts": 4' in done.stdout) == (1, True)


def test_a_sync_says_what_breaks_and_an_upcaster_mends_it(program: Program):
    cli, mail = program.cli, f"mail-{program.queue}"
    program.write(default=' = ""')
    cli.lines("kinds", "sync", program.kinds)
    program.write()
    done = cli("kinds", "diff", program.kinds)
    assert "BREAKING payload.last is required" in done.stdout
    (told, _) = cli.lines("kinds", "diff", program.kinds)
    assert (told["name"], told["differs"], told["breaking"]) == (mail, True, ["payload.last is required"])
    program.write(version=2, upcasters="{1: older}")
    (told, _) = cli.lines("kinds", "diff", program.kinds)
    assert told["breaking"] == []
    assert told["notes"] == ["version 1 has an upcaster without a type: any object is taken of it"]
    done = cli("kinds", "sync", program.kinds, "--diff")
    assert '+  "version": 2' in done.stdout
    assert f"{mail}: changed, version 2" in done.stdout
    program.write()
    done = cli("kinds", "sync", program.kinds, "--check")
    assert (done.returncode, "the server has a newer version" in done.stdout) == (0, True)
    assert "left, the server has a newer version" in cli("kinds", "sync", program.kinds).stdout


def test_schemas_are_exported_for_tools_of_other_languages(program: Program):
    cli, mail = program.cli, f"mail-{program.queue}"
    cli.lines("kinds", "sync", program.kinds)
    out = program.folder / "schemas" / "here"
    done = cli("kinds", "export", "--out", str(out), "--kind", mail)
    assert sorted(done.stdout.split()) == sorted(
        str(out / f"{mail}{suffix}") for suffix in (".schema.json", ".output.schema.json")
    )
    found = cli.json("kinds", "get", mail)
    assert json.loads((out / f"{mail}.schema.json").read_text()) == found["schema"]
    assert json.loads((out / f"{mail}.output.schema.json").read_text()) == {"type": "string"}
    assert {"file": str(out / "send_email.schema.json")} in cli.lines("kinds", "export", "--out", str(out))
    (program.folder / "file").touch()
    done = cli("kinds", "export", "--out", str(program.folder / "file"))
    assert (done.returncode, "can't be written" in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("no_such_module_at_all:KINDS", "can't be imported"),
        ("{module}:MISSING", "has no MISSING"),
        ("{module}:NONE", "should be kinds that define_kind made"),
        ("{module}:older", "should be kinds that define_kind made"),
        (":KINDS", "should be MODULE:KINDS"),
    ],
    ids=["module", "name", "list", "function", "nothing"],
)
def test_what_is_no_module_of_kinds_is_refused(program: Program, where: str, said: str):
    done = program.cli("kinds", "sync", where.format(module=program.module))
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
