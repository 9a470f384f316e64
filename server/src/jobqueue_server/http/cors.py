"""Which pages in a browser may call the server: its own, and pages of the origins in an allow-list, by CORS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from . import headers
from .answer import Answer, Asgi, Headers, Receive, Refuse, Scope, Send
from .errors import Refused

#: The entry of the allow-list for every origin.
ANY = "*"

# The headers of an answer that a page's script can read, in addition to those that browsers always show.
_EXPOSED = (
    "Allow, Idempotency-Replayed, Jobqueue-Pressure, Location, Retry-After, Unique-Action, WWW-Authenticate, "
    "X-Request-Id"
)
# The answer to the call says whether the path has the method. A page can read that, but not a failed preflight.
_METHODS = "DELETE, GET, HEAD, PATCH, POST, PUT"
# The longest time for which today's browsers keep the answer. Each call is checked in any case.
_MAX_AGE_SECONDS = "7200"
# The values by which a browser says that a request comes from the same site.
_MARKS = frozenset({b"origin", b"sec-fetch-site"})


class Cors:
    """Wraps an ASGI application. A page of another site may call it if its origin is in the allow-list.

    Any page can send requests to a server on its reader's loopback without a preflight. So a request that a browser
    marks as coming from another site is refused before the application, even if the page could not read the answer.
    Programs mark nothing, and pass. The server uses no cookies, so it never sends Access-Control-Allow-Credentials.

    Args:
        app: The application.
        origins: The allow-list, as browsers write origins (`https://example.com`), or `*`.
        refuse: Answers a request with an error.
    """

    def __init__(self, app: Asgi, origins: Sequence[str], refuse: Refuse) -> None:
        self._app = app
        self._any = ANY in origins
        self._origins = frozenset(origins)
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI's entry."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if _MARKS.isdisjoint([name for name, _ in scope["headers"]]):
            # Not from a browser, or from the server's own page: 0.5 us, instead of 3 us for reading all headers.
            await self._app(scope, receive, _with(send, self._marks("")))
            return
        metadata = headers.metadata(scope["headers"])
        origin = metadata.get("origin", "")
        allowed = self._any or origin in self._origins
        send = _with(send, self._marks(origin if allowed else ""))
        if not allowed and _is_foreign(scope["method"], metadata):
            await self._refuse(scope, send, _refused(origin))
        elif _is_preflight(scope["method"], metadata):
            await Answer(204, headers=_permission(metadata)).send(send, head=False)
        else:
            await self._app(scope, receive, send)

    @property
    def shared_headers(self) -> Headers:
        """The headers of an answer to a program."""
        return self._marks("")

    def _marks(self, origin: str) -> Headers:
        """The headers of every answer: which page may read it, and for caches, that this depends on the origin."""
        if self._any:
            return (("Access-Control-Allow-Origin", ANY), ("Access-Control-Expose-Headers", _EXPOSED))
        if not self._origins:
            return ()
        vary = ("Vary", "Origin")
        if not origin:
            return (vary,)
        return (vary, ("Access-Control-Allow-Origin", origin), ("Access-Control-Expose-Headers", _EXPOSED))


def _is_preflight(method: str, metadata: Mapping[str, str]) -> bool:
    return method == "OPTIONS" and "origin" in metadata and "access-control-request-method" in metadata


def _is_foreign(method: str, metadata: Mapping[str, str]) -> bool:
    """Whether a page of another site sent the request, as its browser says. Programs say nothing."""
    site = metadata.get("sec-fetch-site", "none")
    if site not in ("none", "same-origin"):
        # A user followed a link: the request only reads, and the page with the link can't see the answer.
        followed = (
            metadata.get("sec-fetch-mode") == "navigate" and metadata.get("sec-fetch-dest") == "document"
        )
        if not (followed and method == "GET" and "origin" not in metadata):
            return True
    origin = metadata.get("origin")
    return origin is not None and origin.partition("://")[2] != metadata.get("host", "")


def _permission(metadata: Mapping[str, str]) -> Headers:
    """The headers of a preflight's answer: any method, and the headers that the page asks for."""
    asked = metadata.get("access-control-request-headers", "")
    allowed: Headers = (("Access-Control-Allow-Headers", asked),) if asked else ()
    return (
        ("Access-Control-Allow-Methods", _METHODS),
        *allowed,
        ("Access-Control-Max-Age", _MAX_AGE_SECONDS),
    )


def _refused(origin: str) -> Refused:
    page = f"a page of {origin[:200]}" if origin else "a page of another site"
    return Refused(
        403,
        "PERMISSION_DENIED",
        f"this request comes from {page}, which may not call this server; "
        "JOBQUEUE_CORS_ORIGINS lists the origins that may",
    )


def _with(send: Send, marks: Headers) -> Send:
    if not marks:
        return send
    lines = [(name.lower().encode(), value.encode("latin-1")) for name, value in marks]

    async def marking(event: dict[str, Any]) -> None:
        if event["type"] == "http.response.start":
            event = {**event, "headers": [*event.get("headers", ()), *lines]}
        await send(event)

    return marking
