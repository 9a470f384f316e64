"""Makes `.venv` with the first Python on PATH that is new enough, where there is none: `make install` begins with it.

This file runs on whatever `python3` is, so it is written for an old one too.
"""

import shutil
import subprocess
import sys

NAMES = ("python3.11", "python3.12", "python3.13", "python3")
NEW_ENOUGH = "import sys; sys.exit(sys.version_info < (3, 11))"
FOLDER = ".venv"


def main() -> None:
    """Makes it, or ends with what to do about it."""
    if shutil.which(FOLDER + "/bin/python"):
        return
    python = next((name for name in NAMES if fits(name)), None)
    if python is None:
        sys.exit(f"make install: no Python 3.11 or later on PATH (looked for {', '.join(NAMES)})")
    if subprocess.call([python, "-m", "venv", FOLDER]) != 0:
        sys.exit(
            f"make install: {python} can't make a virtual environment; "
            "on Debian and Ubuntu: apt-get install python3-venv"
        )


def fits(name: str) -> bool:
    """Whether there is such a program, and it is new enough."""
    there = shutil.which(name) is not None
    return there and subprocess.call([name, "-c", NEW_ENOUGH], stderr=subprocess.DEVNULL) == 0


if __name__ == "__main__":
    main()
