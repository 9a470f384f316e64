"""The kind `send_email`: hands a mail to the operator's mail server."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTPUTF8
from email.utils import formatdate, parseaddr
from functools import partial
from typing import Annotated, Any, Literal

import aiosmtplib
import idna
from pydantic import Field, SecretStr

from jobqueue import Discard, Retry

from .context import Context
from .payloads import Payload, read

# One local part and one domain, without spaces, line breaks or the characters that structure a header. Quoted
# local parts are legal and unused; here they would only help to smuggle.
ADDRESS_PATTERN = r'^[^\s@<>()\[\]\\,;:"]+@[^\s@<>()\[\]\\,;:"]+$'
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

EmailAddress = Annotated[str, Field(pattern=ADDRESS_PATTERN, max_length=320)]


class SendEmail(Payload):
    """The payload of `send_email`."""

    to: EmailAddress
    subject: str
    body: str
    sender: EmailAddress | None = Field(default=None, alias="from")
    cc: EmailAddress | list[EmailAddress] = Field(default_factory=list)
    reply_to: EmailAddress | None = None
    html: str | None = None


class EmailHandler:
    """Sends mails over SMTP, one connection each.

    A 5xx answer ends the job; a 4xx one, a lost connection and a timeout are tried again. The Message-ID is made
    from the job's id, so that a mail that was sent twice (the connection broke before the server's answer came) is
    recognised as one.

    Args:
        host: The mail server.
        port: Its port.
        tls: "auto" upgrades where the server can, "starttls" insists, "tls" encrypts from the first byte.
        sender: From whom, where the payload does not say; `Name <address>` or an address.
        timeout: Longest wait for each of the server's answers.
        user: User name, where the server wants one.
        password: Password that belongs to it.

    Raises:
        ValueError: `sender` is not an address.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        sender: str,
        tls: Literal["auto", "none", "starttls", "tls"] = "auto",
        timeout: timedelta = timedelta(seconds=30),
        user: str | None = None,
        password: SecretStr | None = None,
    ) -> None:
        name, address = parseaddr(sender)
        if not re.fullmatch(ADDRESS_PATTERN, address) or _CONTROL.search(sender):
            raise ValueError(f"smtp_from: {sender!r} is neither an address nor Name <address>")
        self._sender = _address(address, name)
        self._send = partial(
            aiosmtplib.send,
            hostname=host,
            port=port,
            timeout=timeout.total_seconds(),
            username=user,
            password=password.get_secret_value() if password is not None else None,
            use_tls=tls == "tls",
            start_tls={"auto": None, "starttls": True}.get(tls, False),
        )

    async def __call__(self, ctx: Context) -> dict[str, Any]:
        """Sends the mail.

        Returns:
            `message_id`; `accepted`, the recipients that the server took; and `refused`, those that it did not, with
            its answers. One accepted recipient is success: a retry would send that one the mail twice.
        """
        message = self._compose(read(SendEmail, ctx.job), ctx.job.id)
        recipients = [address.addr_spec for field in ("To", "Cc") for address in _addresses(message, field)]
        ctx.raise_if_cancelled()
        try:
            refused, _ = await self._send(message, recipients=recipients)
        except aiosmtplib.SMTPRecipientsRefused as error:
            raise _all_refused(error.recipients) from error
        except aiosmtplib.SMTPResponseException as error:
            # Authentication is the operator's to mend; the mail itself may be fine.
            permanent = 500 <= error.code < 600 and not isinstance(error, aiosmtplib.SMTPAuthenticationError)
            message_text = f"the mail server answered {error.code} {error.message}"
            raise (Discard(message_text) if permanent else Retry(message_text)) from error
        except aiosmtplib.SMTPNotSupported as error:
            raise Discard(f"the mail server cannot take this mail: {error}") from error
        except (aiosmtplib.SMTPException, OSError) as error:
            raise Retry(f"the mail server cannot be reached: {str(error) or type(error).__name__}") from error
        return {
            "message_id": str(message["Message-ID"]),
            "accepted": [recipient for recipient in recipients if recipient not in refused],
            "refused": {
                recipient: f"{answer.code} {answer.message}" for recipient, answer in refused.items()
            },
        }

    def _compose(self, payload: SendEmail, job_id: str) -> EmailMessage:
        if _CONTROL.search(payload.subject):
            raise Discard("payload.subject: line breaks and control characters are not allowed")
        sender = _address(payload.sender) if payload.sender is not None else self._sender
        copies = [payload.cc] if isinstance(payload.cc, str) else payload.cc
        try:
            message = EmailMessage(policy=SMTPUTF8)
            message["From"] = sender
            message["To"] = _address(payload.to)
            if copies:
                message["Cc"] = [_address(copy) for copy in copies]
            if payload.reply_to is not None:
                message["Reply-To"] = _address(payload.reply_to)
            message["Subject"] = payload.subject
            message["Date"] = formatdate()
            message["Message-ID"] = f"<{job_id}@{_ascii_domain(sender.domain)}>"
            message.set_content(payload.body)
            if payload.html is not None:
                message.add_alternative(payload.html, subtype="html")
            # Now rather than in the client, where a mail that cannot be written would look like a bad connection.
            message.as_bytes()
        except (ValueError, MessageError) as error:
            raise Discard(f"the payload does not make a mail: {error}") from error
        return message


def _address(text: str, name: str = "") -> Address:
    local, _, domain = text.rpartition("@")
    # With a plain local part any server can deliver, if the domain is in its ASCII form; otherwise the server needs
    # SMTPUTF8 anyway.
    return Address(name, local, _ascii_domain(domain) if local.isascii() else domain)


def _ascii_domain(domain: str) -> str:
    if domain.isascii():
        return domain
    try:
        return idna.encode(domain, uts46=True).decode("ascii")
    except idna.IDNAError as error:
        raise Discard(f"{domain!r} is not the name of a mail domain: {error}") from None


def _addresses(message: EmailMessage, field: str) -> Sequence[Address]:
    header = message[field]
    return header.addresses if header is not None else ()


def _all_refused(refusals: Sequence[aiosmtplib.SMTPRecipientRefused]) -> Discard | Retry:
    text = "; ".join(f"{refusal.recipient}: {refusal.code} {refusal.message}" for refusal in refusals)
    message = f"the mail server refused every recipient: {text}"
    return Discard(message) if all(500 <= refusal.code < 600 for refusal in refusals) else Retry(message)
