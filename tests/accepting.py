"""How soon a server takes callers that come at once, in turns of its loop."""

from __future__ import annotations

import asyncio
import socket

CALLERS = 40


async def turns_until_all_are_answered(port: int, first: bytes) -> int:
    """Connects `CALLERS` callers before the loop goes on, and counts its turns until each has been answered.

    Args:
        port: Where the server listens, which runs on this loop.
        first: What each of them says.
    """
    callers = [socket.create_connection(("127.0.0.1", port)) for _ in range(CALLERS)]
    try:
        for caller in callers:
            caller.sendall(first)
            caller.setblocking(False)
        waiting, turns = set(callers), 0
        async with asyncio.timeout(20):
            while waiting:
                await asyncio.sleep(0)
                turns += 1
                waiting = {caller for caller in waiting if not _answered(caller)}
        return turns
    finally:
        for caller in callers:
            caller.close()


def _answered(caller: socket.socket) -> bool:
    try:
        return bool(caller.recv(1 << 16))
    except BlockingIOError:
        return False
