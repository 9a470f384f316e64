"""How a request of HTTP/1.1 is begun, behind those before it, and how one is refused that can't be read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from functools import cached_property
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from grpc_http2 import PeerCertificate, certificate_of

from .. import logs
from .answer import Receive, Refuse, Scope, Send
from .errors import Refused
from .head import MOST_BYTES, check_size, malformed, place, size
from .pieces import PiecewiseProtocol
from .request import peer_name

_ASGI = {"version": "3.0", "spec_version": "2.3"}
# For a caller that still sends when it is refused: a socket that is closed with unread bytes in it is reset, and its
# last answer may be lost.
_LINGER_SECONDS = 1.0
# The first byte of TLS, which begins no request.
_TLS_HANDSHAKE = b"\x16"
#: How often the log names a caller that speaks TLS where there is none, in seconds.
_TELL_EVERY = 10.0
_log = logs.get(__name__)


class _Told:
    """When the log named one last."""

    at = -_TELL_EVERY


def _tell_of_tls(client: tuple[str, int] | None) -> None:
    if time.monotonic() - _Told.at >= _TELL_EVERY:
        _Told.at = time.monotonic()
        _log.warning(
            "a caller speaks TLS on the HTTP port, which has none: call it by http://, or set JOBQUEUE_TLS_CERT",
            peer=peer_name(*client[:2]) if client else "",
        )


class RequestProtocol(PiecewiseProtocol):
    """The second of a connection's three layers: what becomes of a request on the general path."""

    # How a request is answered that reaches no application.
    _answer_with: Refuse
    # The body of a request that may take the fast path.
    _body: bytes | None = None
    # The parser keeps a header of any length, and passes over chunk extensions of any. How much came at once, how much
    # since the parser last gave something away, and whether that was in what came last.
    _came = 0
    _kept_bytes = 0
    _gave = False

    def _begin_general(self, method: bytes, version: str) -> None:
        path, raw_path, query = place(self.url)
        scope = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": version,
            "method": method.decode(),
            "scheme": self.scheme,
            "server": self.server,
            "client": self.client,
            "root_path": "",
            "headers": self.headers,
            "path": path,
            "raw_path": raw_path,
            "query_string": query,
            # Not of ASGI: other servers leave it out.
            "certificate": self._certificate,
        }
        waits = self.cycle is not None and not self.cycle.response_complete
        keep_alive = version != "1.0" and self.parser.should_keep_alive()
        self._begin(scope, self.app, waits=waits, keep_alive=keep_alive, transport=self.transport)

    @cached_property
    def _certificate(self) -> PeerCertificate | None:
        return certificate_of(self.transport)

    def _begin(self, scope: Any, app: Any, *, waits: bool, keep_alive: bool, transport: Any) -> None:
        """Has the request answered by the application, behind those before it."""
        self.cycle = RequestResponseCycle(
            scope=scope,
            transport=transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=keep_alive,
            on_response=self.on_response_complete,
        )
        if waits:
            self.flow.hold()
            self.pipeline.appendleft((self.cycle, app))
        else:
            self._start_asgi_task(self.cycle, app)

    def _check_kept(self) -> None:
        """Refuses a request that goes on without an end of its head, or with what is neither head nor body."""
        if self._gave:
            # Where in these bytes it was is not known.
            self._gave = False
            self._kept_bytes = size(self.url, self.headers) if self._head_open else 0
        else:
            self._kept_bytes += self._came
        if self._head_open:
            check_size(self._kept_bytes)
        elif self._kept_bytes > MOST_BYTES:
            raise malformed(f"over {MOST_BYTES} bytes of chunk extensions or trailers came at once")

    def _fault(self, error: httptools.HttpParserError, data: bytes) -> Refused:
        """What is wrong with a request that could not be parsed. `data`: what came last."""
        if not isinstance(error, httptools.HttpParserCallbackError):
            if self.parser.get_method() == b"PRI":
                return malformed("this is HTTP/2; this port speaks HTTP/1.1")
            if data.startswith(_TLS_HANDSHAKE):
                # The caller can't read the answer: it says "wrong version number". So the log says it too.
                _tell_of_tls(self.client)
                return malformed("this is TLS; this port speaks plain HTTP/1.1")
            return malformed(f"this is no request of HTTP/1.1: {error}")
        if isinstance(error.__context__, Refused):
            return error.__context__
        # A fault of ours, which ends the connection and is logged.
        raise error

    def _refuse(self, error: Refused) -> None:
        """Answers the request that is being read with an error, in its turn, and reads nothing more."""
        lines: Iterable[tuple[bytes, bytes]] = self.headers
        waits = self.cycle is not None and not self.cycle.response_complete
        if not self._between and not self._head_open and self._body is None:
            # It has begun.
            if self.cycle.response_started:
                self._refused = True
                self.transport.close()
                return
            lines = self.cycle.scope["headers"]
            waits = bool(self.pipeline)
            if waits:
                self.pipeline.popleft()
            else:
                self.cycle.disconnected = True
                self.cycle.message_event.set()
        self._refused, self._between = True, False

        async def refusing(scope: Scope, receive: Receive, send: Send) -> None:
            await self._answer_with(scope, send, error)

        scope = {"type": "http", "method": self.parser.get_method().decode(), "headers": lines}
        transport = _Lingering(self.transport, self.loop)
        self._begin(scope, refusing, waits=waits, keep_alive=False, transport=transport)


class _Lingering:
    """A transport whose caller may read the last answer to its end before the connection is closed."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self.write = transport.write

    def close(self) -> None:
        """Says that nothing more comes; closes soon after, or with the caller."""
        if self._transport.can_write_eof() and not self._transport.is_closing():
            self._transport.write_eof()
            self._loop.call_later(_LINGER_SECONDS, self._transport.close)
        else:
            self._transport.close()
