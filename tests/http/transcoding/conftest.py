"""The annotated test service, compiled for the run, and the vectors that any implementation could run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import google.api.annotations_pb2
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_tools import protoc

from jobqueue_server.http.transcoding.binding import Binding
from jobqueue_server.http.transcoding.options import Options
from jobqueue_server.http.transcoding.transcoder import Transcoder

HERE = Path(__file__).parent
RAW_JSON = {"transcoding.test.Document": ("content_value", "content_json")}


@dataclass(frozen=True)
class Routed:
    """A request that got through: the rule that it came by, and its message."""

    binding: Binding
    request: Any


def route(
    transcoder: Transcoder, method: str, path: bytes, query: bytes, headers: Mapping[str, str], body: bytes
) -> Routed:
    match = transcoder.match(method, path)
    return Routed(match.route, transcoder.fill(match, query, headers, body))


def vectors(name: str) -> list[Any]:
    read: list[Any] = json.loads((HERE / "vectors" / name).read_text())
    return read


def compile_service(folder: Path, proto: Path, out: Path) -> descriptor_pool.DescriptorPool:
    google_apis = Path(google.api.annotations_pb2.__file__).parents[2]
    includes = [f"-I{folder}", f"-I{google_apis}", f"-I{files('grpc_tools') / '_proto'}"]
    code = protoc.main(["protoc", *includes, "--include_imports", f"--descriptor_set_out={out}", str(proto)])
    assert code == 0
    pool = descriptor_pool.DescriptorPool()
    for file in FileDescriptorSet.FromString(out.read_bytes()).file:
        pool.Add(file)
    return pool


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> ServiceDescriptor:
    out = tmp_path_factory.mktemp("library") / "library.binpb"
    pool = compile_service(HERE, HERE / "library.proto", out)
    return pool.FindServiceByName("transcoding.test.Library")


@pytest.fixture(scope="session")
def transcoder(library: ServiceDescriptor) -> Transcoder:
    return Transcoder([library], Options(raw_json=RAW_JSON))
