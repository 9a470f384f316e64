"""How often a principal may call: a token bucket. Pure."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

from .errors import RateLimited


class Bucket:
    """Fills at a rate, holds a burst, and may be taken into debt by one large request.

    Each server has a bucket of its own, with its share of the rate and the burst: the limit is approximate.

    Args:
        rate: Tokens each second, over all servers.
        burst: The most that it holds, over all servers.
        servers: How many servers there are.
        now: Seconds of a clock that only goes on.
    """

    def __init__(
        self,
        rate: int,
        burst: int,
        servers: Callable[[], int] = lambda: 1,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.rate = rate
        self.burst = burst
        self._servers = servers
        self._now = now
        self._at = now()
        self._tokens = float(burst)

    def take(self, tokens: int = 1) -> None:
        """Takes tokens. A request of more than the burst passes when the bucket is full, and is paid off after that.

        Raises:
            RateLimited: There are too few, and it says when there will be enough. None were taken.
        """
        lacking = self._lacking(tokens)
        if lacking > 0:
            wait = lacking * max(1, self._servers()) / self.rate
            raise RateLimited(
                f"these credentials may be used for {self.rate} calls or jobs a second; wait {wait:.3g} s",
                retry_after=timedelta(seconds=wait),
            )
        self._tokens -= tokens

    def try_take(self) -> bool:
        """Takes one token if there is one."""
        if self._lacking(1) > 0:
            return False
        self._tokens -= 1
        return True

    def _lacking(self, tokens: int) -> float:
        now, servers = self._now(), max(1, self._servers())
        burst = max(1.0, self.burst / servers)
        self._tokens = min(burst, self._tokens + (now - self._at) * self.rate / servers)
        self._at = now
        return min(tokens, burst) - self._tokens
