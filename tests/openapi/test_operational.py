"""What the document says of the operational paths is what a server that asks for keys answers on them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from jobqueue_server.grants import Permission
from jobqueue_server.http import ops
from jobqueue_server.store.access.access import Limit
from tests.access.house import House, grant, nothing_fills
from tests.http.conftest import Caller, Reply

from .conftest import Document, read_document

#: The documents of the page, as its scripts, are no operations.
PATHS = sorted(set(ops.PATHS) & set(read_document()["paths"]))


@pytest.fixture
async def house(dsn: str) -> AsyncIterator[House]:
    async with House(dsn, http_addr="127.0.0.1:0") as house:
        yield house


@pytest.fixture
async def rest(house: House) -> AsyncIterator[Caller]:
    caller = Caller(house.app.http_port)
    yield caller
    await caller.session.close()


def test_each_operational_path_says_who_may_read_it(document: Document) -> None:
    assert {"/health", "/healthz", "/readyz", "/version", "/metrics", "/openapi.json", "/docs"} <= set(PATHS)
    for path in PATHS:
        said = document["paths"][path]["get"]
        if path not in ops.GUARDED:
            assert (said["security"], said["x-permissions"]) == ([], ["PUBLIC"]), path
            assert not {"401", "429"} & set(said["responses"]), path
            continue
        assert "security" not in said, "that of the whole document"
        every = ["ENQUEUE", "READ", "WORK", "OPERATE", "ADMIN"]
        assert said["x-permissions"] == (["ADMIN"] if path == "/metrics" else every), path
        assert said["responses"]["401"]["x-reasons"] == [
            *("CREDENTIALS_MISSING", "CREDENTIALS_INVALID", "CREDENTIALS_EXPIRED", "CREDENTIALS_REVOKED")
        ]
        assert "WWW-Authenticate" in said["responses"]["401"]["headers"]
        assert "NOT_ALLOWED" in said["responses"]["403"]["x-reasons"]
        assert "Retry-After" in said["responses"]["429"]["headers"]


@pytest.mark.cases(3)
@pytest.mark.parametrize("path", PATHS)
async def test_each_is_answered_as_it_is_told(
    house: House, rest: Caller, document: Document, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing_fills(monkeypatch)
    beta = await house.namespace("beta")
    admin, revoked = await house.key(grant(Permission.ADMIN)), await house.key(grant(Permission.ADMIN))
    await house.revoke(revoked)
    reader, theirs = (
        await house.key(grant(Permission.READ, "mail")),
        await house.key(grant(Permission.ADMIN), namespace=beta),
    )
    slow = await house.key(grant(Permission.ADMIN), limit=Limit(1, 1))
    disabled = await house.namespace("gone")
    gone = await house.key(grant(Permission.ADMIN), namespace=disabled)
    await house.sql("update namespace set disabled_at = now() where id = $1", disabled)
    await house.sql("update access_version set version = version + 1")
    await house.known()
    said = document["paths"][path]["get"]["responses"]
    guarded, is_metrics = path in ops.GUARDED, path == "/metrics"
    for shown, status, reason in (
        ("", 401, "CREDENTIALS_MISSING"),
        ("nonsense", 401, "CREDENTIALS_INVALID"),
        (revoked.text, 401, "CREDENTIALS_REVOKED"),
        (gone.text, 400, "NAMESPACE_DISABLED"),
        (reader.text, 403 if is_metrics else 200, "NOT_ALLOWED"),
        (theirs.text, 403 if is_metrics else 200, "NOT_ALLOWED"),
        (admin.text, 200, ""),
    ):
        reply = await rest("GET", path, **({"authorization": f"Bearer {shown}"} if shown else {}))
        assert reply.status == (status if guarded else 200), shown
        _is_told(reply, said, reason)
    if guarded:
        replies = [await rest("GET", path, authorization=f"Bearer {slow.text}") for _ in range(3)]
        assert 429 in {reply.status for reply in replies}
        for reply in replies:
            _is_told(reply, said, "RATE_LIMITED")
    foreign = await rest("GET", path, origin="https://other.example")
    assert foreign.status in (200, 403)
    _is_told(foreign, said, "ORIGIN_FOREIGN")


def _is_told(reply: Reply, said: Document, reason: str) -> None:
    """Raises where the document has no such answer."""
    told = said[str(reply.status)]
    if reply.status >= 400:
        assert reply.reason == reason
        assert reason in told["x-reasons"]
        for name in ("WWW-Authenticate", "Retry-After"):
            assert (name in reply.headers) == (name in told["headers"]), name
