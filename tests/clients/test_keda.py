"""KEDA's contract: a client that Go makes of its .proto asks as KEDA does, and hears when jobs come and go."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.go_programs import ENVIRONMENT, ROOT
from tests.lease.hand_worker import PATIENCE
from tests.lease.place import Place
from tools.go_stubs import plugins

# The first build of all compiles grpc-go.
pytestmark = [pytest.mark.language("go"), pytest.mark.timeout(600)]

PROTO = ROOT / "server/src/jobqueue_server/rpc/keda/externalscaler.proto"
PROGRAM = Path(__file__).parent / "keda" / "main.go"
# The versions of our own client.
PINS = [ROOT / "clients" / "go" / name for name in ("go.mod", "go.sum")]
MODULE = "jobqueue.dev/keda"


@pytest.fixture(scope="module")
def program() -> Path:
    """The program, built if it is not there yet in this form."""
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in (PROTO, PROGRAM, *PINS))).hexdigest()
    home = ROOT / ".build" / f"keda-{digest[:8]}"
    made = home / "scaler"
    if not made.exists():
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        shutil.copy(PROGRAM, home)
        for path in PINS:
            shutil.copy(path, home)
        options = f"module={MODULE},M{PROTO.name}={MODULE}/externalscaler"
        _run(
            home,
            sys.executable,
            *("-m", "grpc_tools.protoc", f"-I{PROTO.parent}"),
            *(f"--plugin={name}={path}" for name, path in plugins().items()),
            *(f"--go_out={home}", f"--go_opt={options}", f"--go-grpc_out={home}", f"--go-grpc_opt={options}"),
            str(PROTO),
        )
        _run(home, "go", "mod", "edit", f"-module={MODULE}")
        _run(home, "go", "build", "-mod=mod", "-o", str(made), ".")
    return made


def _run(home: Path, *command: str) -> None:
    done = subprocess.run(
        command, cwd=home, env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


async def answers(program: Path, address: str, **metadata: str) -> AsyncIterator[tuple[str, Any]]:
    """What the program prints, line by line, until it ends."""
    process = await asyncio.create_subprocess_exec(
        program, address, json.dumps(metadata), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        while line := await asyncio.wait_for(process.stdout.readline(), PATIENCE):
            said = json.loads(line)
            yield said["what"], said["value"]
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_a_client_of_kedas_contract_is_told_when_jobs_come_and_go(program: Path, dsn: str) -> None:
    async with Place(dsn) as place:
        said = answers(program, place.address, queue="mail", slotsPerReplica="4")
        assert await anext(said) == ("spec", ["wanted_slots", 4, 4])
        assert await anext(said) == ("the same", 4)
        assert await anext(said) == ("active", [False, False, "wanted_slots", 0, 0])
        jobs = await place.batch(9, queue="mail")
        what, (pushed, polled, *_) = await anext(said)
        assert (what, pushed, polled) == ("active", True, True)
        for job in jobs:
            await place.cancel(job)
        what, (pushed, *_) = await anext(said)
        assert (what, pushed) == ("active", False)
        await place.app.drain()
        assert await anext(said) == ("end", None)


async def test_a_client_of_kedas_contract_is_told_what_is_wrong_with_a_trigger(
    program: Path, dsn: str
) -> None:
    async with Place(dsn) as place:
        said = [each async for each in answers(program, place.address, queue="mail", slotsPerReplica="many")]
    words = "scalerMetadata.slotsPerReplica: must be a whole number from 1 to 1000000, such as 10"
    assert said == [("refused", ["InvalidArgument", words])]
