"""For how long a transaction number has been the oldest in use, which PostgreSQL itself does not tell. Pure."""

from __future__ import annotations

from collections import deque

# Two days of readings a minute.
MOST = 2_880
EVERY = 60.0


class SnapshotAges:
    """Remembers when which transaction number was the next one.

    A snapshot with the number X keeps dead rows from when X had ended: since then the next number is greater than X.
    Sessions of other roles do not tell when they began, and slots never do, while all of them tell their X.
    """

    def __init__(self) -> None:
        # (seconds, the next number then), both ascending.
        self._seen: deque[tuple[float, int]] = deque(maxlen=MOST)

    def note(self, now: float, next_xid: int) -> None:
        """The next number, by a clock that only goes on."""
        if self._seen and next_xid < self._seen[-1][1]:
            self._seen.clear()  # another database
        newest = self._seen[-1] if self._seen else None
        if newest is None or (next_xid > newest[1] and now - newest[0] >= EVERY):
            self._seen.append((now, next_xid))

    def age(self, now: float, oldest_xid: int | None, seconds: float | None) -> float:
        """For how many seconds this number has kept dead rows.

        Args:
            now: As in `note`, which goes before.
            oldest_xid: The number; None: none are kept.
            seconds: For how long its transaction has been open, if that is known: it is no longer than that. Where
                the number is older than what was noted, that is all there is.
        """
        if oldest_xid is None:
            return 0.0
        begun = next((at for at, next_xid in self._seen if next_xid > oldest_xid), None)
        if begun is None:
            return 0.0
        if begun == self._seen[0][0] and seconds is not None:
            return max(seconds, 0.0)
        return now - begun if seconds is None else min(now - begun, max(seconds, 0.0))
