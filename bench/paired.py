"""What pairs of measurements say about a ratio: its mean, its spread, and whether a change costs anything."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median, stdev

#: A change costs nothing where the CPU of a job has at most so many times that of the base, with the spread counted.
COSTS_NOTHING = 1.03
#: Fewer pairs say nothing: with five the interval is wide, and one odd run decides.
FEWEST = 6

# The 97.5 % quantiles of Student's t for 1, 2, ... degrees of freedom: NIST/SEMATECH e-Handbook of Statistical
# Methods, section 1.3.6.7.2.
_STUDENT = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
    2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045,
)  # fmt: skip
MOST = len(_STUDENT) + 1


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio, new by base, as some pairs found it.

    Attributes:
        pairs: The ratio of each pair.
        mean: The geometric mean.
        low, high: The bounds of its 95 % confidence interval.
    """

    pairs: tuple[float, ...]
    mean: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """What it says where it is that of CPU: costs nothing, costs, not shown (neither), or too few pairs."""
        if len(self.pairs) < FEWEST:
            return "too few pairs"
        if self.high <= COSTS_NOTHING:
            return "costs nothing"
        return "costs" if self.low > 1 else "not shown"

    def told(self) -> dict[str, object]:
        """As JSON has it."""
        return {
            "mean": round(self.mean, 4),
            "low": round(self.low, 4),
            "high": round(self.high, 4),
            "median": round(median(self.pairs), 4),
            "min": round(min(self.pairs), 4),
            "max": round(max(self.pairs), 4),
            "pairs": [round(each, 4) for each in self.pairs],
        }


def paired(base: Sequence[float], new: Sequence[float]) -> Ratio:
    """The ratio of figures that were measured in pairs, one after the other.

    With x the logarithm of each pair's ratio, m the mean of x, s its standard deviation and n the number of pairs,
    the bounds are exp(m -+ t s / sqrt(n)), t the 97.5 % quantile of Student's t with n - 1 degrees of freedom
    (NIST/SEMATECH e-Handbook, section 1.3.5.2). Logarithms, so that a and b against b and a say the same, and the
    mean is the geometric one (Fleming and Wallace, "How not to lie with statistics", CACM 29, 1986). Pairs, so that
    what both sides share, as the machine's clock, is not part of s. That t is the right one for so few runs of a
    program is argued by Georges, Buytaert and Eeckhout, "Statistically rigorous Java performance evaluation", 2007.

    Args:
        base: Above 0, from 2 to `MOST`.
        new: As many, in the same order.
    """
    logs = [math.log(one / other) for one, other in zip(new, base, strict=True)]
    middle = fmean(logs)
    half = _STUDENT[len(logs) - 2] * stdev(logs) / math.sqrt(len(logs))
    low, high = math.exp(middle - half), math.exp(middle + half)
    return Ratio(tuple(math.exp(each) for each in logs), math.exp(middle), low, high)
