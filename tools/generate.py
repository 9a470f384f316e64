"""Generates from `proto/` all that is made of it: the Python stubs of the client, and the new rows of bindings.txt.

    python tools/generate.py               write them
    python tools/generate.py --check       write nothing; fail if something would change
    python tools/generate.py --googleapis  only lay out google/api/*.proto, which buf needs

The compilers live in an environment of their own under `.build/`, because the stubs are made with the oldest release
that the client supports, and that does not stand beside the grpcio that the project runs on. With `.build/` there,
nothing is fetched.
"""

from __future__ import annotations

import argparse
import difflib
import hashlib
import os
import shutil
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
GOOGLEAPIS = BUILD / "googleapis"
STUBS = Path("clients/python/src")

# Stubs run on the release that made them and on later ones, up to the next major of protobuf: those of grpcio-tools
# 1.73.0 (protobuf 6.31.0) on grpcio >= 1.73 and protobuf 6.31 to 7.x, which is what the client asks for.
# mypy-protobuf writes the types, of the stubs for asyncio too; it runs on any protobuf 6 from 6.32 on.
COMPILERS = ("grpcio-tools==1.73.0", "mypy-protobuf==5.1.0", "protobuf==6.33.6", "setuptools==80.9.0")


def lay_out_googleapis() -> None:
    """Copies google/api/*.proto out of the wheel, to a place that buf.yaml can name."""
    wheel = metadata.distribution("googleapis-common-protos")
    for file in wheel.files or ():
        if file.parent.as_posix() == "google/api" and file.suffix == ".proto":
            target = GOOGLEAPIS / file
            content = Path(str(file.locate())).read_bytes()
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
        install = [programs / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*install, *COMPILERS], check=True)
        ready.touch()
    return programs


def stubs() -> dict[Path, str]:
    """The stubs of all of `proto/`, by their place in the repository."""
    programs = compilers()
    protos = sorted(path.relative_to(PROTO) for path in PROTO.rglob("*.proto"))
    services = [path for path in protos if "\nservice " in (PROTO / path).read_text()]
    with tempfile.TemporaryDirectory() as folder:
        for files, outputs in ((protos, ("python", "mypy")), (services, ("grpc_python", "mypy_grpc"))):
            protoc = [programs / "python", "-m", "grpc_tools.protoc", f"-I{PROTO}", f"-I{GOOGLEAPIS}"]
            plugins = [f"--plugin=protoc-gen-{name}={programs / f'protoc-gen-{name}'}" for name in ("mypy", "mypy_grpc")]
            places = [f"--{output}_out={'quiet:' if 'mypy' in output else ''}{folder}" for output in outputs]
            subprocess.run([*protoc, *plugins, *places, *files], check=True)
        made = sorted(path for path in Path(folder).rglob("*") if path.is_file())
        return {STUBS / path.relative_to(folder): path.read_text() for path in made}


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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--check", action="store_true", help="write nothing; fail if something would change")
    mode.add_argument("--googleapis", action="store_true", help="only lay out google/api/*.proto for buf")
    arguments = parser.parse_args()

    lay_out_googleapis()
    if arguments.googleapis:
        return 0
    wanted = stubs()
    if not arguments.check:
        write(wanted)
    elif difference := drift(wanted):
        print("\n".join([*difference[:40], "generate: the stubs are not what proto/ makes: run `make generate`"]))
        return 1
    bindings = [sys.executable, ROOT / "tools" / "bindings.py", *(["--check"] if arguments.check else [])]
    return subprocess.run(bindings).returncode


if __name__ == "__main__":
    sys.exit(main())
