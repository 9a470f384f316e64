"""What an import costs: three packages, and those only when they are needed."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import get_args

import pytest

import jobqueue
from jobqueue import insight


def modules_after(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_every_public_name_is_there():
    for name in jobqueue.__all__:
        assert getattr(jobqueue, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Clint'"):
        jobqueue.Clint  # noqa: B018


def test_all_of_it_needs_no_package_of_the_server_or_the_cli():
    loaded = modules_after("from jobqueue import *")
    for name in (
        "asyncpg",
        "rich",
        "typer",
        "pydantic",
        "msgspec",
        "prometheus_client",
        "jobqueue_server",
        "jobqueue_worker",
    ):
        assert name not in loaded


def test_outcomes_and_handlers_processes_load_no_grpc():
    assert "grpc" not in modules_after("from jobqueue import Retry, Discard, Snooze, NewJob")


def test_a_program_without_typed_kinds_does_not_load_them():
    loaded = modules_after("from jobqueue import Client, Worker; Worker('127.0.0.1:1').handler('a')(print)")
    assert not [name for name in loaded if name.startswith("jobqueue.typed")]


def test_a_typed_kind_loads_no_library_that_its_type_is_not_of():
    loaded = modules_after(
        "from dataclasses import make_dataclass; from jobqueue import define_kind\n"
        "define_kind('a', make_dataclass('A', [('b', int)])).schema()"
    )
    assert not {"pydantic", "msgspec"} & set(loaded)


@pytest.mark.parametrize(("theirs", "found"), [(None, "ERROR"), ("INFO", "INFO")])
def test_grpc_is_told_to_keep_its_notices_to_itself_unless_somebody_wants_them(theirs, found):
    """It reads the variable when it is imported, and would say `Got goaway` whenever a server restarts."""
    environment = {name: value for name, value in os.environ.items() if name != "GRPC_VERBOSITY"}
    if theirs is not None:
        environment["GRPC_VERBOSITY"] = theirs
    code = "import jobqueue, os, sys; print(os.environ['GRPC_VERBOSITY'], 'grpc' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.split() == [found, "False"]


def test_whatever_an_explanation_has_can_be_named_from_the_package():
    for detail in get_args(insight.Detail):
        assert getattr(jobqueue, detail.__name__) is detail


def test_who_has_no_schedules_does_not_load_their_messages():
    assert "jobqueue.v1.schedule_pb2" not in modules_after(
        "from jobqueue import Client, SyncClient, Worker, Operation"
    )
