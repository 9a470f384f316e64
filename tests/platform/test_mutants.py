"""The list of breaks that `make mutants` makes stays one that can be made."""

from __future__ import annotations

import re

import pytest

from tools import mutants

pytestmark = pytest.mark.unit

LISTED = mutants.read()


@pytest.mark.parametrize("mutant", LISTED, ids=lambda mutant: mutant.name)
def test_what_is_to_be_broken_stands_there_once(mutant: mutants.Mutant) -> None:
    text = (mutants.ROOT / mutant.file).read_text()
    assert mutant.broken(text) != text
    for test in mutant.tests:
        file, _, name = test.partition("::")
        path = mutants.ROOT / file
        assert path.exists(), test
        assert not name or f"def {name.partition('[')[0]}(" in path.read_text(), test


def test_each_promise_of_the_readme_and_each_rule_of_the_lease_has_a_break() -> None:
    held = " ".join(one.holds for one in LISTED)
    promises = re.findall(r"^\| (\d+)\. ", (mutants.ROOT / "README.md").read_text(), re.MULTILINE)
    assert len(promises) >= 10
    assert not {f"promise {number}" for number in promises} - set(re.findall(r"promise \d+", held))
    assert {f"rule {number}" for number in range(1, 9)} <= set(re.findall(r"rule \d+", held))
