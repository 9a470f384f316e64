"""Builds the HTTP transport: the application, and what wraps it."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.descriptor import ServiceDescriptor

from ..chain import Chain
from ..settings import Settings
from ..tls import Tls
from . import hosts
from .app import HttpApp
from .cors import Cors
from .errors import ErrorForm
from .hosts import Hosts
from .ops import Operations
from .server import HttpServer


def http_server(
    settings: Settings,
    chain: Chain,
    services: Sequence[tuple[ServiceDescriptor, object]],
    operations: Operations,
    *,
    tls: Tls | None,
    reuse_port: bool,
) -> HttpServer:
    """The HTTP server of these services, by the settings."""
    http = HttpApp(chain, services, operations, ErrorForm(aip193=settings.http_errors == "aip193"))
    cors = Cors(http, settings.cors_origins, http.refuse)
    names = settings.http_hosts
    if not hosts.needed(settings.http_addr or "", names):
        names = (hosts.ANY,)
    front = Hosts(cors, names, http.refuse)
    fast_path = http.fast_path(front.answers, cors.shared_headers)
    return HttpServer(http, front, fast_path=fast_path, tls=tls, reuse_port=reuse_port)
