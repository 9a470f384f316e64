"""What the pages show of a program is in it, as it stands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.docs.markdown import ROOT, blocks

pytestmark = pytest.mark.unit

FRAMEWORKS = ROOT / "examples" / "frameworks"
PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for folder in ("recipes", "migrate")
    for path in (ROOT / "docs" / folder).glob("*.md")
}


def shown(text: str) -> list[tuple[str, str]]:
    """The programs that blocks are parts of, with these parts."""
    return [(block.title, block.text) for block in blocks(text) if block.title.startswith("examples/")]


@pytest.mark.parametrize("page", PAGES)
def test_each_part_of_a_program_is_in_that_program(page: str) -> None:
    assert [part for name, part in shown(PAGES[page]) if part not in (ROOT / name).read_text()] == []


def test_each_program_is_shown() -> None:
    """A program is a file, or a folder of which a file is shown."""
    named = {Path(name).parts[2] for text in PAGES.values() for name, _ in shown(text)}
    folders = {path.name for path in FRAMEWORKS.glob("[a-z]*/")} - {"node_modules"}
    assert named == folders | {path.name for path in FRAMEWORKS.glob("*.py")}


def test_the_recipes_in_typescript_are_pinned_by_hashes_in_one_lock_without_addresses() -> None:
    locked = json.loads((FRAMEWORKS / "package-lock.json").read_text())["packages"]
    recipes = json.loads((FRAMEWORKS / "package.json").read_text())["workspaces"]
    fetched = {path: one for path, one in locked.items() if "node_modules/" in path and not one.get("link")}
    assert recipes == ["express", "fastify", "next"]
    assert [path for path, one in fetched.items() if "integrity" not in one or "resolved" in one] == []
    assert set(locked) - set(fetched) == {
        *("", *recipes, "../../clients/typescript", "node_modules/@jobqueue/client"),
        *(f"node_modules/shop-{recipe}" for recipe in recipes),
    }


def test_the_lock_knows_the_client_as_it_is() -> None:
    locked = json.loads((FRAMEWORKS / "package-lock.json").read_text())["packages"]
    client = json.loads((ROOT / "clients/typescript/package.json").read_text())
    known = locked["../../clients/typescript"]
    assert {name: client[name] for name in known} == known
