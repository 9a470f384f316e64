"""The kind `webhook_delivery`: posts a JSON body to a url, signed as Standard Webhooks says."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import aiohttp
from pydantic import Field, SecretStr
from standardwebhooks.webhooks import Webhook

from jobqueue import Discard, Retry

from .context import Context
from .outbound import Outbound, read_at_most
from .payloads import Payload, read
from .raw_json import member_text
from .retry_after import retry_after

# Client errors that a later try can get past (RFC 9110, RFC 8470, RFC 6585): timeout, too early, too many.
_TRY_AGAIN = frozenset({408, 425, 429})
_MAX_RESPONSE_BYTES = 64 << 10
_SHOWN_CHARACTERS = 200

# Ours to set: they frame the message, name its destination, or prove where it came from.
_RESERVED = frozenset(
    {
        "host",
        "content-length",
        "content-type",
        "transfer-encoding",
        "connection",
        "keep-alive",
        "te",
        "trailer",
    }
    | {"upgrade", "expect", "webhook-id", "webhook-timestamp", "webhook-signature"}
)
_SECRET = re.compile(r"(?:whsec_)?(?:[A-Za-z0-9+/]{4})+(?:[A-Za-z0-9+/]{2,3}={0,2})?")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")


class WebhookDelivery(Payload):
    """The payload of `webhook_delivery`."""

    url: str = Field(pattern=r"^[Hh][Tt][Tt][Pp][Ss]?://")
    body: Any
    headers: dict[str, str] = Field(default_factory=dict)
    secret: str | None = None
    timeout: Annotated[str, Field(pattern=r"^[0-9]{1,6}(\.[0-9]{1,9})?s$")] | None = None


class WebhookHandler:
    """Delivers webhooks.

    A 2xx answer is success. A redirect is not followed: the address behind it would be the receiver's choice. It
    and every 4xx other than 408, 425 and 429 end the job; all else is tried again, after Retry-After if given.

    Args:
        outbound: The client to send with; its policy says which addresses may be reached.
        timeout: Longest time a delivery may take; a payload may ask for less.
        secret: Signs deliveries whose payload names no secret; several separated by spaces sign with each.
        secrets: The ones that payloads may name.

    Raises:
        ValueError: A secret is not base64.
    """

    def __init__(
        self,
        outbound: Outbound,
        *,
        timeout: timedelta,
        secret: SecretStr | None = None,
        secrets: Mapping[str, SecretStr] | None = None,
    ) -> None:
        self._outbound = outbound
        self._timeout = timeout
        self._default = _signers("webhook_secret", secret) if secret is not None else ()
        self._named = {
            name: _signers(f"webhook_secrets[{name}]", value) for name, value in (secrets or {}).items()
        }

    async def __call__(self, ctx: Context) -> dict[str, Any]:
        """Sends the body once.

        Returns:
            `status`, the answer's HTTP status, and `ms`, the time the exchange took.
        """
        payload = read(WebhookDelivery, ctx.job)
        body = member_text(ctx.job.payload_json, "body")
        if body is None:
            raise Discard("the payload has no body")
        headers = _custom_headers(payload.headers) | self._signed(ctx.job.id, body, payload.secret)
        ctx.raise_if_cancelled()
        started = time.monotonic()
        async with self._outbound.request(
            "POST", payload.url, headers=headers, data=body, timeout=self._limit(payload.timeout)
        ) as response:
            answer, _ = await read_at_most(response, _MAX_RESPONSE_BYTES)
        milliseconds = round((time.monotonic() - started) * 1000)
        if not 200 <= response.status < 300:
            raise _failure(response, answer)
        return {"status": response.status, "ms": milliseconds}

    def _limit(self, wanted: str | None) -> timedelta:
        if wanted is None:
            return self._timeout
        # Zero would mean "no limit" to the client underneath.
        return max(timedelta(milliseconds=1), min(timedelta(seconds=float(wanted[:-1])), self._timeout))

    def _signed(self, job_id: str, body: bytes, secret: str | None) -> dict[str, str]:
        """The headers of Standard Webhooks. The id is the job's, so that receivers recognise a repeated delivery."""
        if secret is None:
            signers = self._default
        elif secret in self._named:
            signers = self._named[secret]
        else:
            # Not a Discard: another worker may have it, or this one after its operator has set it.
            raise Retry(
                f"this worker has no webhook secret {secret!r}; its operator sets it in webhook_secrets"
            )
        now = datetime.now(UTC)
        headers = {
            "Content-Type": "application/json",
            "webhook-id": job_id,
            "webhook-timestamp": str(int(now.timestamp())),
        }
        if signers:
            text = body.decode("utf-8")
            headers["webhook-signature"] = " ".join(signer.sign(job_id, now, text) for signer in signers)
        return headers


def _signers(setting: str, secret: SecretStr) -> tuple[Webhook, ...]:
    parts = secret.get_secret_value().split()
    # The library ignores characters that are not base64, and would sign with a key that no receiver has.
    if not parts or not all(_SECRET.fullmatch(part) for part in parts):
        raise ValueError(f"{setting} is not a Standard Webhooks secret: whsec_ and base64")
    return tuple(Webhook(part) for part in parts)


def _custom_headers(headers: Mapping[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise Discard(f"payload.headers: {name!r} is not the name of an HTTP header")
        if name.lower() in _RESERVED:
            raise Discard(f"payload.headers: {name} is set by the delivery itself")
        if not _HEADER_VALUE.fullmatch(value):
            raise Discard(f"payload.headers.{name}: only printable ASCII characters are allowed")
    return dict(headers)


def _failure(response: aiohttp.ClientResponse, answer: bytes) -> Discard | Retry:
    status = response.status
    shown = "".join(
        c if c.isprintable() else " " for c in answer[: 4 * _SHOWN_CHARACTERS].decode("utf-8", "replace")
    )
    message = f"the receiver answered {status} {response.reason or ''}".rstrip()
    if shown.strip():
        message += f": {shown.strip()[:_SHOWN_CHARACTERS]}"
    if 300 <= status < 400:
        return Discard(f"{message}; redirects are not followed, use the final url")
    if 400 <= status < 500 and status not in _TRY_AGAIN:
        return Discard(message)
    return Retry(message, after=retry_after(response.headers.get("Retry-After"), datetime.now(UTC)))
