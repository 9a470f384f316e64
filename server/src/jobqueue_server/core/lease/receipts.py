"""Which deliveries a worker has seen. A write proves nothing; a receipt does."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Protocol


class Delivered(Protocol):
    """A lease, as far as it matters here. `seq`: the delivery that carried it; 0: not sent yet."""

    seq: int


class Receipts:
    """The receipts of one session.

    Attributes:
        seen: The last delivery that the worker has seen.
        since: Since when receipts stand still while something is unseen; math.inf where nothing is.
        wanted: Whether the worker gets no more jobs before its next receipt.
        isolated: The isolated lease whose receipt has not come; nothing is delivered after it until then.

    Args:
        interval: Seconds between two heartbeats of the worker.
    """

    def __init__(self, interval: float) -> None:
        self.seen = 0
        self.since = math.inf
        self.wanted = False
        self.isolated: Delivered | None = None
        self._interval = interval

    @property
    def late(self) -> bool:
        """Whether no receipt came for more than a heartbeat interval while a delivery is unseen."""
        return time.monotonic() - self.since > self._interval

    def unseen(self, lease: Delivered) -> bool:
        """Whether the worker has not seen the lease, as far as its receipts say."""
        return lease.seq == 0 or lease.seq > self.seen

    def handed_over(self, first: Delivered, *, isolated: bool) -> None:
        """Leases are on their way, this one first. After an isolated one nothing follows before a receipt."""
        if self.since == math.inf:
            self.since = time.monotonic()
        if isolated:
            self.isolated = first
            self.wanted = True

    def heard(self, last: int, at: float, awaited: Callable[[int], bool]) -> bool:
        """A frame came with the last delivery that its worker has seen.

        Args:
            last: That delivery.
            at: When it came.
            awaited: Whether one after the given delivery is on its way.

        Returns:
            Whether jobs that waited for a receipt may go on.
        """
        if last > self.seen:
            self.seen = last
            self.since = at if awaited(last) else math.inf
            return self.wanted and self._receipt()
        if self.wanted and not awaited(self.seen):
            # What it had not seen went back before it was written.
            self.since = math.inf
            return self._receipt()
        return False

    def _receipt(self) -> bool:
        if self.isolated is None:
            self.wanted = False
            return True
        return not self.unseen(self.isolated) and self.over(self.isolated)

    def over(self, lease: Delivered) -> bool:
        """An isolated lease was seen or has ended. Returns whether jobs that waited for its receipt may go on."""
        if self.isolated is not lease:
            return False
        self.isolated = None
        self.wanted = self.late
        return True

    def insist(self) -> None:
        """The worker gets no more jobs before its next receipt, if receipts are late."""
        if self.late:
            self.wanted = True

    def none_unseen(self) -> None:
        """Nothing is unseen any more that could go back before the session ends."""
        self.since = math.inf
