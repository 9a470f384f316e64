"""An HTTP server of the test service Feed, whose stream sends what a test says."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass

from jobqueue_server.chain import Call, Chain
from jobqueue_server.http.app import HttpApp
from jobqueue_server.http.contract import Contract, Resume
from jobqueue_server.http.errors import ErrorForm
from jobqueue_server.http.ops import Operations
from jobqueue_server.http.server import HttpServer
from jobqueue_server.http.transcoding.options import Options
from jobqueue_server.metrics import Metrics

from .conftest import Caller
from .transcoding.conftest import HERE, RAW_JSON, compile_service

FOLLOW = "/v1/events:follow"
CONTRACT = Contract(
    Options(raw_json=RAW_JSON),
    locations={"/transcoding.test.Feed/Publish": lambda event: f"/v1/events/{event.token}"},
    resumes={"/transcoding.test.Feed/Follow": Resume("token", "after")},
)


@cache
def feed_service() -> ServiceDescriptor:
    with tempfile.TemporaryDirectory() as folder:
        pool = compile_service(HERE, HERE / "library.proto", Path(folder) / "library.binpb")
    return pool.FindServiceByName("transcoding.test.Feed")


def event(token: str = "", text: str = "", **more: Any) -> Any:
    return GetMessageClass(feed_service().methods_by_name["Follow"].output_type)(
        token=token, text=text, **more
    )


class Feed:
    """Its stream sends what is put into `line`: events, errors that end it, or None for its end."""

    def __init__(self) -> None:
        self.line: asyncio.Queue[Any] = asyncio.Queue()
        self.requests: list[Any] = []
        self.opened = asyncio.Event()
        self.closed = asyncio.Event()

    async def Follow(self, request: Any, call: Call) -> AsyncIterator[Any]:
        self.requests.append(request)
        self.opened.set()
        try:
            while (item := await self.line.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            self.closed.set()

    async def Publish(self, request: Any, call: Call) -> Any:
        call.answer_metadata["x-http-code"] = "201"
        return request


class Served:
    """A running server of a Feed and a caller of it."""

    def __init__(self, errors: ErrorForm | None, **chain_options: Any) -> None:
        self.feed = Feed()
        self.metrics = Metrics()
        self.chain = Chain(self.metrics, **chain_options)
        services = [(feed_service(), self.feed)]
        self.app = HttpApp(self.chain, services, Operations(self.metrics, lambda: ""), errors, CONTRACT)
        self.server = HttpServer(self.app)
        self.call: Any = None

    def counted(self, method: str, code: str) -> float | None:
        """How many calls of a method ended with this code."""
        labels = {"grpc_service": "transcoding.test.Feed", "grpc_method": method, "grpc_code": code}
        return self.metrics.registry.get_sample_value(
            "grpc_server_handled_total", {**labels, "transport": "http"}
        )


@asynccontextmanager
async def serving_feed(
    errors: ErrorForm | None = None, **chain_options: Any
) -> AsyncIterator[tuple[Served, Caller]]:
    served = Served(errors, **chain_options)
    caller = Caller(await served.server.start("127.0.0.1:0"))
    try:
        yield served, caller
    finally:
        await caller.session.close()
        await served.server.stop(timedelta(0))
