"""The modules in Go of examples/frameworks: what they need is fetched once, by the digests of go.sum."""

from __future__ import annotations

import functools
import os
import subprocess
from pathlib import Path

import pytest

from tests.go_programs import ENVIRONMENT

PROGRAMS = Path(__file__).parents[2] / "examples" / "frameworks"


def go(module: str, *arguments: str, **environment: str) -> str:
    """What a command of Go prints in the folder of a module.

    Where what the module needs can't be fetched, the test is skipped, and says why.
    """
    _fetch(module)
    done = _run(module, arguments, environment)
    assert done.returncode == 0, f"go {' '.join(arguments)}:\n{done.stdout}{done.stderr}"
    return done.stdout


def unformatted(module: str) -> str:
    """Its files that gofmt would write otherwise."""
    return subprocess.check_output(["gofmt", "-l", "."], cwd=PROGRAMS / module, text=True)


def _run(
    module: str, arguments: tuple[str, ...], environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    given = {**os.environ, **ENVIRONMENT, **environment}
    return subprocess.run(
        ["go", *arguments], cwd=PROGRAMS / module, env=given, capture_output=True, text=True, check=False
    )


def _fetch(module: str) -> None:
    if lacks := _lacks(module):
        pytest.skip(lacks)


@functools.cache
def _lacks(module: str) -> str:
    """Why the module can't be built here. Empty: it can."""
    done = _run(module, ("mod", "download"), {})
    if done.returncode == 0:
        return ""
    # What was fetched and is not what go.sum says is no lack of this machine.
    assert "checksum mismatch" not in done.stderr, done.stderr
    return f"{module} can't be built here: {done.stderr[-500:]}"
