"""A connection of HTTP/1.1: where each request ends, whatever it says and however its bytes are cut."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from functools import cached_property
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from .answer import Receive, Refuse, Scope, Send
from .errors import Refused
from .fast.call import HttpFastCall
from .fast.heads import Layout
from .fast.path import METHOD, PATH, REQUEST_LINE, HttpFastPath
from .flow import Flow
from .head import MOST_BYTES, check, check_size, malformed, place, size, without_upgrade
from .request import peer_name

_ASGI = {"version": "3.0", "spec_version": "2.3"}
# The headers that say something of where a request ends, or when.
_TOLD = frozenset((b"host", b"transfer-encoding", b"expect"))
# For a caller that still sends when it is refused: a socket that is closed with unread bytes in it is reset, and its
# last answer may be lost.
_LINGER_SECONDS = 1.0
# What came at once is read in such pieces, for so long; then others have their turn. What fits in one never waits.
_PIECE = 4 << 10
_PIECE_OF_BODY = 64 << 10
_TURN = 0.002
# And so much at most: where a read is this long the loop would go on with others of the same caller.
_MUCH = 128 << 10


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's, with a fast path for most enqueues.

    An upgrade is passed over, as RFC 9110 allows (section 7.8): the request is answered as HTTP/1.1, with its body. A
    request that can be read in two ways, or in none, is answered in its turn with what is wrong, and ends the
    connection: what follows it could be anything.
    """

    _fast_path: HttpFastPath | None = None
    _fast_call: HttpFastCall | None = None
    # How a request is answered that reaches no application.
    _answer_with: Refuse
    # How the last request on the fast path was laid out, where the next ones differ in a few values.
    _layout: Layout | None = None
    # The body of a request that may take the fast path.
    _body: bytes | None = None
    # What came at once, where that is a request from its first byte on.
    _whole: bytes = b""
    # Whether the parser stands between two requests; whether it is within the head of one.
    _between = True
    _head_open = False
    _hosts = 0
    _codings: tuple[bytes, ...] = ()
    # The head of a request that asks for an upgrade, without the field that does.
    _plain_head: bytes | None = None
    # The parser keeps a header of any length, and passes over chunk extensions of any. How much came at once, how much
    # since the parser last gave something away, and whether that was in what came last.
    _came = 0
    _kept_bytes = 0
    _gave = False
    _refused = False
    # What has come and waits for its turn, or for answers to the requests before it.
    _rest = b""
    flow: Flow

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Waits for requests."""
        super().connection_made(transport)
        self.flow = Flow(transport)

    def data_received(self, data: bytes) -> None:
        """Reads on: on the fast path where all of a known request came at once."""
        self._unset_keepalive_if_required()
        if self.flow.held:
            # With TLS what had come is still handed on.
            self._rest += data
            return
        path = self._fast_path
        if path is not None and data.startswith(REQUEST_LINE) and self._is_idle:
            known = path.heads.known(data) if self._layout is None else self._layout.read(data)
            if known is not None and self._begin_fast(path, *known):
                return
            self._whole = data
            self._read_pieces(data)
            self._whole = b""
        else:
            self._read_pieces(data)

    @property
    def _is_idle(self) -> bool:
        """Whether what comes begins a request, and nothing of one before is left to do."""
        return (
            self._between
            and (self.cycle is None or self.cycle.response_complete)
            and not self.flow.write_paused
        )

    def _read_pieces(self, data: bytes) -> None:
        """Reads as long as no request waits for an answer to another, and as its turn lasts.

        A read of 256 KB may bring ten thousand requests, and bodies of ten thousand pieces.
        """
        if len(data) <= _PIECE:
            self._read(data)
            return
        at, ends = 0, time.monotonic() + _TURN
        while at < len(data) and not self._refused:
            size = _PIECE if self._between or self._head_open else _PIECE_OF_BODY
            self._read(data[at : at + size])
            at += size
            if self.pipeline or at >= _MUCH or time.monotonic() > ends:
                self._rest = data[at:]
                self.flow.hold()
                if not self.pipeline:
                    self.loop.call_soon(self._go_on)
                break

    def _go_on(self) -> None:
        """Reads what waits, and then what comes."""
        if self.pipeline or self.transport.is_closing():
            return
        self.flow.held = False
        rest, self._rest = self._rest, b""
        if rest:
            self._unset_keepalive_if_required()
            self._read_pieces(rest)
        if not self.flow.held:
            self.flow.resume_reading()

    def on_response_complete(self) -> None:
        """Begins the next request; behind the last one reads on."""
        super().on_response_complete()
        if self.flow.held and not self.pipeline:
            self.loop.call_soon(self._go_on)

    def _read(self, data: bytes) -> None:
        if self._refused:
            return
        self._came = len(data)
        rest: bytes | memoryview | None = data
        try:
            while rest is not None:
                rest = self._parse(rest)
            if not self._between:
                self._check_kept()
        except httptools.HttpParserError as error:
            self._refuse(self._fault(error))
        except Refused as error:
            self._refuse(error)

    def _parse(self, data: bytes | memoryview) -> memoryview | None:
        """Has the parser read it, up to the head of a request with an upgrade; what is left then, else None.

        The parser takes such a request for one without a body, and what follows its head for another protocol.
        """
        if self._plain_head is not None:
            head, self._plain_head = self._plain_head, None
            self.parser.feed_data(head)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as asked:
            return memoryview(data)[asked.args[0] :]
        return None

    def on_message_begin(self) -> None:
        """Opens a head."""
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._hosts, self._codings = 0, ()
        self._between = False
        self._head_open = self._gave = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keeps a header, and counts those that say where the request ends."""
        name = name.lower()
        if name in _TOLD:
            if name == b"host":
                self._hosts += 1
            elif name == b"expect":
                self.expect_100_continue = value.lower() == b"100-continue"
            else:
                self._codings = (*self._codings, value)
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Begins the request, or keeps it for the fast path."""
        if self._came > MOST_BYTES or not self._gave:
            check_size(size(self.url, self.headers))
        if self._fast_path is not None and self._may_be_fast(self._fast_path):
            self._body = b""
        else:
            parser = self.parser
            method, version = parser.get_method(), parser.get_http_version()
            check(method, version, self._hosts, self._codings)
            if parser.should_upgrade():
                self._plain_head = without_upgrade(method, self.url, version, self.headers)
                return
            self._begin_general(method, version)
            # A trailer is no header: it has not been there when the request was judged.
            self.headers = []
        self._head_open = False
        self._gave = True

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
        }
        waits = self.cycle is not None and not self.cycle.response_complete
        keep_alive = version != "1.0" and self.parser.should_keep_alive()
        self._begin(scope, self.app, waits=waits, keep_alive=keep_alive, transport=self.transport)

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

    def _may_be_fast(self, path: HttpFastPath) -> bool:
        return (
            self.url == PATH
            and self.parser.get_method() == METHOD
            and (self.cycle is None or self.cycle.response_complete)
            and not self.flow.write_paused
            and self.parser.get_http_version() == "1.1"
            and self.parser.should_keep_alive()
            and not self.expect_100_continue
            and path.heads.usual(self.headers)
        )

    def on_body(self, body: bytes) -> None:
        """Passes a part of the body on."""
        self._gave = True
        if self._body is None:
            super().on_body(body)
        else:
            self._body = self._body + body if self._body else body

    def on_message_complete(self) -> None:
        """Ends the request; what was kept for the fast path is begun, on the general path where it must be."""
        if self._plain_head is not None:
            return
        self._between = True
        body, self._body = self._body, None
        if body is not None:
            assert self._fast_path is not None
            metadata, self._layout = self._fast_path.heads.metadata(self.headers, self._whole, body)
            if self._begin_fast(self._fast_path, metadata, body):
                return
            self._begin_general(METHOD, "1.1")
            super().on_body(body)
        super().on_message_complete()

    def _begin_fast(self, path: HttpFastPath, metadata: dict[str, str], body: bytes) -> bool:
        started = path.start(metadata, body, self._peer)
        if started is None:
            return False
        self.cycle = self._fast_call = HttpFastCall(path, *started, self)  # type: ignore[assignment]
        return True

    @cached_property
    def _peer(self) -> str:
        if not self.client:
            return ""
        return peer_name(*self.client[:2])

    def connection_lost(self, exc: Exception | None) -> None:
        """Tells the calls under way."""
        # Also where another request waits behind it.
        if self._fast_call is not None:
            self._fast_call.set()
        super().connection_lost(exc)

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

    def _fault(self, error: httptools.HttpParserError) -> Refused:
        """What is wrong with a request that could not be parsed."""
        if not isinstance(error, httptools.HttpParserCallbackError):
            if self.parser.get_method() == b"PRI":
                return malformed("this is HTTP/2; this port speaks HTTP/1.1")
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
