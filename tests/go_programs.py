"""Programs in Go that tests run, each pinned by the go.mod of a folder of its own."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: For all that tests build in Go, so that nothing is compiled twice. The Go that is there, or none: another one would
#: have to be downloaded.
ENVIRONMENT = {
    "GOTOOLCHAIN": "local",
    "GOWORK": "off",
    "GOFLAGS": f"-buildvcs=false {os.environ.get('GOFLAGS', '')}".strip(),
    "CGO_ENABLED": "0",
}


def built(module: Path, package: str) -> Path:
    """A program in the versions of the module's go.mod, built if it is not there yet.

    Args:
        module: The folder of go.mod and go.sum.
        package: The program's path, whose last part is its name.
    """
    pins = b"".join((module / name).read_bytes() for name in ("go.mod", "go.sum"))
    name = package.rpartition("/")[2]
    path = ROOT / ".build" / f"{name}-{hashlib.sha256(pins).hexdigest()[:8]}" / name
    if not path.exists():
        command = ["go", "build", "-o", str(path), package]
        done = subprocess.run(
            command, cwd=module, env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    return path
