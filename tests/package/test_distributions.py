"""Wheels and sdists are what an index and an installer take, and hold what they should and nothing else."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
import tarfile
import zipfile
from pathlib import Path

import pytest
from packaging.metadata import Metadata
from trove_classifiers import classifiers

from .conftest import PACKAGES, ROOT, Distributions, build

pytestmark = pytest.mark.package


def files(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def metadata_of(wheel: Path) -> Metadata:
    (text,) = (content for name, content in files(wheel).items() if name.endswith(".dist-info/METADATA"))
    return Metadata.from_email(text, validate=True)


def unpacked(sdist: Path, folder: Path) -> Path:
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (top,) = folder.iterdir()
    return top


@pytest.mark.parametrize("package", PACKAGES)
def test_the_metadata_is_valid_and_says_what_the_package_is(package: str, distributions: Distributions):
    said = metadata_of(distributions.wheel(package))

    assert said.description == (ROOT / PACKAGES[package] / "README.md").read_text()
    assert said.description_content_type == "text/markdown"
    assert said.summary
    assert said.project_urls
    assert said.license_expression == "Apache-2.0"
    assert set(said.classifiers or []) <= classifiers


@pytest.mark.parametrize("package", PACKAGES)
def test_the_sdist_says_the_same_as_the_wheel(package: str, distributions: Distributions, tmp_path: Path):
    said = (unpacked(distributions.sdist(package), tmp_path) / "PKG-INFO").read_bytes()

    assert said in files(distributions.wheel(package)).values()


@pytest.mark.parametrize("package", PACKAGES)
def test_the_record_of_a_wheel_lists_each_file_with_its_hash(package: str, distributions: Distributions):
    content = files(distributions.wheel(package))
    (record,) = (name for name in content if name.endswith(".dist-info/RECORD"))
    listed = {
        name: digest.removeprefix("sha256=")
        for name, digest, _ in csv.reader(io.StringIO(content[record].decode()))
    }

    def digest(data: bytes) -> str:
        return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")

    assert listed == {name: "" if name == record else digest(data) for name, data in content.items()}


@pytest.mark.parametrize("package", PACKAGES)
def test_a_wheel_holds_its_package_and_nothing_else(package: str, distributions: Distributions):
    content = files(distributions.wheel(package))
    # The server brings the gRPC transport, which is a package of its own.
    beside = "|grpc_http2/" if package == "jobqueue_server" else ""
    own = re.compile(rf"{package}/|{package}-[0-9.]+\.dist-info/{beside}")

    assert not [name for name in content if not own.match(name) or name.endswith(".pyc")]
    source = ROOT / PACKAGES[package] / "src" / package
    wanted = {str(path.relative_to(source.parent)) for path in source.rglob("*.py")}
    assert wanted <= content.keys()
    assert not [name for name, data in content.items() if str(ROOT).encode() in data]


@pytest.mark.parametrize("package", PACKAGES)
def test_the_wheel_of_an_sdist_is_the_wheel_of_the_checkout(
    package: str, distributions: Distributions, tmp_path: Path
):
    source = unpacked(distributions.sdist(package), tmp_path / "source")
    build(source, tmp_path / "built", "--target", "wheel")

    direct, indirect = (
        files(wheel) for wheel in (distributions.wheel(package), *(tmp_path / "built").glob("*.whl"))
    )
    assert indirect.keys() == direct.keys()
    # The order of the record's lines is that of the folder.
    assert not [
        name for name in direct if sorted(indirect[name].split(b"\n")) != sorted(direct[name].split(b"\n"))
    ]


def test_migrations_and_stubs_are_in_the_wheels_that_need_them(distributions: Distributions):
    server, client = (files(distributions.wheel(package)) for package in ("jobqueue_server", "jobqueue"))

    migrations = {f"jobqueue_server/migrations/{path.name}" for path in (ROOT / "migrations").glob("*.sql")}
    assert migrations
    assert migrations == {name for name in server if "/migrations/" in name}
    statements = {path.name for path in (ROOT / "server").rglob("sql/*.sql")}
    assert statements == {Path(name).name for name in server if "/sql/" in name}
    for proto in (ROOT / "proto").rglob("*.proto"):
        assert f"jobqueue/v1/{proto.stem}_pb2.py" in client
        assert f"jobqueue/v1/{proto.stem}_pb2.pyi" in client
