"""Makes `.cache/django6`: Django with tasks of its own, for a Python that can run it. `make frameworks` begins with it.

Where there is no Python 3.12 or later, or nothing can be fetched, it says so: the test of it is then left out.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "locks/requirements-django6.lock"
FOLDER = ROOT / ".cache/django6"
#: What was installed: the lock as it was.
INSTALLED = FOLDER / "installed.lock"
NEW_ENOUGH = "import sys; sys.exit(sys.version_info < (3, 12))"


def python() -> Path | None:
    """The Python that has what the lock says. None: it was not made, or of another lock."""
    if not INSTALLED.is_file() or INSTALLED.read_bytes() != LOCK.read_bytes():
        return None
    return FOLDER / "bin/python"


def main() -> None:
    """Makes it where it is not there, or says why it can't be made."""
    if python() is not None:
        return
    found = next(filter(_fits, _candidates()), None)
    if found is None:
        print("tools.django6: NO Python 3.12 or later: tests with Django 6 are left out")
        return
    shutil.rmtree(FOLDER, ignore_errors=True)
    pip = (FOLDER / "bin/python", "-m", "pip", "--quiet", "--disable-pip-version-check", "install")
    for command in ((found, "-m", "venv", FOLDER), (*pip, "--require-hashes", "-r", LOCK)):
        if subprocess.run(command, check=False).returncode != 0:
            print("tools.django6: it can't be installed: tests with Django 6 are left out")
            return
    shutil.copyfile(LOCK, INSTALLED)


def _candidates() -> Iterator[str]:
    for minor in range(12, 20):
        if (there := shutil.which(f"python3.{minor}")) is not None:
            yield there
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from map(str, sorted(pyenv.glob("versions/3.*/bin/python3")))


def _fits(program: str) -> bool:
    return subprocess.run([program, "-c", NEW_ENOUGH], stderr=subprocess.DEVNULL, check=False).returncode == 0


if __name__ == "__main__":
    main()
