"""The client and worker in Go: their own tests, and beside the Python ones on one server."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from jobqueue import Client, NewJob, Status
from tests.conformance.case import CASES, Case
from tests.conformance.run import run
from tests.e2e.conftest import Bench, ends
from tests.e2e.processes import Process
from tests.tls.conftest import Authority

# The first build of all compiles grpc-go.
pytestmark = [pytest.mark.go, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "clients" / "go"
# The Go that is there: another one would have to be downloaded.
ENVIRONMENT = {"GOTOOLCHAIN": "local", "GOWORK": "off", "GOFLAGS": "-buildvcs=false"}

PAYLOADS = (
    '{"n":12345678901234567890}',
    '{ "n" : -98765432109876543210, "again":1.0 }',
    '{"text":"é \\u00e9 <&> 😀 \\ud83d\\ude00 \\u2028"}',
    '{"empty":[ ]}',
)


def go(*arguments: str, given: str | None = None) -> str:
    """What a command of the Go toolchain prints, in the module's folder."""
    done = subprocess.run(
        ["go", *arguments], cwd=MODULE, env={**os.environ, **ENVIRONMENT}, input=given, capture_output=True, text=True
    )  # fmt: skip
    assert done.returncode == 0, f"go {' '.join(arguments)}:\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the examples and the program of these tests."""
    folder = tmp_path_factory.mktemp("go")
    go("build", "-o", f"{folder}/", "./internal/...", "./examples/...")
    return folder


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[list[Process]]:
    """Those that a test has started; they are ended after it."""
    started: list[Process] = []
    yield started
    for process in started:
        process.kill()
        print(f"--- {process.log.name}\n{process.tail()}")


async def work(programs: Path, folder: Path, address: str, queue: str, name: str, *more: str) -> Process:
    """A Go worker whose session is open; its journal is `folder/name.journal`."""
    arguments = [
        "-server",
        address,
        "-queue",
        queue,
        "-name",
        name,
        "-journal",
        f"{folder / name}.journal",
        *more,
    ]
    worker = Process([str(programs / "e2e"), *arguments, "work"], folder / f"{name}.log", {})
    await worker.line("session opened")
    return worker


async def enqueue(
    programs: Path, address: str, queue: str, *payloads: str, flags: Sequence[str] = ()
) -> list[str]:
    """The outputs of jobs of the kind `echo`, one for each payload, as a Go producer reads them."""
    program = [str(programs / "e2e"), "-server", address, "-queue", queue, *flags, "enqueue"]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*program, stdin=pipe, stdout=pipe)
    out, _ = await asyncio.wait_for(process.communicate("\n".join(payloads).encode()), 60)
    assert process.returncode == 0
    return out.decode().removesuffix("\n").split("\n")


def test_the_module_is_formatted_and_vetted_and_passes_its_own_tests() -> None:
    assert go("list", "-m").strip() == "jobqueue.dev/go"
    unformatted = subprocess.run(["gofmt", "-l", "."], cwd=MODULE, capture_output=True, text=True)
    assert unformatted.stdout == ""
    go("vet", "./...")
    go("test", "./...")


def test_the_stubs_are_what_the_contract_makes() -> None:
    command = [sys.executable, "-m", "tools.go_stubs", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_readme_shows_the_examples_as_they_are() -> None:
    readme = (MODULE / "README.md").read_text()
    shown = re.findall(r"```go (\S+)\n(.*?)```", readme, re.DOTALL)
    assert [name for name, _ in shown] == ["examples/producer/main.go", "examples/worker/main.go"]
    for name, text in shown:
        assert (MODULE / name).read_text() == text


@pytest.mark.parametrize("case", [one for one in CASES.values() if one.short], ids=lambda case: case.id)
async def test_the_go_worker_holds_to_the_lease_protocol(programs: Path, tmp_path: Path, case: Case) -> None:
    assert not await run(case, (str(programs / "conformance"),), tmp_path)


async def test_the_examples_double_a_number(
    programs: Path, processes: list[Process], tmp_path: Path, address: str
) -> None:
    worker = Process([str(programs / "worker"), "-server", address], tmp_path / "worker.log", {})
    producer = Process([str(programs / "producer"), "-server", address], tmp_path / "producer.log", {})
    processes += [worker, producer]
    await producer.line('SUCCEEDED {"doubled":42}')
    assert await producer.ended() == 0
    worker.terminate()
    assert await worker.ended() == 0
    assert "Goodbye" not in worker.tail()


async def test_a_go_worker_is_given_and_answers_the_bytes_of_a_python_producer(
    programs: Path, processes: list[Process], tmp_path: Path, client: Client, address: str, queue: str
) -> None:
    processes.append(await work(programs, tmp_path, address, queue, "echo"))
    jobs = [await client.enqueue("echo", queue=queue, payload_json=text.encode()) for text in PAYLOADS]
    done = await ends(client, *(job.id for job in jobs))
    assert [job.output_json.decode() for job in done if job.output_json] == list(PAYLOADS)


async def test_a_python_worker_is_given_the_bytes_of_a_go_producer(
    programs: Path, bench: Bench, address: str, queue: str
) -> None:
    await bench.workers(address, "python", queue=queue)
    outputs = await enqueue(programs, address, queue, *PAYLOADS)
    assert [json.loads(output)["text"] for output in outputs] == list(PAYLOADS)


async def test_go_speaks_to_go_in_the_same_bytes(
    programs: Path, processes: list[Process], tmp_path: Path, address: str, queue: str
) -> None:
    processes.append(await work(programs, tmp_path, address, queue, "echo"))
    assert await enqueue(programs, address, queue, *PAYLOADS) == list(PAYLOADS)


async def test_go_speaks_tls_and_shows_who_it_is(
    programs: Path, processes: list[Process], bench: Bench, tmp_path: Path, dsn: str
) -> None:
    authority = Authority(tmp_path, "authority")
    (cert, key), (own, secret) = authority.issue("server"), authority.issue("client")
    trust = str(authority.cert)
    server = await bench.server(dsn, tls_cert=cert, tls_key=key, tls_client_ca=trust)
    flags = ("-roots", trust, "-cert", own, "-key", secret)
    processes.append(await work(programs, tmp_path, server.address, "default", "echo", *flags))
    assert await enqueue(programs, server.address, "default", "[1]", flags=flags) == ["[1]"]


async def test_a_running_job_is_cancelled_in_a_go_worker(
    programs: Path, processes: list[Process], tmp_path: Path, client: Client, address: str, queue: str
) -> None:
    worker = await work(programs, tmp_path, address, queue, "holder")
    processes.append(worker)
    job = await client.enqueue("hold", queue=queue)
    await started(tmp_path / "holder.journal", 1)
    answer = await client.cancel(job.id, reason="a test")
    assert answer.pending
    [done] = await ends(client, job.id)
    assert (done.status, done.reason) == (Status.CANCELLED, "CANCELLED_BY_CALLER")


async def test_a_job_that_is_too_slow_for_its_timeout_is_timed_out_in_a_go_worker(
    programs: Path, processes: list[Process], tmp_path: Path, client: Client, address: str, queue: str
) -> None:
    processes.append(await work(programs, tmp_path, address, queue, "holder"))
    job = await client.enqueue("hold", queue=queue, timeout=timedelta(seconds=1), max_attempts=1)
    [done] = await ends(client, job.id)
    assert [each.reason for each in done.failed_attempts] == ["TIMED_OUT"]


async def test_kill_9_of_a_go_worker_under_load_loses_nothing(
    programs: Path, processes: list[Process], tmp_path: Path, client: Client, address: str, queue: str
) -> None:
    victim = await work(programs, tmp_path, address, queue, "victim", "-slots", "64")
    processes.append(victim)
    jobs = await client.enqueue_many(NewJob("count", queue=queue) for _ in range(3000))
    await started(tmp_path / "victim.journal", 500)
    victim.kill()
    processes.append(await work(programs, tmp_path, address, queue, "heir", "-slots", "64"))

    done = []
    for first in range(0, len(jobs), 200):  # a server answers so many waits at once and no more
        done += await ends(client, *(job.id for job in jobs[first : first + 200]))

    assert {job.status for job in done} == {Status.SUCCEEDED}
    runs = Counter[str]()
    for name in ("victim", "heir"):
        runs.update(line.split()[0] for line in (tmp_path / f"{name}.journal").read_text().splitlines())
    assert set(runs) == {job.id for job in jobs}
    # Only what the dead one held, or had done without its outcome having been committed, ran again.
    # One that was killed before its receipt had gone out is charged no loss: nobody knows that it had begun.
    again = {job.id for job in done if job.attempts > 1}
    assert {id for id, times in runs.items() if times > 1} <= again
    assert len(again) <= 64


async def started(journal: Path, count: int) -> None:
    """Waits until so many handlers have noted their start."""
    async with asyncio.timeout(30):
        while not journal.exists() or len(journal.read_text().splitlines()) < count:
            await asyncio.sleep(0.01)
