"""A server that knows its callers, and callers with keys."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Self

import pytest

from jobqueue_server.core.access import access, identities, keys
from jobqueue_server.grants import EVERY, Grant, Grants, Permission
from jobqueue_server.rates import Bucket
from jobqueue_server.scope import Scope
from jobqueue_server.store.access.access import Limit, NewKey
from tests.lease.place import Caller, Place

#: Who makes what tests make in the database.
TESTS = Scope(1, "tests")
ALL = Permission.PAYLOADS | EVERY


def grant(permissions: Permission, queues: str = "*", kinds: str = "*") -> Grant:
    """A grant on a pattern of queues and one of kinds."""
    return Grant(permissions, (queues,), (kinds,))


def nothing_fills(monkeypatch: pytest.MonkeyPatch) -> None:
    """Buckets keep what is in them: on a machine that is busy a second may pass between any two calls."""
    for module in (access, identities):
        monkeypatch.setattr(module, "Bucket", partial(Bucket, now=lambda: 0.0))


class House(Place):
    """A Place with `auth=keys`, whose own calls have a key that permits everything."""

    def __init__(self, dsn: str, **settings: object) -> None:
        super().__init__(dsn, **{"auth": "keys", **settings})  # type: ignore[arg-type]
        self._callers: list[Caller] = []

    async def start(self) -> None:
        await super().start()
        # The channel that shows nothing by itself.
        self.plain = self.channel
        Caller.__init__(self, self.address, authorization=f"Bearer {(await self.key(grant(ALL))).text}")

    async def stop(self) -> None:
        await self.plain.close()
        for caller in self._callers:
            await caller.close()
        await super().stop()

    async def key(
        self,
        *grants: Grant,
        namespace: int = 1,
        lifetime: timedelta | None = None,
        networks: tuple[str, ...] = (),
        limit: Limit | None = None,
    ) -> keys.MintedKey:
        """A new key, which the server knows."""
        minted = keys.mint()
        await self.app.stores.access.insert_key(
            TESTS,
            namespace,
            NewKey(minted.id, "key", minted.secret_hash, Grants(grants), "tests", lifetime, limit, networks),
        )
        await self.known()
        return minted

    async def known(self) -> None:
        """What was changed in the database is known to the server."""
        await self.app.access.access.refresh()

    async def caller(self, *grants: Grant, namespace: int = 1) -> Caller:
        """A caller with a key that permits this."""
        return self.with_key((await self.key(*grants, namespace=namespace)).text)

    def with_key(self, text: str) -> Caller:
        """A caller that shows this key."""
        return self.showing(f"Bearer {text}")

    def showing(self, authorization: str) -> Caller:
        """A caller that sends this header; empty: none."""
        caller = Caller(f"127.0.0.1:{self.app.grpc_port}", authorization=authorization)
        self._callers.append(caller)
        return caller

    async def revoke(self, key: keys.MintedKey) -> None:
        """Revokes a key in the database. The server hears of it by itself."""
        await self.app.stores.access.revoke_key(TESTS, 1, key.id, "for a test")

    async def namespace(self, name: str) -> int:
        """A new namespace."""
        return (await self.app.stores.access.create_namespace(TESTS, name)).id

    async def __aenter__(self) -> Self:
        await self.start()
        return self
