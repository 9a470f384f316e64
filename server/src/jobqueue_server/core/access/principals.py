"""Which principals are there no more: what they left running is to rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from ...grants import Grants
from ...scope import Maker
from .access import Access


class Principals:
    """What became of those who made operations and schedules.

    A principal ends when none of its keys is good any more, or no identity is for it. A key that is rotated, a token or
    a certificate that expires, and a namespace that is disabled end no principal.

    Args:
        access: All keys and identities.
        used: Whether callers have to show who they are. If not, no principal ends.
    """

    def __init__(self, access: Access, *, used: bool) -> None:
        self._access = access
        self._used = used

    def hear_change(self, listener: Callable[[], object]) -> None:
        """One of them may have ended."""
        if self._used:
            self._access.hear_change(listener)

    async def ended(self, makers: Iterable[Maker]) -> Sequence[Maker]:
        """Those of them that have ended.

        Raises:
            DatabaseAway: It can't be said.
        """
        some = tuple(makers)
        if not some or not self._used:
            return ()
        # After these were read: so each principal that is among them is known.
        await self._access.refresh()
        return self._access.ended(some)

    def grants(self, maker: Maker) -> Grants | None:
        """What a principal may do now, if that can have changed since it made something; None: it can't have.

        Keys keep their grants. Those of an identity are replaced by their administrators.
        """
        return self._access.others.grants(maker) if self._used else None
