"""The audit log, for administrators who read it."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from datetime import datetime
from uuid import UUID

from ...errors import PageTokenInvalid
from ...model import DEFAULT_NAMESPACE
from ...scope import Scope
from ...store.access.audit import AuditFilter, AuditRow, AuditStore
from ...store.query.reads import id_range
from .. import tokens
from ..pages import page_position, page_size, page_token
from .admin import AccessAdmin

_UUID_BYTES = 16


class AuditLog:
    """Lists what was done. That a caller is an administrator was checked by the chain.

    Raises (every method): DatabaseAway, DatabaseFull.
    """

    def __init__(self, store: AuditStore, admin: AccessAdmin) -> None:
        self._store = store
        self._admin = admin

    async def list(
        self,
        scope: Scope,
        wanted: AuditFilter,
        namespace: str,
        since: datetime | None,
        until: datetime | None,
        asked_size: int,
        token: str,
    ) -> tuple[list[AuditRow], str]:
        """A page of rows, newest first, and the token of the next one ("" after the last).

        A page may be short or empty, and still have a next one.

        Args:
            scope: Whose call it is. It sees its own namespace; one of `default` sees all, and what is of none.
            wanted: Which rows; its namespace is not looked at.
            namespace: Rows of this namespace alone; empty: of all that the caller may see.
            since: Rows of this time or later.
            until: Rows of before this time.
            asked_size: Rows at most.
            token: That of the page before.

        Raises:
            FieldInvalid: The page size is negative.
            PageTokenInvalid: The token is not one of this list.
            NotAllowed: The namespace is not the caller's.
            NamespaceNotFound: There is none of this name.
        """
        size = page_size(asked_size)
        where: int | None = None
        if namespace or scope.namespace != DEFAULT_NAMESPACE:
            where = await self._admin.namespace_of(scope, namespace)
        wanted = replace(wanted, namespace=where)
        low, high = id_range(since, until)
        text = tokens.within(scope, f"audit {json.dumps(asdict(wanted))} {low} {high}")
        position = page_position(text, token)
        if position is not None:
            if len(position) != _UUID_BYTES:
                raise PageTokenInvalid(
                    "page_token: not a token that this server gave; start again without it"
                )
            high = min(high, UUID(bytes=position))
        rows, edge = await self._store.list(wanted, low, high, size)
        return rows, page_token(text, edge.bytes) if edge is not None else ""
