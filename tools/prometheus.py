"""Prometheus and promtool: those on PATH, or those of Debian's package, unpacked into .cache/prometheus.

python -m tools.prometheus --fetch    fetch and unpack the package, where neither is there
python -m tools.prometheus            check the rules in deploy/prometheus, and run their unit tests
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UNPACKED = ROOT / ".cache/prometheus"
FOLDER = ROOT / "deploy/prometheus"
RULES = FOLDER / "jobqueue.rules.yaml"
#: Those with series of hours, and those with series of days, which are looked at every ten minutes.
UNIT_TESTS = (FOLDER / "jobqueue.tests.yaml", FOLDER / "jobqueue-days.tests.yaml")
MISSING = "promtool is not there: install the package prometheus, or run `python -m tools.prometheus --fetch` on Debian"


def program(name: str) -> str | None:
    """Where `prometheus` or `promtool` is; None: nowhere."""
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), str(UNPACKED / "usr/bin")]))


def fetch() -> bool:
    """Fetches the package without installing it, so that no service starts. Whether promtool is there then."""
    if program("promtool") is not None:
        return True
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        return False
    UNPACKED.mkdir(parents=True, exist_ok=True)
    download = ["apt-get", "-qq", "download", "prometheus"]
    if not _quietly(download) and os.geteuid() == 0:
        # Of a machine that has no lists of packages yet.
        _quietly(["apt-get", "-qq", "update"])
        _quietly(download)
    for package in sorted(UNPACKED.glob("prometheus_*.deb"))[-1:]:
        subprocess.run(["dpkg", "-x", str(package), str(UNPACKED)], check=True)
        package.unlink()
    return program("promtool") is not None


def _quietly(command: list[str]) -> bool:
    ran = subprocess.run(command, cwd=UNPACKED, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return ran.returncode == 0


def promtool(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs it.

    Raises:
        FileNotFoundError: It is not there.
    """
    found = program("promtool")
    if found is None:
        raise FileNotFoundError(MISSING)
    return subprocess.run([found, *map(str, words)], capture_output=True, text=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fetch", action="store_true", help="fetch Debian's package, where it is missing")
    if parser.parse_args().fetch:
        sys.exit(None if fetch() else MISSING)
    if program("promtool") is None:
        sys.exit(MISSING)
    for words in (("check", "rules", RULES), ("test", "rules", *UNIT_TESTS)):
        ran = promtool(*words)
        print(ran.stdout + ran.stderr, end="")
        if ran.returncode:
            sys.exit(ran.returncode)


if __name__ == "__main__":
    main()
