"""A connection does nothing any more once its certificate was revoked or has ended."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from cryptography import x509

from jobqueue.v1 import jobqueue_pb2
from jobqueue_server import tls
from jobqueue_server.core.tuning import Tuning
from jobqueue_server.grants import Permission
from tests.lease.hand_worker import PATIENCE, StreamEnded, reason_of
from tests.lease.place import eventually
from tests.tls.conftest import Authority

from .gatehouse import Gatehouse
from .house import grant

ENQUEUE, READ, WORK = Permission.ENQUEUE, Permission.READ, Permission.WORK
MAILER = x509.UniformResourceIdentifier("spiffe://example.org/mailer")
OTHER = x509.UniformResourceIdentifier("spiffe://example.org/other")
ASIDE = '{"kind":"work","queue":"aside"}'


class HttpConnection:
    """`async with`: one connection with a certificate, which stays open."""

    def __init__(self, house: Gatehouse, authority: Authority, pair: tuple[str, str]) -> None:
        self._port = house.app.http_port
        self._context = ssl.create_default_context(cafile=authority.cert)
        self._context.load_cert_chain(*pair)

    async def __aenter__(self) -> HttpConnection:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, ssl=self._context)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def call(self, method: str = "POST", path: str = "/v1/jobs", body: str = ASIDE) -> str:
        """The reason of the answer; empty: it was let in."""
        text = body if method == "POST" else ""
        self._writer.write(
            f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(text)}\r\n\r\n{text}".encode()
        )
        async with asyncio.timeout(PATIENCE):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
            size = int(head.partition("content-length: ")[2].partition("\r\n")[0])
            answer = json.loads(await self._reader.readexactly(size))
        return str(answer["details"][0]["reason"]) if int(head.split()[1]) >= 400 else ""


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are looked at all the time."""
    monkeypatch.setattr(tls, "EVERY", 0.02)


@pytest.fixture
async def house(dsn: str, authority: Authority, soon: None) -> AsyncIterator[Gatehouse]:
    crl = authority.revoke()
    async with Gatehouse(dsn, authority, auth="mtls", tls_client_crl=str(crl)) as house:
        await house.identity("mtls", "spiffe://example.org/*", grant(ENQUEUE | READ | WORK))
        yield house


async def reason(call: Any) -> str:
    """Of a call over gRPC; empty: it was let in."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return reason_of(error)
    return ""


async def ended(worker: Any) -> str:
    """The reason for which its stream ends."""
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(StreamEnded) as raised:
            while True:
                await worker.next("settled")
    return raised.value.reason


@pytest.mark.http2
async def test_what_a_revoked_certificate_has_open_ends_and_its_connections_are_refused(
    house: Gatehouse, authority: Authority
):
    pair = authority.issue("mailer", MAILER)
    mailer, other = house.caller(pair), house.caller(authority.issue("other", OTHER))
    job = await other.enqueue()
    worker = await mailer.worker()
    await worker.job()
    watch = mailer.stub.WatchJobs(jobqueue_pb2.WatchJobsRequest())
    waiting = asyncio.create_task(reason(mailer.wait(job.id)))
    async with HttpConnection(house, authority, pair) as http:
        assert await http.call() == ""
        # On the fast path too.
        assert await http.call() == ""
        authority.revoke("mailer")
        assert await ended(worker) == "CREDENTIALS_REVOKED"
        assert await asyncio.wait_for(waiting, PATIENCE) == "CREDENTIALS_REVOKED"
        assert await reason(_last(watch)) == "CREDENTIALS_REVOKED"
        assert await http.call() == "CREDENTIALS_REVOKED"
        assert await http.call("GET", f"/v1/jobs/{job.id}") == "CREDENTIALS_REVOKED"
        assert await reason(mailer.enqueue()) == "CREDENTIALS_REVOKED"
        assert await reason(mailer.get(job.id)) == "CREDENTIALS_REVOKED"
        with pytest.raises(StreamEnded) as refused:
            await mailer.worker(resume=worker.resume())
        assert refused.value.reason == "CREDENTIALS_REVOKED"
    again = await other.worker()
    await again.succeed(await again.job())
    assert (await other.wait(job.id)).losses == 0


async def _last(watch: Any) -> None:
    async for _ in watch:
        pass


@pytest.mark.alone
@pytest.mark.http2
async def test_within_two_seconds_of_the_list_nothing_is_left(house: Gatehouse, authority: Authority):
    caller = house.caller(authority.issue("mailer", MAILER))
    worker = await caller.worker()
    authority.revoke("mailer")
    assert house.app._tls is not None
    await house.app._tls.reload()
    async with asyncio.timeout(2):
        assert await reason(caller.enqueue()) == "CREDENTIALS_REVOKED"
        assert await ended(worker) == "CREDENTIALS_REVOKED"


@pytest.mark.http2
async def test_another_certificate_of_the_same_name_goes_on(house: Gatehouse, authority: Authority):
    old = house.caller(authority.issue("mailer", MAILER))
    worker = await old.worker()
    new = house.caller(authority.issue("renewed", MAILER))
    kept = await new.worker()
    authority.revoke("mailer")
    assert await ended(worker) == "CREDENTIALS_REVOKED"
    job = await new.enqueue()
    await kept.succeed(await kept.job())
    assert (await new.wait(job.id)).attempts == 1


@pytest.mark.http2
async def test_a_list_that_takes_a_certificate_back_lets_its_connection_go_on(
    house: Gatehouse, authority: Authority
):
    caller = house.caller(authority.issue("mailer", MAILER))
    await caller.enqueue()
    authority.revoke("mailer")

    async def refused() -> bool:
        return await reason(caller.enqueue()) == "CREDENTIALS_REVOKED"

    await eventually(refused)
    authority.revoke()

    async def let_in() -> bool:
        return not await refused()

    await eventually(let_in)


@pytest.mark.slow
async def test_a_certificate_that_has_ended_is_refused_on_its_open_connections(
    dsn: str, authority: Authority, engine: str
):
    async with Gatehouse(dsn, authority, auth="mtls", tuning=Tuning(renew_within=1.0)) as house:
        await house.identity("mtls", "spiffe://example.org/*", grant(ENQUEUE | READ | WORK))
        pair = authority.issue("mailer", MAILER, lasts=timedelta(seconds=6))
        mailer, other = house.caller(pair), house.caller(authority.issue("other", OTHER))
        async with HttpConnection(house, authority, pair) as http:
            worker = await mailer.worker()
            assert await http.call() == ""
            assert (await worker.next("go_away")).reason == "CREDENTIALS_EXPIRED"
            assert await http.call() == "CREDENTIALS_EXPIRED"
            assert await reason(mailer.enqueue()) == "CREDENTIALS_EXPIRED"
            job = await other.enqueue()
            assert await ended(worker) == "CREDENTIALS_EXPIRED"
        again = await other.worker()
        assert (await again.job()).id == job.id


@pytest.mark.slow
async def test_a_worker_that_comes_back_with_a_new_certificate_loses_nothing(
    dsn: str, authority: Authority, engine: str
):
    async with Gatehouse(dsn, authority, auth="mtls") as house:
        await house.identity("mtls", "spiffe://example.org/*", grant(ENQUEUE | READ | WORK))
        new = house.caller(authority.issue("renewed", MAILER))
        job = await new.enqueue()
        worker = await house.caller(authority.issue("mailer", MAILER, lasts=timedelta(seconds=6))).worker()
        leased = await worker.job()
        assert (await worker.next("go_away")).reason == "CREDENTIALS_EXPIRED"
        again = await new.worker(resume=worker.resume(held=[leased]))
        await again.succeed(leased)
        seen = await new.wait(job.id)
        assert (seen.attempts, seen.losses) == (1, 0)
