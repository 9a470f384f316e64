"""How many bad credentials are looked at: of one address prefix, and of one credential that it shows. Pure.

A good credential is never counted, and a known one is never refused here: its owner may share the address with one who
guesses.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from ipaddress import IPv6Address, ip_address, ip_network

#: Failed attempts of all credentials of one prefix: so many at once, and so many more each second.
OF_A_PREFIX = 50
#: Those of one credential at one prefix: so many at once, and one more each second. Who repeats a bad credential takes
#: little of what is left for the others there.
OF_A_CREDENTIAL = 10
#: Prefixes that are remembered, and credentials at them. Who failed longest ago has most of it back, and goes first.
MOST_REMEMBERED = 10_000
#: What one IPv6 host has for itself, in bits.
_HOST_PREFIX = 64


class _Buckets:
    """A token bucket for each name."""

    def __init__(self, burst: int, per_second: int) -> None:
        self._burst = float(burst)
        self._per_second = per_second
        self._left: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def left(self, name: Hashable, now: float) -> float:
        tokens, at = self._left.get(name, (self._burst, now))
        return min(self._burst, tokens + (now - at) * self._per_second)

    def take(self, name: Hashable, now: float) -> None:
        self._left[name] = (self.left(name, now) - 1, now)
        self._left.move_to_end(name)
        if len(self._left) > MOST_REMEMBERED:
            self._left.popitem(last=False)


class FailedAttempts:
    """Counts failed attempts. Times are seconds of a clock that only goes on.

    A prefix is an IPv4 address or the /64 of an IPv6 address. A credential is the id of a key, whether or not there is
    such a key, or the hash of a token. What was refused is not counted.
    """

    def __init__(self) -> None:
        self._prefixes = _Buckets(OF_A_PREFIX, OF_A_PREFIX)
        self._credentials = _Buckets(OF_A_CREDENTIAL, 1)

    def refuses(self, prefix: str, credential: str, now: float) -> bool:
        """Whether one more bad attempt is refused: this credential or its prefix has failed too often lately."""
        return self._prefixes.left(prefix, now) < 1 or self._credentials.left((prefix, credential), now) < 1

    def note(self, prefix: str, credential: str, now: float) -> None:
        """The credential has failed at this prefix."""
        self._prefixes.take(prefix, now)
        self._credentials.take((prefix, credential), now)


def prefix_of(address: str) -> str:
    """Which callers share one address: the address itself if it is IPv4, its /64 if it is IPv6, else the text."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if not isinstance(found, IPv6Address):
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ip_network((found, _HOST_PREFIX), strict=False))
