"""What administrators do with identities, for which tokens and certificates stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...errors import FieldInvalid, IdentityElsewhere, IdentityNotFound, PageTokenInvalid
from ...scope import Scope
from ...store.access.access import AccessStore, Identity, NewIdentity
from .. import tokens
from ..pages import page_position, page_size, page_token
from .access import Access
from .admin import AccessAdmin, check_covered, check_of_default

_POSITION_BYTES = 8


class IdentityAdmin:
    """Identities, for their administrators. That a caller is one was checked by the chain.

    Names of tokens and certificates mean the same in all namespaces, so that an identity of one could take over callers
    of another. Administrators of `default` alone make and delete them.

    Raises (every method): DatabaseAway, DatabaseFull.
    """

    def __init__(
        self, store: AccessStore, admin: AccessAdmin, access: Access, issuers: Sequence[str]
    ) -> None:
        self._store = store
        self._admin = admin
        self._access = access
        self._issuers = issuers

    async def put(self, scope: Scope, new: NewIdentity, namespace: str) -> Identity:
        """Makes an identity, or replaces the grants and the limit of the one that is there.

        Raises:
            FieldInvalid: It is for tokens, and does not say of which of several issuers.
            NotAllowed: The caller is not of `default`, it would permit more than the caller's own grants do, or be
                faster; or the caller's key ends or has networks, which an identity does not.
            NamespaceNotFound: There is none of this name.
            IdentityElsewhere: There is one in another namespace.
        """
        check_of_default(scope, "make identities")
        where = await self._admin.namespace_of(scope, namespace)
        check_covered(scope, new.grants)
        self._access.bounds(scope).check_identity(new.limit)
        if new.kind == "jwt" and not new.issuer and len(self._issuers) > 1:
            raise FieldInvalid.of(
                "issuer", f"must be one of the issuers of this server: {', '.join(self._issuers)}"
            )
        put = await self._store.put_identity(scope, where, new)
        if put is None:
            raise IdentityElsewhere(
                f"an identity for {new.pattern!r} is in another namespace; delete it there first"
            )
        await self._admin.changed()
        return put

    async def list(
        self, scope: Scope, asked_size: int, token: str, namespace: str
    ) -> tuple[list[Identity], str]:
        """A page of identities, oldest first, and the token of the next one ("" after the last).

        Raises:
            FieldInvalid: The page size is negative.
            PageTokenInvalid: The token is not one of this list.
            NotAllowed: The namespace is not the caller's.
            NamespaceNotFound: There is none of this name.
        """
        size = page_size(asked_size)
        where = await self._admin.namespace_of(scope, namespace)
        text = tokens.within(replace(scope, namespace=where), "identities")
        found = await self._store.list_identities(where, _after(text, token), size + 1)
        if len(found) <= size:
            return found, ""
        return found[:size], page_token(text, found[size - 1].id.to_bytes(_POSITION_BYTES))

    async def delete(self, scope: Scope, identity_id: int, namespace: str) -> None:
        """Deletes an identity. What its callers have open ends.

        Raises:
            NotAllowed: The caller is not of `default`.
            NamespaceNotFound: There is none of this name.
            IdentityNotFound: The namespace has none of this id.
        """
        check_of_default(scope, "delete identities")
        where = await self._admin.namespace_of(scope, namespace)
        if not await self._store.delete_identity(scope, where, identity_id):
            raise IdentityNotFound(
                f"the namespace has no identity {identity_id}", metadata={"id": str(identity_id)}
            )
        await self._admin.changed()


def _after(text: str, token: str) -> int:
    """The id after which the page begins."""
    position = page_position(text, token)
    if position is None:
        return 0
    found = int.from_bytes(position)
    if len(position) != _POSITION_BYTES or found >= 1 << 63:
        raise PageTokenInvalid("page_token: not a token that this server gave; start again without it")
    return found
