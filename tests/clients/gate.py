"""What stands before a server where tokens are looked at: takes each token once, and passes on what comes with one."""

from __future__ import annotations

from typing import Any

import grpc.aio

from tests.faults.relay import carry


class Gate(grpc.GenericRpcHandler):
    """A server of every method on a port of its own. A client that does not ask for a new token each time is refused.

    `async with Gate(target) as address`.

    Args:
        target: The server behind it.
    """

    def __init__(self, target: str) -> None:
        self._target = target
        self._seen: set[object] = {None}
        self._server = grpc.aio.server()
        self._server.add_generic_rpc_handlers((self,))

    async def __aenter__(self) -> str:
        port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()
        return f"127.0.0.1:{port}"

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop(None)

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        """Each method is a stream of bytes in both directions."""

        async def passing(_: Any, context: Any) -> None:
            token = dict(details.invocation_metadata).get("authorization")
            if token in self._seen:
                await context.abort(grpc.StatusCode.UNAUTHENTICATED, "no token, or one that was used before")
            self._seen.add(token)
            await carry(self._target, details.method, context)

        return grpc.stream_stream_rpc_method_handler(passing)
