import asyncio
import email
import email.policy
import socket
from datetime import timedelta
from pathlib import Path

import pytest
from aiosmtpd.smtp import SMTP

from jobqueue import Cancelled, Discard, Retry
from jobqueue_worker.handlers.send_email import EmailHandler
from jobqueue_worker.sinks.smtp import SmtpSink

MAIL = {"to": "ada@example.org", "subject": "Hello", "body": "Dear Ada,\nit works.\n"}


@pytest.fixture
async def sink(tmp_path):
    sink = SmtpSink(tmp_path / "mails")
    await sink.start()
    yield sink
    await sink.stop()


def handler_for(port, **settings):
    settings = {"sender": "JobQueue <jobs@example.net>"} | settings
    return EmailHandler(host="127.0.0.1", port=port, **settings)


async def received(sink):
    path = await asyncio.wait_for(sink.received.get(), 10)
    return email.message_from_bytes(path.read_bytes(), policy=email.policy.default)


class Refusing:
    """Answers one command of SMTP with an error."""

    def __init__(self, command, answer, only=None):
        self.command, self.answer, self.only = command, answer, only
        self.accepted = []

    async def handle_RCPT(self, server, session, envelope, address, options):
        if self.command == "RCPT" and self.only in (None, address):
            return self.answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        if self.command == "DATA":
            return self.answer
        self.accepted.append(envelope.rcpt_tos)
        return "250 OK"


@pytest.fixture
async def refusing():
    servers = []

    async def start(command, answer, *, only=None, **options):
        refusing = Refusing(command, answer, only)
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: SMTP(refusing, hostname="localhost", **options), "127.0.0.1", 0
        )
        servers.append(server)
        return server.sockets[0].getsockname()[1], refusing

    yield start
    for server in servers:
        server.close()


async def test_a_mail_arrives_with_its_headers_and_texts(attempt, sink):
    more = {
        "html": "<p>it works</p>",
        "cc": ["bob@example.org", "eve@example.org"],
        "reply_to": "re@example.org",
    }
    ctx = attempt("send_email", **MAIL, **more)
    output = await handler_for(sink.port)(ctx)
    message = await received(sink)
    assert output == {
        "message_id": f"<{ctx.job.id}@example.net>",
        "accepted": ["ada@example.org", "bob@example.org", "eve@example.org"],
        "refused": {},
    }
    assert message["Message-ID"] == output["message_id"]
    assert message["From"] == "JobQueue <jobs@example.net>"
    assert message["To"] == "ada@example.org"
    assert message["Cc"] == "bob@example.org, eve@example.org"
    assert message["Reply-To"] == "re@example.org"
    assert message["Subject"] == "Hello"
    assert message["Date"]
    assert message.get_body(("plain",)).get_content().replace("\r\n", "\n") == MAIL["body"]
    assert message.get_body(("html",)).get_content().strip() == "<p>it works</p>"


async def test_a_second_attempt_sends_the_same_message_id(attempt, sink):
    ctx = attempt("send_email", **MAIL)
    for _ in range(2):
        await handler_for(sink.port)(ctx)
    assert (await received(sink))["Message-ID"] == (await received(sink))["Message-ID"]


async def test_letters_beyond_ascii_arrive_in_subject_body_and_addresses(attempt, sink):
    mail = {
        "to": "grün@bücher.example",
        "subject": "Grüße – 日本語 " * 10,
        "body": "Schöne Grüße 😀\n",
        "from": "a@bücher.example",
    }
    output = await handler_for(sink.port)(attempt("send_email", **mail))
    message = await received(sink)
    assert message["Subject"].strip() == mail["subject"].strip()
    assert message.get_content().replace("\r\n", "\n") == mail["body"]
    assert message["To"] == "grün@bücher.example"
    assert message["From"] == "a@xn--bcher-kva.example"
    assert output["message_id"].endswith("@xn--bcher-kva.example>")


async def test_a_plain_local_part_needs_no_utf8_from_the_server(attempt, refusing):
    port, server = await refusing("none", "", enable_SMTPUTF8=False)
    output = await handler_for(port)(attempt("send_email", **MAIL | {"to": "ada@bücher.example"}))
    assert output["accepted"] == server.accepted[0] == ["ada@xn--bcher-kva.example"]
    with pytest.raises(Discard, match="SMTPUTF8"):
        await handler_for(port)(attempt("send_email", **MAIL | {"to": "grün@example.org"}))


@pytest.mark.parametrize(
    "change",
    [
        {"subject": "Hi\r\nBcc: eve@example.org"},
        {"subject": "Hi\nX: y"},
        {"subject": "Hi\x00"},
        {"to": "ada@example.org\r\nBcc: eve@example.org"},
        {"to": "ada@example.org, eve@example.org"},
        {"to": "Ada <ada@example.org>"},
        {"to": "ada@example.org\n"},
        {"to": "ada"},
        {"to": "a@b@c"},
        {"to": ""},
        {"from": "x@example.org> SIZE=1"},
        {"cc": ["ok@example.org", "bad\n@example.org"]},
        {"reply_to": "x y@example.org"},
        {"to": "ada@" + "ü" * 300},
        {"to": 7},
        {"body": None},
        {"body": "lone \ud800 surrogate"},
        {"subject": "lone \ud800 surrogate"},
    ],
)
async def test_what_could_inject_or_is_no_mail_is_refused_for_good(attempt, sink, change):
    with pytest.raises(Discard):
        await handler_for(sink.port)(attempt("send_email", **MAIL | change))
    assert sink.received.empty()


@pytest.mark.parametrize("command", ["RCPT", "DATA"])
async def test_a_5xx_answer_ends_the_job(attempt, refusing, command):
    port, _ = await refusing(command, "550 no such user here")
    with pytest.raises(Discard, match="550 no such user here"):
        await handler_for(port)(attempt("send_email", **MAIL))


@pytest.mark.parametrize("command", ["RCPT", "DATA"])
async def test_a_4xx_answer_is_tried_again(attempt, refusing, command):
    port, _ = await refusing(command, "451 try later")
    with pytest.raises(Retry, match="451 try later"):
        await handler_for(port)(attempt("send_email", **MAIL))


async def test_one_refused_recipient_among_several_is_reported_and_no_failure(attempt, refusing):
    port, server = await refusing("RCPT", "550 gone", only="bob@example.org")
    output = await handler_for(port)(attempt("send_email", **MAIL, cc="bob@example.org"))
    assert output["accepted"] == server.accepted[0] == ["ada@example.org"]
    assert output["refused"] == {"bob@example.org": "550 gone"}


async def test_a_server_that_is_away_or_silent_is_tried_again(attempt):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        handler = handler_for(silent.getsockname()[1], timeout=timedelta(seconds=0.2))
        with pytest.raises(Retry, match="cannot be reached"):
            await handler(attempt("send_email", **MAIL))
    with pytest.raises(Retry, match="cannot be reached"):
        await handler(attempt("send_email", **MAIL))


async def test_starttls_that_the_server_does_not_offer_is_never_skipped(attempt, sink):
    with pytest.raises((Discard, Retry)):
        await handler_for(sink.port, tls="starttls")(attempt("send_email", **MAIL))
    assert sink.received.empty()


async def test_a_cancelled_job_sends_nothing(attempt, sink):
    with pytest.raises(Cancelled):
        await handler_for(sink.port)(attempt("send_email", cancelled=True, **MAIL))
    assert sink.received.empty()


@pytest.mark.parametrize("sender", ["", "nobody", "a@b\r\nBcc: c@d", "Evil\n <a@b>"])
def test_a_sender_setting_that_is_no_address_is_named(sender):
    with pytest.raises(ValueError, match="smtp_from"):
        handler_for(25, sender=sender)


async def test_the_sink_numbers_on_after_a_restart_and_tells_its_watcher(attempt, tmp_path):
    seen: list[Path] = []
    for _ in range(2):
        sink = SmtpSink(tmp_path, on_received=seen.append)
        await sink.start()
        await handler_for(sink.port)(attempt("send_email", **MAIL))
        await sink.stop()
    assert [path.name for path in seen] == ["0001.eml", "0002.eml"]
    with pytest.raises(RuntimeError, match="before start"):
        _ = sink.port
