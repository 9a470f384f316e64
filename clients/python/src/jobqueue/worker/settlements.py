"""Outcomes from the moment a handler ends until the server has answered them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from jobqueue.backoff import Backoff
from jobqueue.v1 import lease_pb2 as pb

from .lease import Lease, Place

_FRAME_OUTCOMES = 1000
# A frame may measure 4 MiB; one outcome at most 1 MiB and a little.
_FRAME_BYTES = 2 * 1024 * 1024
# While an answer is awaited, outcomes gather for so long, or until half of the slots wait: a frame and its answer cost
# this process some 400 us, and the server 100, where an outcome in it costs 1 us.
_LINGER = 0.01
# Looked up a few times for each job, and a member of an Enum is slow to look up.
_WAITING, _SENT, _DONE = Place.WAITING, Place.SENT, Place.DONE


class Settlements:
    """Keeps every outcome until its answer has come, and sends it again on a new stream.

    Args:
        loop: The session's loop.
        slots: How many jobs run at once.
        send: Sends a Settle; False when it can't now, and `flush` or `restart` will follow.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, slots: int, send: Callable[[pb.Settle], bool]
    ) -> None:
        self._loop = loop
        self._enough = min(_FRAME_OUTCOMES, (slots + 1) // 2)
        self._send = send
        self._unanswered: dict[int, Lease] = {}
        self._waiting: list[Lease] = []
        self._frames: dict[int, list[Lease]] = {}
        # What the server did not answer because a frame was too large for it: while there are any, a frame holds one.
        self._suspects: set[Lease] = set()
        self._seq = 0
        self._timer: asyncio.Handle | None = None
        self._backoff = Backoff(base=0.1, cap=5.0)

    def __len__(self) -> int:
        return len(self._unanswered)

    def unanswered(self) -> list[Lease]:
        """Every lease with an outcome that was not answered, whether it was sent or not."""
        return list(self._unanswered.values())

    def add(self, leases: Sequence[Lease]) -> None:
        """Takes the outcomes of leases."""
        for lease in leases:
            self._unanswered[lease.id] = lease
            lease.place = _WAITING
        self._waiting += leases
        if len(self._waiting) >= self._enough:
            self.flush()
        elif self._timer is None:
            # At once when idle, or rather after what else happens in this pass of the loop.
            self._timer = (
                self._loop.call_later(_LINGER, self.flush)
                if self._frames
                else self._loop.call_soon(self.flush)
            )

    def drop(self, lease: Lease) -> None:
        """Forgets an outcome: the lease is no longer ours."""
        if self._unanswered.get(lease.id) is lease:
            del self._unanswered[lease.id]
        lease.place = _DONE

    def flush(self) -> None:
        """Sends what waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting = [lease for lease in self._waiting if lease.place is _WAITING]
        self._waiting = []
        if self._suspects:
            self._suspects = {lease for lease in self._suspects if lease.place is not _DONE}
        most = 1 if self._suspects else _FRAME_OUTCOMES
        while waiting:
            frame, leases, waiting = self._frame(waiting, most)
            if not self._send(frame):
                self._seq -= 1
                self._waiting = leases + waiting
                return
            self._frames[frame.seq] = leases
            for lease in leases:
                lease.place = _SENT

    def answered(self, settled: pb.Settled) -> list[Lease]:
        """The leases of a frame. They are kept: the session decides what an answer means, drops or sends again."""
        if not settled.exceptions:
            self._backoff.reset()
        return [lease for lease in self._frames.pop(settled.seq, ()) if lease.place is _SENT]

    def again_later(self, leases: list[Lease]) -> None:
        """Sends outcomes again after a while that grows: the server could not commit them."""
        for lease in leases:
            lease.place = Place.HELD_BACK
        self._loop.call_later(self._backoff.next(), self._again, leases)

    def restart(self) -> None:
        """Sends everything on a new stream, whose frames are counted from 1."""
        self._frames.clear()
        self._seq = 0
        self._waiting = self.unanswered()
        for lease in self._waiting:
            lease.place = _WAITING
        self.flush()

    def too_large(self) -> Lease | None:
        """The stream has ended for a frame that is larger than the server takes: from now on each outcome goes alone.

        Returns:
            The lease whose outcome is too large by itself. None: the frame held several.
        """
        largest = max(self._frames.values(), key=lambda leases: sum(map(size_of, leases)), default=[])
        self._suspects.update(
            lease for leases in self._frames.values() for lease in leases if lease.place is _SENT
        )
        alone = len(largest) == 1 and largest[0].place is _SENT and largest[0].outcome is not None
        return largest[0] if alone else None

    def _again(self, leases: list[Lease]) -> None:
        # A restart in between has sent some already; a revocation has dropped them.
        if again := [lease for lease in leases if lease.place is Place.HELD_BACK]:
            self.add(again)

    def _frame(self, waiting: list[Lease], most: int) -> tuple[pb.Settle, list[Lease], list[Lease]]:
        """A frame of as many as it takes, these, and the rest."""
        self._seq += 1
        frame = pb.Settle(seq=self._seq)
        room = _FRAME_BYTES
        count = 0
        succeeded: list[int] = []
        for lease in waiting[:most]:
            if lease.outcome is None:
                succeeded.append(lease.id)
            else:
                lease.outcome.lease_id = lease.id
                room -= lease.outcome.ByteSize()
                if room < 0 and count:
                    break
                frame.outcomes.append(lease.outcome)
            count += 1
        frame.succeeded.extend(succeeded)
        return frame, waiting[:count], waiting[count:]


def size_of(lease: Lease) -> int:
    """How many bytes the outcome of a lease has. A success without output has none of its own."""
    return lease.outcome.ByteSize() if lease.outcome is not None else 0
