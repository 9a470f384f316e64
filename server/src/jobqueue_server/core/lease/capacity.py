"""How much a worker takes at once, and which of its slots are reserved for jobs on their way to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping


class Capacity:
    """The slots and bytes of a session. It counts no leases: its caller says how many are held.

    Attributes:
        slots: How many jobs it takes at once, where each takes one.
        by_kind: How many of some kinds.
        bytes: How many bytes of payloads; 0 is no limit.
        jobs: How many jobs, however many slots these take. None: any number. Only with `bytes`.
        reserved: Slots that are reserved.
        reserved_bytes: Bytes that are reserved.
    """

    def __init__(self) -> None:
        self.slots = 0
        self.by_kind: Mapping[str, int] = {}
        self.bytes = 0
        self.jobs: int | None = None
        self.reserved = 0
        self.reserved_bytes = 0
        self._reserved_kinds: Counter[str] = Counter()

    def set(self, slots: int, by_kind: Mapping[str, int], bytes: int, jobs: int | None = None) -> None:
        """Sets what the worker takes from now on."""
        self.slots, self.by_kind, self.bytes, self.jobs = slots, by_kind, bytes, jobs

    @property
    def most(self) -> int:
        """How many jobs it takes at most."""
        return self.slots if self.jobs is None else min(self.slots, self.jobs)

    @property
    def bounded(self) -> bool:
        """Whether it bounds more than its slots."""
        return bool(self.by_kind) or self.bytes > 0

    def left_of(self, kind: str, held: int) -> int | None:
        """How many more jobs of a kind fit, where `held` are held already. None: it does not bound that kind."""
        cap = self.by_kind.get(kind)
        return None if cap is None else cap - held - self._reserved_kinds[kind]

    def fits(self, size: int, held_bytes: int) -> bool:
        """Whether a payload of this size fits in addition to those that are held. A first one always fits."""
        held = held_bytes + self.reserved_bytes
        return not self.bytes or held == 0 or held + size <= self.bytes

    def keep(self, jobs: int, kind: str | None = None, size: int = 0) -> None:
        """Keeps slots for jobs; `kind` and the `size` of all their payloads where they are known."""
        self.reserved += jobs
        if kind is not None:
            self._reserved_kinds[kind] += jobs
            self.reserved_bytes += size

    def let_go(self, jobs: int, kind: str | None = None, size: int = 0) -> None:
        """Gives back slots that `keep` took with the same arguments."""
        self.reserved -= jobs
        if kind is not None:
            self._reserved_kinds[kind] -= jobs
            self.reserved_bytes -= size
