"""Receivers for mails and webhooks in a process of their own: `python -m tools.demo.sinks MAILS WEBHOOKS`.

Says a JSON object a line on standard output: first its ports, then what was received and which job sent it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from email import message_from_bytes
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session
from pydantic import SecretStr

from jobqueue_worker.sinks.smtp import SmtpSink
from jobqueue_worker.sinks.webhook import WebhookSink

SECRET = "JOBQUEUE_WEBHOOK_SECRET"
#: A recipient whose address begins so is told to come back later, at its first mail.
GREYLISTED = "patience"


class GreylistingSink(SmtpSink):
    """A mail server with a habit of real ones: whom it does not know it refuses once, for now (RFC 6647)."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, on_received=_say_mail)
        self._seen: set[str] = set()

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Called by aiosmtpd for each recipient."""
        if address.startswith(GREYLISTED) and address not in self._seen:
            self._seen.add(address)
            return "450 4.2.0 greylisted, come back in a moment"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 OK"


def _say(**facts: object) -> None:
    print(json.dumps(facts), flush=True)


def _say_mail(path: Path) -> None:
    message = message_from_bytes(path.read_bytes())
    # The worker makes the Message-ID from the job's id.
    _say(job=str(message["Message-ID"]).strip("<>").partition("@")[0], file=str(path))


def _say_webhook(path: Path) -> None:
    record = json.loads(path.read_bytes())
    headers = {name.lower(): value for name, value in record["headers"].items()}
    _say(job=headers.get("webhook-id"), file=str(path), verified=record["verified"])


async def serve(mails: Path, webhooks: Path) -> None:
    mail = GreylistingSink(mails)
    hook = WebhookSink(webhooks, secret=SecretStr(os.environ[SECRET]), on_received=_say_webhook)
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    await mail.start()
    await hook.start()
    _say(smtp=mail.port, webhook=hook.url, port=hook.port)
    await ended.wait()
    await hook.stop()
    await mail.stop()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), Path(sys.argv[2])))
