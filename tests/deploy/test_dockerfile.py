"""The images are small, pinned, without root and without secrets: as far as their description tells."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.package.environments import closure
from tests.platform.test_packages import project

from . import dockerfile
from .conftest import DEPLOY, ROOT
from .dockerfile import Stage

PROGRAMS = ("server", "worker")


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_image_runs_its_program_as_an_ordinary_user_who_is_told_to_drain(
    program: str, stages: dict[str, Stage]
):
    stage = stages[program]

    assert stage.one("ENTRYPOINT").command == [f"jobqueue-{program}"]
    assert all(int(part) > 0 for part in stage.one("USER").rest.split(":"))
    assert stage.one("STOPSIGNAL").rest == "SIGTERM"
    assert {"interval", "timeout", "start-period", "retries"} <= stage.one("HEALTHCHECK").options.keys()


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_image_is_a_slim_base_and_its_own_files(program: str, stages: dict[str, Stage]):
    text = (DEPLOY / "Dockerfile").read_text()
    assert re.search(r"^ARG PYTHON=python:3\.\d+-slim-\w+$", text, re.MULTILINE)

    stage = stages[program]
    assert stage.base == "${PYTHON}"
    assert not stage.all("RUN")
    assert [each.operands for each in stage.all("COPY")] == [
        ["/opt/jobqueue", "/opt/jobqueue"],
        ["deploy/health.py", "/opt/jobqueue/health.py"],
        [f"{program}/sboms/jobqueue-{program}.cdx.json", "/opt/jobqueue/sbom.cdx.json"],
    ]


@pytest.mark.parametrize("program", PROGRAMS)
def test_what_is_published_is_where_the_program_listens(program: str, stages: dict[str, Stage]):
    stage = stages[program]
    environment = stage.environment

    ports = {value.rpartition(":")[2] for name, value in environment.items() if name.endswith("_ADDR")}
    assert ports == set(stage.one("EXPOSE").rest.split())
    assert stage.one("HEALTHCHECK").command[-1] in environment


def test_everything_that_is_fetched_has_its_hash(stages: dict[str, Stage]):
    for stage in stages.values():
        for run in stage.all("RUN"):
            for command in re.split(r"&&|;", run.rest):
                if re.search(r"pip (\S+ \S+ )?(install|wheel)\b", command):
                    assert "--require-hashes" in command or "--no-index" in command, command
        assert not stage.all("ADD")


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_lock_of_an_image_is_part_of_the_lock(program: str):
    def entries(path: Path) -> dict[str, str]:
        found = re.findall(r"^([a-z0-9-]+)(==(?:.*\\\n)*.*)$", path.read_text(), re.MULTILINE)
        return {name: re.sub(r"\s+", " ", rest) for name, rest in found}

    own, whole = entries(DEPLOY / f"{program}.lock"), entries(ROOT / "locks/requirements.lock")
    build = entries(ROOT / "locks/requirements-build.lock")
    # What both a package and the building of packages need stands in both locks.
    assert not {name for name, rest in own.items() if rest not in (whole.get(name), build.get(name))}

    own_project = project(program)
    # The server takes tokens of an issuer.
    wanted = own_project["dependencies"] + own_project.get("optional-dependencies", {}).get("oidc", [])
    assert ("joserfc" in own) is (program == "server")
    client = project("clients/python")["dependencies"]
    needed = closure(program, frozenset(), {program: wanted, "jobqueue": client}) - {program, "jobqueue"}
    assert needed <= own.keys(), "run `make lock`"
    # And nothing else, but for what other systems need.
    asked = {canonicalize_name(Requirement(each).name) for each in wanted}
    assert asked - {"jobqueue"} <= own.keys()
    assert not {"pytest", "ruff", "mypy", "hatchling"} & own.keys()


def test_the_builder_is_sent_what_it_copies_and_nothing_that_was_left_behind(stages: dict[str, Stage]):
    rules = dockerfile.rules(ROOT / ".dockerignore")
    copied = [
        source
        for stage in stages.values()
        for each in stage.all("COPY")
        if "from" not in each.options
        for source in each.operands[:-1]
    ]
    assert copied
    for source in copied:
        files = [path for path in (ROOT / source, *(ROOT / source).rglob("*.*")) if path.is_file()]
        sent = [path for path in files if dockerfile.let_through(str(path.relative_to(ROOT)), rules)]
        assert sent, source

    for left in (
        ".env", ".git/config", ".run/data/base", ".venv/bin/python", "deploy/.env", "deploy/server.env",
        "tests/conftest.py", "dist/x.whl", "README.md", "server/src/jobqueue_server/__pycache__/app.pyc",
    ):  # fmt: skip
        assert not dockerfile.let_through(left, rules), left


def test_no_secret_is_in_what_is_deployed():
    for path in (DEPLOY / "Dockerfile", DEPLOY / "compose.yaml"):
        for name, value in re.findall(r"(\w*(?:PASSWORD|SECRET|TOKEN)\w*)\s*[:=]\s*(.+)", path.read_text()):
            assert value.startswith(("${", '"$(')), name
