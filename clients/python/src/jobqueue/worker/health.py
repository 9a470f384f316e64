"""`/livez` and `/readyz` of a worker, served by a thread of its own, so that they answer while handlers block."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from typing import Any

from .options import split_address
from .status import StatusBook

_PATHS: dict[str, Callable[[StatusBook], bool]] = {
    "/livez": lambda book: book.alive,
    "/readyz": lambda book: book.ready,
}
# A caller that connects and says nothing is let go.
_READ_WITHIN = 5.0
# How soon the thread sees that it is to end.
_END_SEEN_WITHIN = 0.1


class HealthServer:
    """Listens on an address and answers by the status of the worker.

    Args:
        address: `host:port`. Port 0: any free one.
        book: The worker's status.

    Attributes:
        address: Where it listens, as host and port.

    Raises:
        ValueError: The address is not of this form.
        OSError: Nothing can listen there; the text names the address.
    """

    def __init__(self, address: str, book: StatusBook) -> None:
        host, port = split_address(address)
        try:
            self._server = (_Server6 if ":" in host else _Server)((host, port), _Handler)
        except OSError as error:
            why = error.strerror or str(error)
            raise OSError(error.errno, f"health can't be served at {address}: {why}") from None
        self._server.book = book
        bound = self._server.socket.getsockname()
        self.address: tuple[str, int] = (str(bound[0]), int(bound[1]))
        threading.Thread(
            target=self._server.serve_forever, args=(_END_SEEN_WITHIN,), name="jobqueue-health", daemon=True
        ).start()

    def close(self) -> None:
        """Stops listening. Afterwards the port is free."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingMixIn, TCPServer):
    allow_reuse_address = True
    daemon_threads = True
    # A thread that waits for a silent caller must not keep the worker from its end.
    block_on_close = False
    book: StatusBook

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing: the caller has gone."""


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(BaseHTTPRequestHandler):
    timeout = _READ_WITHIN
    server: _Server

    def do_GET(self) -> None:
        """Answers a probe."""
        check = _PATHS.get(self.path.partition("?")[0])
        if check is None:
            self._answer(404, {"error": "not_found", "message": "there are /livez and /readyz"})
            return
        book = self.server.book
        self._answer(200 if check(book) else 503, book.status().as_json())

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._other_method
        raise AttributeError(name)

    def _other_method(self) -> None:
        if self.path.partition("?")[0] in _PATHS:
            self._answer(405, {"error": "method_not_allowed", "message": "use GET"})
        else:
            self.do_GET()

    def _answer(self, code: int, body: dict[str, Any]) -> None:
        text = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.send_header("Cache-Control", "no-store")
        if code == 405:
            self.send_header("Allow", "GET")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:
        """Logs nothing: a probe is not worth a line."""
