"""The command `jobqueue-server`, run as a command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobqueue_server.settings import Settings, environment_name
from tests.client_cli.programs import ended
from tools.version import ROOT, version


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    how = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1", **environment}
    # What Python reads when it begins is read by a fork no more.
    return ended("jobqueue-server", arguments, how, may_be_fork="PYTHONPATH" not in environment)


def test_the_version_is_the_one_of_the_package():
    assert run("--version").stdout == f"jobqueue-server {version(ROOT)}\n"


def test_help_names_every_setting_with_its_variable():
    text = run("serve", "--help").stdout
    for name in Settings.model_fields:
        assert f"--{name.replace('_', '-')} " in text
        assert environment_name(name) in text


def test_help_fits_80_columns_and_cuts_nothing():
    for arguments in ((), ("serve",), ("dev",), ("migrate",), ("migrate", "up")):
        text = run(*arguments, "-h", COLUMNS="80").stdout
        assert text == run(*arguments, "--help", COLUMNS="80").stdout
        assert max(map(len, text.splitlines())) <= 80
        assert "\N{HORIZONTAL ELLIPSIS}" not in text


def test_a_command_starts_without_a_schema_of_the_settings_for_each_option():
    # One takes 10 ms, and there are more than 150 options: a start took a second more.
    program = """
from jobqueue_server.settings import Settings
made, make = [], Settings.model_json_schema
Settings.model_json_schema = lambda **how: made.append(how) or make(**how)
import jobqueue_server.cli
print(len(made))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


def test_a_setting_of_another_name_is_refused():
    done = run("serve", "--sesion-ttl", "10s")
    assert done.returncode == 2
    assert "--session-ttl" in done.stderr


def test_serve_is_what_it_does_when_nothing_else_is_said():
    done = run("--session-ttl", "1s")
    assert done.returncode == 2
    assert done.stderr == "JOBQUEUE_SESSION_TTL (--session-ttl) should be from 5s to 1h, not '1s'\n"


def test_migrate_from_nothing_to_up_to_date(empty_dsn: str):
    assert run("migrate", "status", DATABASE_URL=empty_dsn).returncode == 1
    plan = run("migrate", "plan", DATABASE_URL=empty_dsn)
    assert plan.stdout.startswith("-- 0001_")
    up = run("migrate", "up", DATABASE_URL=empty_dsn)
    assert up.returncode == 0, up.stderr
    assert "applied 0001_" in up.stdout
    assert run("migrate", "up", DATABASE_URL=empty_dsn).stdout == "up to date\n"
    assert run("migrate", "plan", DATABASE_URL=empty_dsn).stdout == "-- up to date\n"
    status = run("migrate", "status", DATABASE_URL=empty_dsn)
    assert status.returncode == 0
    assert "pending" not in status.stdout


@pytest.mark.slow
def test_migrate_on_the_embedded_database_that_serve_will_use(data_dir: Path):
    assert run("migrate", "up", "--data-dir", str(data_dir)).returncode == 0
    assert run("migrate", "up", JOBQUEUE_DATA_DIR=str(data_dir)).stdout == "up to date\n"


@pytest.mark.parametrize(
    ("dsn", "message"),
    [
        (
            "postgresql://u:hunter2@127.0.0.1:1/x",
            "the database does not answer (host=127.0.0.1 port=1 database=x): ",
        ),
        ("mysql://u:hunter2@127.0.0.1/x", "should be postgresql://"),
    ],
)
def test_what_an_operator_can_mend_is_said_in_a_line_without_the_password(dsn: str, message: str):
    done = run("migrate", "up", DATABASE_URL=dsn)
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert "hunter2" not in done.stderr
