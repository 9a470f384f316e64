"""The server and the processes of `tests/e2e`; and what becomes of tests whose toolchain is not there."""

from __future__ import annotations

import shutil

import pytest

from tests.e2e.conftest import address, bench, client, queue, shared

__all__ = ["address", "bench", "client", "queue", "shared"]

# The marker of a test and the program that it needs.
TOOLCHAINS = {"go": "go", "node": "npm"}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what can't be built here, and says so: nobody needs Go or Node to change the server."""
    for marker, program in TOOLCHAINS.items():
        without = [item for item in items if item.get_closest_marker(marker) is not None]
        if not without or shutil.which(program) is not None:
            continue
        items[:] = [item for item in items if item not in without]
        config.hook.pytest_deselected(items=without)
        config.issue_config_time_warning(
            pytest.PytestWarning(
                f"{program} is NOT on PATH: {len(without)} tests of its client were NOT run"
            ),
            stacklevel=1,
        )
