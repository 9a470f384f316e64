"""Which outcomes pause the keys of their jobs."""

from __future__ import annotations

from collections.abc import Iterable

from .outcome import PendingOutcome

#: So many outcomes pause the keys of their jobs by one transaction, which locks them all.
MOST_PAUSING = 50


def may_pause(item: PendingOutcome) -> bool:
    """Whether the outcome's job may have a key that is to be paused."""
    if item.outcome.pause_key is None:
        return False
    if item.lease is None:
        # Whether its queue limits keys is not known: the statement finds out.
        return True
    template = item.lease.template
    # After a resume neither the terms are known nor the key.
    return template.lane.limits and (template.keyed or not template.terms)


def chunks(items: list[PendingOutcome]) -> Iterable[list[PendingOutcome]]:
    """As many at once as one transaction pauses."""
    return (items[first : first + MOST_PAUSING] for first in range(0, len(items), MOST_PAUSING))
