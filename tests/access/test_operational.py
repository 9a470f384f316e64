"""What is read of the server itself: health for all, documents for those with a key, metrics for its administrators."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import grpc.aio
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from jobqueue_server.grants import Permission
from tests.lease.hand_worker import reason_of

from .house import House, grant

DOCUMENTS = ("/docs", "/openapi.json", "/version")


@pytest.fixture
async def house(dsn: str) -> AsyncIterator[House]:
    async with House(dsn, http_addr="127.0.0.1:0") as house:
        yield house


async def status(house: House, path: str, key: str = "") -> int:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    async with aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{house.app.http_port}{path}"
        async with session.get(url, headers=headers) as response:
            return response.status


async def test_whether_the_server_lives_and_takes_work_is_told_to_all(house: House) -> None:
    assert [await status(house, path) for path in ("/health", "/healthz", "/readyz")] == [200] * 3
    assert await house.health() == "SERVING"


@pytest.mark.parametrize("path", DOCUMENTS)
async def test_documents_are_for_callers_with_a_key(house: House, path: str) -> None:
    key = await house.key(grant(Permission.ENQUEUE, "mail"))
    assert await status(house, path) == 401
    assert await status(house, path, key.text) == 200


async def test_metrics_tell_of_all_namespaces_and_so_are_for_administrators_of_default(house: House) -> None:
    beta = await house.namespace("beta")
    reader = await house.key(grant(Permission.READ))
    theirs = await house.key(grant(Permission.ADMIN), namespace=beta)
    ours = await house.key(grant(Permission.ADMIN))
    assert await status(house, "/metrics") == 401
    assert await status(house, "/metrics", reader.text) == 403
    assert await status(house, "/metrics", theirs.text) == 403
    assert await status(house, "/metrics", ours.text) == 200


async def test_reflection_is_for_callers_with_a_key(house: House) -> None:
    async def asked(channel: Any) -> list[str]:
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="*")
        answers = [answer async for answer in stub.ServerReflectionInfo(iter([request]))]
        return [each.name for each in answers[0].list_services_response.service]

    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await asked(house.plain)
    assert reason_of(raised.value) == "CREDENTIALS_MISSING"
    caller = await house.caller(grant(Permission.WORK, "mail"))
    assert "jobqueue.v1.JobQueue" in await asked(caller.channel)
