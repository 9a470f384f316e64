"""Generates the Go client's stubs, `clients/go/jobqueue/v1`, from `proto/`. Needs Go and buf.

    python -m tools.go_stubs          write them
    python -m tools.go_stubs --check  write nothing; fail if something would change

Where there is no Go both say so and do nothing: whoever changes a .proto file needs it, nobody else does. The plugins
are those of `clients/go/tools/go.mod`, built into `.build/`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.generate import BUILD, PROTO, ROOT, lay_out_googleapis, run

MODULE = ROOT / "clients" / "go"
STUBS = MODULE / "jobqueue" / "v1"
TOOLS = MODULE / "tools"
PLUGINS = {
    "protoc-gen-go": "google.golang.org/protobuf/cmd/protoc-gen-go",
    "protoc-gen-go-grpc": "google.golang.org/grpc/cmd/protoc-gen-go-grpc",
}


def plugins() -> dict[str, Path]:
    """The programs that write Go, in the versions of go.mod; built if they are not there yet."""
    pins = b"".join((TOOLS / name).read_bytes() for name in ("go.mod", "go.sum"))
    home = BUILD / f"go-{hashlib.sha256(pins).hexdigest()[:8]}"
    # The Go that is there, or none: another one would have to be downloaded.
    environment = {**os.environ, "GOTOOLCHAIN": "local", "GOWORK": "off", "CGO_ENABLED": "0"}
    for name, package in PLUGINS.items():
        if not (home / name).exists():
            command = ["go", "build", "-trimpath", "-o", str(home / name), package]
            if code := subprocess.run(command, cwd=TOOLS, env=environment).returncode:
                sys.exit(code)
    return {name: home / name for name in PLUGINS}


def stubs() -> dict[str, str]:
    """The stubs by the names of their files."""
    lay_out_googleapis()
    with tempfile.TemporaryDirectory() as folder:
        template = {
            "version": "v2",
            "inputs": [{"directory": str(PROTO)}],
            "plugins": [
                {"local": str(path), "out": folder, "opt": "module=jobqueue.dev/go"}
                for path in plugins().values()
            ],
        }
        run(Path(sys.executable).parent / "buf", "generate", "--template", json.dumps(template))
        return {path.name: path.read_text() for path in sorted(Path(folder).rglob("*.pb.go"))}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing; fail if something would change")
    arguments = parser.parse_args()
    if shutil.which("go") is None:
        print("go_stubs: go is not on PATH: the Go client's stubs are left as they are", file=sys.stderr)
        return
    wanted = stubs()
    present = {path.name: path.read_text() for path in STUBS.glob("*.pb.go")}
    if present == wanted:
        return
    if arguments.check:
        changed = sorted(name for name in present | wanted if present.get(name) != wanted.get(name))
        sys.exit(f"go_stubs: {', '.join(changed)} is not what proto/ makes: run `make generate`")
    for name in present.keys() - wanted.keys():
        (STUBS / name).unlink()
    STUBS.mkdir(parents=True, exist_ok=True)
    for name, text in wanted.items():
        (STUBS / name).write_text(text)


if __name__ == "__main__":
    main()
