"""Runs cargo in `clients/rust`, with the versions of `versions.lock`.

    python -m tools.cargo test --workspace    any command of cargo that takes --locked
    python -m tools.cargo --note              makes versions.lock of the Cargo.lock that is there

`versions.lock` is Cargo.lock without the addresses that cargo writes into it: names, versions and checksums. Cargo.lock
is made of it here, and is in no commit. After a change to a Cargo.toml, or for newer versions: `cargo update` in
`clients/rust`, then `--note`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.generate import ROOT

CRATE = ROOT / "clients" / "rust"
VERSIONS = CRATE / "versions.lock"
LOCK = CRATE / "Cargo.lock"
SOURCE = re.compile(r'^source = "(.+)"\n', re.MULTILINE)
# What asks cargo where it gets crates from. Any crate will do; this one has no dependencies.
PROBE = """
[package]
name = "probe"
edition = "2024"
[lib]
path = "lib.rs"
[dependencies]
bytes = "1"
"""


def note() -> None:
    """Writes the versions that Cargo.lock has."""
    VERSIONS.write_text(SOURCE.sub("", LOCK.read_text()))


def restore() -> None:
    """Brings Cargo.lock to the versions, unless it has them."""
    wanted = VERSIONS.read_text()
    present = LOCK.read_text() if LOCK.exists() else ""
    if SOURCE.sub("", present) == wanted:
        return
    found = SOURCE.search(present)
    source = found[1] if found else ask()
    LOCK.write_text(wanted.replace("\nchecksum = ", f'\nsource = "{source}"\nchecksum = '))


def ask() -> str:
    """Where cargo gets crates from, as it writes it."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "Cargo.toml").write_text(PROBE)
        (Path(folder) / "lib.rs").touch()
        command = ["cargo", "generate-lockfile", "--quiet"]
        if subprocess.run([*command, "--offline"], cwd=folder, stderr=subprocess.DEVNULL).returncode:
            subprocess.run(command, cwd=folder, check=True)
        found = SOURCE.search((Path(folder) / "Cargo.lock").read_text())
    if found is None:
        sys.exit("cargo: no source in a Cargo.lock")
    return found[1]


def cargo(*arguments: str) -> list[str]:
    """The command, to be run in `CRATE`."""
    restore()
    command, *rest = arguments
    return ["cargo", command, *([] if command == "fmt" else ["--locked"]), *rest]


def main() -> None:
    if sys.argv[1:] == ["--note"]:
        note()
    elif sys.argv[1:]:
        command = cargo(*sys.argv[1:])
        os.chdir(CRATE)
        os.execvp(command[0], command)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
