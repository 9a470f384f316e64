"""Builds the images by buildah and runs them by podman with runc: `make image-test`. It wants root and no daemon.

Where the base can't be pulled, one is made of Debian's packages by mmdebstrap, with the same Python.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .conftest import DEPLOY, ROOT

TOOLS = ("buildah", "podman", "runc")
#: Kept from run to run: making it takes two minutes.
STORE = ROOT / ".build/containers"
BASE = "localhost/python-of-debian:bookworm"
#: What pip needs to know of this machine, mounted while it builds: settings and certificates.
PIP = ("PIP_CONFIG_FILE", "PIP_CERT", "SSL_CERT_FILE")
_STORAGE = ("--root", str(STORE / "root"), "--runroot", str(STORE / "run"), "--storage-driver", "vfs")


def missing() -> list[str]:
    """Which tools are not installed."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"
    return [name for name in TOOLS if shutil.which(name, path=path) is None]


def buildah(*words: str) -> str:
    return _run("buildah", *_STORAGE, *words)


def podman(*words: str) -> str:
    # By default it would raise limits above those of this machine.
    settings = STORE / "containers.conf"
    settings.write_text('[containers]\ndefault_ulimits = ["nofile=20000:20000", "nproc=4096:4096"]\n')
    how = ("--runtime", "runc", "--cgroup-manager", "cgroupfs")
    return _run("podman", *_STORAGE, *how, *words, CONTAINERS_CONF=str(settings))


def _run(*words: str, **environment: str) -> str:
    done = subprocess.run(
        words, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    # What a container said on either goes with its own.
    return (done.stdout + done.stderr if "logs" in words else done.stdout).strip()


def base() -> str:
    """The image to build on: that of IMAGE_BASE, or one of Debian's packages."""
    STORE.mkdir(parents=True, exist_ok=True)
    if given := os.environ.get("IMAGE_BASE"):
        return given
    if buildah("images", "--quiet", "--filter", f"reference={BASE}"):
        return BASE
    packages = STORE / "base.tar"
    if not packages.exists():
        partly = packages.with_suffix(".part.tar")
        _run(
            "mmdebstrap", "--quiet", "--variant=minbase", "--include=ca-certificates,python3,python3-venv", "bookworm",
            str(partly),
        )  # fmt: skip
        partly.rename(packages)
    container = buildah("from", "scratch")
    buildah("add", "--quiet", container, str(packages), "/")
    # As the official image has it.
    (Path(buildah("mount", container)) / "usr/bin/python").symlink_to("python3")
    buildah("config", "--env", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", container)
    buildah("commit", "--quiet", "--rm", container, BASE)
    return BASE


def build(target: str) -> str:
    """An image of the Dockerfile; its name."""
    tag = f"localhost/jobqueue-{target}:test"
    mounts = [f"--volume={path}:{path}:ro" for path in _of_pip()]
    variables = [
        f"--env={name}={os.environ[name]}" for name in os.environ if name.startswith(("PIP_", "SSL_CERT"))
    ]
    buildah(
        "bud", "--quiet", "--isolation", "chroot", "--pull-never", "--layers=false", "--network", "host",
        "--build-arg", f"PYTHON={base()}", *mounts, *variables,
        "--file", str(DEPLOY / "Dockerfile"), "--target", target, "--tag", tag, str(ROOT),
    )  # fmt: skip
    return tag


def _of_pip() -> Iterator[str]:
    yield from (path for path in ("/etc/pip.conf",) if Path(path).is_file())
    yield from {os.environ[name] for name in PIP if Path(os.environ.get(name, "")).is_file()}


@contextmanager
def running(image: str, *arguments: str, **environment: str) -> Iterator[str]:
    """A container as confined as the chart's and the compose file's; its name."""
    container = podman(
        "run", "--detach", "--network", "host", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL",
        "--security-opt", "no-new-privileges", *(f"--env={name}={value}" for name, value in environment.items()),
        image, *arguments,
    )  # fmt: skip
    try:
        yield container
    finally:
        with contextlib.suppress(AssertionError):
            podman("rm", "--force", container)
