"""The worker's Prometheus metrics, under the names that dashboards know from the system before this one."""

from __future__ import annotations

import json
import logging
import re
import socket
import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, Counter, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.exposition import make_wsgi_app

from jobqueue import Attempt, Observer

_log = logging.getLogger(__name__)

#: How many ports are tried, from the wanted one on.
PORTS = 10

# A handler ends within milliseconds or within hours.
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)


class WorkerMetrics(Observer):
    """Counts attempts by kind and outcome: succeeded, retrying, failed_permanent, cancelled or error.

    Attributes:
        registry: Holds the metrics, and those of the process.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._started = Counter(
            "worker_jobs_started_total", "Attempts that were started.", ("kind",), registry=self.registry
        )
        self._completed = Counter(
            "worker_jobs_completed_total",
            "Attempts that ended, by what became of the job.",
            ("kind", "outcome"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "worker_job_duration_seconds",
            "How long their handlers ran.",
            ("kind", "outcome"),
            buckets=_SECONDS,
            registry=self.registry,
        )

    def attempt_started(self, attempt: Attempt) -> None:
        """An attempt starts."""
        self._started.labels(attempt.kind).inc()

    def attempt_ended(self, attempt: Attempt, outcome: str, seconds: float, error: str) -> None:
        """The server has answered an attempt's outcome."""
        self._completed.labels(attempt.kind, outcome).inc()
        self._seconds.labels(attempt.kind, outcome).observe(seconds)


class EndpointUnusable(Exception):
    """No port to serve metrics on. The text says which were tried and what to do."""


class WorkerEndpoint:
    """`/metrics` and `/health`, by a thread of its own, so that they answer while handlers keep the loop busy."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._metrics: Callable[..., Iterable[bytes]] = make_wsgi_app(registry)
        self._server: WSGIServer | None = None

    def start(self, address: str) -> str:
        """Listens on `host:port`, or on the next of ten ports that is free: several workers share a machine.

        Returns:
            The url of the metrics.

        Raises:
            EndpointUnusable: All ten are taken, or the address is not this machine's.
        """
        host, first = split_address(address)
        bare = host.removeprefix("[").removesuffix("]")
        server_class = _Server6 if ":" in bare else _Server
        # Port 0 is any free one; there is no next.
        ports = range(first, min(first + PORTS, 65536)) if first else range(1)
        for port in ports:
            try:
                server = server_class((bare, port), _Quiet)
            except OSError as error:
                failure = error
                continue
            break
        else:
            tried = f"any of the ports {ports[0]} to {ports[-1]}" if len(ports) > 1 else f"port {first}"
            raise EndpointUnusable(
                f"metrics can't be served on {tried} of {host} ({failure.strerror or failure}): "
                "choose another address with WORKER_METRICS_BIND_ADDR (--metrics-bind-addr)"
            )
        if first and server.server_port != first:
            _log.warning("port %d is taken; metrics are served on port %d", first, server.server_port)
        server.set_app(self._answer)
        self._server = server
        threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
        return f"http://{host}:{server.server_port}/metrics"

    def stop(self) -> None:
        """Stops listening. Afterwards the port is free."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/metrics":
            return self._metrics(environ, start)
        if path == "/health":
            status, body = "200 OK", {"status": "ok"}
        else:
            status, body = (
                "404 Not Found",
                {"error": "not_found", "message": "there are /metrics and /health"},
            )
        start(status, [("Content-Type", "application/json")])
        return [json.dumps(body).encode()]


def split_address(address: str) -> tuple[str, int]:
    """Host and port of `host:port` or `[v6]:port`; the host keeps its brackets.

    Raises:
        EndpointUnusable: The text is not of this form.
    """
    match = re.fullmatch(r"(\[[0-9a-fA-F:.%]+\]|[^\[\]:]+):(\d{1,5})", address, re.ASCII)
    if match is None or int(match[2]) > 65535:
        raise EndpointUnusable(
            f"WORKER_METRICS_BIND_ADDR (--metrics-bind-addr) is {address!r}; "
            "it should be HOST:PORT, such as 127.0.0.1:9091 or [::1]:9091 (port 0: a free one)"
        )
    return match[1], int(match[2])


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        # HTTPServer's method would ask the name service for this machine's name, which takes seconds if there is none.
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Logs nothing: a scrape is not worth a line."""
