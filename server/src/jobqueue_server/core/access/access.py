"""All keys and namespaces as this server knows them: read in memory by each call, kept fresh from the database."""

from __future__ import annotations

import asyncio
import heapq
import hmac
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
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
from ...scope import Maker, Scope
from ...store.access.access import AccessStore, KeyRow, Limit, NamespaceRow
from ..upkeep.clock import Clock
from . import keys
from .bounds import Bounds
from .identified import Identified, Revoked, Tokens
from .identities import CREDENTIAL, Identities

_log = logs.get(__name__)

_KEY = "key:"
#: How often the version is read, in seconds.
_EVERY = 1.0
#: How often keys that are used on and on are noted in the database, in seconds. The first use is noted at once.
_TOUCH_EVERY = 60.0
#: How often all keys are read and compared, in seconds. Then those are forgotten that ended long ago.
_READ_ALL_EVERY = 3600.0
#: Keys that are read at once. The event loop is held for a few milliseconds.
_PAGE = 1000
#: Changes that are kept until the version shows them. Beyond these all keys are read.
_MOST_CHANGES = 10_000
#: One answer for what is malformed, unknown or wrong, so that it tells nothing of which ids there are.
_INVALID = "the credentials are not known here; check the key, which is `jq_` and 60 more characters"


@dataclass(slots=True, eq=False)
class _Known:
    """A key, compiled.

    Attributes:
        text: Its text, once a caller has shown it; empty before, and while its caller's address counts.
        used: Whether a caller has shown it since uses were last noted.
    """

    row: KeyRow
    scope: Scope
    ends_ms: int | None
    networks: tuple[IPv4Network | IPv6Network, ...]
    text: str = field(default="", repr=False)
    used: bool = False

    def shown(self) -> None:
        """A caller has shown it."""
        self.used = True

    def noted(self) -> None:
        """Its uses are noted: the next one is to be noted anew."""
        self.used = False

    def remember(self, text: str) -> None:
        """It was shown by this text, which is good wherever its caller calls from."""
        self.text = text

    def ended(self, now_ms: int) -> JobQueueError | None:
        """Why a key is not good any more."""
        if self.row.revoked:
            return CredentialsRevoked(
                f"the key {self.row.id} was revoked; ask an administrator for a new one"
            )
        if self.ends_ms is not None and now_ms >= self.ends_ms:
            ended = datetime.fromtimestamp(self.ends_ms / 1000, UTC).isoformat(timespec="seconds")
            return CredentialsExpired(
                f"the key {self.row.id} expired at {ended}; an administrator can rotate it"
            )
        return None


class _Changes:
    """What each change changed that was heard of, by its version, until that version is read."""

    def __init__(self) -> None:
        self._heard: dict[int, Sequence[str]] = {}

    def note(self, version: int, key_ids: Sequence[str]) -> None:
        """A change was heard of: it changed these keys; of none: an identity or a namespace."""
        if len(self._heard) < _MOST_CHANGES:
            self._heard[version] = key_ids

    def between(self, known: int, version: int) -> list[Sequence[str]] | None:
        """The changes from the version that is known to another one; None: not all of them were heard of."""
        if not 0 < version - known <= len(self._heard):
            return None
        found = [self._heard.get(each) for each in range(known + 1, version + 1)]
        changes = [change for change in found if change is not None]
        return changes if len(changes) == len(found) else None

    def forget(self, known: int, version: int) -> None:
        """That version was read. Where it is older than what was known, the database was restored: all is forgotten."""
        self._heard = {at: what for at, what in self._heard.items() if known <= version < at}


class _Uses:
    """Which keys callers have shown, on the way into the database.

    Args:
        store: Where it is noted when a key was used last.
        known: The keys that are known now, by id.
    """

    def __init__(self, store: AccessStore, known: Mapping[str, _Known]) -> None:
        self._store = store
        self._known = known
        # Keys that were used since all were noted last; and those that were noted then or since.
        self._used: set[str] = set()
        self._noted: set[str] = set()

    def add(self, known: _Known) -> None:
        """A caller has shown this key, for the first time since its uses were noted."""
        known.shown()
        self._used.add(known.row.id)

    async def note(self) -> None:
        """Writes down which keys were used since the last time."""
        used = frozenset(self._used)
        if used:
            await self._store.touch_keys(sorted(used))
        self._used -= used
        self._noted = set(used)
        for key_id in used:
            if (known := self._known.get(key_id)) is not None:
                known.noted()

    async def note_first(self) -> None:
        """Writes down which keys are used that were not a while ago: without a statement where there are none."""
        fresh = self._used - self._noted
        if fresh:
            await self._store.touch_keys(sorted(fresh))
            self._noted |= fresh


class _Buckets:
    """How often principals may call. Each one's bucket is kept over changes of its keys, so that none of them fills it.

    Args:
        servers: How many servers there are, between which a rate is divided.
    """

    def __init__(self, servers: Callable[[], int]) -> None:
        self._servers = servers
        # By the principal.
        self._made: dict[str, Bucket] = {}

    def of(self, row: KeyRow) -> Bucket | None:
        """That of a key's principal, by the limit that the key has now; None: it has none."""
        if row.limit is None:
            return None
        principal = _KEY + row.lineage
        kept = self._made.get(principal)
        if kept is not None and (kept.rate, kept.burst) == (row.limit.rate, row.limit.burst):
            return kept
        made = self._made[principal] = Bucket(row.limit.rate, row.limit.burst, self._servers)
        return made

    def keep(self, scopes: Iterable[Scope]) -> None:
        """Forgets those that none of these scopes has."""
        self._made = {scope.principal: scope.bucket for scope in scopes if scope.bucket is not None}


class _Kept:
    """What a server knows of callers, kept fresh from the database.

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
        self._identities = Identities(servers, () if tokens is None else tokens.issuers)
        self.others = Identified(self._identities, tokens, revoked, clock, self.check_namespace)
        self._buckets = _Buckets(servers)
        self._version = 0
        self._changes = _Changes()
        self._read_all_at = 0.0
        self._keys: dict[str, _Known] = {}
        self._uses = _Uses(store, self._keys)
        # The meaning of each text of grants.
        self._meanings: dict[str, Grants] = {}
        self._namespaces: dict[int, NamespaceRow] = {}
        # Good keys by their text, one text a key at most: no call is answered by another lookup.
        self._remembered: dict[str, _Known] = {}
        # When keys end, soonest first, with their ids.
        self._ends: list[tuple[int, str]] = []
        self._on_change: list[Callable[[], object]] = []
        self._refreshing = asyncio.Lock()
        self._outdated = asyncio.Event()
        self._away = False
        if revoked is not None:
            revoked.hear_change(self._others_changed)

    def hear_change(self, listener: Callable[[], object]) -> None:
        """A key that was known, an identity or a namespace has changed or ended."""
        self._on_change.append(listener)

    # ---- kept fresh

    async def load(self) -> None:
        """Reads everything, at start.

        Raises:
            DatabaseAway: It can't be read.
        """
        await self._refresh(everything=True)

    async def refresh(self) -> None:
        """Reads what has changed, at once: after a change here, or on the word of another server."""
        await self._refresh(everything=False)

    def note_change(self, version: int, key_ids: Sequence[str]) -> None:
        """What a version changed, so that `refresh` reads that alone. What it is not told, it finds by comparing.

        Args:
            version: The one that the change made.
            key_ids: The keys that it changed; empty: it changed an identity or a namespace.
        """
        self._changes.note(version, key_ids)

    def changed_elsewhere(self, version: int, key_ids: Sequence[str]) -> None:
        """Another server has made this change: `run` looks at once. Version 0: an older one, which doesn't say what."""
        if version:
            self.note_change(version, key_ids)
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
                everything = time.monotonic() - self._read_all_at >= _READ_ALL_EVERY
                await self._refresh(everything=everything)
                self._tell_of_ended()
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
        await self._uses.note()

    async def note_first_uses(self) -> None:
        """Writes down which keys are used that were not a while ago: without a statement where there are none."""
        await self._uses.note_first()

    async def _refresh(self, *, everything: bool) -> None:
        async with self._refreshing:
            # The version first: what changes after it is read again the next time.
            version = await self._store.version()
            if version != self._version or everything:
                await self._read(None if everything else self._changes.between(self._version, version))
                self._changes.forget(self._version, version)
                self._version = version

    async def _read(self, changes: list[Sequence[str]] | None) -> None:
        """Reads what these changes changed; None: everything. What is found as it was stays as it is."""
        if changes is None:
            self._read_all_at = time.monotonic()
            rows, gone = await self._all_keys()
        else:
            ids = {key_id for change in changes for key_id in change}
            rows = await self._store.keys_by_id(sorted(ids)) if ids else []
            gone = ids - {row.id for row in rows}
        differs = False
        if (
            changes is None
            or () in map(tuple, changes)
            or not self._namespaces.keys() >= {row.namespace for row in rows}
        ):
            # After the keys, so that the namespace of each is among them.
            identities, namespaces = await self._store.identities(), await self._store.namespaces()
            differs = self._identities.replace(identities, self._grants)
            differs |= self._know_namespaces({row.id: row for row in namespaces})
        if differs:
            self.others.forget()
        for row in rows:
            differs |= self._know(row)
        for key_id in gone:
            differs |= self._forget(key_id) is not None
        if changes is None:
            self._meanings = {known.row.grants: known.scope.grants for known in self._keys.values()}
            self._buckets.keep(known.scope for known in self._keys.values())
        if differs:
            self._tell_of_change()

    async def _all_keys(self) -> tuple[list[KeyRow], set[str]]:
        """The keys that are not known as they are, and the ids of those that are not there any more."""
        rows: list[KeyRow] = []
        gone, page = set(self._keys), [""]
        while page:
            found = await self._store.keys(page[-1], _PAGE)
            page = [row.id for row in found]
            gone.difference_update(page)
            rows += (row for row in found if row.id not in self._keys or self._keys[row.id].row != row)
        return rows, gone

    def _know(self, row: KeyRow) -> bool:
        """Takes a key as it is now. Answers whether another one was known by its id."""
        before = self._forget(row.id)
        scope = Scope(
            row.namespace,
            _KEY + row.lineage,
            self._grants(row.grants, f"key {row.id}"),
            _KEY + row.id,
            self._buckets.of(row),
        )
        ends_ms = None if row.expires_at is None else int(row.expires_at.timestamp() * 1000)
        if ends_ms is not None:
            heapq.heappush(self._ends, (ends_ms, row.id))
        self._keys[row.id] = _Known(
            row,
            scope,
            ends_ms,
            tuple(ip_network(text) for text in row.networks),
            used=before is not None and before.used,
        )
        return before is not None

    def _forget(self, key_id: str) -> _Known | None:
        """Forgets a key, and what was found of its text. Answers it, if it was known."""
        known = self._keys.pop(key_id, None)
        if known is not None:
            self._remembered.pop(known.text, None)
        return known

    def _know_namespaces(self, rows: dict[int, NamespaceRow]) -> bool:
        """Takes the namespaces as they are now. Answers whether one that was known has changed."""
        changed = {id for id, row in self._namespaces.items() if rows.get(id) != row}
        self._namespaces = rows
        for text, known in list(self._remembered.items()) if changed else ():
            if known.row.namespace in changed:
                del self._remembered[text]
        return bool(changed)

    def _grants(self, text: str, of: str) -> Grants:
        """The grants in a stored text, read once for all that have the same."""
        grants = self._meanings.get(text)
        if grants is None:
            grants = self._meanings[text] = _meaning(text, of)
        return grants

    def _tell_of_ended(self) -> None:
        """Credentials end by the clock too: those who hold something by them hear of it."""
        now, ended = self._clock.now_ms(), self.others.some_ended()
        ended |= bool(self._ends) and self._ends[0][0] <= now
        # For two rounds, so that a call that was just let in hears of it as well.
        while self._ends and self._ends[0][0] + 2 * 1000 * _EVERY <= now:
            heapq.heappop(self._ends)
        if ended:
            self._tell_of_change()

    def _others_changed(self) -> None:
        """Certificates were revoked."""
        self.others.forget()
        self._tell_of_change()

    def _tell_of_change(self) -> None:
        for listener in self._on_change:
            listener()

    def check_namespace(self, namespace: int) -> None:
        """Whether calls in a namespace are allowed.

        Raises:
            NamespaceDisabled: They are not.
        """
        row = self._namespaces.get(namespace)
        if row is not None and row.disabled:
            raise NamespaceDisabled(f"the namespace {row.name} is disabled; an administrator can enable it")


class Access(_Kept):
    """Who calls, by what is shown."""

    def remembered(self, text: str) -> Scope | None:
        """The scope of what was looked at before and is good now; None where a look has to say."""
        if len(text) > keys.CHARS:
            return self.others.remembered(text)
        known = self._remembered.get(text)
        if known is None or (known.ends_ms is not None and self._clock.now_ms() >= known.ends_ms):
            return None
        if not known.used:
            self._uses.add(known)
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
        known = self._known(text)
        if known is None:
            raise CredentialsInvalid(_INVALID)
        ended = known.ended(self._clock.now_ms())
        if ended is not None:
            raise ended
        if known.networks and not _within(address, known.networks):
            raise CredentialsInvalid(_INVALID)
        self.check_namespace(known.row.namespace)
        if not known.used:
            self._uses.add(known)
        if not known.networks:
            known.remember(text)
            self._remembered[text] = known
        return known.scope

    def scope_of(self, text: str) -> Scope | None:
        """The scope of a caller that has the secret of a key, good or not, for the audit log; else None."""
        known = self._known(text)
        return None if known is None else known.scope

    def _known(self, text: str) -> _Known | None:
        known = self._keys.get(keys.id_of(text) or "")
        expected = known.row.secret_hash if known is not None else bytes(32)
        return known if hmac.compare_digest(keys.hash_of(text), expected) else None

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

    def bounds(self, scope: Scope) -> Bounds:
        """What limits the credential of a scope beside its grants."""
        limit = None if scope.bucket is None else Limit(scope.bucket.rate, scope.bucket.burst)
        known = self._keys.get(scope.credential.removeprefix(_KEY))
        return Bounds(limit=limit) if known is None else Bounds(known.row.expires_at, known.networks, limit)

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
        ended = known.ended(self._clock.now_ms())
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

    def ended(self, makers: Iterable[Maker]) -> list[Maker]:
        """Those of these principals that have no good key any more, or no identity."""
        now, keyed = self._clock.now_ms(), self._keys.values()
        good = {known.scope.principal for known in keyed if known.ended(now) is None}
        gone = [each for each in makers if each.principal not in good]
        return [each for each in gone if each.principal.startswith(_KEY) or self._identities.ended(each)]

    def _is_disabled(self, namespace: int) -> bool:
        row = self._namespaces.get(namespace)
        return row is not None and row.disabled


def _meaning(text: str, of: str) -> Grants:
    try:
        return from_json(json.loads(text))
    except GrantsMalformed as error:
        _log.error("stored grants can't be read, so they permit nothing", of=of, error=error)
        return NOTHING


def _within(address: str, networks: tuple[IPv4Network | IPv6Network, ...]) -> bool:
    try:
        found = ip_address(address)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return any((mapped or found) in network for network in networks)
