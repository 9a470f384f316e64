"""What a gate is: figures that a run is judged by, each with what it must be and what is hoped for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from .round import Round


@dataclass(frozen=True, slots=True)
class Part:
    """One figure.

    Attributes:
        name: Short, for the table; empty where the gate has only this one.
        must, goal: Bounds.
        unit: Of value and bounds.
        less: Whether less is better.
    """

    name: str
    must: float
    goal: float
    unit: str
    less: bool = False

    def reaches(self, value: float | None, bound: float) -> bool:
        """Whether a value is as good as a bound."""
        return value is not None and (value <= bound if self.less else value >= bound)

    def standing(self, value: float | None) -> float:
        """How good it is by the measure of its must: 1 and above is enough."""
        if value is None or (self.less and value <= 0):
            return 0.0 if value is None else float("inf")
        return self.must / value if self.less else value / self.must


@dataclass(frozen=True, slots=True)
class Found:
    """What one round found.

    Attributes:
        values: By the name of the part; None: it could not be measured, and `detail` says why.
        detail: The measurements that they come of.
    """

    values: dict[str, float | None]
    detail: dict[str, Any] = field(default_factory=dict)


class Gate(Protocol):
    """One row of the table."""

    @property
    def name(self) -> str:
        """G1 and so on."""

    @property
    def title(self) -> str:
        """What it is about."""

    @property
    def method(self) -> str:
        """How it is measured."""

    @property
    def leaves_out(self) -> str:
        """What it does not measure."""

    @property
    def parts(self) -> tuple[Part, ...]:
        """Its figures."""

    async def measure(self, bench: Round) -> Found:
        """One round of it."""


def ratio(ours: float, theirs: float | None) -> float | None:
    """Ours by theirs, where there is theirs."""
    return None if theirs is None else round(ours / theirs, 3)
