"""How often an address may show bad credentials before the server refuses it without looking. Pure."""

from __future__ import annotations

from collections import OrderedDict

#: Failed attempts of one address: so many at once, and so many more each second.
PER_SECOND = 10
#: Addresses that are remembered; the one that failed longest ago is forgotten first.
MOST_ADDRESSES = 10_000


class FailedAttempts:
    """A token bucket for each address. Times are seconds of a clock that only goes on."""

    def __init__(self) -> None:
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def refuses(self, address: str, now: float) -> bool:
        """Whether the address has failed too often lately."""
        return self._tokens(address, now) < 1

    def note(self, address: str, now: float) -> None:
        """The address has failed."""
        self._left[address] = (self._tokens(address, now) - 1, now)
        self._left.move_to_end(address)
        if len(self._left) > MOST_ADDRESSES:
            self._left.popitem(last=False)

    def _tokens(self, address: str, now: float) -> float:
        tokens, at = self._left.get(address, (float(PER_SECOND), now))
        return min(float(PER_SECOND), tokens + (now - at) * PER_SECOND)
