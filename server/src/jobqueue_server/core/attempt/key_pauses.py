"""Which outcomes pause the keys of their jobs, and whether all servers keep to that."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from ...errors import ServersDiffer
from ..upkeep.levels import PAUSE_LEVEL, Levels
from .outcome import PendingOutcome

_log = logging.getLogger(__name__)

#: So many outcomes pause the keys of their jobs by one transaction, which locks them all.
MOST_PAUSING = 50
#: After a level was refused it is not asked for again for so long, and the refusal logged once in so long, in seconds.
REFUSED_FOR = 5.0
REFUSAL_LOGGED_EVERY = 60.0


class KeyPauses:
    """Pauses of keys by outcomes.

    Args:
        levels: What other servers know.
    """

    def __init__(self, levels: Levels) -> None:
        self._levels = levels
        # As an older server runs: until when no key is paused, and when that may be logged again, by the loop's time.
        self._no_pauses_until = 0.0
        self._log_refusal_at = 0.0

    def may_be_of(self, item: PendingOutcome) -> bool:
        """Whether the outcome's job may have a key that is to be paused.

        Of a lease that the session does not hold that is not known: it may be over. So it raises no level.
        """
        if item.outcome.pause_key is None:
            return False
        if item.lease is None:
            return self._levels.allows(PAUSE_LEVEL)
        template = item.lease.template
        # After a resume neither the terms are known nor the key.
        return template.lane.limits and (template.keyed or not template.terms)

    async def are_kept(self) -> bool:
        """Whether all servers keep to pauses. A refusal holds for a while, so that not each batch asks the database."""
        if self._levels.allows(PAUSE_LEVEL):
            return True
        now = asyncio.get_running_loop().time()
        if now < self._no_pauses_until:
            return False
        try:
            await self._levels.require(PAUSE_LEVEL, "`pause_key` of an outcome")
        except ServersDiffer as differ:
            self._no_pauses_until = now + REFUSED_FOR
            if now >= self._log_refusal_at:
                self._log_refusal_at = now + REFUSAL_LOGGED_EVERY
                _log.warning("no key is paused: %s", differ.message)
            return False
        return True


def chunks(items: list[PendingOutcome]) -> Iterable[list[PendingOutcome]]:
    """As many at once as one transaction pauses."""
    return (items[first : first + MOST_PAUSING] for first in range(0, len(items), MOST_PAUSING))
