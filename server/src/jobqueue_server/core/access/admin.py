"""What administrators do: they make, rotate and revoke keys, and make, disable and enable namespaces."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from ...errors import FieldInvalid, KeyNotFound, KeyRevoked, NamespaceNotFound, PageTokenInvalid
from ...grants import NOTHING, Grants, Permission
from ...model import DEFAULT_NAMESPACE, DEFAULT_NAMESPACE_NAME
from ...scope import Scope
from ...store.access.access import AccessStore, Key, Limit, Namespace, NewKey
from ...store.catalog.catalog import CatalogStore
from .. import tokens
from ..names import page_name
from ..pages import page_position, page_size, page_token
from ..upkeep.clock import Clock
from . import keys
from .access import Access
from .checks import not_allowed

_is_key_id = re.compile(r"[0-9a-hjkmnp-tv-z]{10}").fullmatch


@dataclass(frozen=True, slots=True)
class WantedKey:
    """What a key is to be. `lifetime` None: it is good until it is revoked."""

    name: str
    grants: Grants
    lifetime: timedelta | None = None
    limit: Limit | None = None
    networks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a caller is to this server. `expires_at` None: the credential ends by no clock."""

    principal: str
    credential: str
    namespace: str
    grants: Grants
    expires_at: datetime | None


class AccessAdmin:
    """Keys and namespaces, for their administrators. That a caller is one was checked by the chain.

    An administrator is of a namespace, and manages what is in it. One of `default` may name another.
    After each change this server knows it at once, and tells the others.

    Raises (every method): DatabaseAway, DatabaseFull.
    """

    def __init__(self, store: AccessStore, catalog: CatalogStore, access: Access, clock: Clock) -> None:
        self._store = store
        self._catalog = catalog
        self._access = access
        self._clock = clock

    def caller(self, scope: Scope) -> Caller:
        """Who makes a call of this scope."""
        return Caller(
            scope.principal,
            scope.credential,
            self._access.namespace_name(scope.namespace) or DEFAULT_NAMESPACE_NAME,
            scope.grants,
            self._access.expires_at(scope),
        )

    # ---- keys

    async def create_key(self, scope: Scope, wanted: WantedKey, namespace: str) -> tuple[Key, str]:
        """Makes a key, and answers it with its text, which is kept nowhere.

        Args:
            scope: Whose call it is.
            wanted: What it is to be.
            namespace: Where it is good; empty: in the caller's namespace.

        Raises:
            NotAllowed: It would permit more than the caller's own grants do, outlive the caller's key, be good from
                elsewhere or be faster; or the namespace is not the caller's.
            NamespaceNotFound: There is none of this name.
        """
        where = await self.namespace_of(scope, namespace)
        check_covered(scope, wanted.grants)
        bounds = self._access.bounds(scope)
        bounds.check_new(self._clock.now(), wanted.lifetime, wanted.networks, wanted.limit)
        minted = keys.mint()
        await self._store.insert_key(
            scope,
            where,
            NewKey(
                minted.id,
                wanted.name,
                minted.secret_hash,
                wanted.grants,
                scope.principal,
                wanted.lifetime,
                wanted.limit,
                wanted.networks,
                bounds.ends_at,
            ),
        )
        return await self._changed_key(where, minted.id), minted.text

    async def get_key(self, scope: Scope, key_id: str, namespace: str) -> Key:
        """The key.

        Raises:
            NotAllowed: The namespace is not the caller's.
            NamespaceNotFound: There is none of this name.
            KeyNotFound: It has no key of this id.
        """
        where = await self.namespace_of(scope, namespace)
        await self._access.note_first_uses()
        return await self._key(where, key_id)

    async def list_keys(
        self, scope: Scope, asked_size: int, token: str, namespace: str
    ) -> tuple[list[Key], str]:
        """A page of keys by name and id, and the token of the next one ("" after the last).

        Raises:
            FieldInvalid: The page size is negative.
            PageTokenInvalid: The token is not one of this list.
            NotAllowed: The namespace is not the caller's.
            NamespaceNotFound: There is none of this name.
        """
        size = page_size(asked_size)
        where = await self.namespace_of(scope, namespace)
        text = tokens.within(replace(scope, namespace=where), "keys")
        # Else the list would show the key of this call as one that was never used.
        await self._access.note_first_uses()
        found = await self._store.list_keys(where, _after(text, token), size + 1)
        if len(found) <= size:
            return found, ""
        last = found[size - 1]
        return found[:size], page_token(text, f"{last.id}{last.name}".encode())

    async def rotate_key(
        self, scope: Scope, key_id: str, grace: timedelta, lifetime: timedelta | None, namespace: str
    ) -> tuple[Key, str]:
        """Makes the successor of a key, and answers it with its text. The old key ends after the grace.

        Raises:
            NotAllowed: The key permits more than the caller's own grants do, is good from elsewhere or is faster than
                the caller's key, or its successor would outlive that; or its namespace is not the caller's.
            NamespaceNotFound: There is none of this name.
            KeyNotFound: It has no key of this id.
            KeyRevoked: The key was revoked.
        """
        where = await self.namespace_of(scope, namespace)
        old = await self._key(where, key_id)
        check_covered(scope, old.grants)
        bounds = self._access.bounds(scope)
        bounds.check_successor(self._clock.now(), key_id, lifetime, old.networks, old.limit)
        minted = keys.mint()
        # The store takes its grants, its networks and its rate from the old key.
        successor = NewKey(minted.id, old.name, minted.secret_hash, NOTHING, scope.principal, lifetime)
        successor = replace(successor, ends_by=bounds.ends_at)
        there, revoked = await self._store.rotate_key(scope, where, key_id, successor, grace)
        if not there:
            raise _no_key(key_id)
        if revoked:
            raise KeyRevoked(
                f"the key {key_id} was revoked, so it can't be rotated; make a new one",
                metadata={"id": key_id},
            )
        return await self._changed_key(where, minted.id), minted.text

    async def revoke_key(self, scope: Scope, key_id: str, reason: str, namespace: str) -> Key:
        """Revokes the key for good; one that was revoked stays as it is.

        Raises:
            NotAllowed: The namespace is not the caller's.
            NamespaceNotFound: There is none of this name.
            KeyNotFound: It has no key of this id.
        """
        where = await self.namespace_of(scope, namespace)
        await self._key(where, key_id)
        await self._store.revoke_key(scope, where, key_id, reason)
        return await self._changed_key(where, key_id)

    # ---- namespaces

    async def create_namespace(self, scope: Scope, name: str) -> Namespace:
        """Makes a namespace with the built-in kinds; one that is there stays as it is.

        Raises:
            NotAllowed: The caller is not of the namespace `default`.
        """
        check_of_default(scope, "make namespaces")
        namespace = await self._store.create_namespace(scope, name)
        await self._catalog.declare_builtin_kinds(namespace.id)
        await self.changed()
        return namespace

    async def list_namespaces(self, scope: Scope, asked_size: int, token: str) -> tuple[list[Namespace], str]:
        """A page of namespaces by name, and the token of the next one ("" after the last).

        For callers of `default` all of them, for others their own.

        Raises:
            FieldInvalid: The page size is negative.
            PageTokenInvalid: The token is not one of this list.
        """
        size = page_size(asked_size)
        text = tokens.within(scope, "namespaces")
        after = page_name(text, token)
        if scope.namespace != DEFAULT_NAMESPACE:
            return [await self._named(self._access.namespace_name(scope.namespace))], ""
        found = await self._store.list_namespaces(after, size + 1)
        more = len(found) > size
        return found[:size], page_token(text, found[size - 1].name.encode()) if more else ""

    async def disable_namespace(self, scope: Scope, name: str) -> Namespace:
        """Refuses every call in the namespace, and ends what its callers have open.

        Raises:
            FieldInvalid: It is `default`.
            NotAllowed: The caller is not of the namespace `default`.
            NamespaceNotFound: There is none of this name.
        """
        check_of_default(scope, "disable namespaces")
        if name == DEFAULT_NAMESPACE_NAME:
            raise FieldInvalid.of("name", "must not be `default`: who could enable it again is of it")
        return await self._set_disabled(scope, name, disabled=True)

    async def enable_namespace(self, scope: Scope, name: str) -> Namespace:
        """Takes calls in the namespace again.

        Raises:
            NotAllowed: The caller is not of the namespace `default`.
            NamespaceNotFound: There is none of this name.
        """
        check_of_default(scope, "enable namespaces")
        return await self._set_disabled(scope, name, disabled=False)

    async def _set_disabled(self, scope: Scope, name: str, *, disabled: bool) -> Namespace:
        namespace = await self._store.set_namespace_disabled(scope, name, disabled=disabled)
        if namespace is None:
            raise _no_namespace(name)
        await self.changed()
        return namespace

    # ---- what these share

    async def namespace_of(self, scope: Scope, name: str) -> int:
        """The number of the namespace that a request names. Of others than its own only `default` is told anything.

        Raises:
            NotAllowed: It is not the caller's.
            NamespaceNotFound: There is none of this name.
        """
        if not name or name == self._access.namespace_name(scope.namespace):
            return scope.namespace
        check_of_default(scope, "manage another namespace")
        return (await self._named(name)).id

    async def _named(self, name: str) -> Namespace:
        namespace = await self._store.find_namespace(name)
        if namespace is None:
            raise _no_namespace(name)
        return namespace

    async def _key(self, namespace: int, key_id: str) -> Key:
        key = await self._store.get_key(namespace, key_id)
        if key is None:
            raise _no_key(key_id)
        return key

    async def _changed_key(self, namespace: int, key_id: str) -> Key:
        await self.changed()
        return await self._key(namespace, key_id)

    async def changed(self) -> None:
        """Something was: this server knows it from now on. The others are told by the store's listener."""
        await self._access.refresh()


def is_key_id(text: str) -> bool:
    """Whether a key may have this id."""
    return _is_key_id(text) is not None


def check_covered(scope: Scope, grants: Grants) -> None:
    """Lets an administrator pass whose own grants permit all that these do."""
    own = scope.grants
    if own.unbounded:
        return
    for grant in grants.each:
        for permission in grant.permissions:
            one = replace(grant, permissions=permission)
            if not own.cover(Grants([one])):
                name = str(permission.name)
                if permission is Permission.PAYLOADS:
                    name = "READ with `payloads`"
                raise not_allowed(
                    name,
                    "grant more than they are granted",
                    queue=",".join(grant.queues),
                    kind=",".join(grant.kinds),
                )


def check_of_default(scope: Scope, doing: str) -> None:
    """Lets an administrator pass who is of the namespace `default`."""
    if scope.namespace != DEFAULT_NAMESPACE:
        raise not_allowed("ADMIN", doing, namespace=DEFAULT_NAMESPACE_NAME)


def _after(text: str, token: str) -> tuple[str, str]:
    """The name and the id after which the page begins."""
    position = page_position(text, token)
    if position is None:
        return "", ""
    key_id, name = position[:10].decode("ascii", "replace"), position[10:].decode("utf-8", "replace")
    if not is_key_id(key_id) or not name or "\0" in name:
        raise PageTokenInvalid("page_token: not a token that this server gave; start again without it")
    return name, key_id


def _no_key(key_id: str) -> KeyNotFound:
    return KeyNotFound(f"the namespace has no key {key_id}", metadata={"id": key_id})


def _no_namespace(name: str) -> NamespaceNotFound:
    return NamespaceNotFound(f"there is no namespace {name!r}", metadata={"namespace": name})
