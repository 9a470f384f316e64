"""Generates what is made of .proto files: the Python stubs of the client and the new rows of bindings.txt of `proto/`,
and in the server the messages of FOREIGN.

    python -m tools.generate               write them
    python -m tools.generate --check       write nothing; fail if something would change
    python -m tools.generate --googleapis  only lay out google/api/*.proto, which buf needs

The compilers live in an environment of their own under `.build/`, because the stubs are made with the oldest release
that the client supports, and that does not stand beside the grpcio that the project runs on. With `.build/` there,
nothing is fetched.
"""

from __future__ import annotations

import argparse
import difflib
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import venv
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
BUILD = ROOT / ".build"
# buf.yaml says why this is its name.
GOOGLEAPIS = BUILD / "googleapis (run make install)"
#: By its name in imports: its name in the wheel.
IMPORTED = {
    name: name
    for name in (
        "google/api/annotations.proto",
        "google/api/client.proto",
        "google/api/field_behavior.proto",
        "google/api/http.proto",
        "google/api/launch_stage.proto",
        "google/rpc/status.proto",
    )
} | {"google/longrunning/operations.proto": "google/longrunning/operations_proto.proto"}
STUBS = Path("clients/python/src")
# Interfaces of others that the server serves. They are no part of the contract, and lie beside what serves them.
SERVER = Path("server/src")
FOREIGN = (Path("jobqueue_server/rpc/keda/externalscaler.proto"),)

# Stubs run on the release that made them and on later ones, up to the next major of protobuf: those of grpcio-tools
# 1.73.0 (protobuf 6.31.0) on grpcio >= 1.73 and protobuf 6.31 to 7.x, which is what the client asks for.
# mypy-protobuf writes the types, of the stubs for asyncio too; it runs on protobuf 6 from 6.32 on.
COMPILERS = ("grpcio-tools==1.73.0", "mypy-protobuf==5.1.0", "protobuf==6.33.6", "setuptools==80.9.0")
SHOWN_LINES = 40


def run(*command: str | Path) -> None:
    """Runs a program, and ends this one with its exit code if it fails."""
    code = subprocess.run(command, cwd=ROOT).returncode
    if code:
        sys.exit(code)


def lay_out_googleapis() -> None:
    """Copies the files that `proto/` imports out of the wheel, to a place that buf.yaml can name."""
    wheel = metadata.distribution("googleapis-common-protos")
    for name, stored in IMPORTED.items():
        target, content = GOOGLEAPIS / name, Path(str(wheel.locate_file(stored))).read_bytes()
        # A comment names the hosts of package managers, and would stand in stubs.
        content = re.sub(rb"(to package managers) like [^\n]*", rb"\1.", content)
        if not target.exists() or target.read_bytes() != content:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    (BUILD / ".gitignore").write_text("*\n")


def compilers() -> Path:
    """The folder of the compilers' programs; makes their environment if these very versions are not there yet."""
    digest = hashlib.sha256("\n".join(COMPILERS).encode()).hexdigest()[:8]
    home = BUILD / f"compilers-{digest}"
    programs = home / ("Scripts" if os.name == "nt" else "bin")
    ready = home / "ready"  # written last: a half-made environment is made anew
    if not ready.exists():
        print(f"generate: installing {', '.join(COMPILERS)} into {home.relative_to(ROOT)}", file=sys.stderr)
        venv.create(home, clear=True, with_pip=True)
        pip = (programs / "python", "-m", "pip", "--quiet", "--disable-pip-version-check")
        run(*pip, "install", "--no-deps", *COMPILERS)
        ready.touch()
    return programs


def stubs() -> dict[Path, str]:
    """What is made of all of `proto/` and of FOREIGN, by its place in the repository."""
    programs = compilers()
    protos = sorted(path.relative_to(PROTO) for path in PROTO.rglob("*.proto"))
    services = [path for path in protos if "\nservice " in (PROTO / path).read_text()]
    protoc = (programs / "python", "-m", "grpc_tools.protoc", f"-I{PROTO}", f"-I{GOOGLEAPIS}")
    plugins = [f"--plugin={name}={programs / name}" for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")]
    with tempfile.TemporaryDirectory() as folder:
        run(*protoc, *plugins, f"--python_out={folder}", f"--mypy_out=quiet:{folder}", *protos)
        run(*protoc, *plugins, f"--grpc_python_out={folder}", f"--mypy_grpc_out=quiet:{folder}", *services)
        found = made(STUBS, folder)
    foreign = (programs / "python", "-m", "grpc_tools.protoc", f"-I{SERVER}")
    with tempfile.TemporaryDirectory() as folder:
        run(*foreign, *plugins, f"--python_out={folder}", f"--mypy_out=quiet:{folder}", *FOREIGN)
        return found | made(SERVER, folder)


def made(home: Path, folder: str) -> dict[Path, str]:
    """The files of a folder, by their place under `home`."""
    paths = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return {home / path.relative_to(folder): path.read_text() for path in paths}


def stale(wanted: Mapping[Path, str]) -> set[Path]:
    """Stubs in the repository that nothing in `proto/` makes any longer."""
    folders = {ROOT / path.parent for path in wanted}
    present = {path.relative_to(ROOT) for folder in folders for path in folder.glob("*_pb2*.py*")}
    return present - set(wanted)


def drift(wanted: Mapping[Path, str]) -> list[str]:
    """What differs between the repository and `wanted`, as lines of a diff."""
    lines = [f"{path} is made from no .proto file" for path in sorted(stale(wanted))]
    for path, text in wanted.items():
        present = (ROOT / path).read_text() if (ROOT / path).exists() else ""
        names = str(path), f"{path} (generated)"
        lines += difflib.unified_diff(present.splitlines(), text.splitlines(), *names, n=1, lineterm="")
    return lines


def write(wanted: Mapping[Path, str]) -> None:
    """Brings the repository to `wanted`."""
    for path in stale(wanted):
        (ROOT / path).unlink()
    for path, text in wanted.items():
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--check", action="store_true", help="write nothing; fail if something would change")
    mode.add_argument("--googleapis", action="store_true", help="only lay out google/api/*.proto for buf")
    arguments = parser.parse_args()

    lay_out_googleapis()
    if arguments.googleapis:
        return
    wanted = stubs()
    if not arguments.check:
        write(wanted)
    elif difference := drift(wanted):
        print(*difference[:SHOWN_LINES], sep="\n")
        sys.exit("generate: the stubs are not what proto/ makes: run `make generate`")
    run(sys.executable, ROOT / "tools" / "bindings.py", *(["--check"] if arguments.check else []))


if __name__ == "__main__":
    main()
