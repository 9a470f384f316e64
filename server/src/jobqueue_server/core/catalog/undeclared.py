"""Kinds that a worker serves and that no caller can enqueue."""

from __future__ import annotations

from collections.abc import Collection

from ...scope import Scope
from ...store.catalog.undeclared import UndeclaredStore
from .catalog import Catalog


class Undeclared:
    """Looks for them in the catalog, and in the database for those that are not known here.

    Args:
        catalog: The kinds that this server knows.
        store: Asked for the others: another server may have declared them a moment ago.
        open_kinds: Whether kinds need not be declared.
    """

    def __init__(self, catalog: Catalog, store: UndeclaredStore, *, open_kinds: bool) -> None:
        self._catalog = catalog
        self._store = store
        self._open_kinds = open_kinds

    async def among(self, scope: Scope, kinds: Collection[str]) -> list[str]:
        """Which of these kinds can't be enqueued until they are declared, in order: none, where kinds are open.

        Raises:
            DatabaseAway: Some are not known here, and could not be looked up.
        """
        if self._open_kinds:
            return []
        missing = {kind for kind in kinds if self._catalog.kind(scope, kind) is None}
        return sorted(await self._store.among(scope, missing)) if missing else []
