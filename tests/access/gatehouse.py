"""A server that takes certificates and tokens, and callers with them."""

from __future__ import annotations

from jobqueue import tls_credentials
from jobqueue_server.grants import Grant, Grants
from jobqueue_server.store.access.access import Identity, Limit, NewIdentity
from tests.lease.place import Caller, Place
from tests.tls.conftest import Authority

from .house import TESTS


class Gatehouse(Place):
    """A Place with `auth` of another sort than keys, whose callers have TLS where it has an authority."""

    def __init__(self, dsn: str, authority: Authority | None = None, **settings: object) -> None:
        self._authority = authority
        if authority is not None:
            cert, key = authority.issue("server")
            settings = {
                "tls_cert": cert,
                "tls_key": key,
                "tls_client_ca": str(authority.cert),
                **settings,
            }
        super().__init__(dsn, **{"http_addr": "127.0.0.1:0", **settings})  # type: ignore[arg-type]
        self._callers: list[Caller] = []

    async def stop(self) -> None:
        for caller in self._callers:
            await caller.close()
        await super().stop()

    def caller(self, pair: tuple[str, str] | None = None, authorization: str = "") -> Caller:
        """One with a certificate, a header, both or neither."""
        credentials = None
        if self._authority is not None:
            cert, key = pair or (None, None)
            credentials = tls_credentials(self._authority.cert, client_cert=cert, client_key=key)
        caller = Caller(
            f"127.0.0.1:{self.app.grpc_port}", authorization=authorization, credentials=credentials
        )
        self._callers.append(caller)
        return caller

    async def identity(
        self,
        kind: str,
        pattern: str,
        *grants: Grant,
        namespace: int = 1,
        claim: str = "",
        issuer: str = "",
        limit: Limit | None = None,
    ) -> Identity:
        """A new identity, or one that is replaced; the server knows it."""
        put = await self.app.stores.access.put_identity(
            TESTS, namespace, NewIdentity(kind, pattern, Grants(grants), "tests", issuer, claim, limit)
        )
        assert put is not None
        await self.known()
        return put

    async def delete(self, identity: Identity) -> None:
        """Deletes an identity. The server hears of it by itself."""
        assert await self.app.stores.access.delete_identity(TESTS, 1, identity.id)

    async def known(self) -> None:
        """What was changed in the database is known to the server."""
        await self.app.access.access.refresh()

    async def namespace(self, name: str) -> int:
        """A new namespace."""
        return (await self.app.stores.access.create_namespace(TESTS, name)).id
