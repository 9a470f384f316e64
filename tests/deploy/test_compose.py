"""compose.yaml is valid, starts things in their order, and shows nothing to the network that was not asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from jobqueue_server import security
from jobqueue_server.settings import Settings, environment_name
from jobqueue_worker.settings import WorkerSettings
from jobqueue_worker.settings import environment_name as of_worker

from .conftest import DEPLOY
from .dockerfile import Stage


@pytest.fixture(scope="session")
def compose() -> dict[str, Any]:
    found: dict[str, Any] = YAML(typ="safe").load(DEPLOY / "compose.yaml")
    return found


@pytest.fixture(scope="session")
def services(compose: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = compose["services"]
    return found


def test_it_is_what_the_specification_says():
    program = Path(sys.executable).parent / "check-jsonschema"
    schema = ["--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run(
        [program, *schema, DEPLOY / "compose.yaml"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_each_waits_for_what_it_needs(services: dict[str, Any]):
    order = {
        name: {other: how["condition"] for other, how in service.get("depends_on", {}).items()}
        for name, service in services.items()
    }

    assert order == {
        "postgres": {},
        "migrate": {"postgres": "service_healthy"},
        "server": {"postgres": "service_healthy", "migrate": "service_completed_successfully"},
        "worker": {"server": "service_healthy"},
    }
    assert "pg_isready" in services["postgres"]["healthcheck"]["test"]
    # It ends when it is done, and only that starts the server.
    assert services["migrate"]["restart"] == "no"
    assert services["migrate"]["command"] == ["migrate", "up"]


def test_the_images_are_the_targets_of_the_dockerfile(services: dict[str, Any], stages: dict[str, Stage]):
    for name in ("migrate", "server", "worker"):
        build = services[name]["build"]
        assert (DEPLOY / build["context"] / build["dockerfile"]).samefile(DEPLOY / "Dockerfile")
        assert build["target"] in stages
    assert services["migrate"]["build"] == services["server"]["build"]


def test_it_publishes_on_loopback_unless_it_is_told_otherwise(
    services: dict[str, Any], stages: dict[str, Stage]
):
    for name, service in services.items():
        for port in service.get("ports", []):
            assert port.startswith("${JOBQUEUE_PUBLISH:-127.0.0.1}:"), name
    for name in ("server", "worker"):
        published = {port.rpartition(":")[2] for port in services[name]["ports"]}
        assert published == set(stages[name].one("EXPOSE").rest.split())
    assert "ports" not in services["postgres"]


def test_jobs_are_on_a_volume(compose: dict[str, Any], services: dict[str, Any]):
    (volume,) = services["postgres"]["volumes"]
    assert volume.partition(":")[0] in compose["volumes"]


def test_every_setting_that_it_names_exists(services: dict[str, Any]):
    known = {environment_name(name) for name in Settings.model_fields} | {"PGPASSWORD"}
    assert services["server"]["environment"].keys() <= known
    assert services["migrate"]["environment"].keys() <= known
    own = {of_worker(name) for name in WorkerSettings.model_fields}
    assert services["worker"]["environment"].keys() <= own


def test_what_the_image_is_refused_for_is_accepted_where_it_is_published_on_loopback_alone(
    services: dict[str, Any], stages: dict[str, Stage], monkeypatch: pytest.MonkeyPatch
):
    for name, value in stages["server"].environment.items():
        monkeypatch.setenv(name, value)
    refused = {rule.accepted_by for rule in security.found(Settings.load())}
    assert refused == {"plaintext", "no-auth"}
    words = services["server"]["environment"]["JOBQUEUE_INSECURE"]
    monkeypatch.setenv("JOBQUEUE_INSECURE", words.removeprefix("${JOBQUEUE_INSECURE-").removesuffix("}"))
    assert security.check(Settings.load()) == []


def test_nobody_is_killed_in_the_middle_of_a_drain(services: dict[str, Any]):
    grace = max(
        settings.model_fields["shutdown_grace"].default.total_seconds()
        for settings in (Settings, WorkerSettings)
    )
    for name in ("server", "worker"):
        assert int(services[name]["stop_grace_period"].removesuffix("s")) > grace + 12


def test_ours_can_write_nothing_and_become_nobody_else(services: dict[str, Any]):
    for name in ("migrate", "server", "worker"):
        service = services[name]
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in service["security_opt"]
