"""Keys of a queue are for who may read all kinds of its jobs, since a key may be of any of them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc.aio
import pytest

from jobqueue.v1 import queue_admin_pb2
from jobqueue_server.grants import Permission
from tests.lease.hand_worker import reason_of

from .house import House, grant


@pytest.fixture
async def house(dsn: str) -> AsyncIterator[House]:
    async with House(dsn) as house:
        yield house


@pytest.mark.parametrize(
    ("kinds", "queue", "told"),
    [("*", "mail", "OK"), ("send", "mail", "NOT_ALLOWED"), ("*", "other", "QUEUE_NOT_FOUND")],
)
async def test_keys_are_shown_to_who_may_read_all_kinds_of_the_queue(
    house: House, kinds: str, queue: str, told: str
) -> None:
    await house.enqueue(kind="send", queue="mail", key="ada")
    minted = await house.key(grant(Permission.READ, queue, kinds))
    caller = house.with_key(minted.text)
    for call in (
        caller.admin.ListQueueKeys(queue_admin_pb2.ListQueueKeysRequest(queue="mail")),
        caller.admin.GetQueueKey(queue_admin_pb2.GetQueueKeyRequest(queue="mail", key="ada")),
    ):
        if told == "OK":
            await call
            continue
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await call
        assert reason_of(error.value) == told
