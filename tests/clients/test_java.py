"""The library in Java: its own tests, jars, README and examples. What all languages hold to is beside this."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from jobqueue import Client, Kind
from tests.e2e.processes import Process

# The first build of all fetches what pom.xml names.
pytestmark = [pytest.mark.language("java"), pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]
PROJECT = ROOT / "clients" / "java"
TARGET = PROJECT / "target"


@pytest.fixture(scope="module")
def verified() -> None:
    """The jars as they would be published, formatted, documented and tested."""
    command = ["mvn", "-B", "-q", "-f", "reactor/pom.xml", "verify"]
    # Tests with a namespace of their own start it.
    server = Path(sys.executable).with_name("jobqueue-server")
    environment = os.environ | {"JOBQUEUE_SERVER_COMMAND": str(server)}
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.usefixtures("verified")
def test_the_jars_have_the_library_its_sources_and_its_documentation_and_nothing_else() -> None:
    def names(suffix: str) -> set[str]:
        [jar] = TARGET.glob(f"jobqueue-client-*[0-9]{suffix}.jar")
        return set(zipfile.ZipFile(jar).namelist())

    classes = names("")
    assert {"dev/jobqueue/Worker.class", "dev/jobqueue/v1/JobQueueGrpc.class", "META-INF/LICENSE"} <= classes
    hooks = [name for name in classes if name.startswith("dev/jobqueue/internal/TestHooks")]
    assert not [name for name in classes - {*hooks} if "Test" in name or "programs" in name]
    assert {"dev/jobqueue/Worker.java", "dev/jobqueue/v1/JobQueueGrpc.java", "META-INF/LICENSE"} <= names(
        "-sources"
    )
    # Below the folder of the module.
    assert any(name.endswith("dev/jobqueue/Worker.html") for name in names("-javadoc"))


@pytest.mark.usefixtures("verified")
def test_traces_are_an_artifact_of_their_own_and_who_has_the_client_alone_has_no_opentelemetry() -> None:
    def names(suffix: str) -> set[str]:
        folder = PROJECT / "opentelemetry/target"
        [jar] = folder.glob(f"jobqueue-opentelemetry-*[0-9]{suffix}.jar")
        return set(zipfile.ZipFile(jar).namelist())

    tracer = "dev/jobqueue/opentelemetry/OpenTelemetryTracer"
    assert {f"{tracer}.class", "META-INF/LICENSE"} <= names("")
    assert f"{tracer}.java" in names("-sources")
    assert any(name.endswith(f"{tracer}.html") for name in names("-javadoc"))
    assert not [jar for jar in (TARGET / "lib").iterdir() if "opentelemetry" in jar.name]


@pytest.mark.usefixtures("verified")
def test_the_test_kit_is_an_artifact_of_its_own_and_the_client_alone_has_nothing_of_it() -> None:
    def names(suffix: str) -> set[str]:
        [jar] = (PROJECT / "testing/target").glob(f"jobqueue-testing-*[0-9]{suffix}.jar")
        return set(zipfile.ZipFile(jar).namelist())

    assert {"dev/jobqueue/testing/Testing.class", "META-INF/LICENSE"} <= names("")
    assert not [name for name in names("") if "Test." in name or "programs" in name]
    # JUnit is for those who have it.
    pom = (PROJECT / "testing/pom.xml").read_text()
    assert re.search(
        r"<artifactId>junit-jupiter-api</artifactId>\s*<version>[\d.]+</version>\s*<optional>true", pom
    )
    assert "dev/jobqueue/testing/Testing.java" in names("-sources")
    assert any(name.endswith("dev/jobqueue/testing/Testing.html") for name in names("-javadoc"))
    [jar] = TARGET.glob("jobqueue-client-*[0-9].jar")
    assert not [name for name in zipfile.ZipFile(jar).namelist() if name.startswith("dev/jobqueue/testing")]
    [pages] = TARGET.glob("jobqueue-client-*[0-9]-javadoc.jar")
    assert not [name for name in zipfile.ZipFile(pages).namelist() if "internal" in name]


@pytest.mark.usefixtures("verified")
def test_a_handler_comes_to_the_same_by_itself_and_by_a_worker() -> None:
    places = [f"{folder}/target/{each}" for folder in ("testing", ".") for each in ("classes", "lib/*")]
    places = ["testing/target/test-classes", *places]
    program = "dev.jobqueue.testing.programs.Agreement"
    table = ROOT / "tests" / "testing_kit" / "handlers.json"
    server = Path(sys.executable).with_name("jobqueue-server")
    done = subprocess.run(
        ["java", "-XX:TieredStopAtLevel=1", "-cp", ":".join(places), program, str(table)],
        cwd=PROJECT, capture_output=True, text=True, timeout=300,
        env=os.environ | {"JOBQUEUE_SERVER_COMMAND": str(server)},
    )  # fmt: skip
    assert done.stdout == "agree on 80\n", done.stdout + done.stderr


@pytest.mark.parametrize("project", ["", "opentelemetry", "testing", "examples"])
def test_the_project_names_versions_and_no_addresses(project: str) -> None:
    pom = (PROJECT / project / "pom.xml").read_text()
    addresses = set(re.findall(r"https?://[^\s\"<]+", pom))
    assert all(
        address.startswith(("http://maven.apache.org/", "http://www.w3.org/")) for address in addresses
    )
    assert "<repositor" not in pom.lower()
    plugins = re.findall(r"<(?:plugin|dependency)>(.*?)</(?:plugin|dependency)>", pom, re.DOTALL)
    assert all("<version>" in each for each in plugins)


def test_the_readme_shows_the_examples_as_they_are_on_150_lines() -> None:
    readme = (PROJECT / "README.md").read_text()
    assert len(readme.splitlines()) <= 150
    shown = re.findall(r"```java (\S+)\n(.*?)```", readme, re.DOTALL)
    programs = ["Doubling", "DoubleWorker", "Producer"]
    assert [name for name, _ in shown] == [
        *(f"examples/src/main/java/{name}.java" for name in programs),
        "examples/src/test/java/DoublingTest.java",
    ]
    for name, text in shown:
        assert (PROJECT / name).read_text() == text


@pytest.mark.parametrize("page", ["bulk", "encodings", "kinds", "middleware", "schedules", "testing"])
def test_the_pages_show_programs_and_tests_that_the_build_runs_as_they_are(page: str) -> None:
    shown = re.findall(r"```java (\w+\.java)\n(.*?)```", (ROOT / f"docs/{page}.md").read_text(), re.DOTALL)
    assert len(shown) == {"bulk": 1, "schedules": 1}.get(page, 2)
    for name, text in shown:
        [file] = (PROJECT / "examples/src").rglob(name)
        assert file.read_text() == text


@pytest.mark.usefixtures("verified")
async def test_the_program_of_the_page_of_kinds_prints_what_it_says(
    processes: list[Process], tmp_path: Path, address: str
) -> None:
    # Tests of other languages share the server, and what they have told of the kind stays. This kind tells no schema.
    async with Client(address) as client:
        await client.put_kind(Kind(name="send-mail"))
    command = ["java", "-cp", "target/classes:target/lib/*", "MailJobs", address]
    program = Process(
        ["sh", "-c", f"cd {shlex.quote(str(PROJECT / 'examples'))} && exec {shlex.join(command)}"],
        tmp_path / "MailJobs.log", {},
    )  # fmt: skip
    processes.append(program)
    await program.line("2 for ada@example.org")
    await program.line("1 for eve@example.org")
    assert await program.ended() == 0


@pytest.mark.usefixtures("verified")
@pytest.mark.parametrize(("name", "wanted"), [("Nightly", "by hand: FIRED"), ("Redrive", "0 changed")])
async def test_the_program_of_a_page_about_what_operators_do_says_what_it_should(
    processes: list[Process], tmp_path: Path, address: str, name: str, wanted: str
) -> None:
    command = ["java", "-cp", "target/classes:target/lib/*", name, address]
    program = Process(
        ["sh", "-c", f"cd {shlex.quote(str(PROJECT / 'examples'))} && exec {shlex.join(command)}"],
        tmp_path / f"{name}.log", {},
    )  # fmt: skip
    processes.append(program)
    await program.line(wanted)
    assert await program.ended() == 0


@pytest.mark.usefixtures("verified")
async def test_the_examples_double_a_number(processes: list[Process], tmp_path: Path, address: str) -> None:
    # As the README says to start them, in their folder.
    [java] = re.findall(r"`(java -cp .*) DoubleWorker`", (PROJECT / "README.md").read_text())
    for name in ("DoubleWorker", "Producer"):
        command = f"cd {shlex.quote(str(PROJECT / 'examples'))} && exec {java} {name} {address}"
        processes.append(Process(["sh", "-c", command], tmp_path / f"{name}.log", {}))
    worker, producer = processes
    await producer.line("42")
    assert await producer.ended() == 0
    worker.terminate()
    assert await worker.ended() == 0
    assert "Goodbye" not in worker.tail()
