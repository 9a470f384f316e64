"""A good caller, in a process of its own: `python -m tests.abuse.good GRPC_ADDRESS HTTP_PORT SECONDS`.

It makes a call over gRPC on a connection of its own, and one over HTTP on another, every 20 ms, and prints how long
each took; and how often the server was not ready, by `/readyz` and by gRPC's health.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass, field

import aiohttp
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

_EVERY = 0.02
_LOOK = 0.25
_PATIENCE = 5.0


@dataclass
class Noticed:
    """What it noticed: seconds of each call, calls that failed, looks at which the server was not ready."""

    grpc: list[float] = field(default_factory=list)
    http: list[float] = field(default_factory=list)
    failed: int = 0
    not_ready: int = 0


async def notice(address: str, port: int, seconds: float) -> Noticed:
    """Calls for so long."""
    noticed = Noticed()
    until = time.monotonic() + seconds
    place = f"http://127.0.0.1:{port}"
    timeout = aiohttp.ClientTimeout(_PATIENCE)
    async with (
        grpc.aio.insecure_channel(address) as channel,
        aiohttp.ClientSession(timeout=timeout) as session,
    ):
        check = health_pb2_grpc.HealthStub(channel).Check

        async def over_grpc() -> None:
            await check(health_pb2.HealthCheckRequest(), timeout=_PATIENCE, wait_for_ready=True)

        async def over_http() -> None:
            async with session.get(f"{place}/health") as answer:
                answer.raise_for_status()

        async def ready() -> None:
            said = await check(health_pb2.HealthCheckRequest(), timeout=_PATIENCE, wait_for_ready=True)
            async with session.get(f"{place}/readyz", headers={"connection": "close"}) as answer:
                noticed.not_ready += (
                    answer.status != 200 or said.status != health_pb2.HealthCheckResponse.SERVING
                )

        async def timed(call, times: list[float]) -> None:
            began = time.monotonic()
            try:
                await call()
            except (grpc.aio.AioRpcError, aiohttp.ClientError, TimeoutError):
                noticed.failed += 1
            times.append(time.monotonic() - began)

        async def look() -> None:
            while time.monotonic() < until:
                try:
                    await ready()
                except (grpc.aio.AioRpcError, aiohttp.ClientError, TimeoutError):
                    noticed.not_ready += 1
                await asyncio.sleep(_LOOK)

        looking = asyncio.create_task(look())
        calls = []
        while time.monotonic() < until:
            calls.append(asyncio.create_task(timed(over_grpc, noticed.grpc)))
            calls.append(asyncio.create_task(timed(over_http, noticed.http)))
            await asyncio.sleep(_EVERY)
        await asyncio.gather(looking, *calls)
    return noticed


if __name__ == "__main__":
    print(json.dumps(asdict(asyncio.run(notice(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))))))
