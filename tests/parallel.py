"""How a run with `-n` deals the tests to its workers.

File by file, those with slow tests first; tests that build clients in other languages all to one worker; what is marked
`alone` last, when one worker is left and nothing else runs.

Each worker is a process with a PostgreSQL of its own (`cluster` in conftest.py).
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

_ALONE = "alone"
# Those of one file build anew, in the checkout, what those of another are running.
_LANGUAGE = "language"
_LEFT_OUT = "left_out"
# Why a test is not run by the target that is run most.
_ELSEWHERE = (
    "browser",
    "chart",
    "frameworks",
    "language",
    "long",
    "network",
    "older",
    "package",
    "faults",
    "fuzz",
    "ha",
    "pgbouncer",
    "pitr",
    "prometheus",
    "curl",
    "slow",
)
_FOLDER = "folder"


def leave_out(
    config: pytest.Config, items: list[pytest.Item], without: list[pytest.Item], reason: str
) -> None:
    """Takes tests out of those to be run, and says why. Of several workers, which all collect the same, one says it."""
    items[:] = [item for item in items if item not in without]
    config.hook.pytest_deselected(items=without)
    if os.environ.get("PYTEST_XDIST_WORKER", "gw0") == "gw0":
        config.issue_config_time_warning(pytest.PytestWarning(reason), stacklevel=2)


def mark_further_cases(items: list[pytest.Item]) -> None:
    """Of a test with many cases `make test` runs as many as its marker `cases` says, spread over all.

    The others are slow. Which they are does not depend on how many ways a run has for each case.
    """
    cases: dict[str, list[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker("cases") and not item.get_closest_marker("other_way"):
            cases.setdefault(item.nodeid.partition("[")[0], []).append(item)
    for of_test in cases.values():
        marker = of_test[0].get_closest_marker("cases")
        quick: int = marker.args[0] if marker else 0
        for index, item in enumerate(of_test):
            if index * quick // len(of_test) == (index - 1) * quick // len(of_test):
                item.add_marker("slow")


class Parallel:
    """The hooks of it, for the controller, which is the process that a run is started in, and for its workers."""

    def __init__(self, expression: str) -> None:
        """Remembers which markers `-m` leaves out: it tells how many tests of each."""
        left_out = re.findall(r"\bnot (\w+|\([^)]*\))", expression)
        self._named = [name for name in _ELSEWHERE if re.search(rf"\b{name}\b", " ".join(left_out))]
        self._left_out: Counter[str] = Counter()
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    # In a worker.

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Tells the scheduler of markers; xdist itself hands over names alone."""
        config = session.config
        if hasattr(config, "workerinput"):
            marked = {
                marker: [item.nodeid for item in session.items if item.get_closest_marker(marker)]
                for marker in (_ALONE, *_ELSEWHERE)
            }
            Path(config.workerinput[_FOLDER], config.workerinput["workerid"]).write_text(json.dumps(marked))

    def pytest_deselected(self, items: list[Any]) -> None:
        """Counts what is left out, by the first marker that may be the reason."""
        for item in items:
            self._left_out[next((name for name in self._named if item.get_closest_marker(name)), "")] += 1

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Tells the controller these counts, of which xdist says nothing."""
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput[_LEFT_OUT] = dict(self._left_out)

    # In the controller.

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: WorkerController) -> None:
        """Names a folder in which workers leave word."""
        self._folder = self._folder or tempfile.TemporaryDirectory(prefix="jobqueue-tests-")
        node.workerinput[_FOLDER] = self._folder.name

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> LoadScopeScheduling:
        """Ours, whatever `--dist` says."""
        return Dealer(config, log)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: WorkerController) -> None:
        """Takes the counts over, once: each worker has counted the same."""
        if not self._left_out:
            for marker, count in getattr(node, "workeroutput", {}).get(_LEFT_OUT, {}).items():
                left_out = SimpleNamespace(get_closest_marker=marker.__eq__)
                node.config.hook.pytest_deselected(items=[left_out] * count)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Says what `-m` has left out: nobody should take these tests for run."""
        marked = {name: count for name, count in self._left_out.items() if name}
        if marked:
            counts = ", ".join(f"{count} {name}" for name, count in sorted(marked.items()))
            terminalreporter.write_line(
                f"NOT run, by their markers (pyproject.toml says where they are): {counts}"
            )


class Dealer(LoadScopeScheduling):  # type: ignore[misc]
    """What a worker is given at once is the tests of a file, or those of all files that build in other languages."""

    def __init__(self, config: pytest.Config, log: Any) -> None:
        super().__init__(config, log)
        self._marked: dict[str, frozenset[str]] = {}
        self._slow: frozenset[str] = frozenset()

    def schedule(self) -> None:
        """All workers have collected the tests."""
        node = self.nodes[0]
        marked = json.loads(Path(node.workerinput[_FOLDER], node.gateway.id).read_text())
        self._marked = {marker: frozenset(tests) for marker, tests in marked.items()}
        # A page in a browser, or a minute of fuzzing, takes as long as what is called slow.
        self._slow = frozenset(
            self._split_scope(test) for marker in _ELSEWHERE for test in self._marked[marker]
        )
        super().schedule()

    def remove_node(self, node: WorkerController) -> str | None:
        """A worker has ended; of one that died, the first test without a result is the one that it died of.

        That test is not run again, or it would end one worker after the other.
        """
        units = self.assigned_work.pop(node)
        died_of = None
        for scope, tests in units.items():
            pending = [test for test, over in tests.items() if not over]
            if pending and died_of is None:
                died_of = pending.pop(0)
            if pending:
                self.workqueue[scope] = dict.fromkeys(pending, False)
        for each in self.nodes:
            self._reschedule(each)
        return died_of

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        if nodeid in self._marked[_ALONE]:
            return f"{file}::{_ALONE}"
        return _LANGUAGE if nodeid in self._marked[_LANGUAGE] else file

    def _shared(self) -> str | None:
        """What may run beside others and should be begun next: a slow file that is begun last would be waited for."""
        waiting = [scope for scope in self.workqueue if not scope.endswith(f"::{_ALONE}")]
        return next((scope for scope in waiting if scope in self._slow), next(iter(waiting), None))

    def _assign_work_unit(self, node: WorkerController) -> None:
        shared = self._shared()
        if shared is not None:
            self.workqueue.move_to_end(shared, last=False)
        elif len(self.nodes) > 1:
            return
        super()._assign_work_unit(node)

    def _reschedule(self, node: WorkerController) -> None:
        others = [each for each in self.nodes if each is not node]
        if not self.workqueue or self._shared() is not None or not others:
            super()._reschedule(node)
        elif not all(each.shutting_down for each in others) and not node.shutting_down:
            # One of the others will go on alone. The last waits here for `remove_node`.
            node.shutdown()
