"""TLS files are replaced while the server serves: no call fails, new connections have the new ones."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import shutil
import signal
import ssl
import time
import urllib.request
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from jobqueue import Client, Unavailable, tls_credentials
from jobqueue_server import tls
from jobqueue_server.app import App
from jobqueue_server.settings import Settings
from jobqueue_server.tls import Tls
from tests.client_cli.programs import Program, eventually
from tests.conftest import of_server

from .conftest import Authority

pytestmark = pytest.mark.slow

PATIENCE = 20.0
ROTATIONS = 20
CALLERS = 4


@pytest.fixture
def issuer(tmp_path: Path) -> Authority:
    """An authority of the test's own, whose files it replaces."""
    return Authority(tmp_path, "issuer")


@contextlib.asynccontextmanager
async def serving(dsn: str, issuer: Authority, **more: str) -> AsyncIterator[App]:
    cert, key = issuer.issue("server")
    flags = {
        "database_url": dsn,
        "grpc_addr": "127.0.0.1:0",
        "http_addr": "127.0.0.1:0",
        "metrics_addr": "off",
        "kinds": "open",
        "shutdown_grace": "1s",
        "tls_cert": cert,
        "tls_key": key,
        **more,
    }
    app = App(Settings.load(flags))
    await app.start()
    try:
        yield app
    finally:
        await app.stop()


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are looked at all the time."""
    monkeypatch.setattr(tls, "EVERY", 0.02)


async def serial(port: int, roots: Path, protocol: str = "h2") -> int:
    """That of the certificate which a new connection gets."""
    context = ssl.create_default_context(cafile=roots)
    context.set_alpn_protocols([protocol])
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return x509.load_der_x509_certificate(der).serial_number


async def seen(issuer: Authority, *ports: int) -> None:
    """Waits until new connections to all of these ports get the newest certificate."""
    async with asyncio.timeout(PATIENCE):
        for port, protocol in zip(ports, ("h2", "http/1.1"), strict=False):
            while await serial(port, issuer.cert, protocol) != issuer.serials["server"]:
                await asyncio.sleep(0.01)


@pytest.mark.usefixtures("soon")
async def test_certificates_are_replaced_under_load_without_a_failed_call(dsn: str, issuer: Authority):
    calls = {"grpc, one connection": 0, "grpc, a new one for each call": 0, "http, new ones": 0}
    over = asyncio.Event()

    async def caller(name: str, call: Callable[[], object]) -> None:
        while not over.is_set():
            await call()  # type: ignore[misc]
            calls[name] += 1

    async with serving(dsn, issuer) as app:
        address = f"127.0.0.1:{app.grpc_port}"
        credentials = tls_credentials(issuer.cert)
        trusting = ssl.create_default_context(cafile=issuer.cert)
        url = f"https://127.0.0.1:{app.http_port}/v1/queues"

        async def anew() -> None:
            async with Client(address, credentials=credentials) as client:
                await client.enqueue("hello")

        async def over_http() -> None:
            def call() -> bytes:
                with urllib.request.urlopen(url, context=trusting, timeout=PATIENCE) as answer:
                    return bytes(answer.read())

            await asyncio.to_thread(call)

        async with Client(address, credentials=credentials) as held, asyncio.TaskGroup() as callers:
            how = (lambda: held.enqueue("hello"), anew, over_http)
            for name, call in zip(calls, how, strict=True):
                for _ in range(CALLERS):
                    callers.create_task(caller(name, call))
            for _ in range(ROTATIONS):
                issuer.issue("server")
                await seen(issuer, app.grpc_port, app.http_port)
            over.set()
    assert all(count >= ROTATIONS for count in calls.values()), calls


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("spoilt", ["server.key", "server.crt", "issuer.pem"])
async def test_files_that_cannot_be_used_leave_those_of_before_and_are_told_once(
    dsn: str, issuer: Authority, spoilt: str, caplog: pytest.LogCaptureFixture
):
    cert, key = issuer.issue("caller")
    trusted = issuer.cert.with_name("trusted.pem")
    shutil.copy(issuer.cert, trusted)

    def told() -> list[str]:
        return [record.getMessage() for record in of_server(caplog) if record.levelno == logging.ERROR]

    caplog.set_level(logging.INFO, "jobqueue_server.tls")
    async with serving(dsn, issuer, tls_client_ca=str(issuer.cert)) as app:
        credentials = tls_credentials(trusted, client_cert=cert, client_key=key)

        async def call() -> None:
            async with Client(f"127.0.0.1:{app.grpc_port}", credentials=credentials) as client:
                await client.enqueue("hello")

        before = (issuer.cert.parent / spoilt).read_bytes()
        (issuer.cert.parent / spoilt).write_text("spoilt")
        async with asyncio.timeout(PATIENCE):
            while not told():
                await call()
        for _ in range(10):
            await call()
            await asyncio.sleep(0.02)
        assert told() == ["new TLS files can't be used; those of before stay"]
        (issuer.cert.parent / spoilt).write_bytes(before)
        issuer.issue("server")
        async with asyncio.timeout(PATIENCE):
            while "new TLS files are in use" not in caplog.text:
                await call()


@pytest.mark.http2
@pytest.mark.usefixtures("soon")
async def test_a_certificate_that_is_revoked_gets_no_new_connection(dsn: str, issuer: Authority):
    cert, key = issuer.issue("caller")
    crl = issuer.revoke()
    async with serving(dsn, issuer, tls_client_ca=str(issuer.cert), tls_client_crl=str(crl)) as app:
        credentials = tls_credentials(issuer.cert, client_cert=cert, client_key=key)

        async def call() -> None:
            async with Client(f"127.0.0.1:{app.grpc_port}", credentials=credentials) as client:
                await client.enqueue("hello", deadline=timedelta(seconds=PATIENCE))

        await call()
        issuer.revoke("caller")
        with pytest.raises(Unavailable):
            async with asyncio.timeout(PATIENCE):
                while True:
                    await call()
        issuer.issue("caller")
        credentials = tls_credentials(issuer.cert, client_cert=cert, client_key=key)
        await call()


@pytest.mark.usefixtures("soon")
async def test_another_authority_is_trusted_and_the_one_before_no_more(
    dsn: str, issuer: Authority, stranger: Authority
):
    cert, key = issuer.issue("caller")
    their_cert, their_key = stranger.issue("caller")
    trusted, roots = issuer.cert.with_name("trusted.pem"), issuer.cert
    shutil.copy(issuer.cert, trusted)
    async with serving(dsn, issuer, tls_client_ca=str(trusted)) as app:

        async def let_in(client_cert: str, client_key: str) -> bool:
            credentials = tls_credentials(roots, client_cert=client_cert, client_key=client_key)
            async with Client(f"127.0.0.1:{app.grpc_port}", credentials=credentials) as client:
                try:
                    await client.enqueue("hello", deadline=timedelta(seconds=PATIENCE))
                except Unavailable:
                    return False
                return True

        assert await let_in(cert, key)
        assert not await let_in(their_cert, their_key)
        shutil.copy(stranger.cert, trusted)
        async with asyncio.timeout(PATIENCE):
            while not await let_in(their_cert, their_key):
                pass
        assert not await let_in(cert, key)


def test_a_program_reads_them_again_by_itself_and_on_sighup(dsn: str, issuer: Authority):
    cert, key = issuer.issue("server")
    server = Program(
        "jobqueue-server", "--grpc-addr", "127.0.0.1:0", "--http-addr", "off", "--metrics-addr", "127.0.0.1:0",
        "--shutdown-grace", "1s", DATABASE_URL=dsn, JOBQUEUE_TLS_CERT=cert, JOBQUEUE_TLS_KEY=key,
    )  # fmt: skip
    try:
        metrics = int(server.until(r"metrics are served .*port=([0-9]+)")[1])
        port = int(server.until(r"is ready .*port=([0-9]+)")[1])

        def newest() -> bool:
            return asyncio.run(serial(port, issuer.cert)) == issuer.serials["server"]

        assert newest()
        issuer.issue("server")
        assert not newest()
        started = time.monotonic()
        server.process.send_signal(signal.SIGHUP)
        eventually(newest)
        assert time.monotonic() - started < tls.EVERY / 2
        issuer.issue("server")
        eventually(newest)
        assert time.monotonic() - started < 2 * tls.EVERY + 5
        with urllib.request.urlopen(f"http://127.0.0.1:{metrics}/metrics", timeout=PATIENCE) as answer:
            found = re.search(rb"jobqueue_tls_not_after_timestamp_seconds ([0-9.e+]+)", answer.read())
        assert found is not None
        ends = x509.load_pem_x509_certificate(Path(cert).read_bytes()).not_valid_after_utc.timestamp()
        assert float(found[1]) == ends
    finally:
        assert server.end() == 0


@pytest.mark.parametrize(
    ("crl", "ca", "said"),
    [
        ("issuer.crl", None, "set that"),
        ("issuer.pem", "issuer.pem", "should hold lists of revoked certificates as PEM, and nothing else"),
        ("nowhere.crl", "issuer.pem", r"can't be read: .* \(named by JOBQUEUE_TLS_CLIENT_CRL\)"),
    ],
)
def test_a_list_that_cannot_be_used_is_named_with_its_setting(
    issuer: Authority, crl: str, ca: str | None, said: str
):
    cert, key = issuer.issue("server")
    issuer.revoke()
    folder = issuer.cert.parent
    with pytest.raises(tls.TlsUnusable, match=said):
        Tls.load(Path(cert), Path(key), None if ca is None else folder / ca, folder / crl)
