"""What is taken out of an image is what no program of it needs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest

from jobqueue_server.http.docs import PLACES

from .conftest import DEPLOY

PACKAGES = Path("lib/python3.11/site-packages")
#: Those with compiled modules, and those of which parts are taken out, with what they import.
TAKEN = (
    "asyncpg", "annotated-types", "cffi", "click", "cryptography", "grpcio", "h11", "httptools", "joserfc",
    "jsonschema-rs", "markdown-it-py", "mdurl", "protobuf", "pycparser", "pydantic", "pydantic-core", "pygments",
    "rich", "typing-extensions", "typing-inspection", "uvicorn", "uvloop",
)  # fmt: skip
OPENAPI = DEPLOY.parent / "server/src/jobqueue_server/http/openapi"
PROGRAM = """
import asyncpg, grpc, httptools, jsonschema_rs, pydantic, uvloop
from google.protobuf import struct_pb2
from joserfc import jwt
from joserfc.jwk import ECKey
from rich.console import Console
from rich.markdown import Markdown
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

async def works():
    return grpc.aio.insecure_channel("127.0.0.1:1")

uvloop.run(works())
key = ECKey.generate_key("P-256")
assert jwt.decode(jwt.encode({"alg": "ES256"}, {"sub": "a"}, key), key).claims == {"sub": "a"}
assert pydantic.TypeAdapter(int).validate_python("7") == 7
assert jsonschema_rs.is_valid({"type": "string"}, "a")
Console().print(Markdown("# Help\\n\\n`text`\\n\\n```\\nblock\\n```"))
print("all there")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("opt")
    for name in TAKEN:
        found: Distribution = distribution(name)
        for file in found.files or []:
            source = Path(str(found.locate_file(file)))
            if ".." not in file.parts and source.is_file():
                target = made / PACKAGES / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)
    shutil.copytree(OPENAPI, made / PACKAGES / "jobqueue_server/http/openapi")
    return made


@pytest.mark.slow
def test_what_is_left_works_and_is_a_third_smaller(folder: Path):
    done = subprocess.run(
        [sys.executable, DEPLOY / "slim.py", folder], capture_output=True, text=True, check=True
    )
    before, after = (int(word) for word in done.stdout.split() if word.isdigit())
    assert after < before * 2 / 3
    used = subprocess.run(
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            f"import sys; sys.path.append({str(folder / PACKAGES)!r})\n{PROGRAM}",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert used.returncode == 0, used.stderr
    assert "all there" in used.stdout
    # Once more does no harm.
    again = subprocess.run(
        [sys.executable, DEPLOY / "slim.py", folder], capture_output=True, text=True, check=True
    )
    assert again.stdout == f"slim: {after} MB, now {after} MB\n"


def test_the_openapi_documents_say_the_same_and_the_server_finds_its_place_in_them(folder: Path):
    subprocess.run([sys.executable, DEPLOY / "slim.py", folder], capture_output=True, check=True)
    for name, (place, _) in PLACES.items():
        whole, left = OPENAPI / name, folder / PACKAGES / "jobqueue_server/http/openapi" / name
        assert json.loads(left.read_text()) == json.loads(whole.read_text())
        assert left.stat().st_size < whole.stat().st_size * 4 / 5
        assert left.read_bytes().count(place) == whole.read_bytes().count(place) == 1
