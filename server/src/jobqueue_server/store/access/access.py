"""Keys, identities and namespaces in PostgreSQL.

Each change of one raises the version, and is told in the audit log, in the same transaction.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ...grants import Grants, from_json, to_json
from ...scope import Scope
from ..database import Database, Record
from .audit import AuditedSession, audited


@dataclass(frozen=True, slots=True)
class Limit:
    """How often a principal may call: `rate` calls a second, and `burst` of them at once."""

    rate: int
    burst: int


@dataclass(frozen=True, slots=True)
class KeyRow:
    """What a server keeps of a key in memory. `grants` is the stored text, read once for all keys with it."""

    id: str
    namespace: int
    lineage: str
    name: str
    secret_hash: bytes = field(repr=False)
    grants: str
    limit: Limit | None
    networks: tuple[str, ...]
    expires_at: datetime | None
    revoked: bool


@dataclass(frozen=True, slots=True)
class IdentityRow:
    """What a server keeps of an identity. `kind` is `jwt` or `mtls`."""

    id: int
    namespace: int
    kind: str
    issuer: str
    pattern: str
    claim: str
    grants: str
    limit: Limit | None


@dataclass(frozen=True, slots=True)
class NamespaceRow:
    """A namespace, and whether calls in it are refused."""

    id: int
    name: str
    disabled: bool


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key to be stored. `lifetime` None: it is good until it is revoked. In any case it ends by `ends_by`, if set."""

    id: str
    name: str
    secret_hash: bytes = field(repr=False)
    grants: Grants
    created_by: str
    lifetime: timedelta | None = None
    limit: Limit | None = None
    networks: tuple[str, ...] = ()
    ends_by: datetime | None = None


@dataclass(frozen=True, slots=True)
class Key:
    """A key as administrators see it; all times by the database's clock."""

    id: str
    namespace: str
    lineage: str
    name: str
    grants: Grants
    limit: Limit | None
    networks: tuple[str, ...]
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None
    revoked_by: str | None
    revoke_reason: str | None
    succeeds: str | None
    last_used_at: datetime | None
    expired: bool


@dataclass(frozen=True, slots=True)
class NewIdentity:
    """An identity to be stored. `kind` is `jwt` or `mtls`; an empty `claim` stands for the subject of a token."""

    kind: str
    pattern: str
    grants: Grants
    created_by: str
    issuer: str = ""
    claim: str = ""
    limit: Limit | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """An identity as administrators see it."""

    id: int
    namespace: str
    kind: str
    issuer: str
    pattern: str
    claim: str
    grants: Grants
    limit: Limit | None
    created_at: datetime
    created_by: str


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace as administrators see it."""

    id: int
    name: str
    created_at: datetime
    disabled_at: datetime | None


class AccessStore:
    """Raises (every method): DatabaseAway, DatabaseFull."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._on_change: list[Callable[[int, Sequence[str]], object]] = []

    def hear_change(self, listener: Callable[[int, Sequence[str]], object]) -> None:
        """A change of this server is committed: (its version, the ids of the keys that it changed).

        A change of an identity or of a namespace changes no key.
        """
        self._on_change.append(listener)

    @asynccontextmanager
    async def _change(self, *key_ids: str) -> AsyncIterator[AuditedSession]:
        """A transaction that raises the version. Its lock lets changes take turns."""
        async with audited(self._database) as session:
            row = await session.fetchrow("raise_access_version")
            assert row is not None
            yield session
        for listener in self._on_change:
            listener(row["version"], key_ids)

    # ---- what servers keep in memory

    async def version(self) -> int:
        """Moves with each change of a key, an identity or a namespace."""
        row = await self._database.fetchrow("access_version")
        assert row is not None
        return int(row["version"])

    async def keys(self, after: str, limit: int) -> list[KeyRow]:
        """At most `limit` keys by id, those after `after`, of all that are good or ended in the last 30 days."""
        return [_key_row(row) for row in await self._database.fetch("access_keys", after, limit)]

    async def keys_by_id(self, ids: Sequence[str]) -> list[KeyRow]:
        """Those of these keys that are there."""
        return [_key_row(row) for row in await self._database.fetch("access_keys_by_id", ids)]

    async def identities(self) -> list[IdentityRow]:
        """Every identity of every namespace, by id."""
        return [
            IdentityRow(
                row["id"],
                row["namespace_id"],
                row["kind"],
                row["issuer"],
                row["pattern"],
                row["claim"],
                row["grants"],
                _limit(row),
            )
            for row in await self._database.fetch("access_identities")
        ]

    async def namespaces(self) -> list[NamespaceRow]:
        """Every namespace, by id."""
        return [
            NamespaceRow(row["id"], row["name"], row["disabled"])
            for row in await self._database.fetch("access_namespaces")
        ]

    async def touch_keys(self, ids: Sequence[str]) -> None:
        """Notes that these keys were used just now."""
        await self._database.fetch("touch_keys", ids)

    # ---- keys

    async def insert_key(self, scope: Scope, namespace: int, key: NewKey) -> None:
        """Stores a key, which `scope` makes."""
        async with self._change(key.id) as session:
            await _insert_key(session, namespace, key)
            await session.tell(scope, "CreateKey", f"key:{key.id}", namespace=namespace, details=_told(key))

    async def get_key(self, namespace: int, key_id: str) -> Key | None:
        """The key, or None."""
        row = await self._database.fetchrow("get_key", namespace, key_id)
        return None if row is None else _key(row)

    async def list_keys(self, namespace: int, after: tuple[str, str], limit: int) -> list[Key]:
        """At most `limit` keys by name and id, those after `after`."""
        return [_key(row) for row in await self._database.fetch("list_keys", namespace, *after, limit)]

    async def rotate_key(
        self, scope: Scope, namespace: int, key_id: str, new: NewKey, grace: timedelta
    ) -> tuple[bool, bool]:
        """Stores a successor with the name, grants, limit and networks of a key, which then ends after `grace`.

        Of `new` the id, the hash, the lifetime, the last moment and the author count.

        Returns:
            Whether the key is there, and whether it was revoked. Where it is not or was, nothing changed.
        """
        async with self._change(key_id, new.id) as session:
            row = await session.fetchrow("lock_key", namespace, key_id)
            if row is None or row["revoked_at"] is not None:
                return row is not None, row is not None
            successor = NewKey(
                new.id,
                row["name"],
                new.secret_hash,
                from_json(json.loads(row["grants"])),
                new.created_by,
                new.lifetime,
                _limit(row),
                tuple(row["networks"] or ()),
                new.ends_by,
            )
            await _insert_key(session, namespace, successor, lineage=row["lineage"], succeeds=key_id)
            await session.fetch("shorten_key", namespace, key_id, grace)
            await session.tell(
                scope,
                "RotateKey",
                f"key:{key_id}",
                namespace=namespace,
                details={"successor": new.id, "grace": grace, "lifetime": new.lifetime},
            )
            return True, False

    async def revoke_key(self, scope: Scope, namespace: int, key_id: str, reason: str) -> None:
        """Revokes the key; a key that was revoked stays as it is."""
        async with self._change(key_id) as session:
            await session.fetch("revoke_key", namespace, key_id, scope.principal, reason)
            await session.tell(scope, "RevokeKey", f"key:{key_id}", namespace=namespace, reason=reason)

    async def insert_first_key(self, scope: Scope, key: NewKey, *, force: bool) -> bool:
        """Stores a key in the namespace of `scope`.

        Returns:
            False: another one with ADMIN is good there, and it was not stored, unless `force`.
        """
        namespace = scope.namespace
        async with self._change(key.id) as session:
            # The lock of the change lets two that are first take turns.
            row = await session.fetchrow("has_admin_key", namespace)
            if row is not None and row["found"] and not force:
                return False
            await _insert_key(session, namespace, key)
            details = {**_told(key), "forced": "yes" if force else None}
            await session.tell(scope, "BootstrapKey", f"key:{key.id}", details=details)
            return True

    # ---- identities

    async def put_identity(self, scope: Scope, namespace: int, new: NewIdentity) -> Identity | None:
        """Stores an identity, or replaces the grants and the limit of the one of this kind, issuer, claim and pattern.

        None: there is one in another namespace.
        """
        async with self._change() as session:
            row = await session.fetchrow(
                "put_identity",
                namespace,
                new.kind,
                new.issuer,
                new.pattern,
                new.claim,
                json.dumps(to_json(new.grants)),
                new.limit.rate if new.limit else None,
                new.limit.burst if new.limit else None,
                new.created_by,
            )
            if row is None:
                return None
            details = {
                "kind": new.kind,
                "pattern": new.pattern,
                "issuer": new.issuer,
                "claim": new.claim,
                **_permitted(new.grants, new.limit),
            }
            await session.tell(
                scope, "PutIdentity", f"identity:{row['id']}", namespace=namespace, details=details
            )
            return _identity(row)

    async def get_identity(self, namespace: int, identity_id: int) -> Identity | None:
        """The identity, or None."""
        row = await self._database.fetchrow("get_identity", namespace, identity_id)
        return None if row is None else _identity(row)

    async def list_identities(self, namespace: int, after: int, limit: int) -> list[Identity]:
        """At most `limit` identities whose ids come after `after`, by id."""
        return [
            _identity(row) for row in await self._database.fetch("list_identities", namespace, after, limit)
        ]

    async def delete_identity(self, scope: Scope, namespace: int, identity_id: int) -> bool:
        """Deletes the identity; False: there is none."""
        async with self._change() as session:
            row = await session.fetchrow("delete_identity", namespace, identity_id)
            if row is None:
                return False
            await session.tell(
                scope,
                "DeleteIdentity",
                f"identity:{identity_id}",
                namespace=namespace,
                details={"kind": row["kind"], "pattern": row["pattern"]},
            )
            return True

    # ---- namespaces

    async def create_namespace(self, scope: Scope, name: str) -> Namespace:
        """Makes a namespace; one that is there stays as it is."""
        async with self._change() as session:
            made = await session.fetchrow("insert_namespace", name)
            row = await session.fetchrow("find_namespace", name)
            assert row is not None, "namespaces stay"
            await session.tell(
                scope,
                "CreateNamespace",
                f"namespace:{name}",
                namespace=row["id"],
                details={"was": "there" if made is None else None},
            )
            return _namespace(row)

    async def find_namespace(self, name: str) -> Namespace | None:
        """The namespace of this name, or None."""
        row = await self._database.fetchrow("find_namespace", name)
        return None if row is None else _namespace(row)

    async def list_namespaces(self, after: str, limit: int) -> list[Namespace]:
        """At most `limit` namespaces whose names come after `after`."""
        return [_namespace(row) for row in await self._database.fetch("list_namespaces", after, limit)]

    async def set_namespace_disabled(self, scope: Scope, name: str, *, disabled: bool) -> Namespace | None:
        """Disables the namespace or enables it; None where there is none."""
        async with self._change() as session:
            row = await session.fetchrow("set_namespace_disabled", name, disabled)
            if row is None:
                return None
            action = "DisableNamespace" if disabled else "EnableNamespace"
            await session.tell(scope, action, f"namespace:{name}", namespace=row["id"])
            return _namespace(row)


async def _insert_key(
    session: AuditedSession,
    namespace: int,
    key: NewKey,
    *,
    lineage: str | None = None,
    succeeds: str | None = None,
) -> None:
    await session.fetch(
        "insert_key",
        key.id,
        namespace,
        lineage or key.id,
        key.name,
        key.secret_hash,
        json.dumps(to_json(key.grants)),
        key.limit.rate if key.limit else None,
        key.limit.burst if key.limit else None,
        list(key.networks) or None,
        key.created_by,
        key.lifetime,
        succeeds,
        key.ends_by,
    )


def _told(key: NewKey) -> dict[str, object]:
    """What the audit log says of a new key."""
    return {
        "name": key.name,
        "lifetime": key.lifetime,
        "networks": ",".join(key.networks),
        **_permitted(key.grants, key.limit),
    }


def _permitted(grants: Grants, limit: Limit | None) -> dict[str, object]:
    return {"grants": json.dumps(to_json(grants)), "rate": f"{limit.rate}/s" if limit else None}


def _limit(row: Record) -> Limit | None:
    return None if row["rate_per_s"] is None else Limit(row["rate_per_s"], row["burst"])


def _key_row(row: Record) -> KeyRow:
    return KeyRow(
        row["id"],
        row["namespace_id"],
        row["lineage"],
        row["name"],
        row["secret_hash"],
        row["grants"],
        _limit(row),
        tuple(row["networks"] or ()),
        row["expires_at"],
        row["revoked_at"] is not None,
    )


def _key(row: Record) -> Key:
    expires_at = row["expires_at"]
    return Key(
        row["id"],
        row["namespace"],
        row["lineage"],
        row["name"],
        from_json(json.loads(row["grants"])),
        _limit(row),
        tuple(row["networks"] or ()),
        row["created_at"],
        row["created_by"],
        expires_at,
        row["revoked_at"],
        row["revoked_by"],
        row["revoke_reason"],
        row["succeeds"],
        row["last_used_at"],
        expires_at is not None and expires_at <= row["now"],
    )


def _identity(row: Record) -> Identity:
    return Identity(
        row["id"],
        row["namespace"],
        row["kind"],
        row["issuer"],
        row["pattern"],
        row["claim"],
        from_json(json.loads(row["grants"])),
        _limit(row),
        row["created_at"],
        row["created_by"],
    )


def _namespace(row: Record) -> Namespace:
    return Namespace(row["id"], row["name"], row["created_at"], row["disabled_at"])
