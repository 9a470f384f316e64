"""The parts that know who calls, put together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from ...store.stores import Stores
from ..tuning import Tuning
from ..upkeep.room import UpkeepRoom
from .access import Access
from .admin import AccessAdmin
from .audit_log import AuditLog
from .denials import Counts, Denials
from .identified import Revoked
from .identity_admin import IdentityAdmin
from .issuer import Issuer
from .principals import Principals


class OtherServers(Protocol):
    """The other servers on this database, as far as keys are concerned."""

    def hear_access_changed(self, listener: Callable[[int, Sequence[str]], object]) -> None:
        """One of them has changed keys, an identity or a namespace: (the version, the ids of these keys)."""

    def tell_access_changed(self, version: int, key_ids: Sequence[str]) -> None:
        """This one has."""


class AccessRoom:
    """Its parts are its attributes.

    Args:
        stores: The database.
        upkeep: Has the clock by which keys end.
        servers: How many servers there are, between which rates are divided.
        others: Told of what this server changes, and heard of what they do.
        counts: The metrics of refused calls.
        tuning: How long refused calls gather.
        server_name: Who says how many of them were dropped.
        issuers: Whose tokens are taken; empty: tokens are not.
        revoked: Certificates that are not good any more; None: there is no list of them.
        used: Whether callers have to show who they are. If not, nothing is read and nothing runs.
    """

    def __init__(
        self,
        stores: Stores,
        upkeep: UpkeepRoom,
        servers: Callable[[], int],
        others: OtherServers,
        counts: Counts,
        tuning: Tuning,
        *,
        server_name: str,
        issuers: Sequence[Issuer] = (),
        revoked: Revoked | None = None,
        used: bool,
    ) -> None:
        self.tokens = None
        if issuers:
            # Its library is there only where tokens are taken.
            from .tokens import Tokens

            self.tokens = Tokens(issuers)
        self.access = Access(stores.access, upkeep.clock, servers, self.tokens, revoked)
        self.principals = Principals(self.access, used=used)
        self.admin = AccessAdmin(stores.access, stores.catalog, self.access, upkeep.clock)
        names = [issuer.name for issuer in issuers]
        self.identities = IdentityAdmin(stores.access, self.admin, self.access, names)
        self.audit_log = AuditLog(stores.audit, self.admin)
        self.denials = Denials(stores.audit, counts, tuning, server_name=server_name)
        others.hear_access_changed(self.access.changed_elsewhere)
        stores.access.hear_change(self.access.note_change)
        stores.access.hear_change(others.tell_access_changed)
        self.used = used

    async def load(self) -> None:
        """Reads all keys, before the first call."""
        if self.used:
            await self.access.load()

    def background(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """What runs all the time."""
        if not self.used:
            return {}
        running: dict[str, Callable[[], Awaitable[None]]] = {
            "access": self.access.run,
            "denials": self.denials.run,
        }
        if self.tokens is not None:
            running |= {f"keys of {name}": each.run for name, each in self.tokens.keys.items()}
        return running

    async def leave(self) -> None:
        """Writes what is not yet in the audit log, after the last call."""
        await self.denials.leave()
