"""An answer over HTTP: status, headers and body, complete before the first byte is sent."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import JobQueueError

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]
# Answers a request with an error.
Refuse = Callable[[Scope, Send, JobQueueError], Awaitable[None]]
Headers = tuple[tuple[str, str], ...]

JSON = "application/json"
#: What every answer says that does not say otherwise: no cache keeps what a caller was shown, and no browser takes it
#: for another type than its own.
CLOSED = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer.

    Attributes:
        status: The HTTP status.
        body: The body; empty with 204 and 304.
        headers: The headers, without Content-Type and Content-Length, which follow from the body.
        content_type: The body's.
    """

    status: int
    body: bytes = b""
    headers: Headers = ()
    content_type: str = JSON

    def with_headers(self, headers: Iterable[tuple[str, str]]) -> Answer:
        """The same answer with more headers."""
        return Answer(self.status, self.body, (*self.headers, *headers), self.content_type)

    async def send(self, send: Send, *, head: bool) -> None:
        """Sends the answer.

        Args:
            send: ASGI's send.
            head: Whether to send the headers alone, for HEAD. Content-Length is the length of GET's body.
        """
        lines = answer_lines(self.headers)
        if self.status not in (204, 304):
            lines.append((b"content-type", self.content_type.encode()))
            lines.append((b"content-length", b"%d" % len(self.body)))
        await send({"type": "http.response.start", "status": self.status, "headers": lines})
        await send({"type": "http.response.body", "body": b"" if head else self.body})


def json_answer(status: int, value: object, headers: Headers = ()) -> Answer:
    """An answer of plain JSON."""
    return Answer(status, json_text(value), headers)


def json_text(value: object) -> bytes:
    """A value as JSON in UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def header_lines(headers: Headers) -> list[tuple[bytes, bytes]]:
    """The headers in the form of ASGI."""
    return [(name.lower().encode(), _line(value)) for name, value in headers]


def answer_lines(headers: Headers) -> list[tuple[bytes, bytes]]:
    """The headers of an answer in the form of ASGI, with those of `CLOSED` that are not among them."""
    lines = header_lines(headers)
    named = {name for name, _ in lines}
    lines += (line for line in CLOSED if line[0] not in named)
    return lines


def _line(value: str) -> bytes:
    """A header's value without line breaks: it may have text of a caller."""
    if not value.isprintable():
        value = "".join(char if char.isprintable() else "?" for char in value)
    return value.encode("latin-1", "replace")
