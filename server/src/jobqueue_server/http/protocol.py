"""A connection of HTTP/1.1: where each request ends, whatever it says and however its bytes are cut."""

from __future__ import annotations

from functools import cached_property

import httptools

from .errors import Refused
from .fast.call import HttpFastCall
from .fast.heads import Layout
from .fast.path import METHOD, PATH, REQUEST_LINE, HttpFastPath
from .general import RequestProtocol
from .head import check, check_size, size, without_upgrade
from .request import peer_name

# The headers that say something of where a request ends, or when.
_TOLD = frozenset((b"host", b"transfer-encoding", b"expect"))


class HttpProtocol(RequestProtocol):
    """uvicorn's, with a fast path for most enqueues.

    An upgrade is passed over, as RFC 9110 allows (section 7.8): the request is answered as HTTP/1.1, with its body. A
    request that can be read in two ways, or in none, is answered in its turn with what is wrong, and ends the
    connection: what follows it could be anything.
    """

    _fast_path: HttpFastPath | None = None
    _fast_call: HttpFastCall | None = None
    # How the last request on the fast path was laid out, where the next ones differ in a few values.
    _layout: Layout | None = None
    # What came at once, where that is a request from its first byte on.
    _whole: bytes = b""
    _hosts = 0
    _codings: tuple[bytes, ...] = ()
    # The head of a request that asks for an upgrade, without the field that does.
    _head_without_upgrade: bytes | None = None

    def data_received(self, data: bytes) -> None:
        """Reads on: on the fast path where all of a known request came at once."""
        self._unset_keepalive_if_required()
        if self.flow.held:
            # With TLS what had come is still handed on.
            self._rest += data
            return
        path = self._fast_path
        if path is not None and data.startswith(REQUEST_LINE) and self._is_idle:
            known = None if self._layout is None else self._layout.read(data)
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
            self._refuse(self._fault(error, data))
        except Refused as error:
            self._refuse(error)

    def _parse(self, data: bytes | memoryview) -> memoryview | None:
        """Has the parser read it, up to the head of a request with an upgrade; what is left then, else None.

        The parser takes such a request for one without a body, and what follows its head for another protocol.
        """
        if self._head_without_upgrade is not None:
            head, self._head_without_upgrade = self._head_without_upgrade, None
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
        # No piece that is read at once is over the limit: a head that began in this one is within it.
        if not self._gave:
            check_size(size(self.url, self.headers))
        if self._fast_path is not None and self._may_be_fast(self._fast_path):
            self._body = b""
        else:
            parser = self.parser
            method, version = parser.get_method(), parser.get_http_version()
            check(method, version, self._hosts, self._codings)
            if parser.should_upgrade():
                self._head_without_upgrade = without_upgrade(method, self.url, version, self.headers)
                return
            self._begin_general(method, version)
            # A trailer is no header: it has not been there when the request was judged.
            self.headers = []
        self._head_open = False
        self._gave = True

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
        if self._head_without_upgrade is not None:
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
        started = path.start(metadata, body, self._peer, self._certificate)
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
