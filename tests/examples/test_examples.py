"""Every example runs to its end and prints what it promises."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .conftest import ROOT

pytestmark = pytest.mark.slow

RUN = {"embed_server.py", "embed_worker.py"}


def test_every_example_is_run_by_a_test():
    assert {path.name for path in (ROOT / "examples").iterdir() if path.suffix == ".py"} == RUN


def test_a_worker_inside_of_a_program_runs_three_jobs_and_drains(
    server: str, run_program: Callable[..., str]
):
    assert run_program("examples/embed_worker.py", server).splitlines() == [
        line
        for name in ("Ada", "Grace", "Mary")
        for line in (f"attempt 1 of greet: {{'name': '{name}'}}", f"SUCCEEDED: Hello {name}")
    ]


def test_a_server_inside_of_a_program_starts_answers_over_both_and_ends(
    empty_dsn: str, run_program: Callable[..., str]
):
    assert run_program("examples/embed_server.py", DATABASE_URL=empty_dsn).splitlines() == [
        "summarize_text QUEUED",
        "the server has ended; the program goes on",
    ]
