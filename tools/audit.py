"""Looks up every version in the locks in a database of known vulnerabilities, by pip-audit.

    python -m tools.audit [--service URL]

Ends with 0 if none is known, 1 if one is, 2 if it could not be asked of each: no answer is no good answer. pip-audit
runs in an environment of its own, which uv makes and keeps; what it needs does not stand beside what it judges.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("locks/requirements.lock", "locks/requirements-build.lock")
AUDITOR = "pip-audit==2.10.1"
SERVICE = "https://api.osv.dev/v1/query"
# Of an answer that never comes; each version is a question.
SECONDS = 15

CLEAN, FOUND, UNKNOWN = 0, 1, 2


def main() -> int:
    """Asks, and says what came of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--service", default=SERVICE, metavar="URL", help=f"default {SERVICE}")
    service = parser.parse_args().service
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        done = subprocess.run(command(service, report), cwd=ROOT, capture_output=True, text=True)
        if not report.exists():
            print(f"make audit: {service} could not be asked: {reason(done.stderr)}", file=sys.stderr)
            print("Nothing is known of the locks' versions. It needs the network.", file=sys.stderr)
            return UNKNOWN
        found: dict[str, Any] = json.loads(report.read_text())
    code, text = judge(found)
    print(text, file=sys.stdout if code == CLEAN else sys.stderr)
    return code


def command(service: str, report: Path) -> list[str | Path]:
    """What is run. With hashes and exact versions nothing is resolved, and nothing of the locks is downloaded."""
    uv = Path(sys.executable).parent / "uv"
    locks = [word for lock in LOCKS for word in ("--requirement", lock)]
    how = ["--require-hashes", "--disable-pip", "--progress-spinner=off", f"--timeout={SECONDS}"]
    where = ["--vulnerability-service=osv", f"--osv-url={service}", "--format=json", f"--output={report}"]
    return [uv, "tool", "run", "--quiet", "--from", AUDITOR, "pip-audit", *how, *where, *locks]


def judge(report: dict[str, Any]) -> tuple[int, str]:
    """The exit code for a report of pip-audit, and what to say."""
    dependencies = report["dependencies"]
    bad = [
        f"{each['name']} {each['version']}: {vulnerability['id']}"
        f" (mended in {', '.join(vulnerability['fix_versions']) or 'no version'})"
        for each in dependencies
        for vulnerability in each.get("vulns", [])
    ]
    # pip-audit itself ends well when it could not ask.
    unasked = [f"{each['name']}: {each['skip_reason']}" for each in dependencies if "skip_reason" in each]
    if bad:
        return FOUND, "\n".join(["Known vulnerabilities in the locks:", *bad])
    if unasked or not dependencies:
        return UNKNOWN, "\n".join(["make audit: not all versions could be looked up:", *unasked])
    return CLEAN, f"{len(dependencies)} versions, no known vulnerability"


def reason(stderr: str) -> str:
    """The last line of a program that failed, which says why."""
    lines = [line for line in stderr.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


if __name__ == "__main__":
    sys.exit(main())
