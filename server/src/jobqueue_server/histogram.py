"""Counts of durations by buckets, for a batch at once."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence


def add_ascending(counts: list[int], bounds: Sequence[float], values: Sequence[float]) -> None:
    """Counts each value in the first bucket whose bound it does not exceed; the last bucket has no bound.

    A batch touches few buckets, so this takes a search for each of them, where a search for each value took 0.2 us.

    Args:
        counts: Of the buckets, one more than bounds; it is raised.
        bounds: Ascending.
        values: Ascending; at least one.
    """
    last = bisect_left(bounds, values[-1])
    counted = 0
    for bucket in range(bisect_left(bounds, values[0]), last):
        upto = bisect_right(values, bounds[bucket], counted)
        counts[bucket] += upto - counted
        counted = upto
    counts[last] += len(values) - counted
