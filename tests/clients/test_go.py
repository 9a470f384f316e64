"""The module in Go: its own tests, stubs, README and examples. What all languages hold to is beside this."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import jsonschema_rs
import pytest

from jobqueue import AesGcm, Client, Encoded, Encodings, JobContext, Retry, Worker, Zstd, define_kind
from tests.e2e.processes import Process
from tests.go_programs import ENVIRONMENT
from tests.ports import free_port

from .conftest import shown

# The first build of all compiles grpc-go.
pytestmark = [pytest.mark.language("go"), pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "clients" / "go"
EXAMPLES = ROOT / "examples" / "go"
#: The command of a server for tests.
SERVER = str(Path(sys.executable).with_name("jobqueue-server"))

#: A value of each type of clients/go/internal/shapes.
_TREE = {"name": "a", "parent": None, "children": [{"name": "b", "children": None}]}
VALUES: dict[str, Any] = {
    "tree": _TREE,
    "strict": _TREE,
    "list": [{"a": 1, "b": 255}, None],
    "scalars": {
        "Shared": "s", "hidden": "h", "small": -128, "large": 2**63 - 1, "natural": 2**64 - 1, "any": [1], "float": 0.5,
        "big": 2**63, "at": "2026-11-28T17:02:31.5+01:00", "bytes": "YWI=", "pair": [True, False],
        "labels": {"a": "b"}, "exact": 1.5,
    },
}  # fmt: skip
#: What such a value may have in it, and what it may not.
ODD: list[Any] = [
    None, True, 0, -1, 1.5, 2.0, 127, 128, 256, 2**63, -(2**63), 1e30, "", "a", "YQ==", "YQ=", "2026-11-28T17:02:31Z",
    "2026-11-28", "2026-13-28T17:02:31Z", [], [1], [None], [False, False], {}, {"a": 1}, {"a": "b"}, {"name": "c"},
]  # fmt: skip


def go(*arguments: str, folder: Path = MODULE, **environment: str) -> str:
    """What a command of the Go toolchain prints, in the module's folder."""
    given = {**os.environ, **ENVIRONMENT, **environment}
    done = subprocess.run(["go", *arguments], cwd=folder, env=given, capture_output=True, text=True)
    assert done.returncode == 0, f"go {' '.join(arguments)}:\n{done.stdout}{done.stderr}"
    return done.stdout


def test_the_module_is_formatted_and_vetted() -> None:
    assert go("list", "-m").strip() == "jobqueue.dev/go"
    unformatted = subprocess.run(["gofmt", "-l", ".", EXAMPLES], cwd=MODULE, capture_output=True, text=True)
    assert unformatted.stdout == ""
    for module in (".", "otel", "zstd", str(EXAMPLES)):
        go("vet", "-C", module, "./...")


# Apart: what breaks the code on purpose is not to be found by its looks.
def test_the_module_passes_its_own_tests() -> None:
    go("test", "./...")
    go("test", "-C", "zstd", "./...")


@pytest.mark.long
def test_staticcheck_finds_nothing(tmp_path: Path) -> None:
    go("build", "-C", "tools", "-o", f"{tmp_path}/staticcheck", "honnef.co/go/tools/cmd/staticcheck")
    command = [str(tmp_path / "staticcheck"), "./..."]
    for module in (MODULE, EXAMPLES):
        done = subprocess.run(
            command, cwd=module, env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr


#: Each line with `wrong` does not compile, and all others do.
TYPES = """package main

import (
	"context"

	"jobqueue.dev/go/jobqueue"
)

type Mail struct{ To string }

type Sent struct{ ID string }

var SendMail = jobqueue.DefineKind[Mail, Sent]("send-mail", jobqueue.KeyBy(func(mail Mail) string { return mail.To }))

func right(_ context.Context, _ *jobqueue.LeasedJob, mail Mail) (Sent, error) { return Sent{mail.To}, nil }

func anotherOutput(_ context.Context, _ *jobqueue.LeasedJob, mail Mail) (string, error) { return mail.To, nil }

func anotherPayload(_ context.Context, _ *jobqueue.LeasedJob, sent Sent) (Sent, error) { return sent, nil }

func main() {
	client, _ := jobqueue.NewClient("127.0.0.1:50051", jobqueue.ClientOptions{})
	worker, _ := jobqueue.NewWorker("127.0.0.1:50051", jobqueue.WorkerOptions{})
	ctx := context.Background()
	job, _ := client.Enqueue(ctx, SendMail.New(Mail{To: "ada"}))
	client.Enqueue(ctx, SendMail.New(Sent{ID: "7"})) // wrong
	client.Enqueue(ctx, SendMail.New(Mail{To: 7})) // wrong
	client.Enqueue(ctx, SendMail.New(Mail{Too: "ada"})) // wrong
	client.Enqueue(ctx, SendMail.New()) // wrong
	client.Enqueue(ctx, SendMail.New("ada")) // wrong
	jobqueue.KeyBy(func(mail Mail) string { return mail.Too }) // wrong
	jobqueue.KeyBy(func(mail Mail) int { return 7 }) // wrong
	jobqueue.HandleKind(worker, SendMail, right, jobqueue.Slots(4))
	jobqueue.HandleKind(worker, SendMail, anotherOutput) // wrong
	jobqueue.HandleKind(worker, SendMail, anotherPayload) // wrong
	output, _ := SendMail.OutputOf(job)
	println(output.ID)
	println(output.To) // wrong
	payload, _ := SendMail.PayloadOf(job)
	println(payload.To)
	println(payload.ID) // wrong
}
"""


def test_what_does_not_fit_a_kind_does_not_compile(tmp_path: Path) -> None:
    program, overlay = tmp_path / "main.go", tmp_path / "overlay.json"
    program.write_text(TYPES)
    overlay.write_text(
        json.dumps({"Replace": {str(MODULE / "internal" / "types" / "main.go"): str(program)}})
    )
    command = ["go", "build", f"-overlay={overlay}", "-gcflags=-e", "-o", "/dev/null", "./internal/types"]
    done = subprocess.run(
        command, cwd=MODULE, env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True, check=False
    )
    found = {int(number) for number in re.findall(r"main\.go:(\d+):\d+: ", done.stderr)}
    wrong = {number for number, line in enumerate(TYPES.splitlines(), 1) if line.endswith("// wrong")}
    assert found == wrong, done.stderr


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
    worker = Process([str(tmp_path / "worker")], tmp_path / "worker.log", {})
    processes.append(worker)
    await worker.line("session opened")
    producer = Process([str(tmp_path / "producer")], tmp_path / "producer.log", {})
    processes.append(producer)
    (said,) = re.findall(r"prints `(.*)`:", readme)
    await producer.line(said)
    assert await producer.ended() == 0
    await worker.line("a mail to ada")
    assert "WARN" not in worker.tail()


async def test_the_programs_of_the_pages_run_as_they_stand(
    processes: list[Process], tmp_path: Path, address: str
) -> None:
    pages = [(ROOT / "docs" / name).read_text() for name in ("kinds.md", "testing.md", "middleware.md")]
    app = program_of(pages, tmp_path / "app", address)
    said = go("test", "-mod=mod", "-v", ".", folder=app, JOBQUEUE_SERVER_COMMAND=SERVER)
    assert said.count("--- PASS") == 5
    go("build", "-mod=mod", "-o", f"{tmp_path}/program", ".", folder=app)
    program = Process([str(tmp_path / "program")], tmp_path / "program.log", {})
    processes.append(program)
    (wanted,) = re.findall(r"fmt\.Println\(sent\.MessageID\) // (.*)", pages[0])
    await program.line(wanted)
    assert await program.ended() == 0


async def test_the_program_of_the_page_about_schedules_runs_as_it_stands(
    processes: list[Process], tmp_path: Path, address: str
) -> None:
    page = (ROOT / "docs" / "schedules.md").read_text()
    app = program_of([page], tmp_path / "app", address)
    go("build", "-mod=mod", "-o", f"{tmp_path}/nightly", "./nightly", folder=app)
    program = Process([str(tmp_path / "nightly")], tmp_path / "nightly.log", {})
    processes.append(program)
    (wanted,) = re.findall(r"fmt\.Println\(.*run\.Outcome\) // (.*)", page)
    await program.line(wanted)
    assert await program.ended() == 0


async def test_the_program_of_the_page_about_many_jobs_retries_them(
    processes: list[Process], tmp_path: Path, address: str, client: Client, queue: str
) -> None:
    page = (ROOT / "docs" / "bulk.md").read_text()
    app = program_of([page.replace("mail", queue)], tmp_path / "app", address)
    go("build", "-mod=mod", "-o", f"{tmp_path}/redrive", "./redrive", folder=app)
    for _ in range(2):
        await client.cancel((await client.enqueue("echo", queue=queue)).id)
    program = Process([str(tmp_path / "redrive")], tmp_path / "redrive.log", {})
    processes.append(program)
    await program.line("2 jobs match, such as [")
    (wanted,) = re.findall(r"fmt\.Println\(done\.Changed, .*\) // (.*)", page)
    await program.line(wanted)
    assert await program.ended() == 0


async def test_the_program_of_the_page_of_encodings_passes_its_test_as_it_stands(
    tmp_path: Path, address: str
) -> None:
    page = (ROOT / "docs" / "encodings.md").read_text()
    app = program_of([page], tmp_path / "app", address, "zstd")
    assert go("test", "-mod=mod", "-v", ".", folder=app).count("--- PASS") == 1


def program_of(pages: list[str], folder: Path, address: str, beside: str = "") -> Path:
    """A module of the files that pages show, which needs nothing but what ours needs, or one that is beside it."""
    for name, text in re.findall(r"```go (\S+\.go)\n(.*?)```", "\n".join(pages), re.DOTALL):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("127.0.0.1:50051", address))
    unformatted = subprocess.run(["gofmt", "-l", "."], cwd=folder, capture_output=True, text=True)
    assert unformatted.stdout == ""
    (folder / "go.sum").write_text((MODULE / beside / "go.sum").read_text())
    needs = re.sub(r"(?m)^module .*$", "module example.org/app", (MODULE / beside / "go.mod").read_text())
    (folder / "go.mod").write_text(needs)
    for folder_of in {"", beside}:
        name = f"jobqueue.dev/go/{folder_of}".rstrip("/")
        ours = f"-replace={name}={MODULE / folder_of}"
        go("mod", "edit", f"-require={name}@v0.0.0", ours, folder=folder)
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


def test_a_type_takes_what_its_schema_takes_and_nothing_else() -> None:
    program = ROOT / ".cache" / "conformance" / "go" / "shapes"
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as shapes:
        assert shapes.stdin is not None
        assert shapes.stdout is not None
        schemas = json.loads(shapes.stdout.readline())
        validators = {name: jsonschema_rs.validator_for(schema) for name, schema in schemas.items()}
        assert validators.keys() == VALUES.keys()
        random, taken = Random(1), 0
        for number in range(3000):
            name = random.choice(sorted(VALUES))
            value = json.loads(json.dumps(VALUES[name]))
            for _ in range(number % 3):
                value = changed(value, random)
            shapes.stdin.write(json.dumps({"type": name, "text": json.dumps(value)}) + "\n")
            shapes.stdin.flush()
            took = json.loads(shapes.stdout.readline())
            assert took == validators[name].is_valid(value), (name, value)
            taken += took
        shapes.stdin.close()
    assert 1000 < taken < 2500


def changed(value: Any, random: Random) -> Any:
    """A value like it, but for one part that is another, left out, or added."""
    if isinstance(value, dict) and value and random.random() < 0.8:
        key = random.choice(sorted(value))
        match random.randrange(5):
            case 0:
                return {name: each for name, each in value.items() if name != key}
            case 1:
                return {**value, "unknown": random.choice(ODD)}
            case _:
                return {**value, key: changed(value[key], random)}
    if isinstance(value, list) and value and random.random() < 0.8:
        at = random.randrange(len(value))
        match random.randrange(4):
            case 0:
                return value[:at] + value[at + 1 :]
            case 1:
                return [*value, value[at]]
            case _:
                return [*value[:at], changed(value[at], random), *value[at + 1 :]]
    return random.choice(ODD)


async def test_a_test_has_a_namespace_of_a_server_that_is_started_for_it() -> None:
    tests = "^Test(InAScope|Scopes|AServerForTests)"
    command = ["test", "-count=1", "-v", "-run", tests, "./jobqueue/jobqueuetest"]
    said = await asyncio.to_thread(go, *command, JOBQUEUE_SERVER_COMMAND=SERVER)
    assert "--- SKIP" not in said
    assert said.count("\n--- PASS") == 19


async def test_what_operators_do_is_done_on_a_real_server() -> None:
    command = ["test", "-count=1", "-v", "-run", "^TestInAScope", "./jobqueue"]
    said = await asyncio.to_thread(go, *command, JOBQUEUE_SERVER_COMMAND=SERVER)
    assert "--- SKIP" not in said
    assert said.count("\n--- PASS") == 28


@pytest.mark.parametrize("test", ["TestARealServerHasWhatKindsAreDeclaredAndKeepsWhatAnOperatorSet"])
async def test_on_a_real_server(address: str, test: str) -> None:
    command = ["test", "-count=1", "-v", "-run", f"^{test}$", "./jobqueue/..."]
    said = await asyncio.to_thread(go, *command, JOBQUEUE_TEST_SERVER=address)
    assert f"--- PASS: {test}" in said


@dataclass
class Note:
    text: str


async def test_encoded_jobs_of_go_and_python_are_each_others(address: str) -> None:
    encodings = Encodings([Zstd(over=200), AesGcm({"a": bytes(range(32))}, primary="a")])
    kind = define_kind("both.required", Note, encodings="required")
    worker = Worker(address, encodings=encodings)

    @worker.handler("py.encoded")
    async def handle(ctx: JobContext) -> Any:
        text = ctx.job.payload["text"]
        if ctx.job.attempt == 1:
            ctx.save_checkpoint(f"half of {text}".encode())
            raise Retry("again", after=timedelta(0))
        return {"got": text, "checkpoint": ctx.job.checkpoint.decode()}

    async with Client(address, encodings=encodings) as client, Client(address) as plain:
        await client.sync_kinds([kind])
        await client.enqueue("keyed", {"text": "zürich"}, idempotency_key="order-ä-7")
        texts = ["short", "a long one, " * 100]
        ours = [await client.enqueue("go.encoded", {"text": text}) for text in texts]
        serving = asyncio.create_task(worker.serve())
        try:
            command = ["test", "-C", "zstd", "-count=1", "-v", "-run", "^TestEncodedJobsOf", "."]
            said = await asyncio.to_thread(go, *command, JOBQUEUE_TEST_SERVER=address)
            assert "--- PASS: TestEncodedJobsOfGoAndPythonAreEachOthers" in said
        finally:
            worker.stop(grace=timedelta(0))
            await serving
        for text, job in zip(texts, ours, strict=True):
            assert (await client.get(job.id)).output == {"got": text, "checkpoint": f"half of {text}"}
            assert isinstance((await plain.get(job.id)).output, Encoded)
        followed = [job.payload async for job in client.list(kind="py.next", full=True)]
        assert sorted(each["text"] for each in followed) == sorted(texts)
        (made,) = [job async for job in client.list(kind="both.required", full=True)]
        (synced,) = [each for each in await client.list_kinds() if each.name == kind.name]
        assert synced.schema == kind.schema()
        assert kind.payload_of(made).text.startswith("the eagle has landed, ")


async def produce(processes: list[Process], folder: Path, address: str) -> None:
    """Runs the example's producer to its end."""
    producer = Process([str(folder / "producer"), "-server", address], folder / "producer.log", {})
    processes.append(producer)
    await producer.line('SUCCEEDED {"doubled":42}')
    assert await producer.ended() == 0
