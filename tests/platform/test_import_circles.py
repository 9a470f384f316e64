"""Modules of the server import each other in no circle, so that each can be read before the next."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

import grimp
import pytest

PACKAGES = ("jobqueue_server", "grpc_http2", "jobqueue_worker")


@pytest.mark.unit
def test_no_modules_import_each_other_in_a_circle_also_not_from_within_functions():
    graph = grimp.build_graph(*PACKAGES, exclude_type_checking_imports=True, cache_dir=None)
    assert len(graph.modules) > 300
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports, each by the next: {' <- '.join(error.args[1])}")
