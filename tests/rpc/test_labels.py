"""However many queues and kinds callers name, the number of series is bounded."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from jobqueue_server.labels import MOST_LANES, LaneLabels
from jobqueue_server.metrics import Metrics

pytestmark = pytest.mark.unit


class Lane(NamedTuple):
    """As the catalog knows it."""

    id: int
    queue: str
    kind: str
    namespace_name: str = "default"


class Known:
    """As the catalog knows them all."""

    def __init__(self, lanes: list[Lane], most: int) -> None:
        self._lanes, self._most = lanes, most

    def lanes(self) -> list[Lane]:
        return self._lanes

    def oldest(self) -> list[Lane]:
        return self._lanes[: self._most]


def series(metrics: Metrics, name: str) -> dict[str, float]:
    """The values of a metric by its label `kind`."""
    return {
        sample.labels["kind"]: sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == name
    }


@pytest.mark.slow
def test_kinds_beyond_the_bound_are_counted_together_and_none_is_lost():
    metrics = Metrics()
    for number in range(MOST_LANES + 500):
        metrics.enqueued(f"k{number}", 2)
        metrics.waited(f"k{number}", [0.1, 0.2])
        metrics.ran(f"k{number}", 0.5)
        metrics.finished(f"k{number}", "succeeded")
        metrics.lost(f"k{number}", "retrying")
    for name, all_of_them in (
        ("jobqueue_jobs_enqueued_total", 2),
        ("jobqueue_job_wait_seconds_count", 2),
        ("jobqueue_job_run_seconds_count", 1),
        ("jobqueue_jobs_finished_total", 1),
        ("jobqueue_jobs_lost_total", 1),
    ):
        found = series(metrics, name)
        assert len(found) == MOST_LANES + 1, name
        assert found["k0"] == all_of_them, name
        assert found["other"] == 500 * all_of_them, name


def test_the_same_kinds_have_names_in_all_metrics():
    metrics = Metrics()
    for number in range(MOST_LANES):
        metrics.enqueued(f"k{number}")
    metrics.waited("late", [0.1])
    assert "late" not in series(metrics, "jobqueue_job_wait_seconds_count")


def test_what_is_counted_together_is_not_remembered_by_its_name():
    metrics = Metrics()
    for number in range(MOST_LANES + 500):
        metrics.enqueued(f"k{number}")
    assert len(metrics._enqueued) == MOST_LANES


def test_the_oldest_lanes_have_labels_of_their_own_on_each_server():
    lanes = [Lane(number, f"q{number}", "work") for number in range(1, 12)]
    labels = LaneLabels(Known(lanes, 10))
    assert labels.of(lanes[9]) == ("q10", "work", "default")
    assert labels.of(lanes[10]) == ("other", "other", "default")
    assert LaneLabels(Known(lanes, 11)).of(lanes[10])[0] == "q11"


def test_other_namespaces_beyond_the_bound_are_told_together():
    lanes = [Lane(1, "q", "work"), Lane(2, "q", "work", "theirs")]
    assert LaneLabels(Known(lanes, 1)).of(lanes[1]) == ("other", "other", "other")
