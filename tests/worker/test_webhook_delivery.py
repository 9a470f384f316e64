import asyncio
import base64
import json
import ssl
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from pydantic import SecretStr
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from jobqueue import Cancelled, Discard, Retry
from jobqueue_worker.handlers.address_policy import AddressPolicy
from jobqueue_worker.handlers.outbound import Outbound
from jobqueue_worker.handlers.webhook_delivery import WebhookHandler
from jobqueue_worker.sinks.webhook import WebhookSink

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
OTHER = "whsec_" + base64.b64encode(b"o" * 32).decode()
LONG = timedelta(seconds=20)
INSIDE_V4 = ["127.0.0.1", "10.0.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1"]
INSIDE_V6 = ["::1", "::", "fe80::1", "fd00:ec2::254", "64:ff9b::7f00:1", "::ffff:127.0.0.1", "2002:7f00:1::"]


@asynccontextmanager
async def delivering(*allow, resolver=None, timeout=LONG, secret=None, secrets=None):
    outbound = Outbound(AddressPolicy(allow), resolver=resolver)
    try:
        yield WebhookHandler(outbound, timeout=timeout, secret=secret, secrets=secrets)
    finally:
        await outbound.close()


async def test_a_delivery_is_posted_signed_and_verified_by_a_receiver(attempt, tmp_path):
    seen: list[Path] = []
    sink = WebhookSink(tmp_path, secret=SecretStr(SECRET), on_received=seen.append)
    await sink.start()
    try:
        async with delivering(f"127.0.0.1:{sink.port}", secret=SecretStr(SECRET)) as handler:
            ctx = attempt(
                "webhook_delivery", url=sink.url + "hook?a=1", body={"order": 7}, headers={"X-Shop": "42"}
            )
            output = await handler(ctx)
        assert output["status"] == 200
        assert isinstance(output["ms"], int)
        path = await asyncio.wait_for(sink.received.get(), 10)
        assert seen == [path]
        record = json.loads(path.read_text())
        assert (record["verified"], record["problem"], record["path"]) == (True, None, "/hook?a=1")
        assert json.loads(record["body"]) == {"order": 7}
        headers = {name.lower(): value for name, value in record["headers"].items()}
        assert headers["webhook-id"] == ctx.job.id
        assert headers["x-shop"] == "42"
        assert headers["content-type"] == "application/json"
    finally:
        await sink.stop()


async def test_the_sink_refuses_what_is_not_signed_with_its_secret(attempt, tmp_path):
    sink = WebhookSink(tmp_path, secret=SecretStr(SECRET))
    await sink.start()
    try:
        for secret in (None, SecretStr(OTHER)):
            async with delivering("127.0.0.1", secret=secret) as handler:
                with pytest.raises(Discard, match="401"):
                    await handler(attempt("webhook_delivery", url=sink.url, body=1))
            assert json.loads((await sink.received.get()).read_text())["verified"] is False
    finally:
        await sink.stop()


async def test_the_body_arrives_byte_for_byte(attempt, http):
    body = b'{ "n":12345678901234567890,  "x": 1.10, "big": 1e400, "\\u00e9": "\xc3\xa9" }'
    raw = b'{"body": ' + body + b', "url": "' + http.url.encode() + b'"}'
    async with delivering("127.0.0.1") as handler:
        await handler(attempt("webhook_delivery", raw=raw))
    assert http.requests[0][2] == body


@pytest.mark.parametrize("body", [None, 0, "", [], {}])
async def test_any_json_is_a_body(attempt, http, body):
    async with delivering("127.0.0.1") as handler:
        await handler(attempt("webhook_delivery", url=http.url, body=body))
    assert json.loads(http.requests[0][2]) == body


async def test_a_payload_picks_a_secret_by_name_and_several_sign_while_keys_change(attempt, http):
    both = SecretStr(f"{SECRET} {OTHER}")
    async with delivering("127.0.0.1", secret=SecretStr(SECRET), secrets={"shop": both}) as handler:
        await handler(attempt("webhook_delivery", url=http.url, body=1, secret="shop"))
        _, headers, body = http.requests[0]
        Webhook(SECRET).verify(body, headers)
        Webhook(OTHER).verify(body, headers)
        with pytest.raises(WebhookVerificationError):
            Webhook("whsec_" + base64.b64encode(b"x" * 32).decode()).verify(body, headers)
        with pytest.raises(Retry, match="no webhook secret 'bank'"):
            await handler(attempt("webhook_delivery", url=http.url, body=1, secret="bank"))


def test_a_secret_that_cannot_be_read_is_refused_without_being_shown():
    for secret in ("whsec_hunter2!x", "hunter2hunter2 x", "", " "):
        with pytest.raises(ValueError, match="webhook_secret is not") as caught:
            WebhookHandler(Outbound(AddressPolicy()), timeout=LONG, secret=SecretStr(secret))
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 422])
async def test_a_client_error_ends_the_job(attempt, http, status):
    http.status, http.body = status, b"no such\x00hook"
    async with delivering("127.0.0.1") as handler:
        with pytest.raises(Discard, match=rf"answered {status} .*: no such hook"):
            await handler(attempt("webhook_delivery", url=http.url, body=1))


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_what_may_pass_is_tried_again(attempt, http, status):
    http.status = status
    async with delivering("127.0.0.1") as handler:
        with pytest.raises(Retry, match=str(status)) as caught:
            await handler(attempt("webhook_delivery", url=http.url, body=1))
    assert caught.value.after is None


async def test_retry_after_in_seconds_and_as_a_date_is_honoured(attempt, http):
    async with delivering("127.0.0.1") as handler:
        http.status, http.headers = 429, {"Retry-After": "120"}
        with pytest.raises(Retry) as caught:
            await handler(attempt("webhook_delivery", url=http.url, body=1))
        assert caught.value.after == timedelta(seconds=120)

        http.status = 503
        http.headers = {"Retry-After": format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)}
        with pytest.raises(Retry) as caught:
            await handler(attempt("webhook_delivery", url=http.url, body=1))
        after = caught.value.after
        assert after is not None
        assert timedelta(minutes=59) < after <= timedelta(hours=1)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed_and_end_the_job(attempt, http, status):
    http.status, http.headers = status, {"Location": "/elsewhere"}
    async with delivering("127.0.0.1") as handler:
        with pytest.raises(Discard, match="redirects are not followed"):
            await handler(attempt("webhook_delivery", url=http.url, body=1))
    assert [path for path, _, _ in http.requests] == ["/"]


async def test_a_silent_receiver_is_left_at_the_timeout(attempt, http):
    http.hold = asyncio.Event()
    async with delivering("127.0.0.1") as handler:
        with pytest.raises(Retry, match=r"did not finish within 0\.2 s"):
            await handler(attempt("webhook_delivery", url=http.url, body=1, timeout="0.2s"))
    async with delivering("127.0.0.1", timeout=timedelta(seconds=0.1)) as handler:
        with pytest.raises(Retry, match=r"within 0\.1 s"):
            await handler(attempt("webhook_delivery", url=http.url, body=1, timeout="600s"))


async def test_an_endless_answer_is_read_to_its_bound_only(attempt):
    async def pour(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True:
                writer.write(b"x" * 65536)
                await writer.drain()
        except ConnectionError:
            writer.close()

    server = await asyncio.start_server(pour, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with delivering("127.0.0.1") as handler:
        output = await handler(attempt("webhook_delivery", url=f"http://127.0.0.1:{port}", body=1))
    assert output["status"] == 200
    server.close()


@asynccontextmanager
async def answering(*parts):
    """A receiver that answers with these bytes, whatever it is sent, and then hangs up; its url."""

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.02)
        writer.close()

    tasks = []
    server = await asyncio.start_server(
        lambda *ends: tasks.append(asyncio.create_task(answer(*ends))), "127.0.0.1", 0
    )
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()
        await asyncio.gather(*tasks, return_exceptions=True)


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "parts",
    [
        [OK + b"Content-Length: 2\r\n\r\nOKs3cret"],
        [OK + b"Content-Length: 2\r\n\r\nOK\r\ns3cret\r\n\r\n"],
        [OK + b"Content-Length: 2\r\n\r\nOK", b"s3cret"],
        [OK + b"Content-Le", b"ngth: 2\r", b"\n\r", b"\nOKs3cret"],
        [OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nOKs3cret"],
        [OK + b"Content-Length: 2\r\n\r\nOK" + b"s3cret\n" * 50_000],
        [OK + b"Content-Length: 0\r\n\r\ns3cret"],
        [OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nOK\r\n0\r\n\r\ns3cret"],
        [b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nOKs3cret"],
        [OK + b"Content-Length: 2\r\n\r\nOK" + OK + b"Content-Length: 6\r\n\r\ns3cret"],
    ],
    ids=[
        "at once", "lines", "later", "in pieces", "close", "much", "no body", "chunked", "100", "another answer",
    ],
)  # fmt: skip
async def test_bytes_beyond_an_answer_are_passed_over(attempt, parts):
    async with delivering("127.0.0.1") as handler, answering(*parts) as url:
        output = await handler(attempt("webhook_delivery", url=url, body=1))
    assert output["status"] == 200


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\nnot!s3cret"], r"answered 500 Oops: not!$"),
        ([b"HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\ns3cret"], r"answered 400 No$"),
        ([b"s3cret\r\n\r\n"], "broke off: the answer is not HTTP$"),
        ([OK + b"Content-Length: 90\r\n\r\ns3cret"], "broke off: the answer's body is cut off"),
        ([OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nOK\r\ns3cret"], "broke off: the answer's body"),
    ],
    ids=["server error", "client error", "not HTTP", "too short", "bad chunk"],
)
async def test_what_is_no_part_of_an_answer_is_not_in_the_error(attempt, parts, words):
    async with delivering("127.0.0.1") as handler, answering(*parts) as url:
        with pytest.raises((Retry, Discard), match=words) as caught:
            await handler(attempt("webhook_delivery", url=url, body=1))
    assert "s3cret" not in str(caught.value)


async def test_nobody_listening_and_a_broken_answer_are_tried_again(attempt):
    async def hang_up(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with delivering("127.0.0.1") as handler:
        with pytest.raises(Retry, match="broke off"):
            await handler(attempt("webhook_delivery", url=f"http://127.0.0.1:{port}/?token=s3cret", body=1))
        server.close()
        await server.wait_closed()
        with pytest.raises(Retry, match="cannot be reached") as caught:
            await handler(
                attempt("webhook_delivery", url=f"http://me:s3cret@127.0.0.1:{port}/?t=s3cret", body=1)
            )
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "host",
    [
        *INSIDE_V4,
        *(f"[{address}]" for address in INSIDE_V6),
        *("127.1", "2130706433", "0177.0.0.1", "１２７.0.0.1"),
    ],
)
async def test_a_literal_address_inside_the_network_is_refused(attempt, http, host):
    async with delivering() as handler:
        with pytest.raises(Discard):
            await handler(attempt("webhook_delivery", url=f"http://{host}:{http.port}/", body=1))
    assert http.requests == []


@pytest.mark.parametrize(
    "address",
    INSIDE_V4 + INSIDE_V6,
)
async def test_a_name_that_resolves_into_the_network_is_refused(attempt, http, names, address):
    async with delivering(resolver=names(evil=[address], mixed=["1.1.1.1", address])) as handler:
        for name in ("evil", "mixed"):
            with pytest.raises(Discard, match=f"from {name}.example"):
                await handler(attempt("webhook_delivery", url=f"http://{name}.example:{http.port}/", body=1))
    assert http.requests == []


async def test_localhost_is_refused_through_the_systems_own_resolver(attempt, http):
    async with delivering() as handler:
        with pytest.raises(Discard, match="loopback"):
            await handler(attempt("webhook_delivery", url=f"http://localhost:{http.port}/", body=1))
    assert http.requests == []


async def test_a_name_is_resolved_once_and_its_checked_address_is_used_with_the_names_host_header(
    attempt, http, names
):
    resolver = names(hook=["127.0.0.1"])
    async with delivering("127.0.0.1", resolver=resolver) as handler:
        await handler(attempt("webhook_delivery", url=f"http://hook.example:{http.port}/", body=1))
    assert resolver.asked == ["hook.example"]
    assert http.requests[0][1]["Host"] == f"hook.example:{http.port}"


async def test_a_rule_on_a_name_and_port_lets_that_name_in_and_no_other(attempt, http, names):
    resolver = names(hook=["127.0.0.1"], other=["127.0.0.1"])
    async with delivering(f"hook.example:{http.port}", resolver=resolver) as handler:
        with pytest.raises(Discard):
            await handler(attempt("webhook_delivery", url=f"http://other.example:{http.port}/", body=1))
        await handler(attempt("webhook_delivery", url=f"http://hook.example:{http.port}/", body=1))
        with pytest.raises(Discard):
            await handler(attempt("webhook_delivery", url=f"http://other.example:{http.port}/", body=1))
    assert len(http.requests) == 1


async def test_tls_is_verified_against_the_name(attempt, names):
    """A server whose certificate nobody vouches for gets no request."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    async with delivering("127.0.0.1", resolver=names(hook=["127.0.0.1"])) as handler:
        with pytest.raises(Retry, match="cannot be reached"):
            await handler(attempt("webhook_delivery", url=f"https://hook.example:{port}/", body=1))
    server.close()


@pytest.mark.parametrize(
    ("headers", "problem"),
    [
        ({"webhook-id": "mine"}, "set by the delivery"),
        ({"HOST": "x"}, "set by the delivery"),
        ({"Content-Length": "1"}, "set by the delivery"),
        ({"X-A": "1\r\nX-B: 2"}, "printable ASCII"),
        ({"X A": "1"}, "not the name"),
        ({"X-A:": "1"}, "not the name"),
        ({"": "1"}, "not the name"),
    ],
)
async def test_headers_cannot_reframe_or_forge_the_request(attempt, http, headers, problem):
    async with delivering("127.0.0.1") as handler:
        with pytest.raises(Discard, match=problem):
            await handler(attempt("webhook_delivery", url=http.url, body=1, headers=headers))
    assert http.requests == []


@pytest.mark.parametrize(
    "payload",
    [{"url": "ftp://x", "body": 1}, {"url": "http://x"}, {"body": 1}, {"url": "http://", "body": 1}],
)
async def test_a_payload_that_does_not_fit_ends_the_job(attempt, payload):
    async with delivering() as handler:
        with pytest.raises(Discard):
            await handler(attempt("webhook_delivery", **payload))


async def test_a_cancelled_job_sends_nothing(attempt, http):
    async with delivering("127.0.0.1") as handler:
        with pytest.raises(Cancelled):
            await handler(attempt("webhook_delivery", cancelled=True, url=http.url, body=1))
    assert http.requests == []
