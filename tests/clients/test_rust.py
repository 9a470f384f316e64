"""The crate in Rust: its own tests, stubs, package, README and examples. What all languages hold to is beside this."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import tomllib
from datetime import timedelta
from pathlib import Path

import pytest

from jobqueue import AesGcm, Client, Encodings, JobContext, JsonText, Status, Worker, Zstd
from tests.e2e.conftest import ends
from tests.e2e.processes import Process

from .conftest import Work, enqueue
from .gate import Gate

# The first build of all compiles tonic.
pytestmark = [pytest.mark.language("rust"), pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]
CRATE = ROOT / "clients" / "rust"
EXAMPLES = "examples/rust"
PROMISES = CRATE / "programs" / "tests" / "client"
BUILT = ROOT / ".cache" / "rust" / "debug"
# The same features everywhere, so that nothing is compiled twice.
ALL = ("--workspace", "--all-features", "--quiet")
# Lints what it compiles. `cargo clippy` would check all dependencies once more, 70 s of CPU where there is no cache.
LINTED = {"RUSTC_WORKSPACE_WRAPPER": "clippy-driver"}


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command of cargo that went well, with the versions of versions.lock."""
    command = [sys.executable, "-m", "tools.cargo", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0, f"cargo {' '.join(arguments)}:\n{done.stdout}{done.stderr}"
    return done


def cargo(*arguments: str, **environment: str) -> str:
    """What it prints."""
    return run(*arguments, **environment).stdout


def test_the_crate_is_formatted_and_linted() -> None:
    cargo("fmt", "--all", "--check")
    # It says nothing but warnings, also of what was compiled before.
    said = run("test", *ALL, "--no-run", **LINTED).stderr
    assert not said, said


def test_the_examples_are_formatted_and_linted() -> None:
    cargo("--in", EXAMPLES, "fmt", "--check")
    said = run("--in", EXAMPLES, "test", "--test", "testing", "--no-run", "--quiet", **LINTED).stderr
    assert not said, said


# Apart: what breaks the code on purpose is not to be found by its looks.
def test_the_crate_passes_its_own_tests() -> None:
    cargo("test", *ALL, **LINTED)


UNFIT = """
use jobqueue::{HandlerResult, LeasedJob, Worker};
struct Own;
async fn answers(_: LeasedJob) -> HandlerResult<Own> { Ok(Own) }
async fn takes(_: Own, _: LeasedJob) -> HandlerResult { Ok(()) }
fn main() { let _ = Worker::builder("jobs:1").handle("k", answers).handle_kind(takes); }
"""


def test_a_handler_of_unfit_types_is_told_by_the_compiler_what_would_fit(tmp_path: Path) -> None:
    # Built as the programs were; the library is laid where it is found.
    cargo("build", *ALL, "--lib", "--bins", "--examples")
    program = tmp_path / "unfit.rs"
    program.write_text(UNFIT)
    command = ["rustc", "--edition", "2024", "--emit", "metadata", "--out-dir", str(tmp_path), str(program)]
    found = ["--extern", f"jobqueue={BUILT / 'libjobqueue.rlib'}", "-L", f"dependency={BUILT / 'deps'}"]
    done = subprocess.run([*command, *found], cwd=CRATE, capture_output=True, text=True)
    assert "`Own` is no output of a handler" in done.stderr, done.stderr
    assert "wrap it in `Json(..)`" in done.stderr
    assert "implement `JobKind` for it" in done.stderr


@pytest.mark.long
def test_the_crate_is_linted_without_its_features_too() -> None:
    cargo("clippy", "--package", "jobqueue", "--all-targets", "--quiet", "--", "-D", "warnings")


def promises() -> list[str]:
    """The tests in Rust that want a server, as cargo names them."""
    found = re.compile(r"^async fn (\w+)\(\) -> Done", re.MULTILINE)
    files = sorted(PROMISES.glob("*.rs"))
    return [f"{path.stem}::{name}" for path in files for name in found.findall(path.read_text())]


@pytest.fixture(scope="module")
def client_tests() -> str:
    """The program of these tests, built once: cargo looks at the files of all crates before it starts one of them."""
    said = cargo("test", *ALL, "--test", "client", "--no-run", "--message-format", "json", **LINTED)
    artifacts = [each for each in map(json.loads, said.splitlines()) if each.get("executable")]
    [program] = [each["executable"] for each in artifacts if each["target"]["name"] == "client"]
    return str(program)


@pytest.mark.parametrize("promise", promises())
async def test_on_a_real_server(address: str, client_tests: str, promise: str) -> None:
    async with Gate(address) as gate:
        environment = {**os.environ, "JOBQUEUE_SERVER": address, "JOBQUEUE_GATE": gate}
        process = await asyncio.create_subprocess_exec(
            client_tests, "--ignored", "--exact", promise,
            cwd=CRATE / "programs", env=environment,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        said = (await process.communicate())[0].decode()
    assert process.returncode == 0, said
    assert "test result: ok. 1 passed" in said, said


def test_scopes_of_a_server_that_the_tests_start() -> None:
    server = Path(sys.executable).with_name("jobqueue-server")
    cargo(
        "test", *ALL, "--test", "scope", "--test", "welcomes", JOBQUEUE_SERVER_COMMAND=str(server), **LINTED
    )


def test_the_stubs_are_what_the_contract_makes() -> None:
    command = [sys.executable, "-m", "tools.rust_stubs", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.long
def test_the_documentation_has_no_warning() -> None:
    cargo("doc", *ALL, "--no-deps", RUSTDOCFLAGS="-D warnings")


@pytest.mark.long
def test_the_package_is_built_as_its_users_would_build_it() -> None:
    # What `cargo publish --dry-run` does, but without asking a registry.
    cargo("package", "--package", "jobqueue", "--all-features", "--allow-dirty", "--offline", "--quiet")


def test_the_package_holds_what_a_user_needs_and_nothing_else() -> None:
    listed = set(cargo("package", "--package", "jobqueue", "--list", "--allow-dirty").splitlines())
    top = {name.split("/")[0] for name in listed}
    assert top == {
        "Cargo.lock",
        "Cargo.toml",
        "Cargo.toml.orig",
        "LICENSE",
        "README.md",
        "examples",
        "src",
        "tests",
    } | ({".cargo_vcs_info.json"} & top)
    assert {
        "src/v1.rs",
        "examples/mail.rs",
        "tests/encoded.rs",
        "tests/reports.rs",
        "tests/tenants.rs",
        "tests/welcomes.rs",
    } <= listed
    about = tomllib.loads((CRATE / "Cargo.toml").read_text())["package"]
    assert {"description", "readme", "license", "rust-version", "keywords", "categories"} <= about.keys()


@pytest.mark.parametrize("folder", [CRATE, ROOT / EXAMPLES], ids=["crate", "examples"])
def test_no_address_is_in_the_versions_that_are_tested(folder: Path) -> None:
    assert "://" not in (folder / "versions.lock").read_text()


@pytest.mark.parametrize(
    ("page", "folder", "names"),
    [
        (CRATE / "README.md", CRATE / "doubling", ["src/lib.rs", "src/bin/worker.rs", "src/bin/producer.rs"]),
        (ROOT / "docs" / "kinds.md", CRATE, ["examples/mail.rs"]),
        (ROOT / "docs" / "testing.md", CRATE, ["tests/reports.rs", "tests/welcomes.rs"]),
        (ROOT / "docs" / "middleware.md", CRATE, ["tests/tenants.rs"]),
        (ROOT / "docs" / "schedules.md", CRATE, ["examples/nightly.rs"]),
        (ROOT / "docs" / "bulk.md", CRATE, ["examples/redrive.rs"]),
        (ROOT / "docs" / "encodings.md", CRATE, ["tests/encoded.rs"]),
    ],
    ids=["readme", "kinds", "testing", "middleware", "schedules", "bulk", "encodings"],
)
def test_a_page_shows_programs_as_they_are(page: Path, folder: Path, names: list[str]) -> None:
    shown = re.findall(r"```rust (\S+)\n(.*?)```", page.read_text(), re.DOTALL)
    assert [name for name, _ in shown] == names
    for name, text in shown:
        assert (folder / name).read_text() == text


def test_the_readme_has_150_lines_at_most() -> None:
    assert len((CRATE / "README.md").read_text().splitlines()) <= 150


async def test_the_project_of_the_readme_doubles_a_number(
    processes: list[Process], tmp_path: Path, address: str
) -> None:
    worker = Process([str(BUILT / "worker"), address], tmp_path / "worker.log", {})
    producer = Process([str(BUILT / "producer"), address], tmp_path / "producer.log", {})
    processes += [worker, producer]
    await producer.line("SUCCEEDED 42")
    assert await producer.ended() == 0
    await worker.line("session opened")
    worker.terminate()
    assert await worker.ended() == 0


async def test_the_example_of_a_typed_kind_sends_a_mail(
    processes: list[Process], tmp_path: Path, address: str
) -> None:
    mail = Process([str(BUILT / "examples" / "mail"), address], tmp_path / "mail.log", {})
    processes.append(mail)
    await mail.line("2 for ada@example.org 5")
    assert await mail.ended() == 0


async def test_the_example_of_a_schedule_runs_it(
    processes: list[Process], tmp_path: Path, address: str
) -> None:
    nightly = Process([str(BUILT / "examples" / "nightly"), address], tmp_path / "nightly.log", {})
    processes.append(nightly)
    await nightly.line("Fired SkippedOverlap")
    await nightly.line("2 runs, the newest ByHand")
    assert await nightly.ended() == 0


async def test_the_example_of_many_jobs_retries_them(
    processes: list[Process], tmp_path: Path, address: str
) -> None:
    redrive = Process([str(BUILT / "examples" / "redrive"), address], tmp_path / "redrive.log", {})
    processes.append(redrive)
    await redrive.line("2 jobs match")
    await redrive.line("2 jobs retried")
    assert await redrive.ended() == 0


ENCODED = [b'{"n": 12345678901234567890}', b" [null] ", b'"' + "ä".encode() * 1000 + b'"']


async def test_what_is_encoded_here_is_decoded_there_and_back(
    work: Work, client: Client, address: str, queue: str
) -> None:
    key = bytes(range(32))
    encodings = Encodings([Zstd(over=200), AesGcm({"a": key}, primary="a")])
    flags = ("--encryption-key", key.hex())

    async def echo(ctx: JobContext) -> JsonText:
        return JsonText(ctx.job.payload_json)

    worker = Worker(address, queues=[queue], encodings=encodings)
    worker.handler("echo")(echo)
    serving = asyncio.create_task(worker.serve())
    try:
        assert await enqueue("rust", address, queue, ENCODED, *flags) == ENCODED
    finally:
        worker.stop(grace=timedelta(0))
        await serving
    work("rust", address, queue, *flags)
    async with Client(address, encodings=encodings) as encoding:
        for text in ENCODED:
            made = await encoding.enqueue("echo", payload_json=text, queue=queue)
            done = await encoding.wait(made.id, timeout=timedelta(seconds=60))
            assert (done.payload_json, done.output_json) == (text, text)
            # Nothing of it is where a server reads it.
            stored = await client.get(made.id)
            for envelope in (stored.payload_json, stored.output_json):
                assert json.loads(envelope or b"")["encodings"][-1] == "aes256gcm"


async def test_a_handler_that_panics_fails_its_job_and_the_worker_goes_on(
    work: Work, client: Client, address: str, queue: str
) -> None:
    work("rust", address, queue)
    broken = await client.enqueue("panic", queue=queue, max_attempts=1)
    [failed] = await ends(client, broken.id)
    assert [(each.error_type, each.error) for each in failed.failed_attempts] == [
        ("panic", "this handler panics")
    ]
    whole = await client.enqueue("noop", queue=queue)
    [done] = await ends(client, whole.id)
    assert done.status is Status.SUCCEEDED
