"""The checked-in stubs: made from these .proto files, and able to run on all that the client supports."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
STUBS = ROOT / "clients/python/src/jobqueue/v1"
PROTOS = sorted(path.stem for path in (ROOT / "proto/jobqueue/v1").glob("*.proto"))
MODULES = sorted(path for path in STUBS.glob("*_pb2*.py"))


def oldest(name: str) -> Version:
    """The oldest release of a package that the client asks for."""
    project = tomllib.loads((ROOT / "clients/python/pyproject.toml").read_text())["project"]
    (wanted,) = [each for each in map(Requirement, project["dependencies"]) if each.name == name]
    (bound,) = [each.version for each in wanted.specifier if each.operator in {">=", "~="}]
    return Version(bound)


@pytest.mark.slow
def test_the_stubs_are_what_the_protos_make() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "tools.generate", "--check"], cwd=ROOT, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_every_proto_has_stubs_with_types() -> None:
    there = {path.name for path in MODULES if "grpc" not in path.name}
    assert there == {f"{name}_pb2.py" for name in PROTOS}
    assert all(path.with_suffix(".pyi").exists() for path in MODULES)
    assert (STUBS.parent / "py.typed").exists()


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_a_stub_imports_without_a_warning(module: Path) -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", f"import jobqueue.v1.{module.stem}"], check=True)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_a_stub_runs_on_the_oldest_release_that_the_client_asks_for(module: Path) -> None:
    """A runtime refuses stubs that are newer than itself."""
    text = module.read_text()
    if "grpc" in module.stem:
        made = Version(re.findall(r"^GRPC_GENERATED_VERSION = '(.+)'$", text, re.M)[0])
        assert made <= oldest("grpcio")
    else:
        numbers = re.findall(r"ValidateProtobufRuntimeVersion\(\s*\S+,\s*(\d+),\s*(\d+),\s*(\d+)", text)[0]
        assert Version(".".join(numbers)) <= oldest("protobuf")
