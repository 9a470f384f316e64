"""The package for NestJS, built once for all processes of a run: each of them may be asked for a part of its tests."""

from __future__ import annotations

import fcntl
import functools
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

from jobqueue.testing import TestServer
from tests.conformance.languages import languages
from tests.docs.markdown import ROOT

CLIENT = ROOT / "clients/typescript"
PACKAGE = ROOT / "clients/typescript-nestjs"
RECIPE = ROOT / "examples/frameworks/nestjs"
#: What is compiled, with the versions of Nest beside it: those of `package-lock.json` in each.
BUILT = PACKAGE / ".build"
LOWEST = BUILT / "lowest"


def run(*command: str, folder: Path = PACKAGE, server: TestServer | None = None) -> str:
    """What a command prints; with a server, its tests have namespaces of that one."""
    env = dict(os.environ)
    if server is not None:
        env |= {"JOBQUEUE_TEST_SERVER": server.target, "JOBQUEUE_TEST_KEY": server.key}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}{done.stderr}"
    return done.stdout


@functools.cache
def built() -> None:
    """The client, the package, its tests, and the recipe's programs in `.build/recipe`."""
    BUILT.mkdir(exist_ok=True)
    with (BUILT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        sources = (CLIENT / "src", CLIENT / "package-lock.json", PACKAGE, RECIPE)
        if not _made("newest", sources):
            trouble = languages()["typescript"].make()
            assert not trouble, f"the client can't be built:\n{trouble}"
            _install(PACKAGE)
            _compile("--project", "tsconfig.build.json")
            _compile()
            shutil.rmtree(BUILT / "recipe", ignore_errors=True)
            shutil.copytree(RECIPE, BUILT / "recipe")
            options = {"rootDir": ".", "outDir": "."}
            project = {
                "extends": "../../tsconfig.json",
                "compilerOptions": options,
                "include": ["."],
                "exclude": [],
            }
            (BUILT / "recipe" / "tsconfig.json").write_text(json.dumps(project))
            _compile("--project", str(BUILT / "recipe"))
            _remember("newest", sources)


@functools.cache
def built_with_the_lowest() -> None:
    """The package and its tests once more in `.build/lowest`, where they find the lowest Nest."""
    built()
    with (BUILT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        sources = (CLIENT / "src", CLIENT / "package-lock.json", PACKAGE)
        if not _made("lowest", sources):
            for name in ("src", "test"):
                shutil.rmtree(LOWEST / name, ignore_errors=True)
                shutil.copytree(PACKAGE / name, LOWEST / name)
            # It uses an option that is newer.
            (LOWEST / "test/programs/slow.ts").unlink()
            for path in (*(PACKAGE / "lowest").iterdir(), PACKAGE / "tsconfig.json"):
                shutil.copy(path, LOWEST)
            _install(LOWEST)
            _compile(folder=LOWEST)
            _remember("lowest", sources)


def _compile(*options: str, folder: Path = PACKAGE) -> None:
    command = [str(PACKAGE / "node_modules/.bin/tsc"), *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, f"it can't be built:\n{done.stdout}"


def _install(folder: Path) -> None:
    """What its package-lock.json names, and the client of this checkout."""
    there = folder / "node_modules" / ".package-lock.json"
    lock = (folder / "package-lock.json").read_bytes()
    known = folder / "node_modules" / ".lock"
    if not there.exists() or not known.exists() or known.read_bytes() != lock:
        run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", folder=folder)
        known.write_bytes(lock)
    link = folder / "node_modules" / "@jobqueue" / "client"
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(CLIENT)


def _digest(sources: tuple[Path, ...]) -> str:
    digest = hashlib.sha256()
    for source in sources:
        for path in [source] if source.is_file() else sorted(source.rglob("*")):
            within = {"node_modules", ".build", "dist"} & set(path.relative_to(ROOT).parts)
            if path.is_file() and not within:
                digest.update(f"{path}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _made(what: str, sources: tuple[Path, ...]) -> bool:
    known = BUILT / f"{what}.digest"
    there = (CLIENT / "dist" / "index.js").exists() and (PACKAGE / "dist" / "index.js").exists()
    return there and known.exists() and known.read_text() == _digest(sources)


def _remember(what: str, sources: tuple[Path, ...]) -> None:
    (BUILT / f"{what}.digest").write_text(_digest(sources))
