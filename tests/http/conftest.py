"""An HTTP server with the real chain and servicers, before a core that remembers what it was given."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
from yarl import URL

from jobqueue.v1 import jobqueue_pb2, queue_admin_pb2
from jobqueue_server.chain import Chain
from jobqueue_server.http.app import HttpApp
from jobqueue_server.http.cors import Cors
from jobqueue_server.http.errors import ErrorForm
from jobqueue_server.http.hosts import Hosts
from jobqueue_server.http.ops import Operations
from jobqueue_server.http.server import HttpServer
from jobqueue_server.metrics import Metrics
from jobqueue_server.rpc.job_queue import JobQueueServicer
from jobqueue_server.rpc.queue_admin import QueueAdminServicer
from tests.rpc.conftest import Core, FixedClock

PATIENCE = 20.0


@dataclass
class Reply:
    """An answer as a client sees it."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    def detail(self, name: str) -> dict[str, Any]:
        """The detail of this type of google.rpc; empty where there is none."""
        found = [
            each for each in self.json["details"] if each["@type"] == f"type.googleapis.com/google.rpc.{name}"
        ]
        return dict(found[0]) if found else {}

    @property
    def reason(self) -> str:
        return str(self.detail("ErrorInfo")["reason"])

    @property
    def violations(self) -> dict[str, str]:
        found = self.detail("BadRequest").get("field_violations", [])
        return {one["field"]: one["description"] for one in found}


class Caller:
    """Calls a server over HTTP. `await caller("POST", "/v1/jobs", {...})`."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE))

    async def __call__(self, method: str, path: str, body: object = None, **headers: str) -> Reply:
        """One call. The path is sent as it is; a body of bytes too, another one as JSON."""
        url = URL(f"http://127.0.0.1:{self.port}{path}", encoded=True)
        sent: dict[str, str] = {name.replace("_", "-"): value for name, value in headers.items()}
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        if data is not None:
            sent.setdefault("Content-Type", "application/json")
        async with self.session.request(method, url, data=data, headers=sent) as answer:
            return Reply(answer.status, answer.headers, await answer.text())


@dataclass
class Served:
    """A running server and a caller of it."""

    core: Any
    chain: Chain
    metrics: Metrics
    app: HttpApp
    server: HttpServer
    call: Caller
    not_ready: list[str] = field(default_factory=list)


@asynccontextmanager
async def serving(
    *,
    errors: ErrorForm | None = None,
    origins: Sequence[str] = (),
    hosts: Sequence[str] = (),
    **chain_options: Any,
) -> AsyncIterator[Served]:
    core: Any = Core()
    clock: Any = FixedClock()
    metrics = Metrics()
    chain = Chain(metrics, **chain_options)
    not_ready: list[str] = []
    services: list[tuple[Any, object]] = [
        (jobqueue_pb2.DESCRIPTOR.services_by_name["JobQueue"], JobQueueServicer(core, core, core, clock)),
        (queue_admin_pb2.DESCRIPTOR.services_by_name["QueueAdmin"], QueueAdminServicer(core, core)),
    ]
    app = HttpApp(chain, services, Operations(metrics, lambda: "; ".join(not_ready)), errors)
    server = HttpServer(app, Hosts(Cors(app, origins, app.refuse), hosts, app.refuse))
    call = Caller(await server.start("127.0.0.1:0"))
    try:
        yield Served(core, chain, metrics, app, server, call, not_ready)
    finally:
        await call.session.close()
        await server.stop(timedelta(0))


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serving() as running:
        yield running
