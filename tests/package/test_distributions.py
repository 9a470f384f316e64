"""Wheels and sdists are what an index and an installer take, and hold what they should and nothing else."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import os
import re
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest
from packaging.metadata import Metadata
from trove_classifiers import classifiers

from tools import dist

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
    assert set(said.project_urls or {}) == set(dist.URLS)
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
    assert not [name for name in server if "/fragments/" in name], "what statements are made of"
    for proto in (ROOT / "proto").rglob("*.proto"):
        assert f"jobqueue/v1/{proto.stem}_pb2.py" in client
        assert f"jobqueue/v1/{proto.stem}_pb2.pyi" in client


def test_an_index_would_take_them_and_nothing_is_in_them_by_mistake(distributions: Distributions):
    assert list(dist.by_others(distributions.folder)) == []
    assert list(dist.ours(distributions.folder)) == []


def test_a_wheel_without_a_url_or_with_too_much_in_it_is_named(
    distributions: Distributions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(dist, "URLS", (*dist.URLS, "Funding"))
    monkeypatch.setattr(dist, "PACKAGES", {"jobqueue_worker": ("worker", 1)})
    first, second = dist.ours(distributions.folder)
    assert "names no Funding" in first
    assert second.endswith("and should have 1 at most")


@pytest.mark.long
def test_the_same_commit_makes_the_same_bits_wherever_it_is_built(tmp_path: Path):
    """Twice: here, and in a copy whose files were written in another order, with other modes, zone and time."""
    moment = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
    folders = [ROOT / name for name in (*PACKAGES.values(), "migrations")]
    found = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    for path in (*sorted(found, reverse=True), ROOT / ".gitignore"):
        if path.suffix != ".pyc":
            target = tmp_path / "copy" / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            target.chmod(0o600)
    for source in PACKAGES.values():
        dist.build(ROOT / source, tmp_path / "here", moment)
        dist.build(tmp_path / "copy" / source, tmp_path / "there", {**moment, "TZ": "Asia/Tokyo"})

    here, there = (
        {path.name: path.read_bytes() for path in (tmp_path / side).iterdir()} for side in ("here", "there")
    )
    assert len(here) == 2 * len(PACKAGES)
    assert here.keys() == there.keys()
    assert [name for name in here if here[name] != there[name]] == []


def test_a_wheel_says_the_time_of_its_commit(distributions: Distributions):
    asked = dist.dated({})
    if "SOURCE_DATE_EPOCH" in asked:
        assert int(asked["SOURCE_DATE_EPOCH"]) > 1_700_000_000
    assert dist.dated({"SOURCE_DATE_EPOCH": "7"})["SOURCE_DATE_EPOCH"] == "7"


@pytest.mark.parametrize("package", ["jobqueue_server", "jobqueue_worker"])
def test_a_wheel_has_the_list_of_its_components_where_scanners_look(
    package: str, distributions: Distributions
):
    import jsonschema_rs
    from cyclonedx.schema import _res

    content = files(distributions.wheel(package))
    (listed,) = (name for name in content if name.endswith(".cdx.json"))
    assert re.fullmatch(rf"{package}-[\d.]+\.dist-info/sboms/{package.replace('_', '-')}\.cdx\.json", listed)
    schemas = Path(_res.__file__).parent
    referred = [
        (f"http://cyclonedx.org/schema/{name}", json.loads((schemas / name).read_text()))
        for name in ("spdx.SNAPSHOT.schema.json", "jsf-0.82.SNAPSHOT.schema.json")
    ]
    schema = json.loads((schemas / "bom-1.6.SNAPSHOT.schema.json").read_text())
    registry = jsonschema_rs.Registry(referred)
    jsonschema_rs.validator_for(schema, registry=registry).validate(json.loads(content[listed]))
