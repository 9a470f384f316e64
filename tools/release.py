"""All that has to hold before a release, step by step, with a table of what came of it: `make release-check`.

python -m tools.release [--only STEP,STEP] [--without STEP,STEP] [--rehearsal] [--list]

It goes on after a step that fails, and ends with 1 if one failed or could not be run: what is not looked at is left out
by name (`--without`), and the table says so. What a step says is in `.build/release/STEP.log`. It is run beside
`make check`, which looks whether the code is right; this looks whether what users get is whole.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.version import version

ROOT = Path(__file__).resolve().parent.parent
LOGS = ROOT / ".build" / "release"
PYTHON = sys.executable
PYTEST = (PYTHON, "-m", "pytest", "-q", "-p", "no:xdist")
# The end of a log that is shown of a step that failed.
SHOWN = 15


@dataclass(frozen=True)
class Step:
    """Something that has to hold.

    Attributes:
        name: How it is called.
        what: What holds if it passes.
        command: What is run.
        needs: Programs without which it can't be run.
        unknown: An exit code that says that it could not be found out.
    """

    name: str
    what: str
    command: Sequence[str]
    needs: Sequence[str] = ()
    unknown: int | None = None


@dataclass(frozen=True)
class Verdict:
    """What came of a step: `passed`, `FAILED`, `NOT RUN` or `left out`, and why."""

    step: Step
    word: str
    seconds: float = 0.0
    why: str = ""

    @property
    def good(self) -> bool:
        """Whether a release may have it."""
        return self.word in ("passed", "left out")


def steps(rehearsal: bool) -> tuple[Step, ...]:
    """All of them, in the order in which they are run: those first that cost little."""
    changelog = (PYTHON, "-m", "tools.release", "--changelog", *(("--rehearsal",) if rehearsal else ()))
    given = ("--distributions", "dist")
    return (
        Step("version", "one version in all packages", (PYTHON, "-m", "tools.version", "check")),
        Step("changelog", "the changelog has a section of this version", changelog),
        Step("contract", "no break against proto/baseline.binpb, stubs up to date", ("make", "contract")),
        Step(
            "made",
            "metrics against docs/metrics.lock, documents made from code",
            (*PYTEST, "tests/docs/test_metrics.py", "tests/docs/test_documents.py"),
        ),
        Step(
            "sbom",
            "lists of components up to date, each licence known",
            (PYTHON, "-m", "tools.sbom", "--check"),
        ),
        Step("audit", "no known vulnerability in the locks", ("make", "audit"), unknown=2),
        Step("site", "the documents as a site, without a dead link", ("make", "docs-site")),
        Step("dist", "wheels and sdists, their metadata and sizes", ("make", "dist")),
        Step(
            "files",
            "the same bits twice; what is in them",
            (*PYTEST, "tests/package/test_distributions.py", *given),
        ),
        Step("alone", "each wheel in an empty environment", (*PYTEST, "tests/package/test_alone.py", *given)),
        Step(
            "uvx", "jobqueue-server dev of the wheels by uvx", (*PYTEST, "tests/package/test_uvx.py", *given)
        ),
        Step(
            "upgrade",
            "jobs live through an upgrade from the version before",
            (*PYTEST, "tests/package/test_rolling_upgrade.py", "tests/e2e/test_upgrade.py", *given),
            needs=("git",),
        ),
        Step(
            "image", "images run confined, and are small", ("make", "image-test"), needs=("buildah", "podman")
        ),
    )


def main() -> int:
    """Runs them, and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", default="", metavar="STEP,STEP", help="these alone; the others are left out"
    )
    parser.add_argument("--without", default="", metavar="STEP,STEP", help="leave these out")
    parser.add_argument("--rehearsal", action="store_true", help="the changelog may still say Unreleased")
    parser.add_argument("--list", action="store_true", help="print the steps, and run none")
    parser.add_argument(
        "--changelog", action="store_true", help="the step of this name alone, in this process"
    )
    arguments = parser.parse_args()
    if arguments.changelog:
        said = wrong_changelog((ROOT / "CHANGELOG.md").read_text(), version(ROOT), arguments.rehearsal)
        print(said or "it has")
        return bool(said)
    every = steps(arguments.rehearsal)
    if arguments.list:
        for step in every:
            print(f"{step.name:<12}{step.what}")
        return 0
    only, without = (set(filter(None, each.split(","))) for each in (arguments.only, arguments.without))
    if strange := (only | without) - {step.name for step in every}:
        parser.error(f"no step is called {', '.join(sorted(strange))}; --list prints them")
    left_out = without | ({step.name for step in every} - only if only else set())
    return report(run(every, left_out, LOGS))


def run(
    every: Iterable[Step], left_out: set[str], logs: Path, say: Callable[[str], None] = print
) -> list[Verdict]:
    """Runs them one after the other, whatever comes of each."""
    logs.mkdir(parents=True, exist_ok=True)
    verdicts = []
    for step in every:
        missing = [program for program in step.needs if shutil.which(program) is None]
        if step.name in left_out:
            verdicts.append(Verdict(step, "left out"))
        elif missing:
            verdicts.append(Verdict(step, "NOT RUN", why=f"{' and '.join(missing)} not on PATH"))
        else:
            say(f"{step.name}: {step.what}")
            verdicts.append(_run(step, logs / f"{step.name}.log"))
    return verdicts


def _run(step: Step, log: Path) -> Verdict:
    begun = time.monotonic()
    with log.open("w") as sink:
        code = subprocess.run(
            step.command, cwd=ROOT, stdout=sink, stderr=subprocess.STDOUT, env={**os.environ, "NO_COLOR": "1"}
        ).returncode
    seconds = time.monotonic() - begun
    if code == 0:
        return Verdict(step, "passed", seconds)
    lines = log.read_text(errors="replace").strip().splitlines()
    word = "NOT RUN" if code == step.unknown else "FAILED"
    return Verdict(step, word, seconds, "\n".join(lines[-SHOWN:]))


def report(verdicts: Sequence[Verdict], say: Callable[[str], None] = print) -> int:
    """Prints the ends of the logs of what failed, then the table; the exit code."""
    for verdict in verdicts:
        if not verdict.good:
            say(f"\n{verdict.step.name}:\n{verdict.why}")
    say("")
    for verdict in verdicts:
        took = f"{verdict.seconds:7.1f} s" if verdict.seconds else " " * 9
        say(f"{verdict.step.name:<12}{took}  {verdict.word:<9} {verdict.step.what}")
    bad = [verdict.step.name for verdict in verdicts if not verdict.good]
    out = [verdict.step.name for verdict in verdicts if verdict.word == "left out"]
    say(
        "\n"
        + (f"Not ready: {', '.join(bad)}" if bad else "Ready")
        + (f"; left out: {', '.join(out)}" if out else "")
    )
    return bool(bad)


def wrong_changelog(text: str, of: str, rehearsal: bool) -> str:
    """What is wrong with the changelog for this version; empty: nothing."""
    sections = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    head, _, body = sections[0].partition("\n") if sections else ("", "", "")
    if not body.strip():
        return "CHANGELOG.md has no section, or its first one is empty"
    if head.strip() == "Unreleased":
        return (
            "" if rehearsal else f"CHANGELOG.md begins with Unreleased; it should be `## {of} (YYYY-MM-DD)`"
        )
    if not re.fullmatch(rf"{re.escape(of)} \(\d{{4}}-\d\d-\d\d\)", head.strip()):
        return f"CHANGELOG.md begins with {head.strip()}; it should be `## {of} (YYYY-MM-DD)`"
    return ""


if __name__ == "__main__":
    sys.exit(main())
