"""How many jobs the worker takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from jobqueue.v1 import lease_pb2 as pb

from .lease import Lease


class CapacityBook:
    """Slots, less those that handlers of an earlier session still take up.

    The server counts the leases of its session itself. Of a session that is over it knows nothing, while a thread of
    it may run on for long.

    Args:
        slots: How many jobs run at once.
        slots_by_kind: How many of single kinds.
    """

    def __init__(self, slots: int, slots_by_kind: Mapping[str, int]) -> None:
        self._slots = slots
        self._by_kind = slots_by_kind
        self._orphans: set[Lease] = set()
        self.paused = False

    def orphan(self, lease: Lease) -> None:
        """The session of the lease is over, its handler is not."""
        self._orphans.add(lease)

    def ended(self, lease: Lease) -> bool:
        """The handler has ended. Whether it was an orphan, so that there is more capacity now."""
        if lease not in self._orphans:
            return False
        self._orphans.remove(lease)
        return True

    def orphans(self) -> list[Lease]:
        """The handlers that run on after their session."""
        return list(self._orphans)

    @property
    def slots(self) -> int:
        """How many jobs may run at once now."""
        return 0 if self.paused else max(0, self._slots - len(self._orphans))

    def message(self) -> pb.Capacity:
        """Absolute, so that nothing can leak."""
        taken = Counter(lease.message.kind for lease in self._orphans)
        slots = self.slots
        by_kind = {kind: max(0, slots - taken[kind]) for kind, slots in self._by_kind.items()}
        return pb.Capacity(slots=slots, slots_by_kind=by_kind)
