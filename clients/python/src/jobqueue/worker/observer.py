"""The observer of a worker, for metrics."""

from __future__ import annotations


class Observer:
    """Gets a call for every attempt. Inherit and override. The session's thread calls the methods: be fast.

    Outcomes are `succeeded`, `retrying` (it will run again: after a failure that the job may have, a snooze or a
    release), `failed_permanent`, `cancelled` and `error` (no outcome was taken: the lease was revoked or stale, or the
    job is gone).
    """

    def started(self, kind: str) -> None:
        """An attempt starts."""

    def finished(self, kind: str, outcome: str, seconds: float) -> None:
        """The server has answered the outcome of an attempt, whose handler ran for so many seconds."""
