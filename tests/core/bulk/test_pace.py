"""How fast an operation goes, by a clock of the test's own."""

from __future__ import annotations

import itertools

import pytest

from jobqueue_server.core.bulk.pace import MOST_CHANGED, STEP_SECONDS, Pace

pytestmark = pytest.mark.unit


def run(per_second: int, seconds: float, step: float, *, late: float = 0.0) -> list[tuple[float, int]]:
    """When each step began, and how many jobs it changed: steps take `step` s and begin `late` s too late."""
    now = 0.0
    pace = Pace(per_second, now)
    steps = []
    while now < seconds:
        began, now = now, now + step
        steps.append((began, pace.most))
        pace.stepped(pace.most, began, now)
        now += pace.wait(now) + late
    return steps


@pytest.mark.parametrize("per_second", [1, 3, 17, 500, 2000])
@pytest.mark.parametrize("late", [0.0, 0.004])
def test_a_rate_is_kept_in_each_time_and_used_up(per_second: int, late: float) -> None:
    seconds = 60.0
    steps = run(per_second, seconds, 0.001, late=late)
    most = steps[0][1]
    for first, (since, _) in enumerate(steps):
        done = 0
        for at, jobs in steps[first:]:
            done += jobs
            # What was allowed until then, a step to begin with and one that makes up for a late one.
            assert done <= per_second * (at - since) + 2 * most + 1e-6
    total = sum(jobs for _, jobs in steps)
    assert per_second * seconds * 0.95 <= total <= per_second * seconds * 1.05 + most


def test_without_a_rate_a_rest_takes_as_long_as_its_step() -> None:
    steps = run(0, 10.0, 0.1)
    gaps = {round(later - at, 6) for (at, _), (later, _) in itertools.pairwise(steps)}
    assert gaps == {0.2}
    assert {jobs for _, jobs in steps} == {MOST_CHANGED}


def test_a_step_that_took_too_long_is_followed_by_a_smaller_one_and_a_quick_one_that_found_little_by_a_larger() -> (
    None
):
    pace = Pace(0, 0.0)
    whole = pace.window
    pace.stepped(MOST_CHANGED, 0.0, STEP_SECONDS * 1.5)
    assert pace.window == whole // 2
    for _ in range(20):
        pace.stepped(0, 0.0, STEP_SECONDS / 10)
    assert pace.window == 10_000
    pace.stepped(MOST_CHANGED, 0.0, STEP_SECONDS / 10)
    assert pace.window == 10_000
