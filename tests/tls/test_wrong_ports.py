"""Who calls the wrong port, or speaks TLS where there is none and none where there is, is told so."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from jobqueue import Client, Unavailable, tls_credentials
from jobqueue_server.app import App
from jobqueue_server.settings import Settings
from tests.client_cli.programs import Cli
from tests.conftest import of_server

from .conftest import Authority

pytestmark = pytest.mark.slow

PATIENCE = 20.0


async def served(dsn: str, **settings: str) -> App:
    app = App(
        Settings.load(
            {
                "database_url": dsn,
                "grpc_addr": "127.0.0.1:0",
                "http_addr": "127.0.0.1:0",
                "metrics_addr": "off",
                "kinds": "open",
                "shutdown_grace": "1s",
                **settings,
            }
        )
    )
    await app.start()
    return app


@pytest.fixture
async def plain(dsn: str) -> AsyncIterator[App]:
    app = await served(dsn)
    yield app
    await app.stop()


@pytest.fixture
async def secret(dsn: str, authority: Authority) -> AsyncIterator[App]:
    cert, key = authority.issue("server")
    app = await served(dsn, tls_cert=cert, tls_key=key)
    yield app
    await app.stop()


def ports(app: App) -> tuple[int, int]:
    assert app.http_port is not None
    return app.grpc_port, app.http_port


async def said(port: int, first: bytes) -> bytes:
    """What a port answers to these bytes, until it ends the connection or has said it all."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(PATIENCE):
            for at in range(len(first)):
                writer.write(first[at : at + 1])
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            return head + await reader.readexactly(length)
    finally:
        writer.close()


@pytest.mark.parametrize(
    "first",
    [
        b"GET /v1/jobs HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"DELETE /v1/jobs/x HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
    ids=["GET", "DELETE", "HTTP/2"],
)
async def test_plain_text_on_a_port_that_speaks_tls_is_answered_in_plain_text(secret: App, first: bytes):
    for port in ports(secret):
        answer = await said(port, first)
        assert answer.startswith(b"HTTP/1.1 426 Upgrade Required\r\n")
        assert answer.endswith(b"\r\n\r\nThis port speaks TLS. Call it by https://, and by gRPC with TLS.\n")


async def test_a_caller_that_was_told_and_stays_has_its_connection_ended(secret: App):
    for port in ports(secret):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        async with asyncio.timeout(PATIENCE):
            await reader.readuntil(b"with TLS.\n")
            # It goes on in the same way.
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            try:
                assert await reader.read() == b""
            except ConnectionResetError:
                pass
        writer.close()


WITHOUT = "the port speaks no TLS: connect without credentials, on the command line without --tls-roots"
WITH = "the port speaks TLS: connect with tls_credentials(), on the command line with --tls-roots"
HTTP = "this may be the HTTP port; gRPC has another one, 50051 unless told otherwise"


@pytest.mark.parametrize(
    ("server", "which", "shows", "hint"),
    [
        ("plain", "grpc", True, WITHOUT),
        ("plain", "http", True, WITHOUT),
        ("plain", "http", False, HTTP),
        ("secret", "grpc", False, WITH),
        ("secret", "http", False, WITH),
        ("secret", "http", True, HTTP),
    ],
    ids=[
        "TLS at gRPC",
        "TLS at HTTP",
        "plain at HTTP",
        "plain at gRPC with TLS",
        "plain at HTTPS",
        "TLS at HTTPS",
    ],
)
async def test_a_client_at_the_wrong_port_is_told_what_to_do(
    plain: App, secret: App, authority: Authority, server: str, which: str, shows: bool, hint: str
):
    grpc_port, http_port = ports(plain if server == "plain" else secret)
    target = f"127.0.0.1:{grpc_port if which == 'grpc' else http_port}"
    credentials = tls_credentials(authority.cert) if shows else None
    async with Client(target, credentials=credentials) as client:
        with pytest.raises(Unavailable) as refused:
            await client.enqueue("work")
    assert refused.value.hint == hint
    told = await asyncio.to_thread(
        Cli(target), "list", "--deadline", "5s", *(["--tls-roots", str(authority.cert)] if shows else [])
    )
    assert told.returncode == 4
    assert hint in " ".join(told.stderr.split())


async def test_the_log_names_who_speaks_tls_on_a_plain_port_and_not_each_time(
    plain: App, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("jobqueue_server.http.general._Told.at", -1e9)
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
    _, http_port = ports(plain)
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            assert b"this is TLS" in await said(http_port, hello)
    lines = [each.message for each in of_server(caplog) if "speaks TLS" in each.message]
    assert lines == [
        "a caller speaks TLS on the HTTP port, which has none: call it by http://, or set JOBQUEUE_TLS_CERT"
    ]
