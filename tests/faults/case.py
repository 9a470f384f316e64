"""Cases: what is done to the system, how long it may take, and what came of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from .stage import Figure, Stage


@dataclass(frozen=True, slots=True)
class Case:
    """One case.

    Attributes:
        name: For `make faults ONLY=name`.
        about: What is done, and what must hold, in a sentence.
        run: Does it. Raises AssertionError where something is not as it must be.
        bound: Seconds that it may take at most.
        language: Whose worker it is about, a row of `tests/conformance/workers.toml`. Empty: nobody's in particular.
        lacks: A program that it needs and that is not installed here. Empty: it can run.
        by_name: Whether it takes so long that it runs only where it is asked for by its name.
    """

    name: str
    about: str
    run: Callable[[Stage], Awaitable[None]]
    bound: float
    language: str = ""
    lacks: str = ""
    by_name: bool = False


@dataclass(slots=True)
class Result:
    """What came of a case. `trouble` is empty where all is well."""

    name: str
    seed: int
    seconds: float = 0.0
    figures: list[Figure] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)
    kept: str = ""

    @property
    def ok(self) -> bool:
        """Whether the history was good and every figure within its limit."""
        return not self.trouble and all(figure.ok for figure in self.figures)


CASES: dict[str, Case] = {}


def case(
    name: str, about: str, *, bound: float, language: str = "", lacks: str = "", by_name: bool = False
) -> Callable[[Callable[[Stage], Awaitable[None]]], None]:
    """Makes the decorated function a case."""

    def add(run: Callable[[Stage], Awaitable[None]]) -> None:
        assert name not in CASES, f"there are two cases {name}"
        CASES[name] = Case(name, about, run, bound, language, lacks, by_name)

    return add


def usual() -> list[str]:
    """The names of the cases that run where none is named."""
    return [name for name, each in CASES.items() if not each.by_name]
