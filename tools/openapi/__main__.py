"""Makes the OpenAPI documents that the server hands out.

    python -m tools.openapi            write them
    python -m tools.openapi --check    write nothing; fail if one is not what it would be, or the linters find an error
    python -m tools.openapi --install  install protoc-gen-openapiv2 and the linters, where Go and Node are

Without protoc-gen-openapiv2 the document of OpenAPI 2 stays as it is, and its hashes say whether it still fits.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import subprocess
import sys
from pathlib import Path

from . import programs, version2, version31
from .programs import ROOT, say

SHOWN_LINES = 40
LINTERS = {
    "redocly": ("--config", "tools/openapi/redocly.yaml"),
    "spectral": ("--ruleset", "tools/openapi/spectral.yaml", "--fail-severity", "error"),
}
# What redocly recommends of OpenAPI 2 is in part what protoc-gen-openapiv2 can't say.
READ_BY = {"redocly": (version31.DOCUMENT,), "spectral": (version2.DOCUMENT, version31.DOCUMENT)}


def write() -> None:
    plugin = programs.plugin()
    if plugin is not None:
        version2.DOCUMENT.parent.mkdir(exist_ok=True)
        version2.DOCUMENT.write_text(version2.make(plugin))
        version2.SUMS.write_text(version2.sums())
    elif changed := version2.stale():
        say(f"{', '.join(changed)} changed, and protoc-gen-openapiv2 is not installed: `make tools` does it")
        sys.exit("openapi: the document of OpenAPI 2 can't be renewed")
    version31.DOCUMENT.write_text(_version31())


def check() -> None:
    if changed := version2.stale():
        sys.exit(
            f"openapi: {', '.join(changed)} changed since the documents were made: run `make tools generate`"
        )
    plugin = programs.plugin()
    if plugin is None:
        say("NOT MADE ANEW, hashes compared alone: protoc-gen-openapiv2 is not installed (`make tools`)")
    else:
        _same(version2.DOCUMENT, version2.make(plugin))
    _same(version31.DOCUMENT, _version31())
    for linter, arguments in LINTERS.items():
        _lint(linter, arguments)


def _version31() -> str:
    return version31.make(json.loads(version2.DOCUMENT.read_text()))


def _lint(name: str, arguments: tuple[str, ...]) -> None:
    linter = programs.linter(name)
    if linter is None:
        say(f"NOT LINTED by {name}, which is not installed (`make tools`)")
        return
    ran = subprocess.run(
        [linter, "lint", *arguments, *READ_BY[name]],
        cwd=ROOT,
        env={**os.environ, "REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if ran.returncode:
        print(ran.stdout)
        sys.exit(f"openapi: {name} finds errors in the documents")


def _same(path: Path, wanted: str) -> None:
    names = str(path.relative_to(ROOT)), "as made now"
    lines = difflib.unified_diff(path.read_text().splitlines(), wanted.splitlines(), *names, n=1, lineterm="")
    if difference := list(lines):
        print(*difference[:SHOWN_LINES], sep="\n")
        sys.exit(f"openapi: {names[0]} is not what it is made from: run `make generate`")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--check", action="store_true", help="write nothing; fail if something would change")
    mode.add_argument("--install", action="store_true", help="only install the programs of other languages")
    arguments = parser.parse_args()
    if arguments.install:
        programs.install()
    elif arguments.check:
        check()
    else:
        write()


if __name__ == "__main__":
    main()
