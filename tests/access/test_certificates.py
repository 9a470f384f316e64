"""A caller with a certificate of the authority is who the certificate names, over both transports."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from cryptography import x509

from jobqueue_server.core.access import keys
from jobqueue_server.gate import Gate
from jobqueue_server.grants import Grants, Permission
from jobqueue_server.store.access.access import Limit, NewKey
from tests.lease.hand_worker import PATIENCE, StreamEnded, reason_of
from tests.tls.conftest import Authority

from .gatehouse import Gatehouse
from .house import TESTS, grant, nothing_fills

ENQUEUE, READ, WORK = Permission.ENQUEUE, Permission.READ, Permission.WORK
SPIFFE = "spiffe://example.org/ns/prod/mailer"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


@pytest.fixture
async def house(dsn: str, authority: Authority, engine: str) -> AsyncIterator[Gatehouse]:
    async with Gatehouse(dsn, authority, auth="mtls") as house:
        yield house


def uri(text: str) -> x509.GeneralName:
    return x509.UniformResourceIdentifier(text)


async def refused(call: Any) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return reason_of(raised.value)


async def posted(
    house: Gatehouse,
    authority: Authority,
    pair: tuple[str, str] | None,
    queue: str,
    *,
    times: int = 1,
    **headers: str,
) -> tuple[int, str]:
    """The status and the reason of POST /v1/jobs, the last of some on one connection."""
    context = ssl.create_default_context(cafile=authority.cert)
    if pair is not None:
        context.load_cert_chain(*pair)
    reader, writer = await asyncio.open_connection("127.0.0.1", house.app.http_port, ssl=context)
    body = json.dumps({"kind": "work", "queue": queue, "payload": {}}).encode()
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = (
        f"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n{lines}"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    async with asyncio.timeout(PATIENCE):
        for _ in range(times):
            writer.write(head.encode() + body)
            answered = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            size = int(answered.partition("content-length: ")[2].partition("\r\n")[0])
            answer = json.loads(await reader.readexactly(size))
    writer.close()
    details = answer.get("details", [{}])
    return int(answered.split()[1]), str(details[0].get("reason", ""))


async def test_a_spiffe_id_is_a_principal_over_both_transports(house: Gatehouse, authority: Authority):
    await house.identity("mtls", SPIFFE, grant(ENQUEUE | READ, "mail*"))
    pair = authority.issue("mailer", uri(SPIFFE))
    caller = house.caller(pair)
    job = await caller.enqueue(queue="mail-eu")
    assert (await caller.get(job.id)).queue == "mail-eu"
    assert await refused(caller.enqueue(queue="news")) == "NOT_ALLOWED"
    assert await posted(house, authority, pair, "mail") == (201, "")
    assert await posted(house, authority, pair, "news") == (403, "NOT_ALLOWED")


async def test_a_certificate_that_no_identity_is_for_is_refused_by_its_name(
    house: Gatehouse, authority: Authority
):
    await house.identity("mtls", SPIFFE, grant(ENQUEUE))
    pair = authority.issue("other", uri(f"{SPIFFE}/other"))
    with pytest.raises(grpc.aio.AioRpcError, match=f"no identity is for '{SPIFFE}/other'") as raised:
        await house.caller(pair).enqueue()
    assert reason_of(raised.value) == "CREDENTIALS_INVALID"
    assert await posted(house, authority, pair, "mail") == (401, "CREDENTIALS_INVALID")


async def test_a_known_certificate_is_named_in_the_audit_log_where_it_is_refused(
    house: Gatehouse, authority: Authority
):
    """It lacks the permission altogether, or its namespace is disabled."""
    beta = await house.namespace("beta")
    await house.identity("mtls", SPIFFE, grant(READ), namespace=beta)
    pair = authority.issue("mailer", uri(SPIFFE))
    assert await refused(house.caller(pair).enqueue()) == "NOT_ALLOWED"
    await house.sql("update namespace set disabled_at = now() where id = $1", beta)
    await house.sql("update access_version set version = version + 1")
    await house.known()
    assert await posted(house, authority, pair, "mail") == (400, "NAMESPACE_DISABLED")
    await house.app.access.denials.write()
    rows = await house.sql(
        "select outcome, principal, namespace_id, credential from audit where outcome <> 'OK'"
    )
    assert {row["outcome"] for row in rows} == {"NOT_ALLOWED", "NAMESPACE_DISABLED"}
    assert {(row["principal"], row["namespace_id"]) for row in rows} == {(f"mtls:{SPIFFE}", beta)}
    assert all(row["credential"].startswith("identity:") for row in rows)


async def test_without_a_certificate_there_is_no_connection_where_it_is_the_only_way(
    house: Gatehouse, authority: Authority
):
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await house.caller().enqueue()
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    with pytest.raises((OSError, asyncio.IncompleteReadError)):
        await posted(house, authority, None, "mail")


@pytest.mark.parametrize(
    ("counts", "principal"),
    [("uri,dns,cn", "the uri"), ("dns,cn", "the dns"), ("cn", "the cn"), ("cn,uri", "the cn")],
)
async def test_the_first_kind_of_name_that_counts_says_who_calls(
    dsn: str, authority: Authority, counts: str, principal: str
):
    async with Gatehouse(dsn, authority, auth="mtls", mtls_identity=counts) as house:
        names = {"the uri": SPIFFE, "the dns": "mailer.example.org", "the cn": "mailer"}
        for name, pattern in names.items():
            await house.identity("mtls", pattern, grant(ENQUEUE, name.replace(" ", "-")))
        pair = authority.issue("mailer", uri(SPIFFE), x509.DNSName("mailer.example.org"))
        allowed = []
        for name in names:
            if (await posted(house, authority, pair, name.replace(" ", "-")))[0] == 201:
                allowed.append(name)
        assert allowed == [principal]


async def test_a_name_that_does_not_match_is_not_made_up_for_by_another_kind(
    house: Gatehouse, authority: Authority
):
    await house.identity("mtls", "mailer", grant(ENQUEUE))
    caller = house.caller(authority.issue("mailer", uri(SPIFFE)))
    assert await refused(caller.enqueue()) == "CREDENTIALS_INVALID"


async def test_a_whole_name_holds_before_a_prefix_and_a_long_prefix_before_a_short_one(
    house: Gatehouse, authority: Authority
):
    await house.identity("mtls", "spiffe://example.org/*", grant(ENQUEUE, "all"))
    await house.identity("mtls", "spiffe://example.org/ns/prod/*", grant(ENQUEUE, "prod"))
    await house.identity("mtls", SPIFFE, grant(ENQUEUE, "mail"))
    for path, queue in (("ns/test/a", "all"), ("ns/prod/b", "prod"), ("ns/prod/mailer", "mail")):
        caller = house.caller(authority.issue("it", uri(f"spiffe://example.org/{path}")))
        await caller.enqueue(queue=queue)
        for other in {"all", "prod", "mail"} - {queue}:
            assert await refused(caller.enqueue(queue=other)) == "NOT_ALLOWED"


async def test_an_identity_is_in_its_namespace(house: Gatehouse, authority: Authority):
    beta = await house.namespace("beta")
    await house.identity("mtls", SPIFFE, grant(ENQUEUE | READ), namespace=beta)
    await house.identity("mtls", "mailer", grant(ENQUEUE | READ))
    job = await house.caller(authority.issue("beta", uri(SPIFFE))).enqueue()
    assert await refused(house.caller(authority.issue("mailer")).get(job.id)) == "JOB_NOT_FOUND"


@pytest.mark.slow
async def test_a_worker_whose_identity_goes_ends_and_its_job_goes_elsewhere_uncharged(
    house: Gatehouse, authority: Authority
):
    mine = await house.identity("mtls", SPIFFE, grant(WORK))
    await house.identity("mtls", "other", grant(WORK | ENQUEUE | READ))
    worker = await house.caller(authority.issue("mailer", uri(SPIFFE))).worker()
    other = house.caller(authority.issue("other"))
    job = await other.enqueue()
    await worker.job()
    await house.delete(mine)
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(StreamEnded) as ended:
            while True:
                await worker.next("settled")
    assert ended.value.reason == "CREDENTIALS_REVOKED"
    again = await other.worker()
    await again.succeed(await again.job())
    assert (await other.wait(job.id)).losses == 0


async def test_other_grants_are_in_force_at_once(house: Gatehouse, authority: Authority):
    await house.identity("mtls", SPIFFE, grant(ENQUEUE, "mail"))
    caller = house.caller(authority.issue("mailer", uri(SPIFFE)))
    await caller.enqueue(queue="mail")
    await house.identity("mtls", SPIFFE, grant(ENQUEUE, "news"))
    await caller.enqueue(queue="news")
    assert await refused(caller.enqueue(queue="mail")) == "NOT_ALLOWED"


async def test_a_disabled_namespace_refuses_its_certificates(house: Gatehouse, authority: Authority):
    beta = await house.namespace("beta")
    await house.identity("mtls", SPIFFE, grant(ENQUEUE), namespace=beta)
    caller = house.caller(authority.issue("mailer", uri(SPIFFE)))
    await caller.enqueue()
    await house.app.stores.access.set_namespace_disabled(TESTS, "beta", disabled=True)
    await house.known()
    assert await refused(caller.enqueue()) == "NAMESPACE_DISABLED"


async def test_a_principal_calls_as_often_as_it_may(
    house: Gatehouse, authority: Authority, monkeypatch: pytest.MonkeyPatch
):
    nothing_fills(monkeypatch)
    await house.identity("mtls", "mail-*", grant(ENQUEUE), limit=Limit(1, 2))
    first, second = (house.caller(authority.issue(name)) for name in ("mail-1", "mail-2"))
    await first.batch(2)
    assert await refused(first.enqueue()) == "RATE_LIMITED"
    await second.enqueue()


@pytest.mark.http2
async def test_a_known_certificate_takes_the_fast_path(
    house: Gatehouse, authority: Authority, monkeypatch: pytest.MonkeyPatch
):
    await house.identity("mtls", SPIFFE, grant(ENQUEUE))
    pair = authority.issue("mailer", uri(SPIFFE))
    caller = house.caller(pair)
    await caller.enqueue()

    async def decide(*_: object) -> None:
        raise AssertionError("there was a verdict")

    monkeypatch.setattr(Gate, "decide", decide)
    await caller.enqueue()
    assert await posted(house, authority, pair, "default", times=3) == (201, "")


@pytest.mark.http2
async def test_beside_keys_a_certificate_is_asked_for_and_not_demanded(dsn: str, authority: Authority):
    async with Gatehouse(dsn, authority, auth="keys,mtls") as house:
        key = keys.mint()
        new = NewKey(key.id, "key", key.secret_hash, Grants([grant(ENQUEUE, "news")]), "tests")
        await house.app.stores.access.insert_key(TESTS, 1, new)
        await house.identity("mtls", SPIFFE, grant(ENQUEUE, "mail"))
        pair = authority.issue("mailer", uri(SPIFFE))
        bearer = f"Bearer {key.text}"

        await house.caller(pair).enqueue(queue="mail")
        await house.caller(authorization=bearer).enqueue(queue="news")
        # A header is meant for this call, a certificate for the connection.
        both = house.caller(pair, authorization=bearer)
        await both.enqueue(queue="news")
        assert await refused(both.enqueue(queue="mail")) == "NOT_ALLOWED"
        assert (
            await refused(house.caller(pair, "Bearer nonsense").enqueue(queue="mail"))
            == "CREDENTIALS_INVALID"
        )
        assert await refused(house.caller().enqueue(queue="mail")) == "CREDENTIALS_MISSING"

        assert await posted(house, authority, pair, "mail") == (201, "")
        assert await posted(house, authority, None, "news", authorization=bearer) == (201, "")
        assert await posted(house, authority, pair, "mail", authorization=bearer) == (403, "NOT_ALLOWED")
        assert await posted(house, authority, None, "mail") == (401, "CREDENTIALS_MISSING")


async def test_where_certificates_are_the_only_way_a_header_says_nothing(
    house: Gatehouse, authority: Authority
):
    await house.identity("mtls", SPIFFE, grant(ENQUEUE))
    await house.caller(authority.issue("mailer", uri(SPIFFE)), "Bearer nonsense").enqueue()
