"""Builds the site, and says what is wrong with it: `python -m tools.site`."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from . import diagrams, links, llms
from .source import ROOT, LinkLeadsOut, lay_out, pages

CONFIG = ROOT / "mkdocs.yml"
#: Zensical empties the folder `.cache` beside its configuration; the repository's holds what others have built.
BUILT = ROOT / ".build" / "site"
SOURCE = BUILT / "source"
HTML = BUILT / "html"


def main() -> int:
    """Builds and looks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--builder", choices=("zensical", "mkdocs"), default="zensical")
    builder = parser.parse_args().builder
    # Functions of Python that it names stay names.
    config = YAML().load(CONFIG)
    wrong = list(forgotten(config["nav"]))
    try:
        lay_out(SOURCE)
        drawn = diagrams.fetch()
    except (LinkLeadsOut, diagrams.PackageUnusable) as error:
        print(f"make docs-site: {error}", file=sys.stderr)
        return 1
    if drawn:
        shutil.copytree(diagrams.KEPT, SOURCE / "assets", dirs_exist_ok=True)
    else:
        print("make docs-site: NO npm on PATH: diagrams stay text", file=sys.stderr)
    shutil.rmtree(HTML, ignore_errors=True)
    done = subprocess.run(
        [
            Path(sys.executable).parent / builder,
            "build",
            "--strict",
            "--clean",
            "--config-file",
            shutil.copy(CONFIG, BUILT),
        ],
        cwd=BUILT,
        capture_output=True,
        text=True,
    )
    if done.returncode or not HTML.is_dir():
        print(done.stdout + done.stderr, file=sys.stderr)
        return 1
    llms.write(config["nav"], config["site_url"], HTML)
    wrong += links.wrong(HTML)
    for each in wrong:
        print(each, file=sys.stderr)
    size = sum(path.stat().st_size for path in HTML.rglob("*") if path.is_file())
    print(f"{len(pages())} pages, {size / 1e6:.1f} MB: {HTML.relative_to(ROOT)}")
    return bool(wrong)


def forgotten(nav: list[Any]) -> Iterator[str]:
    """Pages that nobody finds, or that are not there."""
    listed, there = set(llms.leaves(nav)), set(pages())
    # Decisions are found by the list of them.
    for page in sorted(each for each in there - listed if not each.startswith("docs/decisions/")):
        yield f"mkdocs.yml: {page} has no place in nav"
    for page in sorted(listed - there):
        yield f"mkdocs.yml: {page} is in nav, and is not there"


if __name__ == "__main__":
    sys.exit(main())
