"""What the tests of the handlers share: an attempt at a job without a server, and a process pool."""

from __future__ import annotations

import asyncio
import json
import socket
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from jobqueue import Cancelled
from jobqueue_worker.handlers.cpu import CpuPool


@dataclass
class AnyJob:
    kind: str
    payload_json: bytes
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    attempt: int = 1

    @property
    def payload(self) -> Any:
        return json.loads(self.payload_json)


@dataclass
class AnyContext:
    job: AnyJob
    cancelled: bool = False
    reported: list[tuple[float, str]] = field(default_factory=list)

    def raise_if_cancelled(self) -> None:
        if self.cancelled:
            raise Cancelled()

    async def progress(self, fraction: float, message: str = "") -> None:
        self.reported.append((fraction, message))


class Attempt:
    """Makes contexts: `attempt("send_email", to=..., ...)`, or `attempt(kind, raw=b"...")`."""

    def __call__(
        self, kind: str, *, raw: bytes | None = None, cancelled: bool = False, number: int = 1, **payload: Any
    ) -> AnyContext:
        job = AnyJob(kind, raw if raw is not None else json.dumps(payload).encode(), attempt=number)
        return AnyContext(job, cancelled)


@pytest.fixture
def attempt() -> Attempt:
    return Attempt()


@pytest.fixture
async def cpu() -> AsyncIterator[CpuPool]:
    pool = CpuPool(1)
    yield pool
    await pool.close()


class Names(AbstractResolver):
    """A resolver whose answers the test decides; counts the questions."""

    def __init__(self, **answers: list[str]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self.answers[host.partition(".")[0]]
        ]

    async def close(self) -> None:
        pass


@dataclass
class Answers:
    """An HTTP server on loopback that answers as told and remembers what it was asked."""

    port: int = 0
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"thanks"
    chunked: bool = False
    hold: asyncio.Event | None = None
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    async def answer(self, request: web.Request) -> web.Response:
        self.requests.append((request.path, dict(request.headers), await request.read()))
        if self.hold is not None:
            await self.hold.wait()
        response = web.Response(status=self.status, headers=self.headers, body=self.body)
        if self.chunked:
            response.enable_chunked_encoding()
        return response


@pytest.fixture
async def http() -> AsyncIterator[Answers]:
    answers = Answers()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answers.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    answers.port = runner.addresses[0][1]
    yield answers
    await runner.cleanup()


@pytest.fixture
def names() -> type[Names]:
    return Names
