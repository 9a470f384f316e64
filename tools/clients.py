"""Builds, vets and tests the clients in other languages, each where its toolchain is: `make clients`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON = sys.executable
CARGO = (PYTHON, "-m", "tools.cargo")
# The same features everywhere, so that nothing is compiled twice.
CRATES = ("--workspace", "--all-features")
STATICCHECK = str(ROOT / ".cache" / "staticcheck")
NEST = "typescript-nestjs"
# The server of tests that have a namespace of their own.
OF_TESTS = {"JOBQUEUE_SERVER_COMMAND": str(Path(PYTHON).with_name("jobqueue-server"))}


@dataclass(frozen=True)
class Step:
    """A command.

    Attributes:
        command: What is run.
        folder: Where, from the root.
        environment: What is set for it.
        silent: What it prints is a complaint.
    """

    command: tuple[str, ...]
    folder: str = "."
    environment: Mapping[str, str] = field(default_factory=dict)
    silent: bool = False


def go(*arguments: str) -> Step:
    """With the Go that is there; another one would be downloaded."""
    return Step(arguments, "clients/go", {"GOTOOLCHAIN": "local", "GOWORK": "off"})


def npm(*arguments: str, package: str = "typescript") -> Step:
    return Step(("npm", *arguments, "--silent"), f"clients/{package}", OF_TESTS)


#: By language: the programs that it needs, and the steps.
LANGUAGES: dict[str, tuple[tuple[str, ...], tuple[Step, ...]]] = {
    "Go": (
        ("go", "gofmt"),
        (
            Step((PYTHON, "-m", "tools.go_stubs", "--check")),
            Step(("gofmt", "-l", "."), "clients/go", silent=True),
            go("go", "build", "./..."),
            go("go", "vet", "./..."),
            go("go", "test", "./..."),
            go("go", "build", "-C", "tools", "-o", STATICCHECK, "honnef.co/go/tools/cmd/staticcheck"),
            go(STATICCHECK, "./..."),
            go("go", "vet", "-C", "otel", "./..."),
            go("go", "vet", "-C", "zstd", "./..."),
            go("go", "test", "-C", "zstd", "./..."),
        ),
    ),
    "TypeScript": (
        ("node", "npm"),
        (
            npm("ci", "--ignore-scripts", "--no-audit", "--no-fund"),
            Step((PYTHON, "-m", "tools.typescript_stubs", "--check")),
            npm("run", "lint"),
            npm("test"),
            npm("ci", "--ignore-scripts", "--no-audit", "--no-fund", package=NEST),
            npm("run", "use-client", package=NEST),
            npm("run", "lint", package=NEST),
            npm("test", package=NEST),
        ),
    ),
    "Java": (
        ("mvn", "javac"),
        (Step(("mvn", "-B", "-q", "-f", "clients/java/reactor/pom.xml", "verify"), environment=OF_TESTS),),
    ),
    "Rust": (
        ("cargo",),
        (
            Step((PYTHON, "-m", "tools.rust_stubs", "--check")),
            Step((*CARGO, "fmt", "--all", "--check")),
            Step((*CARGO, "clippy", "--quiet", *CRATES, "--all-targets", "--", "-D", "warnings")),
            Step((*CARGO, "test", "--quiet", *CRATES)),
            Step(
                (*CARGO, "doc", "--quiet", "--no-deps", *CRATES), environment={"RUSTDOCFLAGS": "-D warnings"}
            ),
            Step(
                (
                    *(*CARGO, "package", "--quiet", "--package", "jobqueue"),
                    *("--all-features", "--allow-dirty", "--offline"),
                )
            ),
        ),
    ),
}


def main() -> int:
    """Runs the steps up to the first that fails; says loudly which language was left out."""
    for language, (needs, steps) in LANGUAGES.items():
        missing = [program for program in needs if shutil.which(program) is None]
        if missing:
            lacks = ", ".join(missing)
            print(
                f"make clients: no {lacks} on PATH: the client in {language} was NOT built and NOT tested",
                file=sys.stderr,
            )
            continue
        for step in steps:
            if not done_well(step):
                print(
                    f"make clients: {language}: failed in {step.folder}: {' '.join(step.command)}",
                    file=sys.stderr,
                )
                return 1
    return 0


def done_well(step: Step) -> bool:
    """Runs one."""
    done = subprocess.run(
        step.command,
        cwd=ROOT / step.folder,
        env={**os.environ, **step.environment},
        stdout=subprocess.PIPE if step.silent else None,
        text=True,
    )
    if step.silent and done.stdout:
        print(done.stdout, end="", file=sys.stderr)
        return False
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
