"""Latencies: an HDR histogram that processes fill apart, and the quantiles and the curve of all of them together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hdrh.histogram import HdrHistogram

QUANTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9}
# From a microsecond to ten minutes, to three digits: 200 kB, whatever the number of values.
_LOWEST, _HIGHEST, _DIGITS = 1, 600_000_000, 3


class Latencies:
    """Durations of one thing, counted from when it should have begun."""

    def __init__(self) -> None:
        self._histogram: Any = HdrHistogram(_LOWEST, _HIGHEST, _DIGITS)

    def add(self, nanoseconds: int) -> None:
        """One more; 2 us."""
        self._histogram.record_value(max(_LOWEST, min(nanoseconds // 1000, _HIGHEST)))

    def encoded(self) -> str:
        """As text, to be sent to another process."""
        return str(self._histogram.encode().decode())

    @classmethod
    def of(cls, parts: Iterable[str]) -> Latencies:
        """All of several processes."""
        whole = cls()
        for part in parts:
            whole._histogram.decode_and_add(part)
        return whole

    @property
    def count(self) -> int:
        """How many there are."""
        return int(self._histogram.get_total_count())

    def at(self, percentile: float) -> float:
        """The milliseconds that so many percent do not exceed."""
        return float(self._histogram.get_value_at_percentile(percentile)) / 1000

    def quantiles(self) -> dict[str, float]:
        """The usual ones, in milliseconds, with the longest and how many there were."""
        found = {name: round(self.at(percentile), 3) for name, percentile in QUANTILES.items()}
        return {**found, "max": round(self.at(100), 3), "count": self.count}

    def curve(self) -> list[tuple[float, float]]:
        """Percentile and milliseconds, from 0 to the last nine that the count allows."""
        points = [float(percent) for percent in range(0, 90, 2)]
        points += [100 - 10 / 1.3**step for step in range(60)]
        return [(p, self.at(p)) for p in points if self.count * (100 - p) >= 100]
