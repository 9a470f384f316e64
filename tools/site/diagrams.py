"""mermaid, which draws diagrams in the browser: taken out of npm's package by its hash, and kept in `.cache`."""

from __future__ import annotations

import base64
import hashlib
import io
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from .source import ROOT

VERSION = "12.3.0"
#: What npm says of the package, and what is in it: MIT.
INTEGRITY = "sha512-4113TdXeLAsMruJ79OpFL5O8+LTFXhQqZ260rF3tgUmiNAtRm4Uume04I+65PRN6yZ69J4f8rVYWW8zRk65UYw=="
KEPT = ROOT / ".cache" / "mermaid" / VERSION
FILES = {"dist/mermaid.min.js": "mermaid.min.js", "LICENSE": "mermaid.LICENSE.txt"}


class PackageUnusable(Exception):
    """It can't be had, or is another one. The text says which."""


def fetch() -> bool:
    """Takes it from npm where it is not kept yet; False where there is no npm."""
    if KEPT.is_dir():
        return True
    if shutil.which("npm") is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "pack", "--silent", "--pack-destination", folder, f"mermaid@{VERSION}"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise PackageUnusable(f"npm can't get mermaid {VERSION}: {done.stderr.strip()}")
        (packed,) = Path(folder).iterdir()
        unpack(packed.read_bytes(), INTEGRITY, KEPT)
    return True


def unpack(packed: bytes, integrity: str, folder: Path) -> None:
    """Takes the files out of the package, if it is the one that is meant: all of them, or none."""
    found = "sha512-" + base64.b64encode(hashlib.sha512(packed).digest()).decode()
    if found != integrity:
        raise PackageUnusable(f"mermaid {VERSION} is another package than before: {found}")
    draft = folder.with_suffix(".draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        for inside, name in FILES.items():
            member = archive.extractfile(f"package/{inside}")
            assert member is not None
            (draft / name).write_bytes(member.read())
    draft.rename(folder)
