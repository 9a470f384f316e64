"""The one version of all packages, which is in `VERSION` and in whatever names it.

python -m tools.version check      whether each place says what VERSION says
python -m tools.version set 0.2.0  writes it into VERSION and into each place
"""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FORM = r"\d+\.\d+\.\d+"
_TOML = rf'^version = "({FORM})"$'
_SPEAKS = rf"^({FORM}) speaks"


@dataclass(frozen=True)
class Place:
    """Where the version stands: in each match of the pattern in a file, as its group.

    Attributes:
        file: The file.
        pattern: What finds it.
        minor: Whether it is a range of the minor version, `0.1` of `0.1.0`.
    """

    file: str
    pattern: str
    minor: bool = False


# The manifests, what programs say of themselves, and what documents tell people to type.
PLACES = (
    *(
        Place(f"{package}/pyproject.toml", _TOML)
        for package in ("clients/python", "clients/python-django", "server", "worker")
    ),
    *(
        Place(f"{package}/pyproject.toml", r'"jobqueue==(\d+\.\d+)\.\*"', minor=True)
        for package in ("clients/python-django", "server", "worker")
    ),
    Place("clients/python/src/jobqueue/__init__.py", rf'^__version__ = "({FORM})"$'),
    Place("clients/python-django/src/jobqueue_django/__init__.py", rf'^__version__ = "({FORM})"$'),
    Place("clients/typescript/package.json", rf'^  "version": "({FORM})"'),
    Place("clients/typescript/package-lock.json", rf'"name": "@jobqueue/client",\n +"version": "({FORM})"'),
    Place("examples/frameworks/package-lock.json", rf'"name": "@jobqueue/client",\n +"version": "({FORM})"'),
    Place("clients/typescript-nestjs/package.json", rf'^  "version": "({FORM})"'),
    Place("clients/typescript-nestjs/package.json", r'"@jobqueue/client": "(\d+\.\d+)\.\*"', minor=True),
    Place(
        "clients/typescript-nestjs/package-lock.json",
        rf'"name": "@jobqueue/nestjs",\n +"version": "({FORM})"',
    ),
    Place("clients/typescript-nestjs/package-lock.json", r'"@jobqueue/client": "(\d+\.\d+)\.\*"', minor=True),
    Place("clients/typescript/src/version.ts", rf'VERSION = "({FORM})"'),
    Place("clients/java/pom.xml", rf"<artifactId>jobqueue-client</artifactId>\n  <version>({FORM})<"),
    Place(
        "clients/java/opentelemetry/pom.xml",
        rf"<artifactId>jobqueue-opentelemetry</artifactId>\n  <version>({FORM})<",
    ),
    Place(
        "clients/java/testing/pom.xml", rf"<artifactId>jobqueue-testing</artifactId>\n  <version>({FORM})<"
    ),
    *(
        Place(
            f"clients/java/{module}/pom.xml",
            rf"<artifactId>jobqueue-{module}</artifactId>\n  <version>({FORM})<",
        )
        for module in ("micrometer", "spring-boot-autoconfigure", "spring-boot-starter")
    ),
    *(
        Place(f"{program}/pom.xml", rf"<jobqueue\.version>({FORM})<")
        for program in ("clients/java/examples", "examples/frameworks/spring-boot", "examples/java")
    ),
    Place("docs/recipes/spring-boot.md", rf"^  <version>({FORM})<"),
    Place("clients/java/src/main/java/dev/jobqueue/Worker.java", rf'VERSION = "({FORM})"'),
    Place("clients/rust/Cargo.toml", _TOML),
    Place(
        "clients/rust/versions.lock", rf'^name = "(?:doubling|jobqueue|programs|stubs)"\nversion = "({FORM})"'
    ),
    Place("examples/frameworks/axum/versions.lock", rf'^name = "jobqueue"\nversion = "({FORM})"'),
    Place("examples/rust/versions.lock", rf'^name = "jobqueue"\nversion = "({FORM})"'),
    Place("clients/go/jobqueue/doc.go", rf'^const Version = "({FORM})"'),
    Place("deploy/helm/jobqueue/Chart.yaml", rf"^(?:version|appVersion): ({FORM})$"),
    Place("deploy/Dockerfile", rf"org\.opencontainers\.image\.version=({FORM})"),
    *(
        Place(f"clients/{language}/README.md", _SPEAKS)
        for language in ("go", "java", "python", "rust", "typescript")
    ),
    *(
        Place(file, rf"<artifactId>jobqueue-[a-z]+</artifactId><version>({FORM})<")
        for file in ("clients/java/README.md", "clients/java/examples/doubling/pom.xml")
    ),
    Place("README.md", rf"jobqueue_server-({FORM})-"),
    Place("docs/clients.md", rf"({FORM}) of all speaks"),
    Place("docs/deploy/kubernetes.md", rf"images\.example\.com/jobqueue-(?:server|worker):({FORM})"),
)


def main() -> int:
    """Checks, or writes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_subparsers(dest="what", required=True)
    what.add_parser("check")
    what.add_parser("set").add_argument("version", help="such as 0.2.0")
    arguments = parser.parse_args()
    if arguments.what == "set":
        if not re.fullmatch(FORM, arguments.version):
            parser.error(f"VERSION should be three numbers, such as 0.2.0, not {arguments.version!r}")
        write(ROOT, arguments.version)
    wrong = check(ROOT)
    print("\n".join(wrong) if wrong else f"{version(ROOT)} in {len(PLACES)} places")
    return bool(wrong)


def version(root: Path) -> str:
    """What VERSION says."""
    return (root / "VERSION").read_text().strip()


def check(root: Path) -> list[str]:
    """What is wrong, a line for each place."""
    wanted = version(root)
    if not re.fullmatch(FORM, wanted):
        return [f"VERSION says {wanted!r}; it should be three numbers, such as 0.2.0"]
    wrong = []
    for place in PLACES:
        found = re.findall(place.pattern, (root / place.file).read_text(), re.MULTILINE)
        right = _in(place, wanted)
        if not found:
            wrong.append(f"{place.file} names no version where tools/version.py looks: {place.pattern}")
        wrong += [f"{place.file} says {each}, VERSION says {right}" for each in found if each != right]
    return wrong


def write(root: Path, new: str) -> None:
    """Writes it into VERSION and into each place."""
    (root / "VERSION").write_text(f"{new}\n")
    for place in PLACES:
        path = root / place.file
        path.write_text(_replaced(path.read_text(), place, _in(place, new)))


def _in(place: Place, wanted: str) -> str:
    return wanted.rpartition(".")[0] if place.minor else wanted


def _replaced(text: str, place: Place, new: str) -> str:
    """The text with its groups replaced, and nothing else."""
    for match in reversed([*re.finditer(place.pattern, text, re.MULTILINE)]):
        text = text[: match.start(1)] + new + text[match.end(1) :]
    return text


if __name__ == "__main__":
    sys.exit(main())
