"""The library in Java: its own tests, jars, README and examples. What all languages hold to is beside this."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import urllib.error
import urllib.request
import zipfile
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from jobqueue import Client, Kind, Status
from tests.e2e.processes import Process

# The first build of all fetches what pom.xml names.
pytestmark = [pytest.mark.language("java"), pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]
PROJECT = ROOT / "clients" / "java"
TARGET = PROJECT / "target"
# A busy machine takes a minute to start an application of Spring Boot.
WITHIN = 240.0
# That of the recipe, from the project.
SHOP = "../../examples/frameworks/spring-boot"


def built(*arguments: str) -> None:
    """What Maven makes of all artifacts and the examples."""
    command = ["mvn", "-B", "-q", "-f", "reactor/pom.xml", *arguments]
    # Tests with a namespace of their own start it.
    server = Path(sys.executable).with_name("jobqueue-server")
    environment = os.environ | {"JOBQUEUE_SERVER_COMMAND": str(server)}
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr


def packed(artifact: str, suffix: str = "") -> set[str]:
    """The files in a jar of an artifact."""
    folder = PROJECT / artifact.removeprefix("jobqueue-").removeprefix("client") / "target"
    [jar] = folder.glob(f"{artifact}-*[0-9]{suffix}.jar")
    return {name for name in zipfile.ZipFile(jar).namelist() if not name.endswith("/")}


@pytest.fixture(scope="module")
def verified() -> None:
    """The jars as they would be published, formatted and tested. Documentation would take a fifth of the time."""
    built("verify", "-Dmaven.javadoc.skip")


@pytest.mark.long
def test_each_artifact_with_code_has_documentation_of_what_is_for_users() -> None:
    built("package", "-DskipTests")
    for artifact, documented in {
        "jobqueue-client": "Worker",
        "jobqueue-opentelemetry": "opentelemetry/OpenTelemetryTracer",
        "jobqueue-micrometer": "micrometer/MicrometerObserver",
        "jobqueue-testing": "testing/Testing",
        "jobqueue-spring-boot-autoconfigure": "spring/JobHandler",
    }.items():
        # Below the folder of the module.
        pages = packed(artifact, "-javadoc")
        assert any(name.endswith(f"dev/jobqueue/{documented}.html") for name in pages), artifact
        assert not [name for name in pages if "internal" in name]


@pytest.mark.usefixtures("verified")
def test_the_jars_have_the_library_and_its_sources_and_nothing_else() -> None:
    classes = packed("jobqueue-client")
    assert {"dev/jobqueue/Worker.class", "dev/jobqueue/v1/JobQueueGrpc.class", "META-INF/LICENSE"} <= classes
    hooks = [name for name in classes if name.startswith("dev/jobqueue/internal/TestHooks")]
    assert not [name for name in classes - {*hooks} if "Test" in name or "programs" in name]
    sources = {"dev/jobqueue/Worker.java", "dev/jobqueue/v1/JobQueueGrpc.java", "META-INF/LICENSE"}
    assert sources <= packed("jobqueue-client", "-sources")


@pytest.mark.usefixtures("verified")
def test_traces_are_an_artifact_of_their_own_and_who_has_the_client_alone_has_no_opentelemetry() -> None:
    tracer = "dev/jobqueue/opentelemetry/OpenTelemetryTracer"
    assert {f"{tracer}.class", "META-INF/LICENSE"} <= packed("jobqueue-opentelemetry")
    assert f"{tracer}.java" in packed("jobqueue-opentelemetry", "-sources")
    assert not [jar for jar in (TARGET / "lib").iterdir() if "opentelemetry" in jar.name]


@pytest.mark.usefixtures("verified")
def test_metrics_are_an_artifact_of_their_own_and_who_has_the_client_alone_has_no_micrometer() -> None:
    observer = "dev/jobqueue/micrometer/MicrometerObserver"
    assert {f"{observer}.class", "META-INF/LICENSE"} <= packed("jobqueue-micrometer")
    assert f"{observer}.java" in packed("jobqueue-micrometer", "-sources")
    assert not [jar for jar in (TARGET / "lib").iterdir() if "micrometer" in jar.name]


@pytest.mark.usefixtures("verified")
def test_the_test_kit_is_an_artifact_of_its_own_and_the_client_alone_has_nothing_of_it() -> None:
    classes = packed("jobqueue-testing")
    assert {"dev/jobqueue/testing/Testing.class", "META-INF/LICENSE"} <= classes
    assert not [name for name in classes if "Test." in name or "programs" in name]
    # JUnit is for those who have it.
    pom = (PROJECT / "testing/pom.xml").read_text()
    assert re.search(
        r"<artifactId>junit-jupiter-api</artifactId>\s*<version>[\d.]+</version>\s*<optional>true", pom
    )
    assert "dev/jobqueue/testing/Testing.java" in packed("jobqueue-testing", "-sources")
    assert not [name for name in packed("jobqueue-client") if name.startswith("dev/jobqueue/testing")]


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


@pytest.mark.usefixtures("verified")
def test_spring_boot_is_for_those_who_take_its_starter_and_the_client_alone_has_nothing_of_it() -> None:
    configure = "jobqueue-spring-boot-autoconfigure"
    handler = "dev/jobqueue/spring/JobHandler"
    listed = "META-INF/spring/org.springframework.boot.autoconfigure.AutoConfiguration.imports"
    described = "META-INF/spring-configuration-metadata.json"
    assert {f"{handler}.class", listed, described, "META-INF/LICENSE"} <= packed(configure)
    assert not [name for name in packed(configure) if "Test" in name]
    assert f"{handler}.java" in packed(configure, "-sources")
    # It names what an application needs, and has no code.
    assert not [name for name in packed("jobqueue-spring-boot-starter") if name.endswith(".class")]
    assert not [jar for jar in (TARGET / "lib").iterdir() if "spring" in jar.name]


@pytest.mark.parametrize(
    "project",
    [
        "",
        "opentelemetry",
        "micrometer",
        "testing",
        "examples",
        "examples/doubling",
        "spring-boot-autoconfigure",
        "spring-boot-starter",
        SHOP,
        "../../examples/java",
    ],
)
def test_the_project_names_versions_and_no_addresses(project: str) -> None:
    pom = (PROJECT / project / "pom.xml").read_text()
    addresses = set(re.findall(r"https?://[^\s\"<]+", pom))
    assert all(
        address.startswith(("http://maven.apache.org/", "http://www.w3.org/")) for address in addresses
    )
    assert "<repositor" not in pom.lower()
    plugins = re.findall(r"<(?:plugin|dependency)>(.*?)</(?:plugin|dependency)>", pom, re.DOTALL)
    assert all("<version>" in each for each in plugins)


def test_the_readme_shows_a_whole_project_as_it_is_on_150_lines() -> None:
    readme = (PROJECT / "README.md").read_text()
    assert len(readme.splitlines()) <= 150
    shown = re.findall(r"```(?:java|xml) (\S+)\n(.*?)```", readme, re.DOTALL)
    project = PROJECT / "examples/doubling"
    # All of it, so that an empty folder with what is shown is the project that `verified` builds and tests.
    files = [project / "pom.xml", *(project / "src").rglob("*.java")]
    assert {name for name, _ in shown} == {str(file.relative_to(PROJECT)) for file in files}
    assert "<parent>" not in (project / "pom.xml").read_text()
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
def test_the_build_of_the_readmes_project_runs_its_tests() -> None:
    [report] = (PROJECT / "examples/doubling/target/surefire-reports").glob("*.xml")
    assert 'tests="1"' in report.read_text()


@pytest.mark.usefixtures("verified")
async def test_the_program_of_the_readme_doubles_a_number(
    processes: list[Process], tmp_path: Path, address: str
) -> None:
    # As the README says to start them, in their folder.
    [java] = re.findall(r"`(java -cp .*) DoubleWorker`", (PROJECT / "README.md").read_text())
    for name in ("DoubleWorker", "Producer"):
        command = f"cd {shlex.quote(str(PROJECT / 'examples/doubling'))} && exec {java} {name} {address}"
        processes.append(Process(["sh", "-c", command], tmp_path / f"{name}.log", {}))
    worker, producer = processes
    await producer.line("42")
    assert await producer.ended() == 0
    worker.terminate()
    assert await worker.ended() == 0
    assert "Goodbye" not in worker.tail()
    # It tells the server its kinds before it takes jobs.
    assert "knows no kind" not in worker.tail()


async def _shop(processes: list[Process], tmp_path: Path, address: str, *flags: str) -> str:
    """Starts the application of the recipe, with a handler more that waits for a file; where it answers."""
    # A JVM that compiles less starts sooner.
    java = ("java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
    places = ("-cp", "target/test-classes:target/classes:target/lib/*")
    command = shlex.join((*java, *places, "shop.Shop", "--server.port=0", *flags))
    program = Process(
        ["sh", "-c", f"cd {shlex.quote(str(PROJECT / SHOP))} && exec {command}"],
        tmp_path / "Shop.log", {"JOBQUEUE_SERVER": address},
    )  # fmt: skip
    processes.append(program)
    started = re.search(r"port (\d+)", await program.line("Tomcat started on port", WITHIN))
    assert started
    await program.line("Started Shop")
    return f"http://127.0.0.1:{started[1]}"


def _answer(url: str, body: object = None, **headers: str) -> tuple[int, Any]:
    """The status and the body of a GET, or of a POST of a body."""
    data = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(url, data, {"Content-Type": "application/json", **headers})
    try:
        with urllib.request.urlopen(asked, timeout=60) as answer:
            status, text = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read()
    return status, json.loads(text) if text else None


async def _ask(url: str, body: object = None, **headers: str) -> tuple[int, Any]:
    return await asyncio.to_thread(_answer, url, body, **headers)


@pytest.mark.usefixtures("verified")
async def test_an_application_of_spring_boot_enqueues_and_runs_jobs(
    processes: list[Process], tmp_path: Path, address: str
) -> None:
    url = await _shop(processes, tmp_path, address, "--management.endpoint.health.show-details=always")
    email = f"{uuid4()}@example.org"
    order = {"number": 7, "email": email}
    async with Client(address) as client:
        restocked = await client.enqueue("shop-restock", 3)
        # Once its worker runs jobs, the server knows the schema.
        assert (await client.wait(restocked.id, timeout=timedelta(seconds=60))).output == "3 pieces"

        # A request enqueues, the worker runs, and the same key is the same job.
        (status, first), (_, again) = [
            await _ask(f"{url}/receipts", order, **{"Idempotency-Key": email}) for _ in range(2)
        ]
        assert (status, first) == (202, again)
        await client.wait(first["job"], timeout=timedelta(seconds=60))
        text = f"order 7 for {email}"
        assert await _ask(f"{url}/receipts/{first['job']}") == (200, {"status": "SUCCEEDED", "text": text})
        # With another order it is refused. A job that is not there, or is none of the shop's, is not found.
        assert (await _ask(f"{url}/receipts", {**order, "number": 8}, **{"Idempotency-Key": email}))[0] == 409
        assert [(await _ask(f"{url}/receipts/{job}"))[0] for job in (uuid4(), restocked.id)] == [404, 404]

        # A payload that its schema refuses is the caller's fault, with the path of the field.
        status, problem = await _ask(f"{url}/receipts", {**order, "number": 0})
        assert status == 422
        assert list(problem["fields"]) == ["job.payload.number"]

        # After the commit a job is enqueued; a rollback enqueues none.
        assert [(await _ask(f"{url}/orders", order))[0] for _ in range(2)] == [202, 409]
        # An order whose job is refused after the commit is placed, and is not said to be wrong.
        unfit = {**order, "number": 0}
        assert await _ask(f"{url}/orders", unfit) == (202, {"receipt": False})
        assert (await _ask(f"{url}/orders", unfit))[0] == 409
        receipts = [each async for each in client.list(kind="shop-receipt", full=True)]
        assert len([each for each in receipts if each.payload["email"] == email]) == 2

    # Its readiness has the worker; its liveness has not.
    status, health = await _ask(f"{url}/actuator/health/readiness/jobqueue")
    assert (status, health["details"]["jobQueueWorker"]["state"]) == (200, "serving")
    assert (await _ask(f"{url}/actuator/health/liveness/jobqueue"))[0] == 404
    assert (await _ask(f"{url}/actuator/health/liveness"))[0] == 200


@pytest.mark.usefixtures("verified")
async def test_when_an_application_of_spring_boot_ends_its_worker_leaves_first(
    processes: list[Process], tmp_path: Path, address: str
) -> None:
    await _shop(processes, tmp_path, address)
    [app] = processes
    async with Client(address) as client:
        made = ("shop-by-client", "shop-by-settlement")
        before = [[each.id async for each in client.list(kind=kind)] for kind in made]
        job = await client.enqueue("shop-slow", {"until": str(tmp_path / "go")})
        await app.line("slow runs")

        app.terminate()
        await app.line("Graceful shutdown complete")
        (tmp_path / "go").touch()

        # What a JVM answers that was asked to end by SIGTERM, also where all went well.
        assert await app.ended() == 128 + signal.SIGTERM
        done = await client.get(job.id)
        assert (done.status, done.output) == (Status.SUCCEEDED, "0 orders")
        after = [[each.id async for each in client.list(kind=kind)] for kind in made]
        assert [len(each) for each in after] == [len(each) + 1 for each in before]
