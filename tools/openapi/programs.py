"""Programs of other languages: protoc-gen-openapiv2, which is Go, and the linters redocly and spectral, which are Node.

Each may be missing: whoever changes a .proto file wants the first, whoever changes `tools/openapi` the others. Versions
and hashes are those of go.sum and package-lock.json.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
PACKAGE = "github.com/grpc-ecosystem/grpc-gateway/v2/protoc-gen-openapiv2"
GO_PINS = (HERE / "go.mod", HERE / "go.sum")
NODE_PINS = (HERE / "package.json", HERE / "package-lock.json")


def _home(pins: tuple[Path, ...]) -> Path:
    """A folder for these very versions."""
    digest = hashlib.sha256(b"".join(pin.read_bytes() for pin in pins)).hexdigest()[:8]
    return ROOT / ".build" / f"openapi-{digest}"


def plugin() -> Path | None:
    """protoc-gen-openapiv2; None where it is not installed."""
    path = _home(GO_PINS) / "protoc-gen-openapiv2"
    return path if path.exists() else None


def linter(name: str) -> Path | None:
    """`redocly` or `spectral`; None where it is not installed."""
    path = _home(NODE_PINS) / "node_modules" / ".bin" / name
    return path if path.exists() else None


def install() -> None:
    """Installs what is not there yet and can be had, and says what can't."""
    if plugin() is None:
        _attempt("go", "protoc-gen-openapiv2", _build_plugin)
    if linter("redocly") is None or linter("spectral") is None:
        _attempt("npm", "redocly and spectral", _install_linters)


def _attempt(program: str, what: str, install: Callable[[], int]) -> None:
    if shutil.which(program) is None:
        say(f"{program} is not on PATH: {what} can't be installed")
        return
    say(f"installing {what}")
    code = install()
    if code:
        say(f"{program} ended with {code}: {what} could not be installed")


def _build_plugin() -> int:
    # The Go that is there, or none: another one would have to be downloaded.
    environment = {**os.environ, "GOTOOLCHAIN": "local", "GOWORK": "off", "CGO_ENABLED": "0"}
    target = _home(GO_PINS) / "protoc-gen-openapiv2"
    command = ["go", "build", "-trimpath", "-o", str(target), PACKAGE]
    return subprocess.run(command, cwd=HERE, env=environment).returncode


def _install_linters() -> int:
    home = _home(NODE_PINS)
    home.mkdir(parents=True, exist_ok=True)
    for pin in NODE_PINS:
        shutil.copy(pin, home)
    # Nothing of theirs is run while they are installed; neither needs it.
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1"]
    return subprocess.run(command, cwd=home).returncode


def say(text: str) -> None:
    """A line for whoever runs the tool."""
    print(f"openapi: {text}", file=sys.stderr)
