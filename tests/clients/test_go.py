"""The module in Go: its own tests, stubs, README and examples. What all languages hold to is beside this."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.processes import Process

from .conftest import free_port, shown

# The first build of all compiles grpc-go.
pytestmark = [pytest.mark.language("go"), pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "clients" / "go"
# The Go that is there: another one would have to be downloaded.
ENVIRONMENT = {"GOTOOLCHAIN": "local", "GOWORK": "off", "GOFLAGS": "-buildvcs=false"}


def go(*arguments: str, folder: Path = MODULE, **environment: str) -> str:
    """What a command of the Go toolchain prints, in the module's folder."""
    given = {**os.environ, **ENVIRONMENT, **environment}
    done = subprocess.run(["go", *arguments], cwd=folder, env=given, capture_output=True, text=True)
    assert done.returncode == 0, f"go {' '.join(arguments)}:\n{done.stdout}{done.stderr}"
    return done.stdout


def test_the_module_is_formatted_and_vetted_and_passes_its_own_tests() -> None:
    assert go("list", "-m").strip() == "jobqueue.dev/go"
    unformatted = subprocess.run(["gofmt", "-l", "."], cwd=MODULE, capture_output=True, text=True)
    assert unformatted.stdout == ""
    go("vet", "./...")
    go("vet", "-C", "otel", "./...")
    go("test", "./...")


def test_staticcheck_finds_nothing(tmp_path: Path) -> None:
    go("build", "-C", "tools", "-o", f"{tmp_path}/staticcheck", "honnef.co/go/tools/cmd/staticcheck")
    command = [str(tmp_path / "staticcheck"), "./..."]
    done = subprocess.run(
        command, cwd=MODULE, env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_stubs_are_what_the_contract_makes() -> None:
    command = [sys.executable, "-m", "tools.go_stubs", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


async def test_the_readme_leads_from_an_empty_folder_to_a_worker_a_producer_and_a_green_test(
    processes: list[Process], tmp_path: Path, address: str
) -> None:
    readme = (MODULE / "README.md").read_text()
    assert len(readme.splitlines()) <= 150
    app = program_of([readme], tmp_path / "app", address)
    assert sorted(str(path.relative_to(app)) for path in app.rglob("*.go")) == [
        "mail/mail.go", "mail/mail_test.go", "producer/main.go", "worker/main.go",
    ]  # fmt: skip
    assert "ok" in go("test", "-mod=mod", "./mail", folder=app)
    go("build", "-mod=mod", "-o", f"{tmp_path}/", "./worker", "./producer", folder=app)
    processes.append(Process([str(tmp_path / "worker")], tmp_path / "worker.log", {}))
    producer = Process([str(tmp_path / "producer")], tmp_path / "producer.log", {})
    processes.append(producer)
    (said,) = re.findall(r"prints `(.*)`:", readme)
    await producer.line(said)
    assert await producer.ended() == 0


async def test_the_programs_of_the_pages_run_as_they_stand(
    processes: list[Process], tmp_path: Path, address: str
) -> None:
    pages = [(ROOT / "docs" / name).read_text() for name in ("kinds.md", "testing.md")]
    app = program_of(pages, tmp_path / "app", address)
    said = go("test", "-mod=mod", "-v", ".", folder=app)
    assert said.count("--- PASS") == 2
    go("build", "-mod=mod", "-o", f"{tmp_path}/program", ".", folder=app)
    program = Process([str(tmp_path / "program")], tmp_path / "program.log", {})
    processes.append(program)
    (wanted,) = re.findall(r"fmt\.Println\(sent\.MessageID\) // (.*)", pages[0])
    await program.line(wanted)
    assert await program.ended() == 0


def program_of(pages: list[str], folder: Path, address: str) -> Path:
    """A module of the files that pages show, which needs nothing but what ours needs."""
    for name, text in re.findall(r"```go (\S+\.go)\n(.*?)```", "\n".join(pages), re.DOTALL):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("127.0.0.1:50051", address))
    unformatted = subprocess.run(["gofmt", "-l", "."], cwd=folder, capture_output=True, text=True)
    assert unformatted.stdout == ""
    (folder / "go.sum").write_text((MODULE / "go.sum").read_text())
    needs = (MODULE / "go.mod").read_text().replace("module jobqueue.dev/go\n", "module example.org/app\n")
    (folder / "go.mod").write_text(needs)
    ours = f"-replace=jobqueue.dev/go={MODULE}"
    go("mod", "edit", "-require=jobqueue.dev/go@v0.0.0", ours, folder=folder)
    go("vet", "-mod=mod", "./...", folder=folder)
    return folder


async def test_the_examples_double_a_number(processes: list[Process], tmp_path: Path, address: str) -> None:
    go("build", "-o", f"{tmp_path}/", "./examples/...")
    worker = Process([str(tmp_path / "worker"), "-server", address], tmp_path / "worker.log", {})
    processes.append(worker)
    await produce(processes, tmp_path, address)
    worker.terminate()
    assert await worker.ended() == 0
    assert "Goodbye" not in worker.tail()


async def test_the_example_with_metrics_counts_what_became_of_its_jobs(
    processes: list[Process], tmp_path: Path, address: str
) -> None:
    go("build", "-o", f"{tmp_path}/", "./examples/...")
    page = f"127.0.0.1:{free_port()}"
    program = [str(tmp_path / "metrics"), "-server", address, "-page", page]
    processes.append(Process(program, tmp_path / "metrics.log", {}))
    await produce(processes, tmp_path, address)
    await shown(
        f"http://{page}/debug/vars", '"running": {"double": 0}', '"finished": {"double.succeeded": 1}'
    )


async def test_a_handler_comes_to_the_same_by_itself_and_by_a_worker_of_a_server(address: str) -> None:
    test = "TestAHandlerComesToTheSameByItselfAndByAWorkerOfAServer"
    command = ["test", "-count=1", "-v", "-run", f"^{test}$", "./jobqueue/jobqueuetest"]
    said = await asyncio.to_thread(go, *command, JOBQUEUE_TEST_SERVER=address)
    assert f"--- PASS: {test}" in said


async def produce(processes: list[Process], folder: Path, address: str) -> None:
    """Runs the example's producer to its end."""
    producer = Process([str(folder / "producer"), "-server", address], folder / "producer.log", {})
    processes.append(producer)
    await producer.line('SUCCEEDED {"doubled":42}')
    assert await producer.ended() == 0
