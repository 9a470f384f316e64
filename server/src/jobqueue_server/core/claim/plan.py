"""One claim: its slots, its targets, and what its rows tell of the lines that it read."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter

from ...store.claim.claims import ClaimTarget
from ...store.database import Record
from ..lease.session import Session
from .lines import BEGINNING, Line

# Of a row of a claim: its lane and priority, and its run_at.
_LINE_OF, _RUN_AT_OF = itemgetter(1, 2), itemgetter(3)


@dataclass(frozen=True, slots=True)
class Plan:
    """A claim that is to be made.

    Attributes:
        slots: The sessions that get the next jobs: one entry for each job.
        targets: The targets, in the order of the statement.
        lines: The line of each target.
        marks: `Line.mark` of each, before the claim.
        weight: How many slots each of the jobs takes.
    """

    slots: Sequence[Session]
    targets: Sequence[ClaimTarget]
    lines: Sequence[Line]
    marks: Sequence[int]
    weight: int = 1

    @classmethod
    def of(
        cls, slots: Sequence[Session], targets: Sequence[ClaimTarget], lines: Sequence[Line], weight: int = 1
    ) -> Plan:
        """With the marks as they are now."""
        return cls(slots, targets, lines, [line.mark for line in lines], weight)

    def note(self, rows: Sequence[Record], room: int | None = None) -> None:
        """Takes in what the claim brought: where the next one starts, and which lines have no more.

        `room`: how many it might have brought, where that was not up to its slots alone.
        """
        most = len(self.slots) if room is None else min(room, len(self.slots))
        found = Counter(map(_LINE_OF, rows))
        newest: dict[tuple[int, int], datetime] = {}
        for key, run_at in zip(map(_LINE_OF, rows), map(_RUN_AT_OF, rows), strict=True):
            if run_at > newest.get(key, BEGINNING):
                newest[key] = run_at
        of_queue: dict[int, int] = defaultdict(int)
        for target in self.targets:
            of_queue[target.queue_number] += found[target.lane_id, target.priority]
        for target, line, mark in zip(self.targets, self.lines, self.marks, strict=True):
            key = target.lane_id, target.priority
            if key in newest:
                line.claimed(newest[key])
            # With fewer rows than slots, and than its queue may give, nothing was cut off: the claim found all.
            cut_off = len(rows) >= most or of_queue[target.queue_number] >= target.most
            line.read(found[key], target.take, mark, cut_off=cut_off)


def fitting(session: Session, sizes: Sequence[int]) -> int:
    """How many of the next jobs, of these sizes in bytes, fit into what a session may still hold."""
    held, count = session.bytes_held + session.capacity.reserved_bytes, 0
    for size in sizes:
        if held and held + size > session.capacity.bytes:
            break
        held += size
        count += 1
    return count
