"""The ratio of measurements in pairs: its bounds are true, and the verdict is what it says."""

from __future__ import annotations

import math
import random

import pytest

from bench.paired import FEWEST, MOST, Ratio, paired

pytestmark = pytest.mark.unit


def student_below(quantile: float, freedom: int) -> float:
    """The share of Student's t below a quantile, by its density and Simpson's rule."""
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(freedom * math.pi)
    steps = 2000
    width = quantile / steps
    weighted = sum(
        (1 if step in (0, steps) else 4 if step % 2 else 2)
        * scale
        * (1 + (step * width) ** 2 / freedom) ** (-(freedom + 1) / 2)
        for step in range(steps + 1)
    )
    return 0.5 + weighted * width / 3


@pytest.mark.parametrize("pairs", range(2, MOST + 1))
def test_the_bounds_are_those_of_students_t(pairs: int):
    # Logarithms -1, 1 and else 0: mean 0, standard deviation sqrt(2 / (pairs - 1)).
    logs = [-1.0, 1.0, *[0.0] * (pairs - 2)]

    found = paired([1.0] * pairs, [math.exp(each) for each in logs])

    quantile = math.log(found.high) / math.sqrt(2 / (pairs - 1) / pairs)
    assert student_below(quantile, pairs - 1) == pytest.approx(0.975, abs=0.00005)
    assert found.low == pytest.approx(1 / found.high)


def test_the_interval_holds_the_true_ratio_nineteen_times_in_twenty():
    draw = random.Random(7)

    def holds() -> bool:
        base = [draw.lognormvariate(0, 0.03) for _ in range(FEWEST)]
        new = [1.02 * draw.lognormvariate(0, 0.03) for _ in range(FEWEST)]
        found = paired(base, new)
        return found.low <= 1.02 <= found.high

    assert sum(holds() for _ in range(10_000)) / 10_000 == pytest.approx(0.95, abs=0.01)


def test_new_by_base_says_the_same_as_base_by_new():
    base, new = [3.0, 4.0, 5.0], [3.3, 4.1, 5.6]

    one, other = paired(base, new), paired(new, base)

    assert one.mean == pytest.approx(1 / other.mean)
    assert one.low == pytest.approx(1 / other.high)
    assert one.high == pytest.approx(1 / other.low)


def test_what_both_sides_of_a_pair_share_does_not_widen_the_spread():
    # The machine's clock drifts by half, the change costs 1 %.
    base = [10.0, 11.0, 12.0, 13.0, 14.0, 15.0]

    found = paired(base, [1.01 * each for each in base])

    assert (found.low, found.high) == pytest.approx((1.01, 1.01))
    assert found.verdict == "costs nothing"


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.90, 0.95, "costs nothing"),
        (0.99, 1.03, "costs nothing"),
        (1.01, 1.03, "costs nothing"),
        (0.99, 1.0301, "not shown"),
        (1.01, 1.04, "costs"),
        (1.20, 1.30, "costs"),
    ],
)
def test_what_costs_nothing_is_decided_by_the_upper_bound(low: float, high: float, verdict: str):
    assert Ratio((1.0,) * FEWEST, 1.0, low, high).verdict == verdict


def test_fewer_than_six_pairs_give_no_verdict():
    assert paired([1.0] * 5, [1.0] * 5).verdict == "too few pairs"
    assert paired([1.0] * 6, [1.0] * 6).verdict == "costs nothing"
