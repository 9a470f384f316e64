"""The programs of the gates `handlers` and `kits`: one a language, written with its client and its test kit.

`PROGRAM WAY SERVER` works until SIGTERM, with `SLOTS` slots in one worker. WAY is one of the ways of
bench/workers/handlers.py: its kind has the way's name, and its handler answers `{"id": ID, "lines": COUNT}` of the
payload that is made there.

`PROGRAM kit` starts a TestServer, as a test suite of the language does. It opens and closes 20 scopes, runs 200
handlers by `perform`, and then 100 scopes with one job each, enqueued and run until idle. It ends the server, and
prints one line of JSON, in seconds: `{"start": S, "scope": MEDIAN, "perform": OF_ALL_200, "scopes": OF_ALL_100,
"close": S}`.
"""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from tests.conformance.languages import ROOT, languages

from .errors import BenchError

_JAVA = "clients/java/"
_CLASSES = f"{_JAVA}testing/target/test-classes:{_JAVA}testing/target/classes:{_JAVA}target/classes:{_JAVA}target/lib/*"

# Node has Zstandard from 22.15 on. Where the one on PATH is older, the one of bench/workers/typescript is fetched.
_NODE = 'PATH="$PWD/.cache/bench/node/node_modules/.bin:$PATH"'
_HAS_ZSTANDARD = "node -e 'process.exit(require(\"zlib\").zstdCompressSync ? 0 : 1)'"
_FETCH_NODE = (
    "mkdir -p .cache/bench/node && cp bench/workers/typescript/package*.json .cache/bench/node && "
    "npm ci --prefix .cache/bench/node --ignore-scripts --no-audit --no-fund"
)


@dataclass(frozen=True, slots=True)
class Program:
    """One language's. What it starts is started from the repository's root.

    Attributes:
        language: Its name, as in tests/conformance/workers.toml, which says what must be on PATH.
        command: Starts it; its arguments follow.
        build: What makes it, once; empty: nothing.
    """

    language: str
    command: tuple[str, ...]
    build: tuple[str, ...] = ()

    def missing(self) -> str:
        """Why it can't run here; empty if it can."""
        needs = languages()[self.language].missing()
        return f"no {', '.join(needs)} on PATH" if needs else ""

    def make(self) -> None:
        """Builds it, once in a process.

        Raises:
            BenchError: It can't be built; the text is the compiler's.
        """
        if trouble := _make(self.build):
            raise BenchError(f"the program in {self.language} can't be built:\n{trouble}")


@functools.cache
def _make(build: tuple[str, ...]) -> str:
    if not build:
        return ""
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else (done.stdout + done.stderr)[-2000:]


PROGRAMS: tuple[Program, ...] = (
    Program("python", (sys.executable, "-m", "bench.workers.handlers")),
    Program(
        "go",
        (".cache/bench/handlers-go",),
        (*("env", "GOTOOLCHAIN=local", "GOWORK=off"), "go", "build", "-C", "bench/workers/go", "-buildvcs=false", "-o",
         "../../../.cache/bench/handlers-go", "."),
    ),
    Program(
        "typescript",
        ("sh", "-c", f'{_NODE} exec node "$@"', "sh", "clients/typescript/test/programs/handlers.mjs"),
        ("sh", "-c", f'"$@" && {{ {_NODE} {_HAS_ZSTANDARD} || {{ {_FETCH_NODE}; }}; }}', "sh",
         *languages()["typescript"].build),
    ),
    Program(
        "java",
        ("java", "-cp", _CLASSES, "dev.jobqueue.testing.programs.Handlers"),
        ("mvn", "-B", "-q", "-f", "clients/java/reactor/pom.xml", "-pl", ":jobqueue-testing", "-am",
         "process-test-classes"),
    ),
    Program(
        "rust",
        (".cache/rust/release/handlers",),
        (sys.executable, "-m", "tools.cargo", "build", "--quiet", "--release", "--package", "programs",
         "--bin", "handlers"),
    ),
)  # fmt: skip


def there() -> Iterator[tuple[Program, str]]:
    """All of them, each with why it can't run here, or an empty text."""
    for program in PROGRAMS:
        yield program, program.missing()
