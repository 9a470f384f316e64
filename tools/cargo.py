"""Runs cargo in `clients/rust`, or in another folder of Rust, with the versions of its `versions.lock`.

    python -m tools.cargo test --workspace                any command of cargo that takes --locked
    python -m tools.cargo --note                          makes versions.lock of the Cargo.lock that is there
    python -m tools.cargo --in tests/interop/rust build   the same in another folder

`versions.lock` is Cargo.lock without the addresses that cargo writes into it: names, versions and checksums. Cargo.lock
is made of it here, and is in no commit. After a change to a Cargo.toml, or for newer versions: `cargo update` in
the folder, then `--note`.
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


def note(folder: Path = CRATE) -> None:
    """Writes the versions that Cargo.lock has."""
    (folder / "versions.lock").write_text(SOURCE.sub("", (folder / "Cargo.lock").read_text()))


def restore(folder: Path = CRATE) -> None:
    """Brings Cargo.lock to the versions, unless it has them."""
    lock = folder / "Cargo.lock"
    wanted = (folder / "versions.lock").read_text()
    present = lock.read_text() if lock.exists() else ""
    if SOURCE.sub("", present) == wanted:
        return
    found = SOURCE.search(present)
    source = found[1] if found else ask()
    lock.write_text(wanted.replace("\nchecksum = ", f'\nsource = "{source}"\nchecksum = '))


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


def cargo(*arguments: str, folder: Path = CRATE) -> list[str]:
    """The command, to be run in the folder."""
    restore(folder)
    command, *rest = arguments
    return ["cargo", command, *([] if command == "fmt" else ["--locked"]), *rest]


def main() -> None:
    arguments = sys.argv[1:]
    folder = CRATE
    if arguments[:1] == ["--in"] and arguments[1:]:
        folder = ROOT / arguments[1]
        arguments = arguments[2:]
    if arguments == ["--note"]:
        note(folder)
    elif arguments:
        command = cargo(*arguments, folder=folder)
        os.chdir(folder)
        os.execvp(command[0], command)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
