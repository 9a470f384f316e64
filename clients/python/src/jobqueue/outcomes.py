"""The exceptions by which a handler ends its attempt in another way than success or an ordinary failure.

Any other exception is a failure that counts against `max_attempts` and is tried again after a backoff.
"""

from __future__ import annotations

from datetime import timedelta


class Retry(Exception):
    """The attempt failed and should be tried again, as long as the job has attempts left.

    Args:
        message: What went wrong. It becomes the job's `last_error`.
        after: How long to wait before the next attempt, at most 400 days. The server adds up to a
            tenth, so that jobs do not come back at the same moment. None: the job's backoff.
        pause_key: Whether no job of this one's key starts for as long as `after` says, 24 hours at
            most: as when a service answers 429 for all that is done for a customer. Without effect
            if the job has no key, or its queue limits nothing by key.

    Raises:
        ValueError: `after` is negative, or is not given with `pause_key`.
    """

    # Also of a subclass that does not call `__init__`.
    after: timedelta | None = None
    pause_key = False

    def __init__(self, message: str, *, after: timedelta | None = None, pause_key: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.after = None if after is None else _wait("Retry(after=...)", after)
        if pause_key and after is None:
            raise ValueError("Retry(pause_key=True) takes an `after` too: for so long the key is paused")
        self.pause_key = pause_key


class Discard(Exception):
    """The attempt failed, and no later one can succeed: the job ends FAILED_PERMANENT, with NOT_RETRYABLE.

    Args:
        message: What went wrong and what would be right. It becomes the job's `last_error`.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Snooze(Exception):
    """The job goes back, and is delivered again after a delay. It costs the job no attempt of `max_attempts`.

    Args:
        delay: How long to wait, at most 400 days. The wait is exact: the server adds nothing.
    """

    def __init__(self, delay: timedelta) -> None:
        self.delay = _wait("Snooze(delay)", delay)
        super().__init__(f"snoozed for {delay.total_seconds():g} s")


class Cancelled(Exception):
    """The handler stopped, because its job must stop: the job ends CANCELLED.

    `ctx.raise_if_cancelled()` raises it. A handler may also raise it for a reason of its own.
    """

    def __init__(self, message: str = "cancelled") -> None:
        super().__init__(message)
        self.message = message


def _wait(name: str, value: timedelta) -> timedelta:
    """Refuses a bare number here, in the handler's own line, and not when the outcome is built."""
    if not isinstance(value, timedelta):
        raise TypeError(f"{name} takes a timedelta, for example timedelta(seconds=30), not {value!r}")
    if value < timedelta(0):
        raise ValueError(f"{name} is {value}; it must not be negative")
    return value
