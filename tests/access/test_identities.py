"""Administrators of `default` say what tokens and certificates stand for; others may not, and see their own alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import grpc.aio
import pytest

from jobqueue.v1 import access_admin_pb2 as pb
from jobqueue.v1 import access_pb2
from jobqueue_server.grants import Permission
from tests.lease.hand_worker import reason_of
from tests.tls.conftest import Authority

from .gatehouse import Gatehouse
from .house import House, grant
from .issuer import AUDIENCE, NAME, Issuer

ADMIN, ENQUEUE, READ = Permission.ADMIN, Permission.ENQUEUE, Permission.READ


@pytest.fixture
async def house(dsn: str) -> AsyncIterator[House]:
    async with House(dsn, http_addr="127.0.0.1:0") as house:
        yield house


def putting(pattern: str = "mailer", kind: str = "jwt", **more: Any) -> pb.PutIdentityRequest:
    grants = [pb.Grant(permissions=[access_pb2.Access.ENQUEUE], queues=["mail*"])]
    return pb.PutIdentityRequest(**{"kind": kind, "pattern": pattern, "grants": grants, **more})


async def refused(call: Any) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return reason_of(raised.value)


async def test_an_identity_is_put_listed_and_deleted(house: House) -> None:
    limit = pb.RateLimit(per_second=5)
    put = (await house.access.PutIdentity(putting(claim="groups", issuer=NAME, rate_limit=limit))).identity
    assert (put.kind, put.pattern, put.claim, put.issuer, put.namespace) == (
        "jwt",
        "mailer",
        "groups",
        NAME,
        "default",
    )
    assert put.grants[0].queues == ["mail*"]
    assert put.rate_limit == pb.RateLimit(per_second=5, burst=5)
    assert put.created_by.startswith("key:")
    assert put.HasField("created_at")
    listed = (await house.access.ListIdentities(pb.ListIdentitiesRequest())).identities
    assert list(listed) == [put]
    await house.access.DeleteIdentity(pb.DeleteIdentityRequest(id=put.id))
    assert not (await house.access.ListIdentities(pb.ListIdentitiesRequest())).identities
    assert (
        await refused(house.access.DeleteIdentity(pb.DeleteIdentityRequest(id=put.id)))
        == "IDENTITY_NOT_FOUND"
    )


async def test_one_that_is_there_gets_other_grants_and_keeps_its_id(house: House) -> None:
    first = (await house.access.PutIdentity(putting())).identity
    other = [pb.Grant(permissions=[access_pb2.Access.READ])]
    second = (await house.access.PutIdentity(putting(grants=other))).identity
    assert second.id == first.id
    assert second.created_at == first.created_at
    assert [access_pb2.Access.Permission.Name(each) for each in second.grants[0].permissions] == ["READ"]
    third = (await house.access.PutIdentity(putting(claim="groups"))).identity
    assert third.id != first.id


async def test_pages_of_identities_hold_each_once(house: House) -> None:
    for number in range(7):
        await house.access.PutIdentity(putting(f"name-{number}"))
    seen: list[str] = []
    token = ""
    while True:
        page = await house.access.ListIdentities(pb.ListIdentitiesRequest(page_size=3, page_token=token))
        seen += [each.pattern for each in page.identities]
        token = page.next_page_token
        if not token:
            break
    assert seen == [f"name-{number}" for number in range(7)]
    keys = await house.access.ListKeys(pb.ListKeysRequest(page_size=1))
    request = pb.ListIdentitiesRequest(page_token=keys.next_page_token or "bad")
    assert await refused(house.access.ListIdentities(request)) == "PAGE_TOKEN_INVALID"


async def test_an_administrator_of_another_namespace_can_take_over_no_name(house: House) -> None:
    beta = await house.namespace("beta")
    theirs = await house.caller(grant(ADMIN | ENQUEUE | READ), namespace=beta)
    ours = (await house.access.PutIdentity(putting())).identity
    put = (await house.access.PutIdentity(putting("theirs", namespace="beta"))).identity
    assert await refused(theirs.access.PutIdentity(putting("mailer-2"))) == "NOT_ALLOWED"
    assert await refused(theirs.access.DeleteIdentity(pb.DeleteIdentityRequest(id=ours.id))) == "NOT_ALLOWED"
    assert [
        each.id for each in (await theirs.access.ListIdentities(pb.ListIdentitiesRequest())).identities
    ] == [put.id]
    assert await refused(house.access.PutIdentity(putting(namespace="beta"))) == "IDENTITY_ELSEWHERE"
    assert await refused(house.access.PutIdentity(putting(namespace="gamma"))) == "NAMESPACE_NOT_FOUND"


async def test_no_identity_permits_more_than_its_maker_may(house: House) -> None:
    maker = await house.caller(grant(ADMIN), grant(ENQUEUE, "mail*"))
    await maker.access.PutIdentity(putting())
    wide = [pb.Grant(permissions=[access_pb2.Access.ENQUEUE])]
    assert await refused(maker.access.PutIdentity(putting(grants=wide))) == "NOT_ALLOWED"
    producer = await house.caller(grant(ENQUEUE))
    assert await refused(producer.access.PutIdentity(putting())) == "NOT_ALLOWED"


async def test_rest_has_the_same(house: House) -> None:
    key = await house.key(grant(ADMIN | ENQUEUE))
    body = {"kind": "mtls", "pattern": "spiffe://example.org/*", "grants": [{"permissions": ["ENQUEUE"]}]}
    headers = {"authorization": f"Bearer {key.text}"}
    base = f"http://127.0.0.1:{house.app.http_port}/v1/identities"
    async with aiohttp.ClientSession(headers=headers) as session:
        async with session.post(base, json=body) as response:
            put = await response.json()
            assert (response.status, put["pattern"]) == (200, "spiffe://example.org/*")
        async with session.get(base) as response:
            assert (await response.json())["identities"] == [put]
        for status in (200, 404):
            async with session.delete(f"{base}/{put['id']}") as response:
                assert response.status == status


async def test_what_is_put_is_in_force_at_once_and_what_is_deleted_no_more(dsn: str, tmp_path: Any) -> None:
    authority = Authority(tmp_path, "authority")
    async with Gatehouse(dsn, authority, auth="mtls") as house:
        await house.identity("mtls", "ops", grant(ADMIN), grant(ENQUEUE | READ))
        ops = house.caller(authority.issue("ops"))
        mailer = house.caller(authority.issue("mailer"))
        assert await refused(mailer.enqueue(queue="mail")) == "CREDENTIALS_INVALID"
        put = (await ops.access.PutIdentity(putting(kind="mtls"))).identity
        await mailer.enqueue(queue="mail")
        assert (await mailer.access.GetAccess(pb.GetAccessRequest())).principal == "mtls:mailer"
        await ops.access.DeleteIdentity(pb.DeleteIdentityRequest(id=put.id))
        assert await refused(mailer.enqueue(queue="mail")) == "CREDENTIALS_INVALID"


async def test_a_token_says_when_it_ends(dsn: str) -> None:
    with Issuer() as issuer:
        settings: dict[str, Any] = {
            "auth": "jwt",
            "jwt_issuer": NAME,
            "jwt_audience": AUDIENCE,
            "jwt_jwks_url": issuer.url,
        }
        async with Gatehouse(dsn, **settings) as house:
            await house.identity("jwt", "mailer", grant(ENQUEUE))
            token = issuer.token(exp=4_000_000_000)
            caller = house.caller(authorization=f"Bearer {token}")
            seen = await caller.access.GetAccess(pb.GetAccessRequest())
    assert seen.principal == f"jwt:{NAME}#mailer"
    assert seen.expires_at.seconds == 4_000_000_000
