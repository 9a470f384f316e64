"""What workers of a server take by queue and kind, and how many jobs pass it: written with the heartbeat for all."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Protocol

from ..events.flows import Flow

#: The longest text of a server's load. What does not fit is left out, the smallest first.
MAX_BYTES = 64 << 10
#: Bytes of a payload that fits whatever it holds.
ANY_SIZE = 1 << 40
#: The slots of a worker that does not bound them.
ANY_SLOTS = 1 << 30

#: A namespace, a queue and a kind; a kind of "" stands for the whole queue, in which a session counts once, and a
#: queue of "" for all that a server has of the namespace.
Place = tuple[int, str, str]


@dataclass(slots=True)
class Workers:
    """The sessions that take a kind from a queue, and how its jobs come and go.

    Attributes:
        sessions: Those that take jobs.
        slots: Theirs, for this kind.
        free: Of these, the free ones.
        draining: Those that are connected and take no more.
        isolating: Of those that take jobs, those that hold a job that runs alone.
        full_by_kind: Those whose slots for the kind are taken, while others are free.
        full_by_bytes: Those that hold as many bytes as they take.
        largest: The longest payload that one of them with a free slot takes now.
        most_slots: The slots of the one that has the most, and `most_free` of the one that has the most free.
        weighed: Whether a job of the kind takes several slots.
        arrived: The jobs that were enqueued in the last minute.
        ended: The jobs that ended in the last minute, with an attempt.
    """

    sessions: int = 0
    slots: int = 0
    free: int = 0
    draining: int = 0
    isolating: int = 0
    full_by_kind: int = 0
    full_by_bytes: int = 0
    largest: int = 0
    most_slots: int = 0
    most_free: int = 0
    weighed: bool = False
    arrived: int = 0
    ended: int = 0

    @property
    def kind_is_full(self) -> bool:
        """Whether all have slots, and none of them for this kind."""
        return 0 < self.sessions == self.full_by_kind

    def add(self, other: Workers) -> None:
        """Counts these too."""
        self.sessions += other.sessions
        self.slots += other.slots
        self.free += other.free
        self.draining += other.draining
        self.isolating += other.isolating
        self.full_by_kind += other.full_by_kind
        self.full_by_bytes += other.full_by_bytes
        self.arrived += other.arrived
        self.ended += other.ended
        if other.largest > self.largest:
            self.largest = other.largest
        if other.most_slots > self.most_slots:
            self.most_slots = other.most_slots
        if other.most_free > self.most_free:
            self.most_free = other.most_free

    def take_several(self) -> None:
        """A job of the kind takes several slots."""
        self.weighed = True

    def flowed(self, flow: Flow) -> None:
        """Counts these jobs too, which came and ended."""
        self.arrived += flow.arrived
        self.ended += flow.ended


_MOST = ("most_slots", "most_free")
_COUNTS = tuple(field.name for field in fields(Workers) if field.name not in (*_MOST, "largest", "weighed"))

Load = dict[Place, Workers]


class Loaded(Protocol):
    """A load that can be looked into: a `Load`, or that of this server, which is laid out only where it has to be."""

    def get(self, place: Place, /) -> Workers | None:
        """What is taken of a place; None: nothing is said of it."""

    def items(self) -> Iterable[tuple[Place, Workers]]:
        """Every place."""


def at_place(load: Load, place: Place) -> Workers:
    """The workers of a place; new ones, where there are none yet."""
    found = load.get(place)
    if found is None:
        found = load[place] = Workers()
    return found


def places_of(subscriptions: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """Where a session counts that takes these, each a queue and a kind."""
    return {*subscriptions, *((queue, "") for queue, _ in subscriptions), ("", "")}


def written(load: Mapping[Place, Workers], most: int = MAX_BYTES) -> str:
    """A load as text, that of the most slots first; it is no longer than `most`."""
    parts: list[str] = []
    left = most - 2
    for place, workers in sorted(load.items(), key=lambda entry: (-entry[1].slots, entry[0])):
        counts = {name: count for name in _COUNTS if (count := getattr(workers, name))}
        if 0 < workers.largest < ANY_SIZE:
            counts["largest"] = workers.largest
        if workers.weighed:
            counts |= {name: getattr(workers, name) for name in _MOST}
        part = json.dumps([*place, counts], separators=(",", ":"))
        left -= len(part) + 1
        if left < 0:
            break
        parts.append(part)
    return f"[{','.join(parts)}]"


def read(text: str) -> Load:
    """A load as it was written. What a newer server says of it in addition is passed over."""
    load: Load = {}
    for namespace, queue, kind, counts in json.loads(text):
        largest = counts.get("largest", ANY_SIZE) if counts.get("free") else 0
        known = {name: counts.get(name, 0) for name in _COUNTS}
        # Where it is not said, one may have all of them.
        most_slots = counts.get("most_slots", known["slots"])
        most_free = counts.get("most_free", known["free"])
        load[namespace, queue, kind] = Workers(
            **known, largest=largest, most_slots=most_slots, most_free=most_free
        )
    return load
