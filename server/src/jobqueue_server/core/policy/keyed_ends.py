"""Ends of jobs that hold permits of their keys: who waits for these is admitted by the same statement."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...store.attempt.attempts import AttemptStore, Settled, Settling
from ...store.policy.semaphores import Admitted
from ..catalog.catalog import Catalog
from ..claim.offers import Offers
from ..lease.lease import Lease
from ..lease.session import Session
from .admitter import Admitter


class KeyedEnds:
    """What the room of attempts asks of keys.

    Attributes:
        some_wait: Whether jobs waited for the permits that came back last. A wrong guess costs time alone.
    """

    def __init__(
        self, store: AttemptStore, catalog: Catalog, offers: Offers, admitter: Admitter, most_admitted: int
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._offers = offers
        self._admitter = admitter
        self._most_admitted = most_admitted
        self.some_wait = False

    def have_permits(self, leases: Iterable[Lease]) -> bool:
        """Whether jobs hold permits of their keys, as far as is known here; the statement finds out by itself."""
        return self._catalog.limits and any(lease.template.lane.limits for lease in leases)

    async def succeed(self, leases: Sequence[tuple[Session, Lease]], settling: Sequence[Settling]) -> Settled:
        """Ends jobs that hold permits. Who waits for these takes free slots, unless a job in line goes first.

        Where keys take turns, jobs wait though an end admits none: a settlement that did not look would call each key.
        """
        turns = self._catalog.fair and any(lease.template.lane.fair for _, lease in leases)
        if self.some_wait or turns:
            with self._offers.offer(leases) as offer:
                done = await self._store.end_and_admit(settling, self._most_admitted, offer.slots)
                offer.taken(done.admitted.leased)
        else:
            done = await self._store.end_succeeded(settling)
        self.some_wait = bool(done.admitted.jobs or done.admitted.again)
        return done

    def tell(self, admitted: Admitted) -> None:
        """Jobs were admitted by a settlement. It is committed."""
        self._admitter.tell(admitted)

    @staticmethod
    def may_pause(lease: Lease | None) -> bool:
        """Whether the job may have a key that its worker can pause."""
        if lease is None:
            # Whether its queue limits keys is not known: the statement finds out.
            return True
        template = lease.template
        # After a resume neither the terms are known nor the key.
        return template.lane.limits and (template.keyed or not template.terms)
