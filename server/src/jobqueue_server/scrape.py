"""The port that Prometheus reads, by threads of its own, so that it answers while the event loop is busy."""

from __future__ import annotations

import hmac
import socket
import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from .addresses import split_address, taken

#: A WSGI application.
Pages = Callable[[dict[str, Any], Any], Iterable[bytes]]


class ScrapeEndpoint:
    """Serves a page.

    Args:
        pages: What answers.
        token: What a reader has to show as its bearer; None: nothing.
    """

    def __init__(self, pages: Pages, token: str | None = None) -> None:
        self._pages = pages if token is None else _guarded(pages, token)

    def start(self, address: str) -> int:
        """Listens on `host:port` and answers the port, which differs from the asked one if that was 0.

        Raises:
            AddressUnusable: The port is taken. A server does not take the next free one: its scraper would not know.
        """
        host, port = split_address(address)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        server = type("_Family", (_Server,), {"address_family": family})
        try:
            self._server: WSGIServer = make_server(host, port, self._pages, server, handler_class=_Silent)
        except OSError as error:
            raise taken("The metrics endpoint", address, "JOBQUEUE_METRICS_ADDR") from error
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()
        return int(self._server.server_port)

    def stop(self) -> None:
        """Ends listening; after it the port is free."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _guarded(pages: Pages, token: str) -> Pages:
    expected = f"Bearer {token}".encode()

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        shown = str(environ.get("HTTP_AUTHORIZATION", "")).encode("latin-1", "replace")
        if hmac.compare_digest(shown, expected):
            return pages(environ, start_response)
        start_response("401 Unauthorized", [("WWW-Authenticate", "Bearer"), ("Content-Type", "text/plain")])
        return [b"metrics are for readers that show the token of JOBQUEUE_METRICS_TOKEN_FILE\n"]

    return answer


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        # Without the look for a name of this host in the DNS, which may take seconds.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()


class _Silent(WSGIRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        """A scrape is no news."""
