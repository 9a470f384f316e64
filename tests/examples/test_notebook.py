"""The notebook runs from its first cell to its last, and shows what really comes out."""

from __future__ import annotations

import pytest

from .notebook import NOTEBOOK, code_cells, load, run, shown

pytestmark = pytest.mark.slow


def test_every_cell_runs_and_prints_what_it_shows():
    notebook = load(NOTEBOOK)

    assert run(notebook) == [shown(cell) for cell in code_cells(notebook)]


def test_it_is_a_notebook_of_the_current_format_with_small_outputs():
    notebook = load(NOTEBOOK)

    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    cells = notebook["cells"]
    assert len({cell["id"] for cell in cells}) == len(cells)
    assert cells[0]["cell_type"] == "markdown"
    for number, cell in enumerate(code_cells(notebook), start=1):
        assert cell["execution_count"] == number
        assert len(shown(cell)) < 500
