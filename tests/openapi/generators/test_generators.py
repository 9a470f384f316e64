"""What generators make of the document compiles, in the versions pinned here, and calls a server."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.e2e.processes import ServerProcess
from tests.go_programs import ENVIRONMENT, ROOT, built
from tools.openapi import version31

HERE = Path(__file__).parent
MADE = ROOT / ".cache" / "generators"
# What answers may have one day is passed over, as docs/rest.md says; by default it is an error in Go.
GENERATOR_OPTIONS = "disallowAdditionalPropertiesIfNotPresent=false"
# A short life: one compiler and a small heap start sooner.
JAVA = ("java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")

#: What each program prints.
FOUND = {
    "health": "ok",
    # A schema that is no object.
    "schema": True,
    "enqueued": [201, "QUEUED", {"width": 100}, 10, {"by": "generated"}],
    "again": [200, True],
    "batch": 2,
    "work": [{"width": 100}, "SUCCEEDED"],
    "read": [200, "SUCCEEDED", {"done": True}],
    "listed": [1, True],
    "missing": [404, "JOB_NOT_FOUND"],
    "wrong": [400, "FIELD_INVALID", "job.priority"],
}


def run(*command: str | Path, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Runs a program to its end, which is a good one."""
    environment = {**os.environ, **ENVIRONMENT}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def fresh(name: str) -> Path:
    """A copy of a program's folder, without what was generated before."""
    folder = MADE / name
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(HERE / name, folder)
    return folder


def openapi_generator() -> Path:
    """The folder of openapi-generator-cli.jar and of the jars that its clients need, as pom.xml has them."""
    pom = HERE / "java" / "pom.xml"
    folder = ROOT / ".build" / f"openapi-generator-{hashlib.sha256(pom.read_bytes()).hexdigest()[:8]}"
    ready = folder / "ready"  # written last: what was fetched in part is fetched anew
    if not ready.exists():
        run("mvn", "-B", "-q", "-f", pom, "process-resources", f"-Dto={folder}")
        ready.touch()
    return folder


def generate(language: str, target: Path, *options: str) -> None:
    """Runs openapi-generator, which has nothing to say against the document."""
    jar = openapi_generator() / "openapi-generator-cli.jar"
    done = run(
        *(*JAVA, "-jar", jar, "generate", "-g", language, "-i", version31.DOCUMENT, "-o", target),
        *("--global-property", "apiTests=false,modelTests=false,apiDocs=false,modelDocs=false"),
        *options,
    )
    said = (done.stdout + done.stderr).splitlines()
    assert not [line for line in said if " ERROR " in line]


def go(program: str) -> tuple[str, ...]:
    """Compiles a program of `go/`, beside which the generated code is."""
    folder = MADE / "go"
    run("go", "vet", f"./{program}/...", folder=folder)
    run("go", "build", "-o", folder / "bin" / program, f"./{program}", folder=folder)
    return (str(folder / "bin" / program),)


def oapi_codegen() -> tuple[str, ...]:
    generator = built(HERE / "go", "github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen")
    target = fresh("go") / "oapi_codegen" / "api"
    target.mkdir()
    options = ("-generate", "types,client", "-package", "api", "-o", target / "api.go")
    run(generator, *options, version31.DOCUMENT)
    return go("oapi_codegen")


def openapi_generator_go() -> tuple[str, ...]:
    target = fresh("go") / "openapi_generator" / "api"
    generate("go", target, f"--additional-properties=packageName=api,withGoMod=false,{GENERATOR_OPTIONS}")
    return go("openapi_generator")


def openapi_generator_java() -> tuple[str, ...]:
    folder = fresh("java")
    generate("java", folder / "api", "--library=native", f"--additional-properties={GENERATOR_OPTIONS}")
    sources = [folder / "Calls.java", *(folder / "api" / "src" / "main" / "java").rglob("*.java")]
    libraries = openapi_generator() / "lib" / "*"
    classes = folder / "classes"
    run("javac", "-nowarn", "-d", classes, "-cp", libraries, *sources)
    return (*JAVA, "-cp", f"{classes}{os.pathsep}{libraries}", "Calls")


@pytest.fixture
async def server(dsn: str, tmp_path: Path) -> AsyncIterator[str]:
    """Where `jobqueue-server` answers HTTP."""
    process = ServerProcess(dsn, tmp_path / "server.log", http_addr="127.0.0.1:0", kinds="declared")
    try:
        yield f"http://{(await process.ready()).http_address}"
    finally:
        process.kill()


# The first run of all fetches the generators.
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "client",
    [
        pytest.param(oapi_codegen, marks=pytest.mark.language("go")),
        pytest.param(openapi_generator_go, marks=pytest.mark.language("go", "java")),
        pytest.param(openapi_generator_java, marks=pytest.mark.language("java")),
    ],
    ids=lambda client: client.__name__,
)
@pytest.mark.long
async def test_a_generated_client_compiles_calls_and_reads_errors(
    client: Callable[[], tuple[str, ...]], server: str
) -> None:
    program = client()
    assert json.loads(run(*program, server).stdout) == FOUND
