"""Labels whose number is bounded: callers that may name a queue or a kind must not fill the memory of a Prometheus."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from prometheus_client import Counter

from .model import DEFAULT_NAMESPACE_NAME

#: So many lanes, queues and kinds have labels of their own. The rest is told together, under `OTHER`.
MOST_LANES = 2_000
OTHER = "other"


class Lane(Protocol):
    """A queue and a kind together, as the catalog knows them."""

    @property
    def id(self) -> int:
        """Its number: the older a lane, the smaller."""

    @property
    def queue(self) -> str:
        """The name of its queue."""

    @property
    def kind(self) -> str:
        """The name of its kind."""

    @property
    def namespace_name(self) -> str:
        """The name of its namespace."""


class Lanes(Protocol):
    """All lanes, as the catalog knows them."""

    def lanes(self) -> Collection[Lane]:
        """Every one."""

    def oldest(self) -> Sequence[Lane]:
        """Those that were made first, MOST_LANES of them or all, by number."""


class LaneLabels:
    """The labels of lanes. All servers of a database name the same ones: the oldest.

    Args:
        lanes: Of all that there are.
    """

    def __init__(self, lanes: Lanes) -> None:
        oldest = lanes.oldest()
        self._last = oldest[-1].id if len(lanes.lanes()) > len(oldest) else None

    def of(self, lane: Lane) -> tuple[str, str, str]:
        """Queue, kind and namespace."""
        if self._last is None or lane.id <= self._last:
            return lane.queue, lane.kind, lane.namespace_name
        # Who has one namespace alone never sees its label, also beyond the bound.
        default = lane.namespace_name == DEFAULT_NAMESPACE_NAME
        return OTHER, OTHER, DEFAULT_NAMESPACE_NAME if default else OTHER


class Names:
    """The names that one label has in this process: those that came first, then `OTHER`."""

    def __init__(self, most: int = MOST_LANES) -> None:
        self._most = most
        self._known: set[str] = set()

    def of(self, name: str) -> str:
        """The name, or `OTHER`."""
        if name in self._known:
            return name
        if len(self._known) >= self._most:
            return OTHER
        self._known.add(name)
        return name


class Counters(dict[tuple[str, ...], Counter]):
    """The children of a labelled counter, kept, because looking one up costs more than counting.

    Args:
        parent: The counter.
        names: Bounds the values of its first label; None: they are few by themselves.
    """

    def __init__(self, parent: Counter, names: Names | None = None) -> None:
        super().__init__()
        self._parent = parent
        self._names = names

    def __missing__(self, labels: tuple[str, ...]) -> Counter:
        told = labels if self._names is None else (self._names.of(labels[0]), *labels[1:])
        child: Counter = self._parent.labels(*told)
        # What is told as another is not kept: there may be any number of those.
        if told == labels:
            self[labels] = child
        return child
