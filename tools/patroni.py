"""Patroni and etcd for `make ha`: Debian's packages, kept in .cache/ha and never installed, so that no service starts.

python -m tools.patroni --fetch    fetch the packages, where they are not there yet
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ROOT / ".cache/ha"
# Names the packages once all of them are there.
_COMPLETE = PACKAGES / "complete"
_WANTED = ("patroni", "etcd-server")
MISSING = (
    "Patroni and etcd are not there: run `make ha` on Debian or Ubuntu, where `apt-get download patroni etcd-server` "
    "works (as root it renews the lists of packages by itself; else run `apt-get update` first)"
)


def there() -> bool:
    """Whether the packages have been fetched."""
    return _COMPLETE.exists()


def fetch() -> bool:
    """Fetches the packages, and those that they need and that this machine has not. Whether they are there then."""
    if there():
        return True
    if any(shutil.which(program) is None for program in ("apt-get", "dpkg", "python3")):
        return False
    PACKAGES.mkdir(parents=True, exist_ok=True)
    if not _download() and os.geteuid() == 0:
        # Of a machine that has no lists of packages yet.
        _apt("update")
        _download()
    return there()


def _download() -> bool:
    # What an installation would bring along depends on what this machine has.
    plan = _apt("--simulate", "--no-install-recommends", "install", *_WANTED)
    names = [line.split()[1] for line in plan.stdout.splitlines() if line.startswith("Inst ")]
    # Those that are installed already are not in the plan.
    names = sorted({*names, *_WANTED})
    if plan.returncode or _apt("download", *names).returncode:
        return False
    _COMPLETE.write_text("\n".join(names) + "\n")
    return True


def _apt(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["apt-get", "-qq", *words], cwd=PACKAGES, capture_output=True, text=True)


def unpack(folder: Path) -> None:
    """Unpacks the packages into a folder, where any account may enter."""
    for package in sorted(PACKAGES.glob("*.deb")):
        subprocess.run(["dpkg", "-x", str(package), str(folder)], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--fetch", action="store_true", help="fetch Debian's packages, where they are missing"
    )
    if parser.parse_args().fetch:
        sys.exit(None if fetch() else MISSING)
    print("there" if there() else MISSING)


if __name__ == "__main__":
    main()
