"""All keys and namespaces as this server knows them: read in memory by each call, kept fresh from the database."""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from ... import logs
from ...errors import (
    CredentialsExpired,
    CredentialsInvalid,
    CredentialsRevoked,
    DatabaseAway,
    DatabaseFull,
    JobQueueError,
    NamespaceDisabled,
)
from ...grants import NOTHING, Grants, GrantsMalformed, from_json
from ...rates import Bucket
from ...scope import Scope
from ...store.access.access import AccessStore, KeyRow, NamespaceRow
from ..upkeep.clock import Clock
from . import keys
from .identified import Identified, Revoked, Tokens
from .identities import CREDENTIAL, Identities

_log = logs.get(__name__)

_KEY = "key:"
#: How often the version is read, in seconds.
_EVERY = 1.0
#: How often keys that are used on and on are noted in the database, in seconds. The first use is noted at once.
_TOUCH_EVERY = 60.0
#: Texts of credentials that are remembered with their verdict.
_MOST_REMEMBERED = 10_000
#: One answer for what is malformed, unknown or wrong, so that it tells nothing of which ids there are.
_INVALID = "the credentials are not known here; check the key, which is `jq_` and 60 more characters"


@dataclass(frozen=True, slots=True)
class _Known:
    """A key, compiled."""

    row: KeyRow
    scope: Scope
    ends_ms: int | None
    networks: tuple[IPv4Network | IPv6Network, ...]


class Access:
    """Who calls, by what is shown.

    What was read last stays in force while the database is away.

    Args:
        store: Keys and namespaces in the database.
        clock: The database's time, by which keys end.
        servers: How many servers there are, between which a rate is divided.
        tokens: Checks tokens of issuers; None: they are not taken.
        revoked: Certificates that are not good any more; None: there is no list of them.

    Attributes:
        others: Callers that show tokens or certificates.
    """

    def __init__(
        self,
        store: AccessStore,
        clock: Clock,
        servers: Callable[[], int] = lambda: 1,
        tokens: Tokens | None = None,
        revoked: Revoked | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._servers = servers
        self._identities = Identities(servers, () if tokens is None else tokens.issuers)
        self.others = Identified(self._identities, tokens, revoked, clock, self.check_namespace)
        # By the principal. It is kept over changes, so that none of them fills it.
        self._buckets: dict[str, Bucket] = {}
        self._version = 0
        self._keys: dict[str, _Known] = {}
        self._namespaces: dict[int, NamespaceRow] = {}
        # By the text of the header: what its last look found. Keys for which the address counts are not in it.
        self._remembered: dict[str, _Known] = {}
        # Keys that were looked at since all were noted last; and those that were noted then or since.
        self._used: set[str] = set()
        self._noted: set[str] = set()
        self._on_change: list[Callable[[], object]] = []
        self._refreshing = asyncio.Lock()
        self._outdated = asyncio.Event()
        self._away = False
        if revoked is not None:
            revoked.hear_change(self._changed)

    def hear_change(self, listener: Callable[[], object]) -> None:
        """A key or a namespace may have changed or ended."""
        self._on_change.append(listener)

    # ---- kept fresh

    async def load(self) -> None:
        """Reads everything, at start.

        Raises:
            DatabaseAway: It can't be read.
        """
        await self._refresh()

    async def refresh(self) -> None:
        """Reads what has changed, at once: after a change here, or on the word of another server."""
        async with self._refreshing:
            version = await self._store.version()
            if version != self._version:
                await self._refresh(version)

    def changed_elsewhere(self) -> None:
        """Another server has changed a key or a namespace: `run` looks at once."""
        self._outdated.set()

    async def run(self) -> None:
        """Looks for changes and notes first uses of keys each second, and all uses each minute, until cancelled."""
        touched_at = time.monotonic()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_EVERY):
                    await self._outdated.wait()
            self._outdated.clear()
            try:
                await self.refresh()
                self._forget_ended()
                if time.monotonic() - touched_at >= _TOUCH_EVERY:
                    touched_at = time.monotonic()
                    await self.note_used()
                else:
                    await self.note_first_uses()
            except (DatabaseAway, DatabaseFull) as error:
                if not self._away:
                    _log.warning("keys can't be read; those that were known stand as they were", error=error)
                self._away = True
            else:
                self._away = False

    async def note_used(self) -> None:
        """Writes down which keys were used since the last time."""
        used = frozenset(self._used)
        if used:
            await self._store.touch_keys(sorted(used))
        self._used -= used
        self._noted = set(used)
        # So that one that is used on and on is looked at, and noted, again.
        self._remembered.clear()

    async def note_first_uses(self) -> None:
        """Writes down which keys are used that were not a while ago: without a statement where there are none."""
        fresh = self._used - self._noted
        if fresh:
            await self._store.touch_keys(sorted(fresh))
            self._noted |= fresh

    async def _refresh(self, version: int | None = None) -> None:
        # The version first: what changes after it is read again the next time.
        version = await self._store.version() if version is None else version
        rows, identities = await self._store.keys(), await self._store.identities()
        # After these, so that the namespace of each is among them.
        namespaces = {row.id: row for row in await self._store.namespaces()}
        meanings: dict[str, Grants] = {}
        buckets = {row.id: self._bucket(row) for row in rows if row.limit is not None}
        self._keys = {row.id: _compiled(row, meanings, buckets.get(row.id)) for row in rows}
        self._buckets = {_KEY + row.lineage: buckets[row.id] for row in rows if row.id in buckets}
        self._identities.replace(identities, lambda text, of: _grants(text, of, meanings))
        self._namespaces = namespaces
        self._version = version
        self._changed()

    def _bucket(self, row: KeyRow) -> Bucket:
        assert row.limit is not None
        kept = self._buckets.get(_KEY + row.lineage)
        if kept is not None and (kept.rate, kept.burst) == (row.limit.rate, row.limit.burst):
            return kept
        made = self._buckets[_KEY + row.lineage] = Bucket(row.limit.rate, row.limit.burst, self._servers)
        return made

    def _forget_ended(self) -> None:
        """Credentials end by the clock too: those who hold something by them hear of it."""
        now = self._clock.now_ms()
        ended = [
            key_id
            for key_id, known in self._keys.items()
            if known.ends_ms is not None and known.ends_ms <= now < known.ends_ms + 2 * 1000 * _EVERY
        ]
        if self.others.some_ended() or ended:
            self._changed()

    def _changed(self) -> None:
        self._remembered.clear()
        self.others.forget()
        for listener in self._on_change:
            listener()

    # ---- asked by calls

    def remembered(self, text: str) -> Scope | None:
        """The scope of what was looked at before and is good now; None where a look has to say."""
        if len(text) > keys.CHARS:
            return self.others.remembered(text)
        known = self._remembered.get(text)
        if known is None or (known.ends_ms is not None and self._clock.now_ms() >= known.ends_ms):
            return None
        return known.scope

    def look(self, text: str, address: str) -> Scope:
        """The scope of a caller that shows this key.

        Args:
            text: The key.
            address: Whence the caller calls, an IP address; empty where the transport has none.

        Raises:
            CredentialsInvalid: It is malformed, unknown, wrong, or not for this address. One text for all of these.
            CredentialsExpired, CredentialsRevoked: It has ended. Only a caller that has the secret is told.
            NamespaceDisabled: The key is good, but its namespace is not in use.
        """
        known = self._keys.get(keys.id_of(text) or "")
        expected = known.row.secret_hash if known is not None else bytes(32)
        if not hmac.compare_digest(keys.hash_of(text), expected) or known is None:
            raise CredentialsInvalid(_INVALID)
        ended = self._ended(known)
        if ended is not None:
            raise ended
        if known.networks and not _within(address, known.networks):
            raise CredentialsInvalid(_INVALID)
        self.check_namespace(known.row.namespace)
        self._used.add(known.row.id)
        if not known.networks:
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            self._remembered[text] = known
        return known.scope

    def scope_of(self, text: str) -> Scope:
        """The scope of a key that `look` has just found, good or not."""
        return self._keys[keys.id_of(text) or ""].scope

    def check_namespace(self, namespace: int) -> None:
        """Whether calls in a namespace are allowed.

        Raises:
            NamespaceDisabled: They are not.
        """
        row = self._namespaces.get(namespace)
        if row is not None and row.disabled:
            raise NamespaceDisabled(f"the namespace {row.name} is disabled; an administrator can enable it")

    def namespace_name(self, namespace: int) -> str:
        """The name of a namespace; empty for one that this server does not know yet."""
        row = self._namespaces.get(namespace)
        return "" if row is None else row.name

    def expires_at(self, scope: Scope) -> datetime | None:
        """When the credential of a scope ends; None: by no clock."""
        if scope.ends_ms is not None:
            return datetime.fromtimestamp(scope.ends_ms / 1000, UTC)
        known = self._keys.get(scope.credential.removeprefix(_KEY))
        return None if known is None else known.row.expires_at

    def now(self, scope: Scope) -> tuple[Scope, JobQueueError | None]:
        """What became of a credential that was good when a stream or a session began.

        Returns:
            Its scope of now, and why its principal may not go on; None: it may.
        """
        if scope.credential.startswith(CREDENTIAL):
            return self.others.now(scope)
        if not scope.credential.startswith(_KEY):
            return scope, None
        known = self._keys.get(scope.credential.removeprefix(_KEY))
        if known is None:
            return scope, CredentialsRevoked("the key is not known any more")
        ended = self._ended(known)
        if ended is None:
            try:
                self.check_namespace(scope.namespace)
            except NamespaceDisabled as error:
                # Under no other name: its traceback has this frame.
                return known.scope, error
        return known.scope, ended

    def revoked(self) -> list[str]:
        """The credentials that were revoked lately, or whose namespace is not in use."""
        return [
            known.scope.credential
            for known in self._keys.values()
            if known.row.revoked or self._is_disabled(known.row.namespace)
        ] + self._identities.lost(self._is_disabled)

    def _is_disabled(self, namespace: int) -> bool:
        row = self._namespaces.get(namespace)
        return row is not None and row.disabled

    def _ended(self, known: _Known) -> JobQueueError | None:
        """Why a key is not good any more."""
        if known.row.revoked:
            return CredentialsRevoked(
                f"the key {known.row.id} was revoked; ask an administrator for a new one"
            )
        if known.ends_ms is not None and self._clock.now_ms() >= known.ends_ms:
            ended = datetime.fromtimestamp(known.ends_ms / 1000, UTC).isoformat(timespec="seconds")
            return CredentialsExpired(
                f"the key {known.row.id} expired at {ended}; an administrator can rotate it"
            )
        return None


def _compiled(row: KeyRow, meanings: dict[str, Grants], bucket: Bucket | None) -> _Known:
    grants = _grants(row.grants, f"key {row.id}", meanings)
    scope = Scope(row.namespace, _KEY + row.lineage, grants, _KEY + row.id, bucket)
    ends_ms = None if row.expires_at is None else int(row.expires_at.timestamp() * 1000)
    return _Known(row, scope, ends_ms, tuple(ip_network(text) for text in row.networks))


def _grants(text: str, of: str, meanings: dict[str, Grants]) -> Grants:
    """The grants in a stored text, read once for all that have the same."""
    grants = meanings.get(text)
    if grants is None:
        try:
            grants = from_json(json.loads(text))
        except GrantsMalformed as error:
            _log.error("stored grants can't be read, so they permit nothing", of=of, error=error)
            grants = NOTHING
        meanings[text] = grants
    return grants


def _within(address: str, networks: tuple[IPv4Network | IPv6Network, ...]) -> bool:
    try:
        found = ip_address(address)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return any((mapped or found) in network for network in networks)
