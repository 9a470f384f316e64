"""Places that are taken for long, and refused when there are none: no principal can take all of them."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from .owner import Owner

#: A principal and its namespace may hold so many times as many places as are free.
TIMES_FREE = 8


class Share:
    """A number of places, each taken at once or refused.

    What a principal holds and what its namespace holds may together be at most eight times what is free. So one that is
    alone gets four fifths, a namespace of many keys eight ninths, and what is left is shared by the same rule: one that
    comes later finds a place, also beside several that take all they can get. A namespace that holds nothing gets
    whatever is free. (Dynamic thresholds: A. K. Choudhury and E. L. Hahne, IEEE/ACM Transactions on Networking 6(2),
    1998.)

    Args:
        places: How many there are.

    Attributes:
        taken: How many are taken.
    """

    __slots__ = ("_namespaces", "_principals", "places", "taken")

    def __init__(self, places: int) -> None:
        self.places = places
        self.taken = 0
        self._principals: dict[Owner, int] = {}
        self._namespaces: dict[int, int] = {}

    def has_room(self, owner: Owner, places: int = 1) -> bool:
        """Whether a principal may take so many more at once."""
        free = self.places - self.taken
        if places > free:
            return False
        if owner is None:
            return True
        of_namespace = self._namespaces.get(owner[0], 0)
        # Of a request for several the last one counts.
        before = places - 1
        held = of_namespace + self._principals.get(owner, 0) + 2 * before
        return not of_namespace or held < TIMES_FREE * (free - before)

    def try_take(self, owner: Owner) -> bool:
        """Takes a place, if this principal may have one now."""
        if owner is None:
            if self.taken >= self.places:
                return False
            self.taken += 1
            return True
        if not self.has_room(owner):
            return False
        self.take(owner)
        return True

    def take(self, owner: Owner, places: int = 1) -> None:
        """Takes places. `has_room` goes before, or they are not refused."""
        self.taken += places
        if owner is not None:
            self._principals[owner] = self._principals.get(owner, 0) + places
            self._namespaces[owner[0]] = self._namespaces.get(owner[0], 0) + places

    def give_back(self, owner: Owner, places: int = 1) -> None:
        """Gives places back that this principal took."""
        self.taken -= places
        if owner is not None:
            less(self._principals, owner, places)
            less(self._namespaces, owner[0], places)

    def held(self, owner: Owner) -> int:
        """How many places a principal holds."""
        return self.taken if owner is None else self._principals.get(owner, 0)

    def full(self, owner: Owner, what: str) -> str:
        """The sentence for one that is refused.

        Args:
            owner: Who asked.
            what: What the places are for, such as `watches`.
        """
        if self.taken >= self.places:
            return f"this server has {self.places} {what}, as many as it may"
        return (
            f"this server has {self.taken} of at most {self.places} {what}, {self.held(owner)} of them of this "
            "principal; what is free is kept for others"
        )


def less(counts: dict[Any, int], key: Hashable, by: int) -> None:
    """Counts less of one, and forgets it where nothing is left."""
    left = counts[key] - by
    if left:
        counts[key] = left
    else:
        del counts[key]
