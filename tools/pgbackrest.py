"""pgbackrest, and a PostgreSQL that it knows: those that are installed, or Debian's, unpacked into .cache/pgbackrest.

python -m tools.pgbackrest --fetch    fetch and unpack the packages that are missing, without installing them
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UNPACKED = ROOT / ".cache/pgbackrest"
MISSING = (
    "pgbackrest or Debian's PostgreSQL is not there: install the packages pgbackrest and postgresql, or run "
    "`python -m tools.pgbackrest --fetch` on Debian"
)


def program() -> str | None:
    """Where pgbackrest is; None: nowhere."""
    return shutil.which(
        "pgbackrest", path=os.pathsep.join([os.environ.get("PATH", ""), str(UNPACKED / "usr/bin")])
    )


def postgres() -> Path | None:
    """The programs of Debian's newest PostgreSQL, a version that its pgbackrest knows; None: none is there."""
    found = [
        folder
        for root in (Path("/"), UNPACKED)
        for folder in (root / "usr/lib/postgresql").glob("*/bin")
        if (folder / "initdb").is_file()
    ]
    return max(found, key=lambda folder: int(folder.parent.name), default=None)


def are_there() -> bool:
    """Whether both are."""
    return program() is not None and postgres() is not None


def fetch() -> bool:
    """Fetches the packages that are missing, so that no service starts. Whether both are there then."""
    if are_there():
        return True
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        return False
    UNPACKED.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        # Of a machine that has no lists of packages yet.
        _quietly(["apt-get", "-qq", "update"])
    wanted = ([] if program() else ["pgbackrest"]) + ([] if postgres() else [f"postgresql-{_version()}"])
    for package in wanted:
        _quietly(["apt-get", "-qq", "download", package])
        for file in sorted(UNPACKED.glob(f"{package}_*.deb"))[-1:]:
            subprocess.run(["dpkg", "-x", str(file), str(UNPACKED)], check=True)
            file.unlink()
    return are_there()


def _version() -> str:
    """The version of PostgreSQL that this Debian has."""
    said = subprocess.run(["apt-cache", "depends", "postgresql"], capture_output=True, text=True).stdout
    found = re.search(r"postgresql-(\d+)", said)
    return found[1] if found else "15"


def _quietly(command: list[str]) -> bool:
    ran = subprocess.run(command, cwd=UNPACKED, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return ran.returncode == 0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--fetch", action="store_true", help="fetch Debian's packages, where they are missing"
    )
    if parser.parse_args().fetch:
        fetch()
    sys.exit(None if are_there() else MISSING)


if __name__ == "__main__":
    main()
