"""The client and worker in TypeScript: their own tests, and beside the Python ones on one server."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobqueue import Client, NewJob, Status
from tests.conformance.case import CASES, Case
from tests.conformance.run import run
from tests.e2e.conftest import Bench, ends
from tests.e2e.processes import Process

# The first run of all fetches what package-lock.json names.
pytestmark = [pytest.mark.node, pytest.mark.timeout(300)]

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "clients" / "typescript"
PROGRAMS = PACKAGE / "test" / "programs"

PAYLOADS = (
    '{"n":12345678901234567890}',
    '{ "n" : -98765432109876543210, "again":1.0 }',
    '{"text":"é \\u00e9 <&> 😀 \\ud83d\\ude00 \\u2028"}',
    '{"empty":[ ]}',
)


def npm(*arguments: str) -> str:
    """What a command of npm prints, in the package's folder."""
    done = subprocess.run(["npm", *arguments], cwd=PACKAGE, capture_output=True, text=True)
    assert done.returncode == 0, f"npm {' '.join(arguments)}:\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def built() -> None:
    """The package as it would be published."""
    if not (PACKAGE / "node_modules").exists():
        npm("ci", "--ignore-scripts", "--no-audit", "--no-fund")
    npm("run", "build")


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[list[Process]]:
    """Those that a test has started; they are ended after it."""
    started: list[Process] = []
    yield started
    for process in started:
        process.kill()
        print(f"--- {process.log.name}\n{process.tail()}")


async def work(folder: Path, address: str, queue: str, name: str, slots: int = 32) -> Process:
    """A TypeScript worker whose session is open; its journal is `folder/name.journal`."""
    given = ("work", address, queue, name, f"{folder / name}.journal", str(slots))
    worker = Process(["node", str(PROGRAMS / "e2e.mjs"), *given], folder / f"{name}.log", {})
    await worker.line("opened at")
    return worker


async def enqueue(address: str, queue: str, *payloads: str) -> list[str]:
    """The outputs of jobs of the kind `echo`, one for each payload, as a TypeScript producer reads them."""
    program = ["node", str(PROGRAMS / "e2e.mjs"), "enqueue", address, queue, "echo"]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*program, stdin=pipe, stdout=pipe)
    out, _ = await asyncio.wait_for(process.communicate("\n".join(payloads).encode()), 60)
    assert process.returncode == 0
    return out.decode().removesuffix("\n").split("\n")


async def started(journal: Path, count: int) -> None:
    """Waits until so many handlers have noted their start."""
    async with asyncio.timeout(30):
        while not journal.exists() or len(journal.read_text().splitlines()) < count:
            await asyncio.sleep(0.01)


@pytest.mark.usefixtures("built")
def test_the_package_is_typed_and_formatted_and_passes_its_own_tests() -> None:
    npm("run", "lint")
    npm("test")


@pytest.mark.usefixtures("built")
def test_the_stubs_are_what_the_contract_makes() -> None:
    command = [sys.executable, "-m", "tools.typescript_stubs", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "left as they are" not in done.stderr


@pytest.mark.usefixtures("built")
def test_the_package_ships_what_it_exports_and_nothing_else() -> None:
    [package] = json.loads(npm("pack", "--dry-run", "--json", "--ignore-scripts"))
    paths = {file["path"] for file in package["files"]}
    assert {"dist/index.js", "dist/index.d.ts", "dist/v1.js", "README.md", "LICENSE"} <= paths
    assert all(path.startswith("dist/") for path in paths - {"README.md", "LICENSE", "package.json"})
    assert '"resolved"' not in (PACKAGE / "package-lock.json").read_text()


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("case", [one for one in CASES.values() if one.short], ids=lambda case: case.id)
async def test_the_typescript_worker_holds_to_the_lease_protocol(tmp_path: Path, case: Case) -> None:
    assert not await run(case, ("node", str(PROGRAMS / "conformance.mjs")), tmp_path)


@pytest.mark.usefixtures("built")
async def test_producer_and_worker_of_the_readme_do_what_it_says(
    processes: list[Process], tmp_path: Path, address: str
) -> None:
    producer, worker = re.findall(r"```js\n(.*?)```", (PACKAGE / "README.md").read_text(), re.DOTALL)
    # An import by the package's own name is found from within its folder only.
    built = {"@jobqueue/client": (PACKAGE / "dist" / "index.js").as_uri(), "127.0.0.1:50051": address}
    for name, text in (("worker", worker), ("producer", producer)):
        for said, meant in built.items():
            text = text.replace(said, meant)
        program = tmp_path / f"{name}.mjs"
        program.write_text(text)
        processes.append(Process(["node", str(program)], tmp_path / f"{name}.log", {}))
    await processes[1].line("SUCCEEDED { greeting: 'Hello Ada' }")
    assert await processes[1].ended() == 0
    processes[0].terminate()
    assert await processes[0].ended() == 0


@pytest.mark.usefixtures("built")
async def test_the_examples_greet(processes: list[Process], tmp_path: Path, address: str) -> None:
    for name in ("worker", "producer"):
        program = str(PACKAGE / "examples" / f"{name}.mjs")
        processes.append(Process(["node", program, address], tmp_path / f"{name}.log", {}))
    await processes[1].line('SUCCEEDED {"greeting":"Hello Ada"}')
    assert await processes[1].ended() == 0


@pytest.mark.usefixtures("built")
async def test_a_typescript_worker_is_given_and_answers_the_bytes_of_a_python_producer(
    processes: list[Process], tmp_path: Path, client: Client, address: str, queue: str
) -> None:
    processes.append(await work(tmp_path, address, queue, "echo"))
    jobs = [await client.enqueue("echo", queue=queue, payload_json=text.encode()) for text in PAYLOADS]
    done = await ends(client, *(job.id for job in jobs))
    assert [job.output_json.decode() for job in done if job.output_json] == list(PAYLOADS)


@pytest.mark.usefixtures("built")
async def test_a_python_worker_is_given_the_bytes_of_a_typescript_producer(
    bench: Bench, address: str, queue: str
) -> None:
    await bench.workers(address, "python", queue=queue)
    outputs = await enqueue(address, queue, *PAYLOADS)
    assert [json.loads(output)["text"] for output in outputs] == list(PAYLOADS)


@pytest.mark.usefixtures("built")
async def test_typescript_speaks_to_typescript_in_the_same_bytes(
    processes: list[Process], tmp_path: Path, address: str, queue: str
) -> None:
    processes.append(await work(tmp_path, address, queue, "echo"))
    assert await enqueue(address, queue, *PAYLOADS) == list(PAYLOADS)


@pytest.mark.usefixtures("built")
async def test_a_running_job_is_cancelled_in_a_typescript_worker(
    processes: list[Process], tmp_path: Path, client: Client, address: str, queue: str
) -> None:
    processes.append(await work(tmp_path, address, queue, "holder"))
    job = await client.enqueue("hold", queue=queue)
    await started(tmp_path / "holder.journal", 1)
    answer = await client.cancel(job.id, reason="a test")
    assert answer.pending
    [done] = await ends(client, job.id)
    assert (done.status, done.reason) == (Status.CANCELLED, "CANCELLED_BY_CALLER")


@pytest.mark.usefixtures("built")
async def test_kill_9_of_a_typescript_worker_under_load_loses_nothing(
    processes: list[Process], tmp_path: Path, client: Client, address: str, queue: str
) -> None:
    victim = await work(tmp_path, address, queue, "victim", 64)
    processes.append(victim)
    jobs = await client.enqueue_many(NewJob("count", queue=queue) for _ in range(3000))
    await started(tmp_path / "victim.journal", 500)
    victim.kill()
    processes.append(await work(tmp_path, address, queue, "heir", 64))

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
