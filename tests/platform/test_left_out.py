"""`make test` needs Python and make alone: what it leaves out is imported all the same, and wants nothing more."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections import Counter
from importlib.metadata import Distribution, distributions
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from tests.flakes import bare

pytestmark = [pytest.mark.slow, pytest.mark.any_engine, pytest.mark.timeout(300)]

ROOT = Path(__file__).resolve().parents[2]
#: What `make install` installs beside the locks, as folders of the checkout.
OURS = ("clients/python", "server", "worker")
LOCKS = ("requirements-build.lock", "requirements.lock")


def of_make_install() -> list[Distribution]:
    """What `make install` installs, by its locks and our packages' names; nothing else that is there."""
    text = "".join((ROOT / "locks" / lock).read_text() for lock in LOCKS)
    text += "".join((ROOT / each / "pyproject.toml").read_text() for each in OURS)
    named = {
        canonicalize_name(name)
        for name in re.findall(r'^(?:name = ")?([\w.-]+)(?:==|"$)', text, re.MULTILINE)
    }
    return [each for each in distributions() if canonicalize_name(each.name) in named]


def environment(folder: Path) -> list[str]:
    """Lays these packages into the folder, as links to their files; what a Python without `site` has for its path."""
    for distribution in of_make_install():
        for file in distribution.files or ():
            here, there = folder / file, Path(str(distribution.locate_file(file)))
            if ".." not in file.parts and there.exists():
                here.parent.mkdir(parents=True, exist_ok=True)
                here.symlink_to(there)
    return [str(folder), *(str(ROOT / each / "src") for each in OURS)]


def options(target: str) -> list[str]:
    """By which a target of the Makefile chooses its tests."""
    told = subprocess.run(
        ["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    found = re.search(r"pytest tests .*--again (-m .+)$", told, re.MULTILINE)
    assert found, told
    return shlex.split(found[1])


def test_make_test_collects_its_tests_where_nothing_but_the_locks_of_make_install_is_there(tmp_path: Path):
    path = environment(tmp_path)
    program = (
        f"import sys; sys.path[:0] = {path!r}; import pytest; "
        f"sys.exit(pytest.main(['tests', '--collect-only', '-qq', *{options('test')!r}]))"
    )
    there = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program],
        cwd=ROOT, env=there, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert "tests/store/test_claim.py: " in done.stdout
    assert "tests/ui/" not in done.stdout, "a browser is left to make check"


def collected(*chosen: str) -> set[str]:
    """Of some files, which ask for an engine, and for the fast path, and have more cases than `make test` runs."""
    files = ["tests/lease/test_fence.py", "tests/http/test_whole_server.py", "tests/serve/test_scopes.py"]
    command = [sys.executable, "-m", "pytest", *files, "--collect-only", "-q", "-p", "no:xdist", *chosen]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout
    return set(re.findall(r"^tests/.+::.+$", told, re.MULTILINE))


def test_make_rest_runs_what_make_test_did_not_over_both_engines_and_with_the_fast_path_on_and_off():
    everything = collected("-m", "not (ha or long or network)", "--engine=both", "--fast-path=both")
    quick, rest = collected(*options("test")), collected(*options("rest"))
    assert rest < everything
    left = everything - rest
    assert Counter(map(bare, left)) == Counter(map(bare, quick))
    others = {
        way: {name for name in everything if re.search(rf"\b{way}\b", name)} for way in ("grpcio", "off")
    }
    assert all(others.values())
    assert not left & set().union(*others.values())
