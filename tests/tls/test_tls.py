"""TLS from end to end: one certificate for gRPC and HTTP, and clients, commands and workers that check it."""

from __future__ import annotations

import asyncio
import re
import ssl
import urllib.request
from collections.abc import AsyncIterator
from typing import Any

import pytest

from jobqueue import Client, Unavailable, Worker, tls_credentials
from jobqueue_server.app import App
from jobqueue_server.settings import Settings
from jobqueue_server.tls import Tls, TlsUnusable
from tests.client_cli.programs import Cli, Program

from .conftest import Authority

pytestmark = pytest.mark.slow

PATIENCE = 20.0


@pytest.fixture
async def app(dsn: str, authority: Authority, engine: str) -> AsyncIterator[App]:
    cert, key = authority.issue("server")
    app = App(
        Settings.load(
            {
                "database_url": dsn,
                "grpc_addr": "127.0.0.1:0",
                "http_addr": "127.0.0.1:0",
                "metrics_addr": "off",
                "kinds": "open",
                "shutdown_grace": "1s",
                "tls_cert": cert,
                "tls_key": key,
                "tls_client_ca": str(authority.cert),
            }
        )
    )
    await app.start()
    yield app
    await app.stop()


async def test_client_and_worker_speak_tls_and_show_who_they_are(app: App, authority: Authority):
    cert, key = authority.issue("client")
    credentials = tls_credentials(authority.cert, client_cert=cert, client_key=key)
    address = f"127.0.0.1:{app.grpc_port}"
    worker = Worker(address, credentials=credentials)

    @worker.handler("hello")
    async def hello(ctx):
        return f"hello {ctx.job.payload}"

    serving = asyncio.create_task(worker.serve())
    async with Client(address, credentials=credentials) as client:
        job = await client.enqueue("hello", "tls")
        assert (await client.wait(job.id)).output == "hello tls"
    worker.stop()
    await asyncio.wait_for(serving, PATIENCE)


@pytest.mark.parametrize(
    "how", ["plain text", "no certificate", "a stranger's certificate", "a stranger's roots"]
)
async def test_who_does_not_fit_is_not_let_in(app: App, authority: Authority, stranger: Authority, how: str):
    (own_cert, own_key), (their_cert, their_key) = authority.issue("own"), stranger.issue("theirs")
    credentials = {
        "plain text": lambda: None,
        "no certificate": lambda: tls_credentials(authority.cert),
        "a stranger's certificate": lambda: tls_credentials(
            authority.cert, client_cert=their_cert, client_key=their_key
        ),
        "a stranger's roots": lambda: tls_credentials(
            stranger.cert, client_cert=own_cert, client_key=own_key
        ),
    }[how]()
    async with Client(f"127.0.0.1:{app.grpc_port}", credentials=credentials) as client:
        with pytest.raises(Unavailable):
            await client.enqueue("hello")


async def test_http_has_the_same_certificate(app: App, authority: Authority):
    url = f"https://127.0.0.1:{app.http_port}/health"
    trusting = ssl.create_default_context(cafile=authority.cert)
    with pytest.raises((ssl.SSLError, OSError)):
        await asyncio.to_thread(
            lambda: urllib.request.urlopen(url, context=trusting, timeout=PATIENCE).read()
        )
    trusting.load_cert_chain(*authority.issue("browser"))
    answer = await asyncio.to_thread(
        lambda: urllib.request.urlopen(url, context=trusting, timeout=PATIENCE).read()
    )
    assert b"ok" in answer


async def test_an_upgrade_keeps_its_body_over_tls_too(app: App, authority: Authority):
    context = ssl.create_default_context(cafile=authority.cert)
    context.load_cert_chain(*authority.issue("browser"))
    reader, writer = await asyncio.open_connection("127.0.0.1", app.http_port, ssl=context)
    body = b'{"kind":"work","payload":{"n":1}}'
    request = (
        b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n%b"
    ) % (len(body), body)
    async with asyncio.timeout(PATIENCE):
        # One record for each byte of the first, and one for all of the second and what is no request.
        for at in range(len(request)):
            writer.write(request[at : at + 1])
        writer.write(request + b"?")
        answers = await reader.read()
    assert re.findall(rb"HTTP/1.1 ([0-9]+)", answers) == [b"201", b"201", b"400"]
    assert answers.count(b'"payload":{"n":1}') == 2
    writer.close()


async def test_the_commands_have_the_same_settings(app: App, authority: Authority):
    cert, key = authority.issue("operator")
    address = f"127.0.0.1:{app.grpc_port}"
    tls: dict[str, Any] = {
        "JOBQUEUE_TLS_ROOTS": str(authority.cert),
        "JOBQUEUE_TLS_CLIENT_CERT": cert,
        "JOBQUEUE_TLS_CLIENT_KEY": key,
    }
    flags = [
        f"--{name.removeprefix('JOBQUEUE_').lower().replace('_', '-')}={value}" for name, value in tls.items()
    ]

    def use_them() -> None:
        options = [
            "--server",
            address,
            "--simulate",
            "--metrics-bind-addr",
            "127.0.0.1:0",
            "--session-ttl",
            "7s",
        ]
        worker = Program("jobqueue-worker", *options, **tls)
        try:
            worker.until(r"session \d+ opened")
            assert [each.ttl.total_seconds() for each in app.session.sessions.all()] == [7]
            done = Cli(address, **tls)("enqueue", "summarize_text", '{"text": "One."}', "--wait")
            assert done.returncode == 0, done.stderr
            listed = Cli(address)(*flags, "list")
            assert "summarize_text" in listed.stdout, listed.stderr
            assert Cli(address)("list", "--deadline", "1s").returncode == 4
        finally:
            worker.end()

    await asyncio.to_thread(use_them)


@pytest.mark.parametrize(
    ("cert", "key", "ca", "said"),
    [
        ("server.crt", None, None, "set JOBQUEUE_TLS_CERT and JOBQUEUE_TLS_KEY"),
        (None, None, "authority.pem", "set JOBQUEUE_TLS_CERT and JOBQUEUE_TLS_KEY"),
        ("server.crt", "other.key", None, "are no certificate and its unencrypted key"),
        ("nowhere.crt", "server.key", None, r"nowhere.crt can't be read: .* \(named by JOBQUEUE_TLS_CERT\)"),
        ("server.crt", "server.key", "server.key", "holds no certificate"),
    ],
)
def test_a_certificate_that_cannot_be_used_is_named_with_its_setting(
    authority: Authority, cert, key, ca, said
):
    folder = authority.cert.parent
    authority.issue("server")
    authority.issue("other")
    with pytest.raises(TlsUnusable, match=said):
        Tls.load(*(None if name is None else folder / name for name in (cert, key, ca)))
    assert Tls.load(None, None, None) is None


def test_what_a_client_cannot_read_is_named(authority: Authority, tmp_path):
    with pytest.raises(ValueError, match=r"nowhere.pem can't be read: No such file"):
        tls_credentials(tmp_path / "nowhere.pem")
    (tmp_path / "text").write_text("no certificate")
    with pytest.raises(ValueError, match="is no PEM file"):
        tls_credentials(tmp_path / "text")
    with pytest.raises(ValueError, match="go together"):
        tls_credentials(authority.cert, client_cert=authority.cert)
    done = Cli("127.0.0.1:1")("--tls-roots", str(tmp_path / "nowhere.pem"), "list")
    assert done.returncode == 2
    assert "nowhere.pem can't be read" in done.stderr
